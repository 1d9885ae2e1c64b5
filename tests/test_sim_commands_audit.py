"""The quantisation audit of a run folder with real graphs, and what it refuses."""

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trained_student import LITE, Trained, train_student

from fl.compress.export import save_model
from fl.compress.quantize import quantize_int8, quantize_one_class
from fl.data.shards import take
from fl.distill.predict import predict
from fl.errors import RunError
from fl.settings import Experiment
from server.checkpoint import save_checkpoint
from sim.__main__ import main
from sim.audits.quantization import Audit, Splits, audit_quantization
from sim.commands.audit import ACTIONS
from sim.finished import FinishedRun, open_run
from sim.report.quantization import print_audit
from sim.report.quantization_figure import draw_quantization


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_student(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def run(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("audited")
    float_onnx = save_model(trained.graph, folder / "student.onnx")
    quantize_int8(float_onnx, folder / "student.int8.onnx", "dynamic")
    return FinishedRun(folder, Experiment(), folder, LITE, trained.network, folder)


def audited(run: FinishedRun, trained: Trained, **asked: object) -> Audit:
    return audited_scores(run, trained, **asked)[0]


def audited_scores(
    run: FinishedRun, trained: Trained, labels: np.ndarray | None = None, **asked: object
) -> tuple[Audit, dict[str, np.ndarray]]:
    """The audit; on other ``labels`` of the test split if they are given."""
    view = take(trained.store)
    _, maps = predict(trained.network, view)
    judged = view if labels is None else take(replace(trained.store, labels=labels))
    usual = {"tolerance": 0.01, "fpr": 0.05, "variants": [], "qat": 0, "one_class": False, "layers": False}
    splits = Splits(trained.store, view, judged, maps)
    return audit_quantization(run, splits, Namespace(**{**usual, **asked}))


@pytest.fixture(scope="module")
def full(run: FinishedRun, trained: Trained) -> tuple[Audit, dict[str, np.ndarray]]:
    """With more than one variant, and the sweep of the layers."""
    return audited_scores(run, trained, variants=["dynamic", "weight_only"], one_class=True, layers=True)


@pytest.mark.slow
def test_every_variant_is_held_against_the_float_one(
    full: tuple[Audit, dict[str, np.ndarray]], capsys: pytest.CaptureFixture[str]
) -> None:
    audit, _ = full
    rows = {variant.name: variant for variant in audit.variants}
    assert list(rows) == ["float", "shipped", "dynamic", "weight_only", "one_class"]
    assert audit.passed
    assert rows["float"].quality.change_max == 0
    assert rows["float"].quality.eps_float == pytest.approx(1)
    assert rows["shipped"].quality == rows["dynamic"].quality
    assert rows["shipped"].size_bytes == rows["dynamic"].size_bytes < rows["float"].size_bytes
    assert rows["one_class"].quality.accuracy == 0.5
    assert rows["one_class"].quality.flips_by_class == {"real": 0, "fake": 20}
    assert rows["one_class"].quality.flips_by_category == {"Deepfakes": 20}
    assert not rows["one_class"].passed
    print_audit(audit)
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "…" not in text
    assert "Flips, one_class: 20 = 0 real + 20 fake; by category: Deepfakes 20" in text
    assert f"PASS: {rows['shipped'].quality.change_max:.4f} <= 0.01" in text
    for variant in audit.variants:
        one, many = variant.latency
        assert (one.batch_size, many.batch_size) == (1, 32)
        assert 0 < one.p50_ms <= one.p95_ms
        assert many.p50_ms > one.p50_ms  # of a whole batch
    assert {timed.ratio for timed in audit.variants[0].latency} == {1.0}
    worst = [entry["module"] for entry in audit.sensitivity["sweep"][:5]]  # without "mixed" too
    assert "Layers that lose most" in text
    assert all(module in text for module in worst)
    changes = [entry["logit_change_mean"] for entry in audit.sensitivity["sweep"]]
    assert changes == sorted(changes, reverse=True)


@pytest.mark.slow
def test_thresholds_come_from_the_validation_split_alone(
    full: tuple[Audit, dict[str, np.ndarray]], run: FinishedRun, trained: Trained
) -> None:
    """With the test labels turned round every threshold stays, and every verdict turns."""
    turned = 1 - trained.store.labels
    judged = audited_scores(run, trained, turned, variants=["dynamic", "weight_only"], one_class=True)[0]
    audits = [full[0], judged]
    for before, after in zip(*(audit.variants for audit in audits), strict=True):
        assert [found.rule for found in before.thresholds] == ["f1", "youden", "fpr"]
        for first, second in zip(before.thresholds, after.thresholds, strict=True):
            for point, other in ((first.before, second.before), (first.after, second.after)):
                assert point is not None
                assert other is not None
                assert point.threshold == other.threshold
                assert point.accuracy == pytest.approx(1 - other.accuracy)
                assert point.false_positive_rate == other.true_positive_rate
    kept = {found.rule: found.before.threshold for found in audits[0].variants[0].thresholds}
    for variant in audits[0].variants:
        assert {found.rule: found.before.threshold for found in variant.thresholds} == kept
    # Its scores have shrunk to 0.5 and below, where a new threshold still tells the classes apart.
    shrunk = next(found for found in audits[0].variants[-1].thresholds if found.rule == "youden")
    assert audits[0].variants[-1].quality.accuracy == 0.5
    assert shrunk.after.threshold == pytest.approx(0.25, abs=0.02)
    assert shrunk.after.accuracy == 1


@pytest.mark.slow
def test_the_picture_shows_every_variant(
    full: tuple[Audit, dict[str, np.ndarray]], trained: Trained, tmp_path: Path
) -> None:
    audit, scores = full
    assert list(scores) == [variant.name for variant in audit.variants]
    files = draw_quantization(audit, trained.store.labels, scores, tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "quantization.png",
        "quantization.svg",
    ]
    assert files[0].read_bytes()[:4] == b"\x89PNG"
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        draw_quantization(audit, trained.store.labels, scores, tmp_path / "file")


def test_the_shipped_variant_decides(run: FinishedRun, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "student.onnx").write_bytes((run.folder / "student.onnx").read_bytes())
    quantize_one_class(trained.graph, tmp_path / "student.int8.onnx", trained.calibration)
    audit = audited(replace(run, folder=tmp_path), trained, variants=["dynamic"])
    assert [variant.passed for variant in audit.variants] == [True, False, True]
    assert not audit.passed
    assert audited(replace(run, folder=tmp_path), trained, variants=[], tolerance=1.0).passed


def test_a_variant_that_cannot_be_made_is_named(run: FinishedRun, trained: Trained) -> None:
    few = replace(run.experiment.compress, calibration_clips=20)
    experiment = replace(run.experiment, compress=few)
    audit = audited(replace(run, experiment=experiment), trained, variants=["static"], layers=True)
    assert [variant.name for variant in audit.variants] == ["float", "shipped"]
    assert "at least 32, got 20" in audit.skipped["static"]
    assert "at least 32, got 20" in audit.skipped["the sweep of the layers"]
    assert audit.sensitivity is None


def run_folder(folder: Path, trained: Trained, cache: Path) -> Path:
    """A run folder as `python -m sim run` leaves it, as far as it is read before the cache."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(f"cache_dir: {cache}\nseed: 3\n")
    (folder / ".hydra" / "overrides.yaml").write_text("- experiment=smoke\n- name=first\n")
    (folder / "summary.json").write_text(json.dumps({"teacher": {"digest": "abc"}}))
    save_checkpoint(folder, 1, LITE, trained.network, {})
    return folder


def test_a_run_is_opened_from_its_folder(trained: Trained, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", trained, tmp_path / "cache")
    (tmp_path / "cache" / "teachers" / "abc").mkdir(parents=True)
    run = open_run(folder)
    assert run.experiment.seed == 3
    assert run.architecture == LITE
    assert run.teacher_folder == tmp_path / "cache" / "teachers" / "abc"


def test_what_is_not_in_the_cache_is_an_error_with_the_command_that_makes_it(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, cache = tmp_path / "run", tmp_path / "cache"
    run_folder(folder, trained, cache)
    command = f"fill it again: python -m sim run experiment=smoke cache_dir={cache}"
    assert main(["audit", "quantization", str(folder)]) == 2
    assert f"the teacher of {folder} must be in the cache {cache}" in (err := capsys.readouterr().err)
    assert command in err
    (cache / "teachers" / "abc").mkdir(parents=True)
    assert main(["audit", "quantization", str(folder)]) == 2
    assert f"the corpus of {folder} must be in the cache" in (err := capsys.readouterr().err)
    assert command in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], f"audit needs an action; choose from {', '.join(ACTIONS)}"),
        (["quantisation"], f"audit has no action 'quantisation'; choose from {', '.join(ACTIONS)}; did you"),
        (["quantization"], "the following arguments are required: RUN; usage: python -m sim audit"),
        (["quantization", "x", "--tolerance", "0"], "--tolerance must be in (0, 1], got 0"),
        (["quantization", "x", "--qat", "-1"], "--qat must be at least 0 epochs, got -1"),
        (["quantization", "x", "--variants", "int4"], "--variants must be of dynamic, static, "),
        (["quantization", "x", "--variants", "weight-only"], "--variants must be of dynamic, static, "),
        (["quantization", "x", "--fpr", "1"], "--fpr must be in (0, 1), got 1"),
        (["quantization", "/no/such"], "RUN must be the folder of a finished run, with summary.json"),
    ],
)
def test_wrong_requests_exit_with_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"fedpin: {line}")
    assert err.count("\n") == 1
