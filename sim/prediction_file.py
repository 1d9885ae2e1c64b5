"""A table of predictions read from CSV: a run's ``predictions.csv``, its ``frames.csv`` or anybody's own."""

import csv
import math
from pathlib import Path

from fl.errors import DataError, RequestError
from fl.metrics.levels import Rows, average_by


def read_table(path: Path, by: str = "") -> Rows:
    """Read a CSV file with a header and the columns ``label``, ``score`` and, optionally, ``category``.

    Args:
        path: the file.
        by: "" for the rows as they are; else the column of ids whose rows are averaged: "clip", "video".

    Raises:
        RequestError: the file, a column or a value is missing or wrong; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(csv.DictReader(file), path, by)
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}; name a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{path} is not a CSV file in UTF-8 ({error})") from error


def _read(reader: "csv.DictReader[str]", path: Path, by: str) -> Rows:
    columns = reader.fieldnames or []
    for column in filter(None, ("label", "score", by)):
        if column not in columns:
            found = ", ".join(columns) or "none"
            raise RequestError(f"{path} has no column {column!r} (found: {found}); add it to the header")
    labels, scores, categories, ids = [], [], [], []
    for row in reader:
        where = f"{path} line {reader.line_num}"
        labels.append(int(_number(row["label"], f"{where}: label", whole=True)))
        scores.append(_number(row["score"], f"{where}: score", whole=False))
        categories.append(row.get("category") or "")
        ids.append(row.get(by) or "" if by else "")
    if not labels:
        raise RequestError(f"{path} has a header but no rows; nothing can be measured")
    rows = Rows(labels, scores, categories if "category" in columns else None)
    if not by:
        return rows
    try:
        return average_by(ids, rows, by)
    except DataError as error:
        raise RequestError(f"{path}: {error}") from error


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
