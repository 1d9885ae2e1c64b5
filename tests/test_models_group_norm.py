"""BatchNorm to GroupNorm: every network, rebuilt from JSON, pruned and exported."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fl.compress.export import load_template, max_difference, save_model
from fl.compress.importance import prunable_groups, taylor_importance
from fl.compress.prune import apply_plan
from fl.compress.quantize import Calibration, quantize_int8, recipe_of
from fl.metrics.cost import example_inputs
from fl.metrics.latency import open_session
from fl.state import state_tensors
from models.architecture import GROUP_NORM, Architecture
from models.group_norm import batch_to_group_norm
from models.names import SYSTEMS
from models.output import Inputs
from server.plan import make_plan

STUDENTS = tuple(student for _, student in SYSTEMS.values())


def architecture(name: str, **settings: int) -> Architecture:
    shape = {"num_frames": 2, "num_mfcc": 13} if name == "pin_lite" else {}
    return Architecture(name, {**shape, **settings})


def inputs(batch_size: int = 2) -> Inputs:
    return example_inputs(
        {"num_frames": 2, "num_mfcc": 13}, image_size=64, audio_steps=6, batch_size=batch_size
    )


def prune_half(name: str) -> tuple[Architecture, nn.Module]:
    """The student without half of its backbone's channels, as a run would prune it, and its architecture."""
    dense = architecture(name, group_norm=1)
    network = dense.build(3)
    groups = prunable_groups(network)
    votes = np.random.default_rng(0).random(sum(group.num_channels for group in groups)).astype(np.float32)
    widths = {group.name: group.num_channels for group in groups}
    plan = make_plan(
        groups, votes, dense_channels=widths, ratio=0.5, scope="global", round_to=8, min_channel_share=0.2
    )
    apply_plan(network, plan)
    return dense.with_widths_of(network), network


@pytest.mark.parametrize("name", [*STUDENTS, "efficientnet_b0_lite", "resnet18", "ladeda9"])
def test_every_batchnorm_becomes_a_groupnorm_of_the_same_parameters(name: str) -> None:
    before, after = architecture(name).build(1), architecture(name, group_norm=1).build(1)
    norms = [m for m in before.modules() if isinstance(m, nn.BatchNorm2d)]
    groups = [m for m in after.modules() if isinstance(m, nn.GroupNorm)]
    assert len(norms) == len(groups) > 0
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in after.modules())
    assert all(m.num_channels == 8 * m.num_groups for m in groups)
    assert {k: p.shape for k, p in before.named_parameters()} == {
        k: p.shape for k, p in after.named_parameters()
    }
    assert not [key for key in state_tensors(after) if "running" in key]
    assert architecture(name).sha256 != architecture(name, group_norm=1).sha256


def test_architectures_with_batchnorm_keep_their_digests() -> None:
    assert GROUP_NORM not in architecture("pin_lite").to_json()
    assert architecture("pin_lite").to_json() == (
        '{"name":"pin_lite","settings":{"num_frames":2,"num_mfcc":13},"widths":{}}'
    )


def test_timms_norm_keeps_activation_and_drop_and_scale() -> None:
    from timm.layers.norm_act import BatchNormAct2d

    norm = BatchNormAct2d(16, act_layer=nn.Hardswish, drop_layer=nn.Dropout)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 16))
        norm.bias.copy_(torch.linspace(-1, 1, 16))
    holder = nn.Sequential(norm).eval()
    batch_to_group_norm(holder)
    made = holder[0]
    assert isinstance(made.drop, nn.Dropout)
    assert not made.training
    x = torch.randn(2, 16, 5, 5)
    grouped = x.reshape(2, 2, 8 * 25)
    spread = (grouped.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
    plain = (grouped - grouped.mean(2, keepdim=True)) / spread
    scaled = plain.reshape(x.shape) * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(made(x), F.hardswish(scaled))


@pytest.mark.parametrize("name", STUDENTS[:3])
def test_a_pruned_network_is_rebuilt_from_json(name: str) -> None:
    pruned, network = prune_half(name)
    rebuilt = Architecture.from_json(pruned.to_json()).build(9)
    rebuilt.load_state_dict(network.state_dict())
    with torch.no_grad():
        expected, output = network(*inputs()), rebuilt(*inputs())
    assert torch.equal(output.logits, expected.logits)
    assert torch.equal(output.explanation, expected.explanation)
    dense = architecture(name, group_norm=1).build()
    assert sum(p.numel() for p in rebuilt.parameters()) < 0.7 * sum(p.numel() for p in dense.parameters())
    assert all(m.num_channels == 8 * m.num_groups for m in rebuilt.modules() if isinstance(m, nn.GroupNorm))


def test_scale_and_shift_of_a_groupnorm_count_for_taylor_importance() -> None:
    network = architecture("pin_lite", group_norm=1).build(2).train()
    network(*inputs())[0].square().sum().backward()
    votes = taylor_importance(network)
    for module in network.modules():
        if isinstance(module, nn.GroupNorm) and module.weight.grad is not None:
            module.weight.grad.zero_()
            module.bias.grad.zero_()
    assert not np.array_equal(votes, taylor_importance(network))


@pytest.mark.parametrize("name", ["pin_lite", "tiny_ladeda"])
def test_channels_that_fill_no_whole_group_are_refused(name: str) -> None:
    network = architecture(name, group_norm=1).build()
    group = prunable_groups(network)[-1]
    with pytest.raises(ValueError, match="multiple of 8, got"):
        apply_plan(network, {group.name: [0]})


def test_a_norm_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a BatchNorm2d with scale and shift"):
        batch_to_group_norm(nn.Sequential(nn.BatchNorm2d(8, affine=False)))
    with pytest.raises(ValueError, match="must be a BatchNorm2d"):
        batch_to_group_norm(nn.Sequential(nn.BatchNorm1d(8)))


@pytest.mark.parametrize("name", STUDENTS)
def test_exported_and_quantised_graphs_say_what_the_network_says(name: str, tmp_path: Path) -> None:
    pruned, network = prune_half(name) if name == "pin_lite" else (architecture(name, group_norm=1), None)
    network = pruned.build(4) if network is None else network
    template = load_template(pruned, network, inputs(1), tmp_path)
    model = template.with_weights(network.state_dict())
    path = save_model(model, tmp_path / "student.onnx")
    assert max_difference(open_session(path), network, inputs(3)) < 1e-4
    frames, mfcc, modalities = (tensor.numpy() for tensor in inputs(32))
    calibration = Calibration(frames, mfcc, modalities, np.arange(32, dtype=np.float32) % 2)
    small = quantize_int8(model, tmp_path / "int8.onnx", recipe_of(pruned), calibration)
    feeds = {"frames": frames, "mfcc": mfcc, "modalities": modalities}
    one, other = (np.asarray(open_session(file).run(["logits"], feeds)[0]) for file in (path, small))
    assert np.corrcoef(one, other)[0, 1] > 0.8
