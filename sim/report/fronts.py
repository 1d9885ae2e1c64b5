"""Pareto fronts of networks, of one run or of several: quality over latency, what is dominated in grey."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sim.report.scatter import BLUE, GREY, Marks, pareto, place_labels, set_scales, staircase
from sim.report.table import ModelRow, three_digits

QUALITIES = {"accuracy": ("accuracy, %", 100.0, "{:.1f} %"), "eps": ("EPS, -0.5 to 1", 1.0, "{:.3f}")}
"""Attribute of `ModelRow` -> name of its axis, scale, format of a label."""


def draw_front(rows: Sequence[ModelRow], quality: str) -> Figure | None:
    """One front; None if no network has both numbers.

    Args:
        rows: the networks, named as they are to be labelled.
        quality: of `QUALITIES`.
    """
    title, scale, form = QUALITIES[quality]
    points = [
        (row, row.latency_ms_p50, scale * value)
        for row in rows
        if row.latency_ms_p50 is not None and (value := getattr(row, quality)) is not None
    ]
    if not points:
        return None
    figure = Figure(figsize=(7.5, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    front = pareto([(x, y) for _, x, y in points])
    corners = staircase(front)
    axes.plot(*zip(*corners, strict=True), color=BLUE, linewidth=1, label="Pareto front", zorder=1)
    set_scales(axes, [x for _, x, _ in points], [y for _, _, y in points])
    segments = list(pairwise(corners))
    for row, x, y in points:
        best = (x, y) in front
        colour, marker = (BLUE, "o") if best else (GREY, "X")
        axes.hlines(y, x, row.latency_ms_p95 or x, color=colour, linewidth=1.2, zorder=2)
        axes.scatter([x], [y], s=60, color=colour, marker=marker, alpha=1.0 if best else 0.6, zorder=3)
        segments.append(((x, y), (row.latency_ms_p95 or x, y)))
    axes.scatter([], [], s=60, color=GREY, marker="X", alpha=0.6, label="dominated")
    axes.set_xlabel("latency per clip in ONNX Runtime, ms (log scale): p50, whisker to p95")
    axes.set_ylabel(title)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.1), ncols=2, fontsize=9, frameon=False)
    labels = [(f"{row.name}\n{three_digits(x)} ms, {form.format(y)}", x, y) for row, x, y in points]
    for note in place_labels(figure, axes, Marks(labels, segments)):
        note.set_fontsize(8)
    return figure
