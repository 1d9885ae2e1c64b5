"""Pareto fronts of networks, of one run or of several: quality over latency, what is dominated in grey."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.figure import Figure

from sim.report.column import SMALL, column_axes, legend_above
from sim.report.scatter import BLUE, GREY, Marks, pareto, place_labels, set_scales, staircase
from sim.report.table import ModelRow, three_digits

QUALITIES = {"accuracy": ("accuracy, %", 100.0, "{:.1f} %"), "eps": ("EPS, -0.5 to 1", 1.0, "{:.3f}")}
"""Attribute of `ModelRow` -> name of its axis, scale, format of a label."""

MAX_NUMBERS = 6
"""Of more networks the labels are names alone: numbers would cover each other."""


def draw_front(
    rows: Sequence[ModelRow], quality: str, ranges: Mapping[str, tuple[float, float]] | None = None
) -> Figure | None:
    """One front; None if no network has both numbers.

    Args:
        rows: the networks, named as they are to be labelled.
        quality: of `QUALITIES`.
        ranges: name of a row -> smallest and largest quality over its seeds, drawn as an error bar.
    """
    title, scale, form = QUALITIES[quality]
    points = [
        (row, row.latency_ms_p50, scale * value)
        for row in rows
        if row.latency_ms_p50 is not None and (value := getattr(row, quality)) is not None
    ]
    if not points:
        return None
    figure, axes = column_axes(2.9)
    front = pareto([(x, y) for _, x, y in points])
    corners = staircase(front)
    axes.plot(*zip(*corners, strict=True), color=BLUE, linewidth=0.8, label="Pareto front", zorder=1)
    reach = {name: (scale * low, scale * high) for name, (low, high) in (ranges or {}).items()}
    ends = [end for row, _, _ in points for end in reach.get(row.name, ())]
    set_scales(axes, [x for _, x, _ in points], [y for _, _, y in points] + ends)
    low, high = axes.get_xlim()
    axes.set_xlim(low / 2, high * 1.4)  # a column is narrow: room for labels beside the points
    segments = list(pairwise(corners))
    for row, x, y in points:
        best = (x, y) in front
        colour, marker = (BLUE, "o") if best else (GREY, "X")
        axes.hlines(y, x, row.latency_ms_p95 or x, color=colour, linewidth=0.9, zorder=2)
        axes.scatter([x], [y], s=22, color=colour, marker=marker, alpha=1.0 if best else 0.6, zorder=3)
        segments.append(((x, y), (row.latency_ms_p95 or x, y)))
        if row.name in reach:
            axes.vlines(x, *reach[row.name], color=colour, linewidth=0.9, zorder=2)
            segments.append(((x, reach[row.name][0]), (x, reach[row.name][1])))
    axes.scatter([], [], s=22, color=GREY, marker="X", alpha=0.6, label="dominated")
    axes.set_xlabel("latency per clip, ms (log): p50, whisker to p95")
    axes.set_ylabel(title)
    axes.grid(alpha=0.25)
    legend_above(figure, axes)
    numbers = len(points) <= MAX_NUMBERS
    labels = [
        (f"{row.name}\n{three_digits(x)} ms, {form.format(y)}" if numbers else row.name, x, y)
        for row, x, y in points
    ]
    place_labels(figure, axes, Marks(labels, segments), SMALL)
    return figure
