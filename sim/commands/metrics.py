"""`python -m sim metrics TABLE|RUN`: all detection metrics of one table, or of a run at each level."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fl.errors import RequestError
from fl.metrics.levels import Rows
from sim.commands.arguments import Parser
from sim.prediction_file import read_table

NAMES = ("accuracy", "precision", "recall", "f1", "auc", "eer")
BY = ("clip", "video")
"""Columns whose rows can be averaged."""


def main(argv: Sequence[str]) -> int:
    """Print the metrics of a table, or of a finished run's test split by frame, clip and video.

    Returns:
        0.

    Raises:
        RequestError: the request is wrong, or what it names cannot be read.
    """
    parser = Parser(
        prog="python -m sim metrics",
        description="All detection metrics of a table of predictions; of a run's folder: by frame "
        "(networks of pictures), by clip and by video, side by side.",
    )
    parser.add_argument(
        "table",
        type=Path,
        metavar="TABLE|RUN",
        help="CSV file with the columns label (1 = fake) and score, or the folder of a finished run",
    )
    parser.add_argument(
        "--by",
        choices=BY,
        default="",
        help="first average the probabilities of one clip's or video's rows",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threshold", type=float, default=0.5, help="a higher score is called fake (0.5)")
    parser.add_argument("--cache-dir", type=Path, help="of RUN: its cache, if it was moved")
    asked = parser.parse_args(argv)
    if not asked.table.is_dir():
        if asked.cache_dir is not None:
            raise RequestError(f"--cache-dir is a run's, but {str(asked.table)!r} is a table; leave it out")
        text = metrics_text(asked.table, as_json=asked.json, threshold=asked.threshold, by=asked.by)
    elif asked.by:
        raise RequestError(
            f"--by is for a table; the run {str(asked.table)!r} is judged at each level; leave it out"
        )
    else:
        text = levels_text(asked.table, asked.cache_dir, as_json=asked.json, threshold=asked.threshold)
    sys.stdout.write(text + "\n")
    return 0


def metrics_text(path: Path, *, as_json: bool, threshold: float = 0.5, by: str = "") -> str:
    """The metrics of a table as the user reads them, or as one JSON object.

    Args:
        path: the CSV file.
        as_json: print JSON; undefined metrics are null.
        threshold: a clip is called fake if its score is above this, in [0, 1].
        by: as in `read_table`.

    Raises:
        RequestError: as in `read_table`, or the threshold is out of range.
    """
    check_threshold(threshold)
    found = measure(read_table(path, by), threshold, by or "clip")
    if as_json:
        return json.dumps({"threshold": threshold} | found, indent=2, allow_nan=False)
    noun = by or "clip"
    counts = f"{found['num_fake']} fake, {found['num_real']} real; threshold {threshold:g}"
    lines = [f"{found[f'num_{noun}s']} {noun}s: {counts}"]
    lines += [f"  {name:<10}{_show(found[name])}" for name in NAMES]
    categories = found["by_category"]
    if categories:
        width = max(len("category"), *(len(name) for name in categories))
        lines += ["", f"  {'category':<{width}}  {noun + 's':>6}  accuracy     auc"]
        lines += [
            f"  {name:<{width}}  {entry['num_clips']:>6}  {_show(entry['accuracy']):>8}"
            f"  {_show(entry['auc']):>6}"
            for name, entry in categories.items()
        ]
    return "\n".join(lines)


def levels_text(run_dir: Path, cache: Path | None, *, as_json: bool, threshold: float = 0.5) -> str:
    """A run's metrics by frame, clip and video, side by side.

    Raises:
        RequestError: as in `sim.audits.levels.read_levels`, or the threshold is out of range.
    """
    check_threshold(threshold)
    from sim.audits.levels import read_levels  # torch

    levels = read_levels(run_dir, cache)
    found = {level: measure(rows, threshold, level) for level, rows in levels.tables.items()}
    if as_json:
        content = {"run": str(run_dir), "threshold": threshold, "levels": found, "notes": levels.notes}
        return json.dumps(content | {"frames_file": levels.frames_file}, indent=2, allow_nan=False)
    lines = [f"{'level':<7}{'rows':>7}{'fake':>7}" + "".join(f"{name:>11}" for name in NAMES)]
    for level, row in found.items():
        counts = f"{level:<7}{row[f'num_{level}s']:>7}{row['num_fake']:>7}"
        lines.append(counts + "".join(f"{_show(row[name]):>11}" for name in NAMES))
    lines += ["", *levels.notes, f"threshold {threshold:g}, float student of the last round"]
    return "\n".join([*lines, levels.frames_file] if levels.frames_file else lines)


def check_threshold(threshold: float) -> None:
    """Refuse what no probability can exceed.

    Raises:
        RequestError: it is not in [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise RequestError(f"threshold must be in [0, 1], got {threshold:g}; scores are probabilities")


def measure(rows: Rows, threshold: float, noun: str) -> dict[str, Any]:
    """Counts and metrics of one table; ``noun`` is what a row is."""
    from fl.metrics.detection import detection_metrics  # scikit-learn, only for a table that can be read

    found = detection_metrics(rows.labels, rows.scores, rows.categories, threshold)
    num_fake = sum(rows.labels)
    counts = {
        f"num_{noun}s": len(rows.labels),
        "num_fake": num_fake,
        "num_real": len(rows.labels) - num_fake,
    }
    return counts | asdict(found)


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
