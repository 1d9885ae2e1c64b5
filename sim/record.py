"""What a run leaves behind: ``rounds.jsonl``, ``summary.json`` and ``predictions.csv`` of a run folder.

Every number of a report is drawn from these files, so they are plain JSON and CSV, written whole or not
at all: a round is one line, flushed to the disk; the others are written aside and renamed.
"""

import csv
import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fl.errors import RunError
from sim.provenance import commit, digest, hardware, versions
from sim.round_record import RoundRecord, complete_round, plain

ROUNDS_FILE = "rounds.jsonl"
SUMMARY_FILE = "summary.json"
PREDICTIONS_FILE = "predictions.csv"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One row of ``predictions.csv``: scores are probabilities of fake, label 1 = fake.

    Ids are those of `sim.clip_ids.clip_ids`: ``clip`` is unique, clips of one file share ``video``.
    """

    clip: str
    label: int
    category: str
    score: float
    score_int8: float | None = None
    score_teacher: float | None = None
    split: str = "test"
    video: str = ""


def append_round(run_dir: Path, record: Mapping[str, Any]) -> RoundRecord:
    """Add one round to ``rounds.jsonl``; it is on the disk when this returns. Gives the completed record.

    A line torn by a crash is dropped first.

    Raises:
        RunError: as in `complete_round`, or the round does not come after the last one.
    """
    completed = complete_round(record)
    rounds = read_rounds(run_dir)
    if rounds and completed["round_index"] <= rounds[-1]["round_index"]:
        raise RunError(
            f"round_index must be above {rounds[-1]['round_index']}, the last in {run_dir / ROUNDS_FILE}, "
            f"got {completed['round_index']}; call keep_rounds before resuming"
        )
    line = json.dumps(completed, allow_nan=False) + "\n"
    with (run_dir / ROUNDS_FILE).open("ab") as file:
        file.truncate(_whole_bytes(run_dir / ROUNDS_FILE))
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
    return completed


def read_rounds(run_dir: Path) -> list[RoundRecord]:
    """All rounds of a run, oldest first; a last line without its line feed was torn and is left out.

    Raises:
        RunError: another line is not JSON.
    """
    path = run_dir / ROUNDS_FILE
    if not path.exists():
        return []
    rounds: list[RoundRecord] = []
    for number, line in enumerate(path.read_bytes()[: _whole_bytes(path)].splitlines(), start=1):
        try:
            rounds.append(json.loads(line))
        except ValueError as error:
            raise RunError(f"{path} line {number} is not JSON ({error}); restore the file") from error
    return rounds


def keep_rounds(run_dir: Path, last_round_index: int) -> list[RoundRecord]:
    """Drop the rounds after ``last_round_index``, as a resumed run does; gives those kept."""
    kept = [record for record in read_rounds(run_dir) if record["round_index"] <= last_round_index]
    lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in kept)
    replace_text(run_dir / ROUNDS_FILE, lines)
    return kept


def best_round(rounds: Sequence[RoundRecord]) -> RoundRecord | None:
    """The round with the highest AUC, then the highest mean EPS, then the latest; None without rounds."""

    def quality(record: RoundRecord) -> tuple[float, float, int]:
        auc = record["global"]["auc"] if record["global"] else None
        mean = record["eps"]["mean"] if record["eps"] else None
        return (-1.0 if auc is None else auc, -1.0 if mean is None else mean, record["round_index"])

    return max(rounds, key=quality, default=None)


def summarise(run_dir: Path, teacher: Mapping[str, Any], config: object, **extra: Any) -> dict[str, Any]:
    """The content of ``summary.json``.

    Args:
        run_dir: the run folder, with its rounds.
        teacher: the teacher's own row: num_parameters, macs, size_bytes, latency_ms_p50, latency_ms_p95,
            accuracy, f1, auc (all on the test split; null where not measured).
        config: the resolved configuration, a mapping or dataclass.
        extra: further keys, e.g. ``seconds``.

    Returns:
        name, num_rounds, last_round, best_round, teacher, versions, hardware, commit,
        uncommitted_changes, config_digest, and ``extra``.
    """
    rounds = read_rounds(run_dir)
    return {
        "name": run_dir.name,
        "num_rounds": len(rounds),
        "last_round": rounds[-1] if rounds else None,
        "best_round": best_round(rounds),
        "teacher": dict(teacher),
        "versions": versions(),
        "hardware": hardware(),
        **commit(),
        "config_digest": digest(plain(config, "config")),
        **extra,
    }


def write_summary(run_dir: Path, summary: Mapping[str, Any]) -> Path:
    """Write ``summary.json`` whole or not at all.

    Raises:
        RunError: a number is not finite; the message names its key.
    """
    text = json.dumps(plain(summary, "summary"), indent=2, allow_nan=False) + "\n"
    return replace_text(run_dir / SUMMARY_FILE, text)


def write_predictions(run_dir: Path, rows: Iterable[Prediction]) -> Path:
    """Write ``predictions.csv``, one clip a row; missing scores are empty.

    Raises:
        RunError: a score is not finite.
    """
    path = run_dir / PREDICTIONS_FILE
    aside = path.with_suffix(".tmp")
    with aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Prediction)])
        writer.writeheader()
        for row in rows:
            writer.writerow(plain(row, f"prediction of {row.clip}"))
    aside.replace(path)
    return path


def _whole_bytes(path: Path) -> int:
    """Length of the file up to its last line feed."""
    return path.read_bytes().rfind(b"\n") + 1


def replace_text(path: Path, text: str) -> Path:
    """Write a whole file aside and rename it: it is there with all its text, or as it was. Gives the path."""
    aside = path.with_suffix(".tmp")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    return path
