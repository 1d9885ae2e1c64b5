"""The sweep finds the module that INT8 spoils, and mixed precision keeps that one in float."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fl.compress.calibration import Calibration
from fl.compress.nodes import head_name, module_groups
from fl.compress.sensitivity import quantize_mixed, sweep_modules
from fl.compress.static import StaticQuantizer
from fl.errors import RequestError
from fl.metrics.latency import open_session

HEAD = "/detector/head/Gemm"


def graph() -> onnx.ModelProto:
    """Three modules of matrix products; the second mixes numbers of very different size in one range."""
    rng = np.random.default_rng(0)
    spread = np.eye(8, dtype=np.float32)
    spread[0, 0] = 300  # one channel sets the range that the seven others must share
    back = np.eye(8, dtype=np.float32)
    back[0, 0] = 0
    weights = {
        "plain": np.eye(8, dtype=np.float32) + rng.normal(size=(8, 8)).astype(np.float32) * 0.01,
        "spread": spread,
        "back": back,
        "head": rng.normal(size=(8, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["mfcc", "axes"], ["pooled"], name="/detector/Mean", keepdims=0),
        helper.make_node("MatMul", ["pooled", "plain"], ["a"], name="/detector/blocks.0/plain/MatMul"),
        helper.make_node("MatMul", ["a", "spread"], ["b"], name="/detector/blocks.1/uneven/MatMul"),
        helper.make_node("MatMul", ["b", "back"], ["c"], name="/detector/blocks.1/uneven/MatMul_1"),
        helper.make_node("Gemm", ["c", "head"], ["d"], name=HEAD),
        helper.make_node("Squeeze", ["d", "axes"], ["logits"], name="/detector/Squeeze"),
    ]
    inputs = [
        helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", 1, 3, 2, 2]),
        helper.make_tensor_value_info("mfcc", TensorProto.FLOAT, ["batch", 3, 8]),
        helper.make_tensor_value_info("modalities", TensorProto.FLOAT, ["batch", 2]),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch"])]
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    initializers.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
    made = helper.make_graph(nodes, "detector", inputs, outputs, initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def quantizer(tmp_path: Path) -> StaticQuantizer:
    rng = np.random.default_rng(1)
    calibration = Calibration(
        frames=np.zeros((32, 1, 3, 2, 2), np.float32),
        mfcc=rng.normal(size=(32, 3, 8)).astype(np.float32),
        modalities=np.ones((32, 2), np.float32),
        labels=np.tile(np.array([0, 1], np.float32), 16),
    )
    return StaticQuantizer(graph(), calibration, "minmax", tmp_path)


def logits(model: onnx.ModelProto, calibration: Calibration) -> np.ndarray:
    session = open_session(model.SerializeToString())
    return np.concatenate([session.run(["logits"], batch)[0] for batch in calibration.batches()])


def test_the_uneven_module_comes_first(quantizer: StaticQuantizer) -> None:
    sweep = sweep_modules(quantizer, HEAD)
    assert sweep[0].module == "blocks.1.uneven"
    assert {entry.module for entry in sweep} == {"blocks.1.uneven", "blocks.0.plain", "detector"}
    assert sweep[0].logit_change_mean > 10 * sweep[1].logit_change_mean
    assert all(entry.logit_change_max >= entry.logit_change_mean for entry in sweep)


def test_mixed_keeps_it_in_float_and_holds_the_tolerance(quantizer: StaticQuantizer) -> None:
    model, found = quantize_mixed(quantizer, HEAD, tolerance=0.01)
    assert found.float_modules == ("blocks.1.uneven",)
    expected, output = (logits(graph, quantizer.calibration) for graph in (quantizer.model, model))
    change = np.abs(1 / (1 + np.exp(-output)) - 1 / (1 + np.exp(-expected)))
    assert change.mean() == pytest.approx(found.probability_change_mean, rel=1e-4)
    assert 0 < change.mean() <= 0.01
    everything = logits(quantizer.quantize(leave=[HEAD]), quantizer.calibration)
    assert np.abs(1 / (1 + np.exp(-everything)) - 1 / (1 + np.exp(-expected))).mean() > 0.01
    assert found.num_clips == 32


@pytest.mark.parametrize(("tolerance", "num_float"), [(1e-9, 2), (1.0, 0)])
def test_the_tolerance_decides_how_many_stay_float(
    tolerance: float, num_float: int, quantizer: StaticQuantizer
) -> None:
    model, found = quantize_mixed(quantizer, HEAD, tolerance)
    assert len(found.float_modules) == num_float
    assert any(node.op_type == "QuantizeLinear" for node in model.graph.node) == (num_float == 0)
    assert head_name(model) == HEAD


def test_paths_become_modules() -> None:
    paths = {
        "/detector/video/backbone/backbone.2/backbone.2.1/backbone.2.1.0/conv_pw/Conv": "video.backbone.2.1",
        "/detector/video/backbone/backbone.0/Conv": "video.backbone.0",
        "/detector/video/projection/Gemm": "video.projection",
        "/detector/blocks.0/cross/query/MatMul": "blocks.0.cross",
        "/detector/blocks.0/Add": "blocks.0",
        "/detector/audio/conv1/Conv": "audio.conv1",
        "/detector/Add": "detector",
        "pooled": "detector",
    }
    nodes = [helper.make_node("Add", [], [], name=name) for name in paths]
    found = {name: group for group, names in module_groups(nodes).items() for name in names}
    assert found == paths


def test_clips_of_no_class_are_refused(tmp_path: Path) -> None:
    from fl.compress.quantize import quantize_one_class

    fakes = Calibration(*(np.ones((4, 1), np.float32) for _ in range(4)))
    with pytest.raises(RequestError, match="one_class needs real clips, got none"):
        quantize_one_class(graph(), tmp_path / "x.onnx", fakes)
