"""Groups, votes, pruning and BatchNorm: what stays equal, what really shrinks."""

import copy
import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from fl.compress.importance import prunable_groups, taylor_importance
from fl.compress.prune import apply_plan, reestimate_batchnorm
from fl.metrics.cost import count_macs, count_parameters, example_inputs
from fl.settings import CompressSettings
from models.architecture import Architecture
from models.output import Inputs
from server.plan import make_plan

LITE = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})
TEACHER = Architecture("pinpoint", {"num_frames": 2, "num_mfcc": 13})


def inputs_of(architecture: Architecture, batch_size: int = 3) -> Inputs:
    return example_inputs(architecture.settings, image_size=32, audio_steps=4, batch_size=batch_size)


def settled(architecture: Architecture) -> nn.Module:
    """A network whose BatchNorms hold no two equal numbers."""
    network = architecture.build(0)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network


def votes_of(network: nn.Module, architecture: Architecture) -> np.ndarray:
    inputs = inputs_of(architecture, 4)
    targets = torch.tensor([0.0, 1.0, 0.0, 1.0])
    network.zero_grad()
    nn.functional.binary_cross_entropy_with_logits(network(*inputs).logits, targets).backward()
    votes = taylor_importance(network)
    network.zero_grad()
    return votes


def default_plan(network: nn.Module, votes: np.ndarray, scope: str = "global", ratio: float | None = None):
    groups, defaults = prunable_groups(network), CompressSettings()
    return make_plan(
        groups,
        votes,
        dense_channels={group.name: group.num_channels for group in groups},
        ratio=defaults.prune_ratio if ratio is None else ratio,
        scope=scope,
        round_to=defaults.round_to,
        min_channel_share=defaults.min_channel_share,
    )


def digest(network: nn.Module) -> str:
    sha = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        sha.update(name.encode() + tensor.numpy().tobytes())
    return sha.hexdigest()


@pytest.mark.parametrize(
    ("architecture", "num_groups", "num_channels"), [(LITE, 26, 3848), (TEACHER, 12, 2880)]
)
def test_groups_cover_the_encoder_and_do_not_depend_on_weights(
    architecture, num_groups, num_channels
) -> None:
    groups = prunable_groups(architecture.build(0))
    assert len(groups) == num_groups
    assert sum(group.num_channels for group in groups) == num_channels
    assert groups == prunable_groups(architecture.build(7), image_size=96)
    assert not any("projection" in group.name for group in groups)


def test_tracing_leaves_the_network_as_it_was() -> None:
    network = settled(LITE).train()
    network.head.requires_grad_(False)
    network.video.projection.weight.requires_grad_(False)
    network.video.projection.eval()
    before = digest(network)
    prunable_groups(network)
    assert digest(network) == before
    assert network.video.backbone.training
    assert not network.video.projection.training
    assert not network.video.projection.weight.requires_grad


def test_votes_are_finite_not_negative_and_of_mean_one() -> None:
    network = settled(LITE)
    votes = votes_of(network, LITE)
    assert votes.dtype == np.float32
    assert len(votes) == sum(group.num_channels for group in prunable_groups(network))
    assert np.isfinite(votes).all()
    assert (votes >= 0).all()
    assert votes.mean() == pytest.approx(1, abs=1e-4)


def test_votes_without_any_signal_are_equal() -> None:
    network = settled(LITE)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert (taylor_importance(network) == 1).all()


def test_vote_has_its_closed_form() -> None:
    """A channel of a basic block's first convolution: one BatchNorm, one reader."""
    network = settled(TEACHER)
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    block, channel = network.video.backbone.layer1[0], 9
    norm, reader = block.bn1, block.conv2.weight
    expected = [
        (norm.weight[c] * norm.weight.grad[c] + norm.bias[c] * norm.bias.grad[c]).abs()
        + (reader[:, c] * reader.grad[:, c]).sum().abs()
        for c in (channel, 40)
    ]
    groups, votes = prunable_groups(network), taylor_importance(network)
    names = [group.name for group in groups]
    index = names.index("video.backbone.layer1.0.conv1")
    start = sum(group.num_channels for group in groups[:index])
    ratio = votes[start + channel] / votes[start + 40]
    assert ratio == pytest.approx((expected[0] / expected[1]).item(), rel=1e-4)


def test_votes_do_not_depend_on_the_scale_of_the_loss() -> None:
    network = settled(LITE)
    inputs = inputs_of(LITE, 2)
    votes = []
    for scale in (1.0, 64.0):
        network.zero_grad()
        (scale * network(*inputs).logits.sum()).backward()
        votes.append(taylor_importance(network))
    np.testing.assert_allclose(votes[0], votes[1], rtol=1e-4, atol=1e-6)


def test_channel_without_effect_scores_zero() -> None:
    network = settled(TEACHER)
    dead = 5
    norm = network.video.backbone.layer1[0].bn1
    norm.weight.data[dead] = norm.bias.data[dead] = 0
    votes = votes_of(network, TEACHER)
    names = [group.name for group in prunable_groups(network)]
    widths = [group.num_channels for group in prunable_groups(network)]
    start = sum(widths[: names.index("video.backbone.layer1.0.conv1")])
    assert votes[start + dead] == 0
    assert (votes[start : start + 64] > 0).sum() > 32


def test_votes_without_gradients_are_refused() -> None:
    with pytest.raises(ValueError, match="needs gradients"):
        taylor_importance(LITE.build())


@pytest.mark.parametrize("architecture", [LITE, TEACHER])
def test_empty_plan_is_the_identity(architecture: Architecture) -> None:
    network = settled(architecture)
    inputs = inputs_of(architecture)
    with torch.no_grad():
        before = network(*inputs)
        apply_plan(network, {})
        after = network(*inputs)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.explanation, after.explanation)
    assert architecture.with_widths_of(network) == architecture


@pytest.mark.parametrize("block", [0, 1])
def test_pruned_network_equals_the_dense_one_with_the_channels_masked(block: int) -> None:
    """Exact where nothing but BatchNorm and ReLU lies between a channel and its only reader."""
    name = f"video.backbone.layer2.{block}.conv1"
    masked, pruned = settled(TEACHER), settled(TEACHER)
    gone = [0, 3, 4, 77, 127]
    norm = masked.video.backbone.layer2[block].bn1
    norm.weight.data[gone] = 0
    norm.bias.data[gone] = 0
    apply_plan(pruned, {name: gone})
    inputs = inputs_of(TEACHER)
    with torch.no_grad():
        expected, output = masked(*inputs), pruned(*inputs)
    torch.testing.assert_close(output.logits, expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.explanation, expected.explanation, atol=1e-5, rtol=1e-5)


def test_what_stays_are_slices_of_the_old_weights() -> None:
    dense, pruned = settled(LITE), settled(LITE)
    gone = [1, 2, 30]
    apply_plan(pruned, {"video.backbone.2.2.1.conv_pw": gone})
    kept = [index for index in range(240) if index not in gone]
    old, new = dense.video.backbone[2][2][1], pruned.video.backbone[2][2][1]
    assert torch.equal(new.conv_pw.weight, old.conv_pw.weight[kept])
    assert torch.equal(new.conv_dw.weight, old.conv_dw.weight[kept])
    assert new.conv_dw.groups == len(kept)
    assert torch.equal(new.bn2.running_var, old.bn2.running_var[kept])
    assert torch.equal(new.se.conv_reduce.weight, old.se.conv_reduce.weight[:, kept])
    assert torch.equal(new.se.conv_expand.bias, old.se.conv_expand.bias[kept])
    assert torch.equal(new.conv_pwl.weight, old.conv_pwl.weight[:, kept])


@pytest.mark.parametrize("scope", ["global", "local"])
def test_default_plan_removes_at_least_two_fifths_of_all_parameters(scope: str) -> None:
    network = settled(LITE)
    before = count_parameters(network), count_macs(network, *inputs_of(LITE)).total
    plan = default_plan(network, votes_of(network, LITE), scope)
    apply_plan(network, plan)
    after = count_parameters(network), count_macs(network, *inputs_of(LITE)).total
    assert after[0] <= 0.6 * before[0]
    assert after[1] < before[1]
    assert all(group.num_channels >= 8 for group in prunable_groups(network))


def test_replay_gives_the_same_network_over_two_rounds() -> None:
    first = settled(LITE)
    plans = []
    for ratio in (0.25, 0.3):
        plan = default_plan(first, votes_of(first, LITE), ratio=ratio)
        plans.append(plan)
        apply_plan(first, plan)
    second = settled(LITE)
    for plan in plans:
        apply_plan(second, plan)
    assert digest(first) == digest(second)
    assert LITE.with_widths_of(first) == LITE.with_widths_of(second)


def test_pruned_network_still_learns() -> None:
    network = settled(LITE)
    apply_plan(network, default_plan(network, votes_of(network, LITE)))
    network.train()
    network(*inputs_of(LITE)).logits.sum().backward()
    shapes = {name: p.shape for name, p in network.named_parameters() if p.grad is not None}
    assert all(dict(network.named_parameters())[name].grad.shape == shape for name, shape in shapes.items())
    assert "video.backbone.0.weight" in shapes


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"video.nothing": [0]}, "names 'video.nothing'"),
        ({"video.backbone.0": [16]}, r"must be in \[0, 16\)"),
        ({"video.backbone.0": [-1]}, r"must be in \[0, 16\)"),
        ({"video.backbone.0": [1, 1]}, "repeats"),
        ({"video.backbone.0": list(range(16))}, "remove all 16 channels"),
    ],
)
def test_wrong_plan_is_refused_and_changes_nothing(plan, message: str) -> None:
    network = settled(LITE)
    before = digest(network)
    with pytest.raises(ValueError, match=message):
        apply_plan(network, {"video.backbone.2.2.1.conv_pw": [0], **plan})
    assert digest(network) == before


def test_batchnorm_takes_the_mean_over_the_batches_and_nothing_else_changes() -> None:
    network = settled(LITE)
    before = copy.deepcopy(network.state_dict())
    batches = [example_inputs(LITE.settings, image_size=32, audio_steps=4, batch_size=n) for n in (2, 5)]
    stem, norm = network.video.backbone[0], network.video.backbone[1]
    with torch.no_grad():
        means = [stem(frames.flatten(0, 1)).mean(dim=(0, 2, 3)) for frames, *_ in batches]
    reestimate_batchnorm(network, batches)
    torch.testing.assert_close(norm.running_mean, (means[0] + means[1]) / 2)
    assert norm.momentum is not None
    assert not any(module.training for module in network.modules())
    after = network.state_dict()
    changed = {name.rpartition(".")[2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}


def test_batchnorm_from_no_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="no batch"):
        reestimate_batchnorm(LITE.build(), [])
