"""What a finished run says of a published row: the same columns, from its records."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.audits.prediction_table import SCORES_FILE, TEST
from sim.record import PREDICTIONS_FILE, SUMMARY_FILE
from sim.studies.rows import ACCURACY_BY_CATEGORY
from sim.studies.study import Subject

MIB = 2**20

SCORE_COLUMNS = {"student": "score", "int8": "score_int8", "teacher": "score_teacher"}

CLASSICAL = "classical:"
"""How a network's name begins that is a model of `audit baselines`."""

OVER_FLOAT = "int8 over float"
"""As a network: how many times as fast the INT8 student is as its own float form."""

CONFUSION = ("true_negatives", "false_positives", "false_negatives", "true_positives")
"""Columns of samples: test sets differ in size, so that a difference to a published one says nothing."""


@dataclass(frozen=True)
class TestScores:
    """The test clips of a run, as one of its networks judges them.

    Attributes:
        clips: names, in the order of the table.
        labels: (clips,), 1 = fake.
        scores: (clips,), probabilities of fake.
    """

    clips: tuple[str, ...]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]


def measured_row(folder: Path, network: str) -> dict[str, float]:
    """A run's last round in the terms of `sim.studies.rows.UNITS`, and what no publication prints.

    Beside the published keys: "eps_shuffled", the baseline of EPS, and "speedup", times as fast as the
    teacher, from the run's own timing.

    Args:
        folder: the run's.
        network: see `sim.studies.study.Subject`.
    """
    if network.startswith(CLASSICAL):
        return _without_nothing(_classical_row(folder, network.removeprefix(CLASSICAL)))
    summary = json.loads((folder / SUMMARY_FILE).read_text())
    record = summary["last_round"]
    row = _teacher_row(summary["teacher"]) if network == "teacher" else _student_row(record, network)
    return _without_nothing(row)


def _classical_row(folder: Path, model: str) -> dict[str, float | None]:
    """What `audit baselines` said of a model; accuracy, matrix and curve are of one table."""
    told = json.loads((folder / audit_file("baselines")).read_text())
    found = next(result for result in told["results"] if result["model"] == model)
    return {
        "training_accuracy": _percent(found["training_accuracy"]),
        "accuracy": _percent(found["test_accuracy"]),
        "f1": _percent(found["f1"]),
        "auc": found["auc"],
        **{key: found[key] for key in CONFUSION},
    }


def commit_of(folder: Path) -> str:
    """The commit that a finished run was made with, and whether there were changes beside it."""
    summary = json.loads((folder / SUMMARY_FILE).read_text())
    return (summary["commit"] or "no commit")[:10] + (
        " with changes" if summary["uncommitted_changes"] else ""
    )


def eps_interval(folder: Path) -> tuple[float, float]:
    """Mean EPS of a run's last float student, and half the width of its 95 % interval over test clips."""
    eps = json.loads((folder / SUMMARY_FILE).read_text())["last_round"]["eps"]
    return eps["mean"], (eps["ci95"][1] - eps["ci95"][0]) / 2


def audit_file(action: str) -> str:
    """Where a study keeps what an audit of a run said, below the run's folder."""
    return f"audit-{action}.json"


def _student_row(record: Mapping[str, Any], network: str) -> dict[str, float | None]:
    onnx = record["onnx"]["fp32" if network == "student" else "int8"]
    student, quality = record["student"], record["global"] if network == "student" else onnx
    eps, shuffled = record["eps"]["mean"], record["eps"]["shuffled"]
    if network == "int8":
        eps, shuffled = onnx["eps"], onnx.get("eps_shuffled")
    return {
        **_quality(quality),
        "eps": eps,
        "eps_shuffled": shuffled,
        **_cost(student["num_parameters"], student["macs"], onnx["size_bytes"], onnx["latency_ms_p50"]),
        "speedup": record["onnx"]["teacher_latency_ms_p50"] / onnx["latency_ms_p50"],
    }


def _teacher_row(teacher: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        **_quality(teacher),
        "eps": 1.0,
        **_cost(teacher["num_parameters"], teacher["macs"], teacher["size_bytes"], teacher["latency_ms_p50"]),
        "speedup": 1.0,
    }


def _quality(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    row = {"accuracy": _percent(metrics["accuracy"]), "f1": _percent(metrics["f1"]), "auc": metrics["auc"]}
    for name, part in (metrics.get("by_category") or {}).items():
        row[ACCURACY_BY_CATEGORY + name] = _percent(part["accuracy"])
    return row


def _cost(num_parameters: int, macs: int, size_bytes: int, latency_ms: float) -> dict[str, float | None]:
    return {
        "num_parameters": num_parameters,
        "macs_g": macs / 1e9,
        "size_mb": size_bytes / 1e6,
        "size_mib": size_bytes / MIB,
        "latency_ms": latency_ms,
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _without_nothing(row: Mapping[str, float | None]) -> dict[str, float]:
    return {key: float(value) for key, value in row.items() if value is not None}


def scores_of_test(folder: Path, network: str) -> TestScores:
    """The predictions of a run's network, or of a model of its `audit baselines`, on the test split."""
    name, column = PREDICTIONS_FILE, SCORE_COLUMNS.get(network, "")
    if network.startswith(CLASSICAL):
        name, column = SCORES_FILE, network.removeprefix(CLASSICAL)
    with (folder / name).open(newline="") as file:
        rows: Sequence[Mapping[str, str]] = [row for row in csv.DictReader(file) if row["split"] == TEST]
    return TestScores(
        tuple(row["clip"] for row in rows),
        np.array([int(row["label"]) for row in rows]),
        np.array([float(row[column]) for row in rows]),
    )


def folder_of(subject: Subject, folders: Mapping[str, Path]) -> Path | None:
    """The finished run that tells of a subject; None where it or its audit of classical models failed."""
    folder = folders.get(subject.job)
    if folder and subject.network.startswith(CLASSICAL) and not (folder / audit_file("baselines")).is_file():
        return None
    return folder


def row_of(
    subject: Subject, folders: Mapping[str, Path], times: Mapping[Subject, Mapping[str, float]]
) -> dict[str, float] | None:
    """What a run and the common timing say of a subject; None where its run failed.

    Args:
        subject: what is asked.
        folders: job -> its finished run.
        times: of `sim.studies.timing.time_subjects`; they replace the run's own.
    """
    folder = folder_of(subject, folders)
    if folder is None:
        return None
    if subject.network != OVER_FLOAT:
        return {**measured_row(folder, subject.network), **times.get(subject, {})}
    student, int8 = (times.get(Subject(subject.job, network)) for network in ("student", "int8"))
    if student is None or int8 is None:
        return {}
    return {"speedup": student["latency_ms"] / int8["latency_ms"]}
