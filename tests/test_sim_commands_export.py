"""Exports of a run's student: files that hold the tolerance stay, others do not; what is refused."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from trained_student import LITE, Trained, train_student

from fl.compress.audit import Answers
from fl.compress.export import OPSET, save_model
from fl.compress.model_card import ModelCard, load_model
from fl.compress.quantize import quantize_int8
from fl.data.shards import take
from fl.distill.batches import load_batch
from fl.export.manifest import MANIFEST_FILE, write_manifest
from fl.metrics.latency import open_session
from fl.settings import ClipSettings, Experiment
from fl.state import flatten, weights_sha256
from sim.__main__ import main
from sim.exporting import Exporter, export_formats
from sim.finished import FinishedRun

CARD = ModelCard(ClipSettings(num_frames=4, image_size=32), "first", "0.1.0", LITE.sha256)
DIGEST = "a" * 64


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_student(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def exporter(trained: Trained, tmp_path: Path) -> Exporter:
    folder, out = tmp_path / "run", tmp_path / "out"
    out.mkdir()
    quantize_int8(save_model(trained.graph, folder / "student.onnx"), folder / "student.int8.onnx", "dynamic")
    batch = load_batch(take(trained.store), np.arange(6))
    with torch.no_grad():
        output = trained.network(*batch.inputs)
    return Exporter(
        run=FinishedRun(folder, Experiment(), tmp_path, LITE, trained.network, folder),
        batch=batch,
        expected=Answers(output.logits.numpy(), output.explanation.numpy()),
        card=CARD,
        weights_sha256=weights_sha256(flatten(trained.network)),
        out=out,
        tolerance=1e-3,
        python={},
    )


def shifted(exporter: Exporter, by: float) -> Exporter:
    return replace(exporter, expected=replace(exporter.expected, logits=exporter.expected.logits + by))


def test_onnx_files_say_what_they_are_and_take_any_batch(exporter: Exporter) -> None:
    plain, int8 = export_formats(exporter, ["onnx"])
    assert (plain.file, int8.file) == ("student.onnx", "student.int8.onnx")
    assert plain.passed is True
    assert int8.passed is None
    assert plain.parity is not None
    assert plain.parity.worst < 1e-4
    assert plain.parity.batch_sizes == (1, 6)
    content = (exporter.out / "student.onnx").read_bytes()
    assert plain.sha256 == hashlib.sha256(content).hexdigest()
    assert plain.size_bytes == len(content)
    assert plain.told is not None
    assert plain.told["opset"] == {"ai.onnx": OPSET}
    model, card = load_model(exporter.out / "student.onnx")
    assert card == CARD
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["weights_sha256"] == exporter.weights_sha256
    feeds = {
        "frames": np.zeros((3, 4, 3, 32, 32), np.float32),
        "mfcc": np.zeros((3, 10, 13), np.float32),
        "modalities": np.ones((3, 2), np.float32),
    }
    assert open_session(content).run(["logits"], feeds)[0].shape == (3,)
    shipped = (exporter.run.folder / "student.int8.onnx").read_bytes()
    assert (exporter.out / "student.int8.onnx").read_bytes() == shipped


def test_a_file_that_differs_is_not_left_there(exporter: Exporter) -> None:
    export_formats(exporter, ["onnx"])
    failed, int8 = export_formats(shifted(exporter, 0.01), ["onnx"])
    assert (
        failed.error == "differs from PyTorch by 0.01, more than --tolerance 0.001: student.onnx not written"
    )
    assert (failed.passed, failed.file) == (False, None)
    assert int8.file == "student.int8.onnx"
    assert [path.name for path in exporter.out.iterdir()] == ["student.int8.onnx"]
    (near, _) = export_formats(replace(shifted(exporter, 0.01), tolerance=0.02), ["onnx"])
    assert near.passed


def test_a_number_that_is_not_finite_fails_every_tolerance(exporter: Exporter) -> None:
    failed, _ = export_formats(replace(shifted(exporter, float("nan")), tolerance=1.0), ["onnx"])
    assert failed.parity is not None
    assert failed.parity.logits_max is None
    assert failed.error is not None
    assert failed.error.startswith("differs from PyTorch by inf")


def test_one_format_that_fails_does_not_stop_the_others_and_its_log_is_kept(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (exporter.out / "student.tflite").write_bytes(b"of an earlier export")
    broken = replace(exporter, python={"tflite": Path("/bin/false")})
    monkeypatch.setattr("sim.commands.export._make_exporter", lambda asked: broken)
    assert main(["export", "RUN", "--format", "tflite", "onnx"]) == 1
    out, err = capsys.readouterr()
    assert "student.onnx" in out
    assert max(len(line) for line in out.splitlines()) <= 100
    line = f"fedpin: tflite: the export to tflite failed: exit code 1; log: {exporter.out / 'tflite.log'}"
    assert err.splitlines()[-1] == line
    names = {path.name for path in exporter.out.iterdir()}
    assert names == {"student.onnx", "student.int8.onnx", "tflite.log", MANIFEST_FILE}
    manifest = json.loads((exporter.out / MANIFEST_FILE).read_text())
    assert [entry["passed"] for entry in manifest["exports"]] == [False, True, None]
    assert manifest["threshold"] == 0.5
    assert manifest["classes"] == ["real", "fake"]
    assert manifest["preprocessing"]["frames"]["mean"] == [0.485, 0.456, 0.406]


def test_a_manifest_keeps_what_is_still_true_of_the_same_weights(exporter: Exporter) -> None:
    exports = export_formats(exporter, ["onnx"])
    write_manifest(exporter.out, CARD, DIGEST, exports)

    def formats(digest: str) -> list[str]:
        document = write_manifest(exporter.out, CARD, digest, [replace(exports[0], format="tflite")])
        return [entry["format"] for entry in document["exports"]]

    assert formats(DIGEST) == ["onnx", "onnx int8", "tflite"]
    assert formats("b" * 64) == ["tflite"]
    write_manifest(exporter.out, CARD, DIGEST, exports)
    onnx.save(onnx.load(exporter.out / "student.onnx"), exporter.out / "student.int8.onnx")
    assert formats(DIGEST) == ["onnx", "tflite"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "the following arguments are required: RUN; usage: python -m sim export"),
        (["x", "--format", "coreml"], "argument --format: invalid choice: 'coreml'"),
        (["x", "--tolerance", "0"], "--tolerance must be in (0, 1], got 0; 0.001 is usual"),
        (["x", "--tolerance", "nan"], "--tolerance must be in (0, 1], got nan"),
        (["x", "--clips", "1"], "--clips must be at least 2, got 1"),
        (["/no/such"], "RUN must be the folder of a finished run, with summary.json"),
    ],
)
def test_wrong_requests_exit_with_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"fedpin: {line}")
    assert err.count("\n") == 1


def test_without_the_extra_executorch_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sim.commands.export.find_spec", lambda name: None)
    assert main(["export", "RUN", "--format", "executorch"]) == 2
    assert "pip install 'executorch==1.5.1'" in capsys.readouterr().err
