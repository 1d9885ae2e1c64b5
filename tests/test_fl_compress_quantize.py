"""INT8: smaller, close to float, the head in float, and calibration that cannot collapse."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from fl.compress.export import load_template, save_model
from fl.compress.quantize import RECIPES, Calibration, quantize_int8, recipe_of
from fl.errors import RequestError
from fl.metrics.cost import example_inputs
from fl.metrics.latency import open_session
from models.architecture import Architecture
from models.zoo import BUILDERS, IMAGE_NETWORKS

LITE = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})


@pytest.fixture(scope="module")
def float_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("float")
    network = LITE.build()
    template = load_template(LITE, network, inputs(1), folder)
    return save_model(template.with_weights(network.state_dict()), folder / "student.onnx")


def inputs(batch_size: int):  # type: ignore[no-untyped-def]
    return example_inputs(LITE.settings, image_size=32, audio_steps=6, batch_size=batch_size)


def clips(labels: list[int]) -> Calibration:
    """Clips whose loudness and brightness differ, so that the logits do."""
    frames, mfcc, modalities = (tensor.numpy() for tensor in inputs(len(labels)))
    scale = np.linspace(0.2, 3, len(labels), dtype=np.float32)
    return Calibration(
        frames * scale[:, None, None, None, None],
        mfcc * scale[:, None, None],
        modalities,
        np.array(labels, np.float32),
    )


def logits(path: Path, calibration: Calibration) -> np.ndarray:
    feeds = {
        "frames": calibration.frames,
        "mfcc": calibration.mfcc,
        "modalities": calibration.modalities,
    }
    return np.asarray(open_session(path).run(["logits"], feeds)[0])


@pytest.mark.parametrize("recipe", ["dynamic", "static"])
def test_int8_is_smaller_and_its_logits_follow_the_float_ones(
    recipe: str,
    float_onnx: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    calibration = clips([0, 1] * 20)
    before = float_onnx.read_bytes()
    handlers = list(logging.getLogger().handlers)
    path = quantize_int8(float_onnx, tmp_path / "student.int8.onnx", recipe, calibration)
    assert path.stat().st_size < 0.85 * len(before)
    assert float_onnx.read_bytes() == before
    expected, output = logits(float_onnx, calibration), logits(path, calibration)
    assert np.corrcoef(expected, output)[0, 1] > 0.95
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.getLogger().handlers == handlers


@pytest.mark.parametrize("recipe", ["dynamic", "static"])
def test_int8_calibrated_on_whole_clips_hides_a_missing_sound(
    recipe: str, float_onnx: Path, tmp_path: Path
) -> None:
    calibration = clips([0, 1] * 20)
    path = quantize_int8(float_onnx, tmp_path / "student.int8.onnx", recipe, calibration)
    silent = replace(calibration, modalities=calibration.modalities * np.array([1, 0], np.float32))
    louder = replace(silent, mfcc=calibration.mfcc[::-1].copy())
    np.testing.assert_array_equal(logits(path, silent), logits(path, louder))
    assert np.abs(logits(path, silent) - logits(path, calibration)).max() > 0


def test_static_is_the_smallest(float_onnx: Path, tmp_path: Path) -> None:
    sizes = {
        recipe: quantize_int8(float_onnx, tmp_path / recipe, recipe, clips([0, 1] * 16)).stat().st_size
        for recipe in ("dynamic", "static")
    }
    assert sizes["static"] < 0.6 * sizes["dynamic"]


def test_dynamic_leaves_head_and_convolutions_in_float(float_onnx: Path, tmp_path: Path) -> None:
    quantized = onnx.load(quantize_int8(float_onnx, tmp_path / "int8.onnx", "dynamic"))
    operators = [node.op_type for node in quantized.graph.node]
    assert operators.count("MatMulInteger") == 23
    assert operators.count("Conv") == 54
    assert _head_weight_type(quantized) == onnx.TensorProto.FLOAT


def test_static_leaves_the_head_in_float(float_onnx: Path, tmp_path: Path) -> None:
    quantized = onnx.load(quantize_int8(float_onnx, tmp_path / "int8.onnx", "static", clips([0, 1] * 16)))
    assert _head_weight_type(quantized) == onnx.TensorProto.FLOAT
    types = {
        initializer.data_type
        for initializer in quantized.graph.initializer
        if initializer.name.endswith("weight_quantized")
    }
    assert types == {onnx.TensorProto.INT8}
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in quantized.graph.node}


def _head_weight_type(model: onnx.ModelProto) -> int:
    producers = {output: node for node in model.graph.node for output in node.output}
    node = producers["logits"]
    while node.op_type not in ("Gemm", "MatMul", "MatMulInteger"):
        node = producers[node.input[0]]
    types = {initializer.name: initializer.data_type for initializer in model.graph.initializer}
    return types[node.input[1]]


@pytest.mark.parametrize("label", [0, 1])
def test_calibration_of_one_class_is_refused(label: int, float_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=rf"both classes .* got only \[{label}\].*compress\.int8=dynamic"):
        quantize_int8(float_onnx, tmp_path / "x.onnx", "static", clips([label] * 40))
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize("calibration", [None, clips([0, 1] * 15)])
def test_too_few_calibration_clips_are_refused(calibration, float_onnx: Path, tmp_path: Path) -> None:
    num_clips = 0 if calibration is None else 30
    with pytest.raises(RequestError, match=rf"compress\.calibration_clips of at least 32, got {num_clips}"):
        quantize_int8(float_onnx, tmp_path / "x.onnx", "static", calibration)


@pytest.mark.parametrize("recipe", ["dynamic", "static", "weight_only"])
def test_a_head_whose_weight_the_map_reads_too_stays_float(recipe: str, tmp_path: Path) -> None:
    architecture = Architecture("mobilenetv3_small_100")
    network, calibration = architecture.build(1), clips([0, 1] * 20)
    template = load_template(architecture, network, inputs(1), tmp_path)
    float_onnx = save_model(template.with_weights(network.state_dict()), tmp_path / "float.onnx")
    path = quantize_int8(float_onnx, tmp_path / "int8.onnx", recipe, calibration)
    assert path.stat().st_size < 0.85 * float_onnx.stat().st_size
    expected = logits(float_onnx, calibration)
    assert np.abs(logits(path, calibration) - expected).max() < 0.2 * np.abs(expected).max()


def test_every_network_has_a_recipe() -> None:
    assert set(RECIPES) == {*BUILDERS, *IMAGE_NETWORKS}
    assert recipe_of(LITE) == RECIPES["pin_lite"]
    assert recipe_of(LITE, "static") == "static"


@pytest.mark.parametrize(
    ("architecture", "int8", "message"),
    [
        (LITE, "int4", "compress.int8 must be auto or one of dynamic, static, .*, got 'int4'"),
        (Architecture("other"), "auto", "got 'other'"),
    ],
)
def test_unknown_recipes_are_refused(architecture: Architecture, int8: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        recipe_of(architecture, int8)


def test_unresolved_recipe_is_refused(float_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"must be one of dynamic, static, .* here, got 'auto'"):
        quantize_int8(float_onnx, tmp_path / "x.onnx", "auto")
