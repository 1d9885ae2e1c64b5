"""What became of the students round by round, a figure for each quantity; of several seeds mean and range."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from sim.report.column import column_axes, legend_above
from sim.report.figures import value_at
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY
from sim.report.table import pruned_rounds
from sim.round_record import RoundRecord

Records = Sequence[Sequence[RoundRecord]]
"""Rounds of runs that differ in their seed alone."""


class Curve(NamedTuple):
    """One line of a panel.

    Attributes:
        label: in the legend.
        path: keys of the value in a round.
        look: colour, line, marker.
        interval: keys of [low, high] in a round; drawn for a run without other seeds.
    """

    label: str
    path: tuple[str, ...]
    look: tuple[str, str, str]
    interval: tuple[str, ...] = ()


class Panel(NamedTuple):
    """One figure.

    Attributes:
        title: what the caption calls it.
        axis: label of its y axis.
        curves: drawn where a round has their value.
        scale: what values are multiplied by.
        log: whether the y axis is logarithmic.
        from_zero: whether the y axis starts at 0.
    """

    title: str
    axis: str
    curves: tuple[Curve, ...]
    scale: float = 1.0
    log: bool = False
    from_zero: bool = False


FLOAT, INT8, WEAK, WEAK_INT8 = (BLUE, "-", "o"), (RED, "--", "D"), (PURPLE, "-", "v"), (SKY, "--", "^")
_FP32, _INT8 = ("onnx", "fp32"), ("onnx", "int8")


def _four(path: tuple[str, ...], path_int8: tuple[str, ...], interval: tuple[str, ...] = ()) -> Any:
    """The student and its INT8 form, and both of a mixed fleet's narrower student."""
    return (
        Curve("student", path, FLOAT, interval),
        Curve("INT8 student", path_int8, INT8),
        Curve("weak student", ("weak", *path), WEAK),
        Curve("weak INT8", ("weak", *path_int8), WEAK_INT8),
    )


PANELS: Mapping[str, Panel] = {
    "accuracy": Panel(
        "Accuracy on the test split",
        "accuracy, %",
        _four(("global", "accuracy"), (*_INT8, "accuracy")),
        100,
    ),
    "auc": Panel("AUC on the test split", "AUC", _four(("global", "auc"), (*_INT8, "auc"))),
    "eps": Panel(
        "EPS on the test split",
        "EPS, -0.5 to 1",
        (
            *_four(("eps", "mean"), (*_INT8, "eps"), ("eps", "ci95")),
            Curve("shuffled baseline", ("eps", "shuffled"), (GREY, "-.", "x")),
        ),
    ),
    "loss": Panel(
        "Training losses, mean over clients",
        "loss (log)",
        tuple(
            Curve(name, ("train", key), (colour, "-", marker))
            for key, name, colour, marker in (
                ("loss", "total", GREY, "o"),
                ("loss_hard", "hard", BLUE, "s"),
                ("loss_soft", "soft", ORANGE, "^"),
                ("loss_attention", "attention", GREEN, "D"),
                ("loss_proximal", "proximal", PURPLE, "v"),
            )
        ),
        log=True,
    ),
    "latency": Panel(
        "Latency in ONNX Runtime, p50, one thread, batch 1",
        "latency per clip, ms",
        _four((*_FP32, "latency_ms_p50"), (*_INT8, "latency_ms_p50")),
        from_zero=True,
    ),
    "size": Panel(
        "Size of the ONNX file, 1 MB = 1,000,000 bytes",
        "size, MB",
        _four((*_FP32, "size_bytes"), (*_INT8, "size_bytes")),
        1e-6,
        from_zero=True,
    ),
}
"""Name of a figure -> what it shows."""

MANY_DECADES = 1e3
"""Values so far apart have ticks at the powers of ten alone."""

GROUP_LOOKS = (
    (BLUE, "-", "o"),
    (ORANGE, "--", "s"),
    (GREEN, "-.", "^"),
    (RED, "-", "D"),
    (PURPLE, "--", "v"),
)
_GROUP_CURVES = {"accuracy": 0, "auc": 0, "eps": 0, "loss": 0, "latency": 1}
"""Panel -> which of its curves is drawn for each of several groups."""


def draw_rounds(runs: Records) -> Iterator[tuple[str, str, Figure]]:
    """Name, title and figure of every panel that has values.

    Args:
        runs: one, or several that differ in their seed alone.
    """
    for name, panel in PANELS.items():
        curves = [(curve.label, curve, runs) for curve in panel.curves]
        figure = _draw(panel, curves, pruned_rounds(runs[0]))
        if figure:
            yield name, panel.title, figure


def draw_groups(groups: Mapping[str, Records]) -> Iterator[tuple[str, str, Figure]]:
    """Name, title and figure of what groups of runs have in common, a line for each group.

    Args:
        groups: name -> runs that differ in their seed alone.
    """
    for name, index in _GROUP_CURVES.items():
        panel = PANELS[name]
        chosen = panel.curves[index]
        curves = [
            (label, chosen._replace(look=GROUP_LOOKS[place % len(GROUP_LOOKS)], interval=()), runs)
            for place, (label, runs) in enumerate(groups.items())
        ]
        figure = _draw(panel, curves, [])
        if figure:
            what = chosen.label if name != "loss" else "total"
            yield f"{name}_by_group", f"{panel.title} ({what})", figure


def values_of(runs: Records, path: tuple[str, ...], rounds: Sequence[int]) -> NDArray[np.float64]:
    """(runs, rounds): the values at ``path``; NaN where a round has none."""
    found = np.full((len(runs), len(rounds)), math.nan)
    for row, records in enumerate(runs):
        by_index = {record["round_index"]: record for record in records}
        for column, index in enumerate(rounds):
            value = value_at(by_index.get(index), path)
            found[row, column] = math.nan if value is None else value
    return found


def _draw(panel: Panel, curves: Sequence[tuple[str, Curve, Records]], pruned: Sequence[int]) -> Figure | None:
    """The curves that have values; None if none has."""
    figure, axes = column_axes(2.3)
    last = 0
    for label, curve, runs in curves:
        rounds = sorted({record["round_index"] for records in runs for record in records})
        values = panel.scale * values_of(runs, curve.path, rounds)
        if panel.log:
            values[values <= 0] = math.nan  # a loss that is switched off
        if np.isfinite(values).any():
            _draw_curve(axes, rounds, values, label, curve.look)
            _draw_interval(axes, rounds, runs, curve)
            last = max(last, rounds[-1])
    if not last:
        return None
    for index in pruned:
        axes.axvline(index, color=GREY, linestyle=":", linewidth=0.8, zorder=0)
    axes.set(xlabel="round", ylabel=panel.axis, xlim=(0.5, last + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25)
    if panel.log:
        axes.set_yscale("log")
        low, high = axes.dataLim.intervaly
        subs = (1.0,) if high > MANY_DECADES * low else (1.0, 2.0, 5.0)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    if panel.from_zero:
        axes.set_ylim(0, 1.1 * axes.dataLim.y1 or 1)
    legend_above(figure, axes, 3)
    return figure


def _draw_curve(
    axes: Axes, rounds: Sequence[int], values: NDArray[np.float64], label: str, look: tuple[str, str, str]
) -> None:
    """The mean over seeds where all have a value, and the range between the smallest and the largest."""
    colour, line, marker = look
    mean = values.mean(axis=0)
    size = 3.5 if len(rounds) <= 15 else 2.0
    axes.plot(rounds, mean, line, color=colour, marker=marker, markersize=size, linewidth=1, label=label)
    if len(values) > 1:
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(rounds, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.vlines(rounds, low, high, color=colour, linewidth=0.8, alpha=0.7)


def _draw_interval(axes: Axes, rounds: Sequence[int], runs: Records, curve: Curve) -> None:
    """The recorded interval over clips of a run that stands alone."""
    if not curve.interval or len(runs) > 1:
        return
    by_index = {record["round_index"]: record for record in runs[0]}
    pairs = [value_at(by_index[index], curve.interval) or (math.nan, math.nan) for index in rounds]
    low, high = ([float(pair[end]) for pair in pairs] for end in (0, 1))
    axes.fill_between(rounds, low, high, color=curve.look[0], alpha=0.18, linewidth=0)
    axes.vlines(rounds, low, high, color=curve.look[0], linewidth=0.8, alpha=0.5)
