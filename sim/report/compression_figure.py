"""The figure of `python -m sim audit compression`: accuracy and EPS over latency."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sim.audits.compression_aims import MIN_EPS, TEACHER, Compression, Row, name_of
from sim.report.scatter import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    Marks,
    pareto,
    place_labels,
    set_scales,
    staircase,
)

BLACK, PALE = "#000000", "#BBBBBB"
"""Pale is for networks that another beats in both."""

LOOKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "float": (BLUE, "o"),
        "dynamic": (RED, "D"),
        "static": (GREEN, "^"),
        "mixed": (PURPLE, "v"),
        "weight_only": (BLACK, "P"),
        "qat": (ORANGE, "s"),
    }
)
"""Variant -> colour and marker."""


def draw_compression(told: Compression, folder: Path) -> Path:
    """Write ``compression.png``: what another network beats in both is grey and has no label.

    Returns:
        The file.
    """
    figure = Figure(figsize=(12, 5.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels: list[tuple[Axes, Marks]] = []
    left, right = figure.subplots(1, 2)
    accuracies = [None if row.accuracy is None else 100 * row.accuracy for row in told.rows]
    panels.append((left, _draw_panel(left, told.rows, accuracies, "accuracy, %")))
    panels.append((right, _draw_panel(right, told.rows, [row.eps for row in told.rows], "EPS")))
    right.axhline(MIN_EPS, color=GREY, linewidth=1, linestyle=":")
    figure.suptitle("Compression: what is grey is beaten in both by another network", fontsize=11)
    used = {row.variant for row in told.rows}
    for variant, (colour, marker) in LOOKS.items():
        if variant in used:
            left.scatter([], [], color=colour, marker=marker, label=variant)
    left.legend(fontsize=8.5, loc="lower right")
    for axes, marks in panels:
        place_labels(figure, axes, marks)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "compression.png"
    aside = path.with_suffix(".partial.png")
    figure.savefig(aside)
    aside.replace(path)
    return path


def _draw_panel(axes: Axes, rows: Sequence[Row], heights: Sequence[float | None], name: str) -> Marks:
    measured = [
        (row, row.latency_ms_p50, height)
        for row, height in zip(rows, heights, strict=True)
        if height is not None
    ]
    axes.set_xlabel("latency per clip in ONNX Runtime, ms (log scale), p50")
    axes.set_ylabel(name)
    axes.grid(alpha=0.25)
    if not measured:
        return Marks([], [])
    frontier = pareto([(x, y) for _, x, y in measured])
    corners = staircase(frontier)
    axes.plot(*zip(*corners, strict=True), color=GREY, linewidth=1, zorder=1)
    set_scales(axes, [x for _, x, _ in measured], [y for _, _, y in measured])
    labels = []
    segments = list(pairwise(corners))
    for row, x, y in measured:
        best = (x, y) in frontier
        colour, marker = LOOKS[row.variant]
        axes.scatter([x], [y], s=45, color=colour if best else PALE, marker=marker, zorder=3 if best else 2)
        if best or row.network == TEACHER:
            labels.append((name_of(row), x, y))
        else:
            segments.append(((x, y), (x, y)))
    return Marks(labels, segments)
