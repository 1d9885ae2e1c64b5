"""What a finished run recorded, read for a report: rounds, summary, settings and predictions."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from fl.errors import RequestError, RunError
from sim.record import PREDICTIONS_FILE, ROUNDS_FILE, SUMMARY_FILE, Prediction, read_rounds
from sim.round_record import RoundRecord
from sim.schema import settings

NETWORKS = {"score": "student", "score_int8": "INT8 student", "score_teacher": "teacher"}
"""Column of ``predictions.csv`` -> what it is called; the student is that of the last round."""


@dataclass(frozen=True)
class Scores:
    """What one network says of the test clips.

    Attributes:
        name: of `NETWORKS`.
        labels: (clips,), 1 = fake.
        scores: (clips,), probability of fake in [0, 1].
        categories: (clips,), the manipulation, "real" for real clips.
    """

    name: str
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    categories: tuple[str, ...]


@dataclass(frozen=True)
class RecordedRun:
    """A finished run.

    Attributes:
        folder: the run's.
        rounds: oldest first, at least one.
        summary: of ``summary.json``.
        settings: dotted key -> value; what the run did not record has its default.
        predictions: of the test split, one a clip.
    """

    folder: Path
    rounds: Sequence[RoundRecord]
    summary: Mapping[str, Any]
    settings: Mapping[str, Any]
    predictions: Sequence[Prediction]

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.resolve().name

    def scores(self) -> list[Scores]:
        """Of each network that has scored every clip, the student first."""
        rows = self.predictions
        labels = np.array([row.label for row in rows], dtype=np.int64)
        categories = tuple(row.category for row in rows)
        found = []
        for column, name in NETWORKS.items():
            values = [getattr(row, column) for row in rows]
            if None not in values:
                found.append(Scores(name, labels, np.array(values, dtype=np.float64), categories))
        return found

    def changed_settings(self) -> dict[str, tuple[Any, Any]]:
        """Dotted key -> (value, default) of what differs from the default; unknown keys have None."""
        defaults = {entry.key: entry.default for entry in settings()}
        return {
            key: (value, _plain(defaults.get(key)))
            for key, value in self.settings.items()
            if key not in defaults or value != _plain(defaults[key])
        }


def read_run(folder: Path) -> RecordedRun:
    """Read a finished run's folder.

    Raises:
        RequestError: it is not there, no run, not finished, or cannot be read.
    """
    if not folder.is_dir():
        raise RequestError(
            f"RUN must be the folder of a finished run, got {str(folder)!r}, which is no folder"
        )
    config = folder / ".hydra" / "config.yaml"
    if not config.is_file() or not (folder / ROUNDS_FILE).is_file():
        raise RequestError(
            f"RUN must be the folder of a finished run, got {str(folder)!r} without .hydra/config.yaml or "
            f"{ROUNDS_FILE}; `python -m sim run` prints its folder last"
        )
    try:
        rounds = read_rounds(folder)
    except RunError as error:
        raise RequestError(str(error)) from error
    absent = [name for name in (SUMMARY_FILE, PREDICTIONS_FILE) if not (folder / name).is_file()]
    if absent or not rounds:
        lacks = f"it has no {' and no '.join(absent)}" if absent else "no round is recorded"
        raise RequestError(
            f"RUN must be finished, but {str(folder)!r} is not: {lacks}; let the run end first"
        )
    try:
        summary = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
        loaded = OmegaConf.to_container(OmegaConf.load(config), resolve=True)
    except (OmegaConfBaseException, YAMLError, ValueError, OSError) as error:
        raise RequestError(f"{str(folder)!r} cannot be read ({error}); restore its files") from error
    if not isinstance(summary, dict) or not isinstance(loaded, dict):
        raise RequestError(
            f"{SUMMARY_FILE} and config.yaml of {str(folder)!r} must be mappings; restore them"
        )
    known = {entry.key: _plain(entry.default) for entry in settings()}
    return RecordedRun(folder, rounds, summary, known | _flat(loaded), _read_predictions(folder))


def _read_predictions(folder: Path) -> list[Prediction]:
    """The rows of the test split."""
    path = folder / PREDICTIONS_FILE
    known = {field.name for field in fields(Prediction)}
    found = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found.append(_prediction({key: value for key, value in row.items() if key in known}))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        place = f"{path} row {len(found) + 1}"
        raise RequestError(
            f"{place} must have clip, label 0 or 1, category and scores in [0, 1] ({error})"
        ) from error
    chosen = [row for row in found if row.split == "test"]
    names = {row.clip for row in chosen}
    if not chosen or len(names) < len(chosen):
        raise RequestError(
            f"{path} must hold each test clip once, got {len(chosen)} rows and {len(names)} clips; "
            "restore the file"
        )
    return chosen


def _prediction(row: Mapping[str, str]) -> Prediction:
    label = int(row["label"])
    columns = [column for column in NETWORKS if row.get(column)]
    scores = {column: float(row[column]) for column in columns}
    wrong = [value for value in scores.values() if not 0 <= value <= 1]
    if label not in (0, 1) or wrong or "score" not in scores:
        raise ValueError(f"label {row['label']}, scores {list(scores.values())}")
    return Prediction(
        row["clip"],
        label,
        row["category"],
        split=row.get("split") or "test",
        video=row.get("video") or "",
        **scores,
    )


def _flat(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key, without Hydra's own."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= {} if key == "hydra" else _flat(value, f"{key}.")
        else:
            found[key] = value
    return found


def _plain(value: Any) -> Any:
    """A default as YAML holds it."""
    return list(value) if isinstance(value, tuple) else value
