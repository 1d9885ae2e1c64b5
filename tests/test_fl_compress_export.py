"""ONNX export: the template, the weights, parity with PyTorch."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fl.compress.export import OPSET, OnnxTemplate, load_template, max_difference, save_model
from fl.compress.importance import prunable_groups
from fl.compress.prune import apply_plan
from fl.errors import RunError
from fl.metrics.cost import example_inputs
from fl.metrics.latency import open_session
from models.architecture import Architecture
from models.output import Inputs

LITE = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})
TEACHER = Architecture("pinpoint", {"num_frames": 2, "num_mfcc": 13})


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


def inputs_of(architecture: Architecture, batch_size: int) -> Inputs:
    return example_inputs(architecture.settings, image_size=64, audio_steps=6, batch_size=batch_size)


def scrambled(network: nn.Module, seed: int) -> nn.Module:
    """The network with BatchNorms as after training: no two equal."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network


def pruned_lite() -> tuple[Architecture, nn.Module]:
    network = LITE.build()
    plan = {group.name: list(range(group.num_channels // 2)) for group in prunable_groups(network)}
    apply_plan(network, plan)
    return LITE.with_widths_of(network), network


@pytest.mark.parametrize("which", ["pin_lite", "pinpoint", "pruned"])
def test_template_of_fresh_weights_serves_other_weights_and_batches(which: str, cache: Path) -> None:
    """A fresh network's BatchNorms are all equal, which the exporter would merge."""
    architecture, network = {
        "pin_lite": lambda: (LITE, LITE.build(0)),
        "pinpoint": lambda: (TEACHER, TEACHER.build(0)),
        "pruned": pruned_lite,
    }[which]()
    template = load_template(architecture, network, inputs_of(architecture, 2), cache)
    other = scrambled(architecture.build(1), 2)
    session = open_session(template.with_weights(other.state_dict()).SerializeToString())
    for batch_size in (1, 5):
        assert max_difference(session, other, inputs_of(architecture, batch_size)) < 1e-4
    assert max_difference(session, network, inputs_of(architecture, 3)) > 1e-3


@pytest.mark.parametrize("architecture", [LITE, TEACHER])
def test_a_missing_modality_gives_the_same_in_onnx(architecture: Architecture, cache: Path) -> None:
    network = scrambled(architecture.build(0), 1)
    template = load_template(architecture, network, inputs_of(architecture, 1), cache)
    session = open_session(template.with_weights(network.state_dict()).SerializeToString())
    frames, mfcc, _ = inputs_of(architecture, 3)
    missing = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    assert max_difference(session, network, (frames, mfcc, missing)) < 1e-4
    with torch.no_grad():
        difference = (network(frames, mfcc, missing).logits - network(frames, mfcc).logits).abs()
    assert difference[:2].min() > 1e-3


def test_graph_is_as_documented(cache: Path) -> None:
    network = LITE.build()
    model = load_template(LITE, network, inputs_of(LITE, 1), cache).with_weights(network.state_dict())
    onnx.checker.check_model(model, full_check=True)

    def describe(values):  # type: ignore[no-untyped-def]
        return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    assert describe(model.graph.input) == {
        "frames": ["batch", 2, 3, 64, 64],
        "mfcc": ["batch", 6, 13],
        "modalities": ["batch", 2],
    }
    assert describe(model.graph.output) == {"logits": ["batch"], "explanation": ["batch", 6, 2]}
    assert {(opset.domain, opset.version) for opset in model.opset_import} == {("", OPSET)}
    assert not model.metadata_props
    operators = [node.op_type for node in model.graph.node]
    assert "BatchNormalization" not in operators
    assert operators.count("GlobalAveragePool") == operators.count("Resize") == 9


def test_second_time_comes_from_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = LITE.build()
    first = load_template(LITE, network, inputs_of(LITE, 1), cache)
    monkeypatch.setattr(torch.onnx, "export", None)
    second = load_template(LITE, network, inputs_of(LITE, 4), cache)
    assert first.model == second.model
    assert not any(initializer.raw_data for initializer in second.model.graph.initializer)


def test_another_input_shape_is_another_template(cache: Path) -> None:
    network = LITE.build()
    load_template(LITE, network, inputs_of(LITE, 1), cache)
    before = len(list((cache / "exports").iterdir()))
    inputs = example_inputs(LITE.settings, image_size=64, audio_steps=7)
    template = load_template(LITE, network, inputs, cache)
    assert len(list((cache / "exports").iterdir())) == before + 1
    session = open_session(template.with_weights(network.state_dict()).SerializeToString())
    assert max_difference(session, network, inputs) < 1e-4


def test_export_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = LITE.build().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_template(LITE, network, inputs_of(LITE, 1), tmp_path)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_state_dict_of_another_network_is_refused(cache: Path) -> None:
    network = LITE.build()
    template = load_template(LITE, network, inputs_of(LITE, 1), cache)
    _, pruned = pruned_lite()
    with pytest.raises(ValueError, match="must have shape"):
        template.with_weights(pruned.state_dict())
    with pytest.raises(ValueError, match="which the state dict has not"):
        template.with_weights({})


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_read_only_cache_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cache_dir"):
        load_template(LITE, LITE.build(), inputs_of(LITE, 1), tmp_path)


def test_cache_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "exports").write_text("")
    with pytest.raises(RunError, match="cache_dir"):
        load_template(LITE, LITE.build(), inputs_of(LITE, 1), tmp_path)


def test_saving_leaves_no_second_file(tmp_path: Path) -> None:
    model = onnx.ModelProto(producer_name="x")
    path = save_model(model, tmp_path / "new" / "a.onnx")
    assert [entry.name for entry in path.parent.iterdir()] == ["a.onnx"]
    assert onnx.ModelProto.FromString(path.read_bytes()) == model


def test_difference_is_the_largest_over_both_outputs() -> None:
    network = LITE.build()
    inputs = inputs_of(LITE, 2)
    with torch.no_grad():
        truth = network(*inputs)

    class Off:
        def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            assert names == ["logits", "explanation"]
            assert set(feeds) == {"frames", "mfcc", "modalities"}
            return [truth.logits.numpy() + 0.25, truth.explanation.numpy() - 0.5]

    assert max_difference(Off(), network, inputs) == pytest.approx(0.5)  # type: ignore[arg-type]


def test_template_is_filled_without_being_changed(cache: Path) -> None:
    network = LITE.build()
    template = load_template(LITE, network, inputs_of(LITE, 1), cache)
    before = template.model.SerializeToString()
    OnnxTemplate(template.model).with_weights(network.state_dict())
    assert template.model.SerializeToString() == before
