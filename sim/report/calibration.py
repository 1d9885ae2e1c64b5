"""Whether probabilities mean what they say: a curve over bins that all hold enough clips, and the bins."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

from fl.metrics.calibration import NUM_BINS, expected_calibration_error
from sim.report.cells import percent, three
from sim.report.column import column_figure, dress, legend_above
from sim.report.curves import LINES
from sim.report.page import Cell, PageTable
from sim.report.recorded_run import Scores
from sim.report.scatter import GREY

MIN_CLIPS = 10
"""Bins with fewer clips are merged with the next: a share of three clips jumps by thirds."""


class Bin(NamedTuple):
    """Clips with probabilities in [``low``, ``high``).

    Attributes:
        low: of a bin of the expected calibration error, as is ``high``; 1 is in the last bin.
        high: the end.
        num_clips: in it, at least 1.
        given: their mean probability of fake.
        found: share of fakes among them.
        interval: of that share, Wilson's at 95 %.
    """

    low: float
    high: float
    num_clips: int
    given: float
    found: float
    interval: tuple[float, float]


def calibration_bins(scored: Scores, min_clips: int = MIN_CLIPS) -> list[Bin]:
    """The bins of the expected calibration error, merged from below until each holds enough clips.

    What is left over at the upper end goes to the bin before it. Fewer clips than ``min_clips`` make one bin.

    Args:
        scored: at least one clip.
        min_clips: of each bin.
    """
    bins = np.minimum((scored.scores * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    edges = [0]
    for stop in range(1, NUM_BINS + 1):
        if counts[edges[-1] : stop].sum() >= min_clips:
            edges.append(stop)
    edges = [*(edges[:-1] if len(edges) > 1 else edges), NUM_BINS]
    found = []
    for low, high in pairwise(edges):
        chosen = (bins >= low) & (bins < high)
        total, fakes = int(chosen.sum()), int(scored.labels[chosen].sum())
        interval = binomtest(fakes, total).proportion_ci(method="wilson")
        given = float(scored.scores[chosen].mean())
        ends = (float(interval.low), float(interval.high))
        found.append(Bin(low / NUM_BINS, high / NUM_BINS, total, given, fakes / total, ends))
    return found


def draw_calibration(networks: Sequence[Scores]) -> Figure:
    """Share of fakes over the probability given, with intervals; below, how many clips each bin holds."""
    figure = column_figure(3.7)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=0.8, label="calibrated")
    for scored in networks:
        colour, line, marker = LINES[scored.name]
        bins = calibration_bins(scored)
        given, found, counts = (
            [getattr(one, key) for one in bins] for key in ("given", "found", "num_clips")
        )
        reach = [
            [one.found - one.interval[0] for one in bins],
            [one.interval[1] - one.found for one in bins],
        ]
        error = expected_calibration_error(scored.labels, scored.scores) or 0.0
        axes.errorbar(
            given,
            found,
            np.maximum(reach, 0),
            linestyle=line,
            color=colour,
            linewidth=0.6,
            elinewidth=0.9,
            marker=marker,
            markersize=3.5,
            label=f"{scored.name}, ECE {error:.3f}",
        )
        below.plot(given, counts, linestyle="none", color=colour, marker=marker, markersize=3.5)
        below.vlines(given, 0, counts, color=colour, linewidth=1, alpha=0.6)
    axes.set(ylim=(-0.03, 1.03), ylabel="share of fakes found")
    below.set(xlim=(-0.03, 1.03), xlabel="probability of fake (mean of the bin)", ylabel="clips")
    below.set_ylim(0, 1.2 * below.dataLim.y1)
    for one in (axes, below):
        dress(one).grid(alpha=0.25)
    legend_above(figure, axes)
    return figure


def calibration_table(networks: Sequence[Scores]) -> PageTable:
    """Every bin of every network."""
    rows: list[list[Cell]] = [
        [
            scored.name,
            f"{one.low:.1f} to {one.high:.1f}",
            str(one.num_clips),
            three(one.given),
            f"{percent(one.found)} [{percent(one.interval[0])}, {percent(one.interval[1])}]",
        ]
        for scored in networks
        for one in calibration_bins(scored)
    ]
    caption = (
        f"Bins of the calibration plot: of ten, those with fewer than {MIN_CLIPS} clips are merged with the "
        "next. In brackets 95 % intervals (Wilson). The expected calibration error keeps all ten."
    )
    headings = ["network", "probabilities", "clips", "mean probability", "fakes, %"]
    return PageTable("calibration", caption, headings, rows)
