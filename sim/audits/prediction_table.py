"""A table of predictions, clip by clip and model by model, and what it says of each model.

Every figure is computed from the table that is written: they cannot contradict each other.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from fl.errors import RunError
from fl.metrics.comparison import mcnemar
from fl.metrics.detection import auc_interval, detection_metrics

STUDENT, TEST = "student", "test"

SCORES_FILE = "baselines.csv"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClipScore:
    """One clip of the table, with what every model says of it.

    Attributes:
        split: whose clip it is: "public", "clients" or "test".
        clip: name of its file.
        label: 1 = fake, in what its holder's device recorded.
        category: the manipulation, or "real".
        scores: model -> score in [0, 1], above 0.5 where it says fake.
    """

    split: str
    clip: str
    label: int
    category: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ModelResult:
    """One model, measured on the table; shares in [0, 1].

    Attributes:
        model: "student", "teacher" or a key of `sim.audits.classical.MODELS`.
        trained_on: the splits of its training clips; empty if they are not known.
        chosen: hyperparameters of a classical model.
        cv_accuracy: see `sim.audits.classical.Fitted`; None for networks.
        num_training_clips: clips that trained it.
        training_accuracy: on these; None without them.
        test_accuracy: on the test split, like what follows.
        gap: training less test accuracy.
        auc: None unless both classes are present.
        auc_ci95: 95 % bootstrap interval.
        eer: equal error rate; None like ``auc``.
        f1: None where undefined.
        true_negatives: real clips called real.
        false_positives: real clips called fake.
        false_negatives: fakes called real.
        true_positives: fakes called fake.
        by_category: category -> share of its test clips judged correctly.
        p_value: McNemar's exact test against the student; None for the student itself.
    """

    model: str
    trained_on: tuple[str, ...]
    chosen: Mapping[str, float | None]
    cv_accuracy: float | None
    num_training_clips: int
    training_accuracy: float | None
    test_accuracy: float | None
    gap: float | None
    auc: float | None
    auc_ci95: tuple[float, float] | None
    eer: float | None
    f1: float | None
    true_negatives: int
    false_positives: int
    false_negatives: int
    true_positives: int
    by_category: Mapping[str, float | None]
    p_value: float | None


def judge(
    table: Sequence[ClipScore],
    model: str,
    trained_on: tuple[str, ...],
    rng: np.random.Generator,
    chosen: Mapping[str, float | None] = MappingProxyType({}),
    cv_accuracy: float | None = None,
) -> ModelResult:
    """What the table says of one model.

    Args:
        table: with the model's scores, and the student's.
        model: its name.
        trained_on: splits of the clips that trained it.
        rng: of the bootstrap.
        chosen: a classical model's hyperparameters.
        cv_accuracy: what they were chosen by.
    """
    training = [row for row in table if row.split in trained_on]
    test = [row for row in table if row.split == TEST]
    labels, scores = columns(test, model)
    told = detection_metrics(labels, scores, [row.category for row in test])
    seen = detection_metrics(*columns(training, model)).accuracy
    gap = None if seen is None or told.accuracy is None else seen - told.accuracy
    counts = confusion_matrix(labels, scores > 0.5, labels=[0, 1]).ravel().tolist()
    against = None if model == STUDENT else mcnemar(labels, columns(test, STUDENT)[1], scores).p_value
    return ModelResult(
        model=model,
        trained_on=trained_on,
        chosen=dict(chosen),
        cv_accuracy=cv_accuracy,
        num_training_clips=len(training),
        training_accuracy=seen,
        test_accuracy=told.accuracy,
        gap=gap,
        auc=told.auc,
        auc_ci95=auc_interval(labels, scores, rng),
        eer=told.eer,
        f1=told.f1,
        true_negatives=counts[0],
        false_positives=counts[1],
        false_negatives=counts[2],
        true_positives=counts[3],
        by_category={name: found.accuracy for name, found in told.by_category.items()},
        p_value=against,
    )


def columns(rows: Sequence[ClipScore], model: str) -> tuple[NDArray[np.int64], Floats]:
    """Labels and a model's scores, both (clips,)."""
    labels = np.array([row.label for row in rows], dtype=np.int64)
    return labels, np.array([row.scores[model] for row in rows], dtype=np.float64)


def write_scores(table: Sequence[ClipScore], path: Path) -> Path:
    """Write the table as CSV, whole or not at all: split, clip, label, category, one column a model.

    Args:
        table: at least one clip.
        path: the file; its folder is there.

    Raises:
        RunError: the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["split", "clip", "label", "category", *table[0].scores])
            for row in table:
                writer.writerow([row.split, row.clip, row.label, row.category, *row.scores.values()])
        os.replace(partial, path)
    except OSError as error:
        raise RunError(
            f"{str(path)!r} cannot be written: {error.strerror or error}; make its folder writable"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path
