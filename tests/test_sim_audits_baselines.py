"""The audit of a run against classical models: who trained on what, and one table for all figures."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, roc_auc_score
from small_shards import FACE, REAL, VOICE, shard

from fl.data.clips import Clip
from fl.data.partition import partition_clips
from fl.data.shards import Shard, take
from fl.distill.predict import predict
from fl.errors import RequestError, RunError
from fl.metrics.scores import probabilities
from fl.settings import Experiment
from models.architecture import Architecture
from sim.audits import classical
from sim.audits.baselines import Baselines, audit_baselines
from sim.audits.prediction_table import ClipScore, ModelResult, judge, write_scores
from sim.commands.audit_baselines import main
from sim.finished import FinishedRun
from sim.report.baselines import draw_baselines, print_baselines

SMALL = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13})


def people(name: str, number: int) -> list[Clip]:
    """A real clip and two fakes, of pictures and of sound, of each person."""
    return [
        replace(
            kind, path=Path(f"{name}{who}{kind.category}.mp4"), identity=f"{name}{who}", group=f"{name}{who}"
        )
        for who in range(number)
        for kind in (REAL, FACE, VOICE)
    ]


def finished(folder: Path, replied: list[int], **changes: object) -> FinishedRun:
    """A run of four clients, half of which record no sound; the teacher has its own weights."""
    experiment = Experiment()
    partition = replace(
        experiment.partition, num_clients=4, missing_modality="audio", missing_share=0.5, scheme="identity"
    )
    experiment = replace(experiment, partition=partition, **changes)
    teacher = folder / "teacher"
    teacher.mkdir()
    (teacher / "architecture.json").write_text(SMALL.to_json())
    safetensors.torch.save_model(SMALL.build(5), str(teacher / "weights.safetensors"))
    rounds = [{"clients": {"replied": replied[:1]}}, {"clients": {"replied": replied[1:]}}]
    (folder / "rounds.jsonl").write_text("".join(json.dumps(record) + "\n" for record in rounds))
    return FinishedRun(folder, experiment, folder, SMALL, SMALL.build(3).eval(), teacher)


@pytest.fixture(scope="module")
def stores() -> dict[str, Shard]:
    numbers = {"public": 4, "clients": 8, "test": 5}
    return {name: shard(people(name, number)) for name, number in numbers.items()}


def test_the_training_clips_are_those_of_the_clients_that_replied(
    stores: dict[str, Shard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FinishedRun, "stores", lambda self, splits: {name: stores[name] for name in splits})
    monkeypatch.setattr(classical, "NUM_TREES", 20)
    run = finished(tmp_path, [0, 1, 3])
    audit, rows = audit_baselines(run)
    settings = run.experiment.partition
    partition = partition_clips(stores["clients"].clips, settings, run.experiment.seed)
    held = {stores["clients"].clips[row].path.name for client in (0, 1, 3) for row in partition.rows[client]}
    assert {row.clip for row in rows if row.split == "clients"} == held
    assert audit.clips == {"public": 12, "clients": len(held), "test": 15}
    by_name = {result.model: result for result in audit.results}
    assert list(by_name) == ["student", "teacher", "SVM", "decision tree", "random forest"]
    for name, result in by_name.items():
        assert result.num_training_clips == (12 if name == "teacher" else 12 + len(held))
        assert result.trained_on == (("public",) if name == "teacher" else ("public", "clients"))
    assert f"{len(held)} of 24 clips, held by the 3 clients" in audit.notes[1]

    # What a deaf client's student learned from: a fake of the sound alone is real in its pictures.
    deaf = {
        stores["clients"].clips[row].path.name
        for client in (0, 1, 3)
        for row in partition.rows[client]
        if partition.lacks[client] == "audio"
    }
    voices = {
        row.clip: row.label for row in rows if row.split == "clients" and row.category == VOICE.category
    }
    assert voices == {clip: int(clip not in deaf) for clip in voices}
    assert 0 < sum(voices.values()) < len(voices)

    # Real forward passes of the last checkpoint, on training clips too.
    for split in ("public", "test"):
        expected = probabilities(predict(run.network, take(stores[split]))[0])
        assert [row.scores["student"] for row in rows if row.split == split] == pytest.approx(expected)
    check_figures(audit.results, rows, tmp_path)
    check_output(tmp_path, audit, rows)


def check_figures(results: tuple[ModelResult, ...], rows: tuple[ClipScore, ...], folder: Path) -> None:
    """Every figure again by scikit-learn, from the file alone."""
    with write_scores(rows, folder / "baselines.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [path.name for path in folder.glob("*baselines*")] == ["baselines.csv"]
    for result in results:
        test = [row for row in table if row["split"] == "test"]
        seen = [row for row in table if row["split"] in result.trained_on]
        for part, accuracy in ((seen, result.training_accuracy), (test, result.test_accuracy)):
            labels = [int(row["label"]) for row in part]
            verdicts = [float(row[result.model]) > 0.5 for row in part]
            assert accuracy == accuracy_score(labels, verdicts)
        scores = [float(row[result.model]) for row in test]
        assert result.auc == pytest.approx(roc_auc_score(labels, scores))
        assert result.f1 == pytest.approx(f1_score(labels, verdicts, zero_division=np.nan), nan_ok=True)
        counts = [
            result.true_negatives,
            result.false_positives,
            result.false_negatives,
            result.true_positives,
        ]
        assert counts == confusion_matrix(labels, verdicts).ravel().tolist()
        assert result.test_accuracy == (counts[0] + counts[3]) / sum(counts)
        assert sum(counts) == 15
        assert result.gap == result.training_accuracy - result.test_accuracy  # type: ignore[operator]
        weighted = sum((share or 0) / 3 for share in result.by_category.values())
        assert weighted == pytest.approx(result.test_accuracy)


def check_output(folder: Path, audit: Baselines, rows: tuple[ClipScore, ...]) -> None:
    (figure,) = draw_baselines(audit, rows, folder / "figures")
    with Image.open(figure) as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 20


def row(split: str, label: int, student: float, teacher: float) -> ClipScore:
    scores = {"student": student, "teacher": teacher}
    return ClipScore(split, f"{split}{label}.mp4", label, "Deepfakes" if label else "real", scores)


def test_a_model_whose_training_is_unknown_has_no_training_accuracy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = (
        row("public", 1, 0.9, 0.9),
        row("test", 1, 0.9, 0.1),
        row("test", 0, 0.2, 0.3),
        row("test", 1, 0.6, 0.2),
    )
    rng = np.random.default_rng(0)
    student, teacher = judge(rows, "student", ("public",), rng), judge(rows, "teacher", (), rng)
    assert (student.training_accuracy, student.test_accuracy, student.gap) == (1.0, 1.0, 0.0)
    assert (teacher.training_accuracy, teacher.gap, teacher.num_training_clips) == (None, None, 0)
    assert teacher.test_accuracy == pytest.approx(1 / 3)
    assert (teacher.auc, student.auc) == (0.0, 1.0)
    assert (student.p_value, teacher.p_value) == (None, 0.5)  # two clips, both for the student
    print_baselines(Baselines("runs/" + "a" * 20, {"public": 1, "test": 3}, (student, teacher), ("a note",)))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert "a note" in text


def test_a_table_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot be written: .*; make its folder writable"):
        write_scores((row("test", 1, 0.5, 0.5),), tmp_path / "absent" / "baselines.csv")
    (tmp_path / "baselines.csv").mkdir()
    with pytest.raises(RunError, match="make its folder writable"):
        write_scores((row("test", 1, 0.5, 0.5),), tmp_path / "baselines.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["baselines.csv"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["nowhere"], "RUN must be the folder of a finished run"), ([], "required: RUN")],
)
def test_a_wrong_request_is_refused(arguments: list[str], complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        main(arguments)
