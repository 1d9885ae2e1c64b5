"""`python -m sim metrics predictions.csv [--json]`: all detection metrics of one table."""

import csv
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from fl.errors import RequestError


@dataclass(frozen=True)
class PredictionTable:
    """Columns of a table of predictions, one entry per clip.

    Attributes:
        labels: 1 = fake, 0 = real.
        scores: probability of fake in [0, 1].
        categories: the manipulation; None if the table has no such column.
    """

    labels: list[int]
    scores: list[float]
    categories: list[str] | None


def read_table(path: Path) -> PredictionTable:
    """Read a CSV file with a header and the columns ``label``, ``score`` and, optionally, ``category``.

    Raises:
        RequestError: the file, a column or a value is missing or wrong; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(csv.DictReader(file), path)
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}; name a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{path} is not a CSV file in UTF-8 ({error})") from error


def metrics_text(path: Path, *, as_json: bool, threshold: float = 0.5) -> str:
    """The metrics of a table as the user reads them, or as one JSON object.

    Args:
        path: the CSV file.
        as_json: print JSON; undefined metrics are null.
        threshold: a clip is called fake if its score is above this, in [0, 1].

    Raises:
        RequestError: as in `read_table`, or the threshold is out of range.
    """
    if not 0 <= threshold <= 1:
        raise RequestError(f"threshold must be in [0, 1], got {threshold:g}; scores are probabilities")
    table = read_table(path)
    from fl.metrics.detection import detection_metrics  # scikit-learn, only for a table that can be read

    found = detection_metrics(table.labels, table.scores, table.categories, threshold)
    num_fake = sum(table.labels)
    counts = {"num_clips": len(table.labels), "num_fake": num_fake, "num_real": len(table.labels) - num_fake}
    if as_json:
        return json.dumps({**counts, "threshold": threshold, **asdict(found)}, indent=2, allow_nan=False)
    lines = [
        f"{len(table.labels)} clips: {num_fake} fake, {counts['num_real']} real; threshold {threshold:g}"
    ]
    names = ("accuracy", "precision", "recall", "f1", "auc", "eer")
    lines += [f"  {name:<10}{_show(getattr(found, name))}" for name in names]
    if found.by_category:
        width = max(len("category"), *(len(name) for name in found.by_category))
        lines += ["", f"  {'category':<{width}}  {'clips':>6}  accuracy     auc"]
        lines += [
            f"  {name:<{width}}  {entry.num_clips:>6}  {_show(entry.accuracy):>8}  {_show(entry.auc):>6}"
            for name, entry in found.by_category.items()
        ]
    return "\n".join(lines)


def _read(reader: "csv.DictReader[str]", path: Path) -> PredictionTable:
    columns = reader.fieldnames or []
    for column in ("label", "score"):
        if column not in columns:
            found = ", ".join(columns) or "none"
            raise RequestError(f"{path} has no column {column!r} (found: {found}); add it to the header")
    labels, scores, categories = [], [], []
    for row in reader:
        where = f"{path} line {reader.line_num}"
        labels.append(int(_number(row["label"], f"{where}: label", whole=True)))
        scores.append(_number(row["score"], f"{where}: score", whole=False))
        categories.append(row.get("category") or "")
    if not labels:
        raise RequestError(f"{path} has a header but no rows; nothing can be measured")
    return PredictionTable(labels, scores, categories if "category" in columns else None)


def _number(text: str | None, where: str, *, whole: bool) -> float:
    """One cell: 0 or 1 if ``whole``, else a probability."""
    try:
        value = float(text or "")
    except ValueError as error:
        raise RequestError(f"{where} must be a number, got {text!r}") from error
    if whole and value not in (0, 1):
        raise RequestError(f"{where} must be 0 (real) or 1 (fake), got {text!r}")
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise RequestError(f"{where} must be in [0, 1], got {text!r}; apply the sigmoid to logits")
    return value


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
