"""Several runs held against the first, clip by clip."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fl.errors import RequestError
from fl.metrics.comparison import NUM_BOOTSTRAP, Difference, compare_detectors
from fl.seeds import derive
from sim.report.fronts import QUALITIES, draw_front
from sim.report.page import Block, Note, PageFigure, PageTable, Section
from sim.report.recorded_run import NETWORKS, RecordedRun
from sim.report.round_curves import draw_groups, draw_rounds
from sim.report.seed_groups import SeedGroup, group_by_seed
from sim.report.seed_tables import closing_by_seed, differences, groups_table
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


def compared(runs: Sequence[RecordedRun]) -> Section:
    """The differences of all runs from the first; runs that differ in their seed alone are one group.

    Args:
        runs: at least two.

    Raises:
        RequestError: as in `check_clips`.
    """
    for run in runs[1:]:
        check_clips(runs[0], run)
    groups = group_by_seed(runs)
    several = len(groups) < len(runs)
    blocks: list[Block] = []
    if several:
        blocks += [groups_table(groups), *_commit_cautions(groups), closing_by_seed(groups)]
        blocks += differences(groups)
    alone = [group.runs[0] for group in groups if len(group.runs) == 1]
    if len(groups[0].runs) == 1 and len(alone) > 1:
        blocks += _clip_tests(alone[0], alone[1:])
    cpus = sorted({str((run.summary.get("hardware") or {}).get("cpu")) for run in runs})
    if len(cpus) > 1:
        blocks.append(Note(f"Latencies are of different processors: {', '.join(cpus)}.", warning=True))
    blocks += _curves(groups)
    blocks += _fronts(groups)
    title = f"{len(runs)} runs compared"
    if several:
        title += f": {len(groups)} {'groups' if len(groups) > 1 else 'configuration'}, seeds as error bars"
    return Section(title, blocks, level=2)


def _clip_tests(first: RecordedRun, others: Sequence[RecordedRun]) -> list[Block]:
    """Runs without other seeds, clip by clip."""
    lines = [line for run in others for line in _differences(first, run)]
    caption = (
        f"Difference: this run less {first.name}, with a 95 % interval of a paired bootstrap over clips "
        f"({NUM_BOOTSTRAP} resamples, real and fake apart); p: McNemar's exact test, two-sided."
    )
    notes = [Note(text) for text in _cautions(len(lines))]
    return [PageTable("comparison", caption, HEADINGS, lines), *notes]


def _commit_cautions(groups: Sequence[SeedGroup]) -> list[Note]:
    """A group is of one program."""
    found = []
    for group in groups:
        commits = {str(run.summary.get("commit"))[:10] for run in group.runs}
        if len(commits) > 1:
            text = f"The runs of group {group.number} are of different commits: {', '.join(sorted(commits))}."
            found.append(Note(text, warning=True))
    return found


def _curves(groups: Sequence[SeedGroup]) -> list[Block]:
    """By round: all curves of one configuration, or one curve for each of several groups."""
    shaded = any(len(group.runs) > 1 for group in groups)
    note = "; line: mean over seeds, shaded: smallest to largest" if shaded else ""
    if len(groups) == 1:
        drawn = draw_rounds([run.rounds for run in groups[0].runs])
        return [
            PageFigure(f"seeds_{name}", figure, f"{title}, by round{note}.") for name, title, figure in drawn
        ]
    drawn = draw_groups({_key(group, shaded): [run.rounds for run in group.runs] for group in groups})
    names = _names(groups)
    return [PageFigure(name, figure, f"{title}, by round{note}; {names}.") for name, title, figure in drawn]


def _fronts(groups: Sequence[SeedGroup]) -> list[Block]:
    """Both fronts over all networks of all groups."""
    rows: list[ModelRow] = []
    ranges: dict[str, dict[str, tuple[float, float]]] = {}
    for group in groups:
        rows += [replace(row, name=f"{row.name} {group.number}") for row in group.mean_rows()]
        for quality in QUALITIES:
            named = {f"{name} {group.number}": ends for name, ends in group.ranges(quality).items()}
            ranges.setdefault(quality, {}).update(named)
    shaded = any(len(group.runs) > 1 for group in groups)
    bars = " Means over seeds; bars: smallest to largest." if shaded else ""
    found: list[Block] = []
    for quality, name in (("accuracy", "Accuracy"), ("eps", "EPS")):
        figure = draw_front(rows, quality, ranges[quality])
        if figure:
            caption = (
                f"{name} and latency of all runs, each timed in its own session; grey: dominated.{bars} "
                f"{_names(groups)}."
            )
            found.append(PageFigure(f"{quality}_latency_all", figure, caption))
    return found


def _key(group: SeedGroup, shaded: bool) -> str:
    """For legends."""
    return group.label if shaded else f"run {group.number}"


def _names(groups: Sequence[SeedGroup]) -> str:
    """Which number is which."""
    return ", ".join(f"{group.number} = {' + '.join(run.name for run in group.runs)}" for group in groups)


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
