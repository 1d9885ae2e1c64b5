"""The quantisation audit of a run folder with real graphs, and what it refuses."""

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
from trained_student import LITE, Trained, train_student

from fl.compress.export import save_model
from fl.compress.quantize import quantize_int8, quantize_one_class
from fl.data.shards import take
from fl.distill.predict import predict
from fl.settings import Experiment
from server.checkpoint import save_checkpoint
from sim.__main__ import main
from sim.commands.audit import ACTIONS
from sim.commands.audit_quantization import Audit, audit_quantization
from sim.finished import FinishedRun, open_run
from sim.report.quantization import print_audit


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
    _, maps = predict(trained.network, take(trained.store))
    usual = {"tolerance": 0.01, "variants": ["dynamic", "weight-only"], "qat": 0, "one_class": False}
    return audit_quantization(run, trained.store, take(trained.store), maps, Namespace(**{**usual, **asked}))


def test_every_variant_is_held_against_the_float_one(
    run: FinishedRun, trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = audited(run, trained, one_class=True)
    rows = {variant.name: variant for variant in audit.variants}
    assert list(rows) == ["float", "shipped", "dynamic", "weight-only", "one class"]
    assert audit.passed
    assert rows["float"].quality.change_max == 0
    assert rows["float"].quality.eps_float == pytest.approx(1)
    assert rows["shipped"].quality == rows["dynamic"].quality
    assert rows["shipped"].size_bytes == rows["dynamic"].size_bytes < rows["float"].size_bytes
    assert rows["one class"].quality.accuracy == 0.5
    assert rows["one class"].quality.flips_by_class == {"real": 0, "fake": 20}
    assert rows["one class"].quality.flips_by_category == {"Deepfakes": 20}
    assert not rows["one class"].passed
    print_audit(audit)
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "…" not in text
    assert "Flips, one class: 20 fake, 20 Deepfakes" in text
    assert "student.int8.onnx: pass" in text


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
    audit = audited(replace(run, experiment=experiment), trained, variants=["static"])
    assert [variant.name for variant in audit.variants] == ["float", "shipped"]
    assert "at least 32, got 20" in audit.skipped["static"]


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
