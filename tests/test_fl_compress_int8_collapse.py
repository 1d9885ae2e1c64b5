"""What calibration decides: a trained student keeps its verdicts, or answers one class."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from trained_student import LITE, Trained, labels_only, train_student

from fl.compress.audit import Answers, assess
from fl.compress.export import save_model
from fl.compress.nodes import head_name
from fl.compress.qat import WeightRounder, fine_tune, rounding
from fl.compress.quantize import quantize_int8, quantize_student
from fl.compress.sessions import run_session
from fl.compress.weight_only import quantize_weight
from fl.data.shards import take
from fl.distill.batches import TeacherOutputs, load_batch
from fl.distill.predict import predict
from fl.errors import RequestError
from fl.metrics.latency import open_session
from fl.settings import CompressSettings, DistillSettings


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_student(tmp_path_factory.mktemp("trained"))


def answers(trained: Trained, path: Path) -> Answers:
    return Answers(*run_session(open_session(path), take(trained.store)))


def accuracy(trained: Trained, found: Answers) -> float:
    return float(((found.logits > 0) == trained.store.labels).mean())


def quantized(trained: Trained, folder: Path, compress: CompressSettings) -> Answers:
    path = folder / "student.int8.onnx"
    return answers(trained, quantize_student(LITE, trained.graph, path, compress, trained.calibration))


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_two_classes_keep_every_verdict_and_one_class_collapses(
    method: str, trained: Trained, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    usual = CompressSettings(int8="static", calibration_method=method)
    assert accuracy(trained, quantized(trained, tmp_path, usual)) == 1.0
    if method == "minmax":
        ablation = CompressSettings(int8="static", calibration="one_class")
        assert accuracy(trained, quantized(trained, tmp_path, ablation)) == 0.5
    assert capfd.readouterr() == ("", "")


def test_the_ablation_is_only_of_static_int8(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"got the recipe 'dynamic'; add compress\.int8=static"):
        quantized(trained, tmp_path, CompressSettings(calibration="one_class"))


def test_an_unknown_method_is_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"calibration_method must be one of minmax, .* got 'mean'"):
        quantize_int8(trained.graph, tmp_path / "x.onnx", "static", trained.calibration, "mean")


def test_weight_only_is_a_third_of_the_size_and_needs_no_session_option(
    trained: Trained, tmp_path: Path
) -> None:
    float_onnx = save_model(trained.graph, tmp_path / "float.onnx")
    path = quantize_int8(float_onnx, tmp_path / "int8.onnx", "weight_only")
    assert path.stat().st_size < 0.35 * float_onnx.stat().st_size
    before, after = answers(trained, float_onnx), answers(trained, path)
    quality = assess(take(trained.store), before, after, before.maps, seed=0)
    assert 0 < quality.change_max < 0.01
    assert quality.num_flips == 0
    stored = {tensor.name for tensor in onnx.load(path).graph.initializer}
    assert "detector.head.weight" in stored
    assert "detector.audio.conv2.weight_int8" in stored
    assert _operators_that_run(path, tmp_path) == _operators_that_run(float_onnx, tmp_path)


def _operators_that_run(path: Path, folder: Path) -> list[str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return sorted(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


@given(arrays.arrays(np.float32, (3, 4, 2), elements=st.floats(-1000, 1000, width=32)), st.integers(0, 2))
@settings(max_examples=30)
def test_a_weight_moves_by_half_a_level_at_most(weight: np.ndarray, axis: int) -> None:
    levels, scales = quantize_weight(weight, axis)
    assert np.all(np.abs(levels * scales - weight) <= scales * 0.5001)
    assert scales.size == weight.shape[axis]


def test_rounding_is_seen_forwards_not_backwards() -> None:
    weight = torch.tensor([[1.0, 0.301], [0.0, 0.0]], requires_grad=True)
    rounded = WeightRounder()(weight)
    assert rounded.detach().tolist() == [[1.0, pytest.approx(38 / 127)], [0.0, 0.0]]
    (rounded * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_rounding_ends_with_its_block(trained: Trained) -> None:
    view, keys = take(trained.store), list(trained.network.state_dict())
    before, _ = predict(trained.network, view)
    with rounding(trained.network):
        inside, _ = predict(trained.network, view)
    after, _ = predict(trained.network, view)
    assert 0 < np.abs(inside - before).max() < 1
    np.testing.assert_array_equal(after, before)
    assert list(trained.network.state_dict()) == keys


def test_fine_tuning_lowers_the_loss_under_rounding_and_leaves_the_student(trained: Trained) -> None:
    view = take(trained.store)
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    logits, maps = predict(trained.network, view)
    teacher = TeacherOutputs(logits, maps)
    tuned = fine_tune(trained.network, view, teacher, labels_only, DistillSettings(), num_epochs=2, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in trained.network.state_dict().items())
    after = tuned.state_dict()
    assert list(after) == list(before)
    norms = [name for name in before if name.endswith(("running_mean", "running_var"))]
    assert norms
    assert all(torch.equal(after[name], before[name]) for name in norms)
    assert not torch.equal(after["head.weight"], before["head.weight"])
    batch = load_batch(view, np.arange(len(view)))
    losses = []
    for network in (trained.network, tuned):
        with rounding(network), torch.no_grad():
            losses.append(float(labels_only(network, batch).total))
    assert losses[1] < losses[0]


def test_assessment_counts_flips_by_class_and_category(trained: Trained) -> None:
    view = take(trained.store)
    logits, maps = predict(trained.network, view)
    turned = logits.copy()
    turned[:3] *= -1  # real, fake, real
    found = assess(view, Answers(logits, maps), Answers(turned, maps), maps, seed=0)
    assert found.num_flips == 3
    assert found.flips_by_class == {"real": 2, "fake": 1}
    assert found.flips_by_category == {"Deepfakes": 1, "real": 2}
    assert found.accuracy == pytest.approx(37 / 40)
    assert found.eps_float == found.eps_teacher == pytest.approx(1)
    assert found.change_max == pytest.approx(np.abs(np.tanh(logits[:3] / 2)).max())
    json.dumps(found.__dict__)


def test_the_head_is_found(trained: Trained) -> None:
    assert head_name(trained.graph) == "/detector/head/Gemm"
