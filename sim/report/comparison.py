"""Several runs held against the first, clip by clip."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fl.errors import RequestError
from fl.metrics.comparison import NUM_BOOTSTRAP, Difference, compare_detectors
from fl.seeds import derive
from sim.report.fronts import draw_front
from sim.report.page import Block, Note, PageFigure, PageTable, Section
from sim.report.recorded_run import NETWORKS, RecordedRun
from sim.report.table import ModelRow

HEADINGS = (
    "against the first run",
    "clips of both",
    "accuracy, %",
    "difference, points",
    "AUC",
    "difference",
    "only first right",
    "only this right",
    "McNemar p",
)


def compared(runs: Sequence[RecordedRun], rows: Sequence[Sequence[ModelRow]]) -> Section:
    """The differences of all runs from the first, and fronts of all their networks.

    Args:
        runs: at least two.
        rows: of the closing table of each run.

    Raises:
        RequestError: as in `check_clips`.
    """
    first = runs[0]
    lines = [line for run in runs[1:] for line in _differences(first, run)]
    caption = (
        f"Difference: this run less {first.name}, with a 95 % interval of a paired bootstrap over clips "
        f"({NUM_BOOTSTRAP} resamples, real and fake apart); p: McNemar's exact test, two-sided."
    )
    blocks: list[Block] = [PageTable("comparison", caption, HEADINGS, lines)]
    blocks += [Note(text) for text in _cautions(len(lines))]
    cpus = sorted({str((run.summary.get("hardware") or {}).get("cpu")) for run in runs})
    if len(cpus) > 1:
        blocks.append(Note(f"Latencies are of different processors: {', '.join(cpus)}.", warning=True))
    key = ", ".join(f"{number} = {run.name}" for number, run in enumerate(runs, start=1))
    named = [
        replace(row, name=f"{row.name} {number}") for number, own in enumerate(rows, start=1) for row in own
    ]
    for quality, name in (("accuracy", "Accuracy"), ("eps", "EPS")):
        figure = draw_front(named, quality)
        if figure:
            caption = (
                f"{name} and latency of all runs, each timed in its own session; grey: dominated; {key}."
            )
            blocks.append(PageFigure(figure, caption))
    return Section(f"{len(runs)} runs compared", blocks, level=2)


def _cautions(num_rows: int) -> list[str]:
    """How far the differences carry."""
    several = f" The {num_rows} rows are not corrected for being several." if num_rows > 1 else ""
    return [
        f"One training of each: other seeds may differ more than other clips.{several}",
        "Where few clips are judged differently, the interval of the accuracy is too narrow: trust p.",
    ]


def check_clips(first: RecordedRun, second: RecordedRun) -> list[str]:
    """The clips of the test split that both runs predict.

    Raises:
        RequestError: the runs are of different corpora, or share no clip, or differ on what a clip is.
    """
    corpus = str(first.settings["data.corpus"])
    for key in sorted({*first.settings, *second.settings}):
        names_corpus = key in ("data.corpus", "data.root") or key.startswith(f"data.{corpus}.")
        if names_corpus and first.settings.get(key) != second.settings.get(key):
            raise RequestError(
                f"runs compared must have the same clips: {key} is {first.settings.get(key)!r} in "
                f"{str(first.folder)!r}, {second.settings.get(key)!r} in {str(second.folder)!r}; "
                "report them apart"
            )
    others = {row.clip: row for row in second.predictions}
    shared = [row for row in first.predictions if row.clip in others]
    if not shared:
        raise RequestError(
            f"{str(first.folder)!r} and {str(second.folder)!r} predict no clip in common; report them apart"
        )
    for row in shared:
        if (row.label, row.category) != (others[row.clip].label, others[row.clip].category):
            raise RequestError(
                f"clip {row.clip!r} is {row.category!r} in {str(first.folder)!r}, "
                f"{others[row.clip].category!r} in {str(second.folder)!r}; report the runs apart"
            )
    return [row.clip for row in shared]


def _differences(first: RecordedRun, second: RecordedRun) -> list[list[str]]:
    """A row for each network that both have."""
    clips = check_clips(first, second)
    before, after = ({row.clip: row for row in run.predictions} for run in (first, second))
    labels = [before[clip].label for clip in clips]
    lines = []
    for column, name in NETWORKS.items():
        old, new = ([getattr(rows[clip], column) for clip in clips] for rows in (before, after))
        if None in old or None in new or (column == "score_teacher" and old == new):
            continue
        rng = np.random.default_rng(derive(0, "report", column))
        found = compare_detectors(labels, old, new, rng)
        test = found.mcnemar
        lines.append(
            [
                f"{name}, {second.name}",
                str(found.num_clips),
                *_cells(found.accuracy, 100, 1),
                *_cells(found.auc, 1, 3),
                str(test.only_first),
                str(test.only_second),
                f"{test.p_value:.3g}",
            ]
        )
    return lines


def _cells(found: Difference | None, scale: float, digits: int) -> list[str]:
    """First and second; their difference with its interval."""
    if found is None:
        return ["-", "-"]
    before, after = (f"{scale * value:.{digits}f}" for value in (found.first, found.second))
    gain, low, high = (f"{scale * value:+.{digits}f}" for value in (found.gain, found.low, found.high))
    return [f"{before} → {after}", f"{gain} [{low}, {high}]"]
