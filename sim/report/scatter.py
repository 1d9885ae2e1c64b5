"""Networks as labelled points over latency: the trade-off figures of a run."""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from sim.report.table import TEACHER, ModelRow, three_digits

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
SKY = "#56B4E9"
"""Okabe and Ito's colours, which colour-blind readers can tell apart."""

POINT_RADIUS = 7.0
"""Half the side of the square that a point takes, in points (1/72 inch)."""

_OVER_TEXT = 10.0
"""How much worse it is to lie on another label than on a line."""

Point = tuple[float, float]


class Marks(NamedTuple):
    """What labels must stay clear of, in data units.

    Attributes:
        labels: (text, x, y) of each point.
        segments: both ends of each horizontal or vertical piece of a line.
    """

    labels: list[tuple[str, float, float]]
    segments: list[tuple[Point, Point]]


def draw_points(axes: Axes, rows: Sequence[ModelRow], heights: Sequence[float | None], form: str) -> Marks:
    """The networks over latency (log), with whiskers to p95, and their Pareto frontier.

    Args:
        axes: to draw on; its scales are set.
        rows: the networks.
        heights: (len(rows),), the other coordinate; None where not measured.
        form: format of a height in the labels, e.g. "{:.1f} %".

    Returns:
        the marks, for `place_labels` once the layout is final.
    """
    axes.set_xlabel("latency per clip in ONNX Runtime, ms (log scale): p50, whisker to p95")
    measured = [
        (row, row.latency_ms_p50, height)
        for row, height in zip(rows, heights, strict=True)
        if row.latency_ms_p50 is not None and height is not None
    ]
    if not measured:
        return Marks([], [])
    corners = staircase(pareto([(x, y) for _, x, y in measured]))
    axes.plot(*zip(*corners, strict=True), color=GREY, linewidth=1, label="Pareto frontier", zorder=1)
    segments = list(pairwise(corners))
    set_scales(axes, [x for _, x, _ in measured], [y for _, _, y in measured])
    students = iter(((BLUE, "o"), (GREEN, "^"), (RED, "D"), (PURPLE, "v"), (SKY, "P")))
    for row, x, y in measured:
        colour, marker = (ORANGE, "s") if row.name == TEACHER else next(students)
        axes.hlines(y, x, row.latency_ms_p95 or x, color=colour, linewidth=1.5, zorder=2)
        segments.append(((x, y), (row.latency_ms_p95 or x, y)))
        axes.scatter([x], [y], s=60, color=colour, marker=marker, zorder=3)
    axes.grid(alpha=0.25)
    labels = [(f"{row.name}\n{three_digits(x)} ms, {form.format(y)}", x, y) for row, x, y in measured]
    return Marks(labels, segments)


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (latency, quality) points that no other beats in both, by rising latency."""
    frontier: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not frontier or y > frontier[-1][1]:
            frontier.append((x, y))
    return frontier


def place_labels(figure: Figure, axes: Axes, marks: Marks, fontsize: float = 8.5) -> list[Annotation]:
    """Write each text near its point (x, y in data units), with a thin line to it.

    Positions are tried from the nearest outwards; the one that overlaps least is taken. The axes'
    limits and scales must be final.

    Args:
        figure: with an Agg canvas.
        axes: of the figure, with nothing more to come that changes the layout.
        marks: what to label, and what to keep free.
        fontsize: of the labels, points.
    """
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    radius = POINT_RADIUS * scale
    centres = [axes.transData.transform((x, y)) for _, x, y in marks.labels]
    taken = [Bbox.from_extents(x - radius, y - radius, x + radius, y + radius) for x, y in centres]
    taken += [_thick(axes, segment, 2 * scale) for segment in marks.segments]
    inside = axes.get_window_extent()
    placed: list[Annotation] = []
    written: list[Bbox] = []  # labels: no line may cross them
    for text, x, y in marks.labels:
        note = axes.annotate(
            text,
            (x, y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=fontsize,
            ha="center",
            va="center",
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.6, "shrinkB": 5},
        )
        size = Text.get_window_extent(note)  # without the line
        offsets = _offsets(size.width / scale / 2, size.height / scale / 2)
        centre = axes.transData.transform((x, y))
        boxes = [
            Bbox.from_bounds(
                centre[0] + right * scale - size.width / 2,
                centre[1] + up * scale - size.height / 2,
                size.width,
                size.height,
            )
            for right, up in offsets
        ]
        lines = [_leader(centre, box, radius, scale) for box in boxes]
        costs = [
            _cost(box, taken, inside) + _OVER_TEXT * sum(_cost(one, written, inside) for one in (box, *line))
            for box, line in zip(boxes, lines, strict=True)
        ]
        best = costs.index(min(costs))
        note.set_position(offsets[best])
        taken += [boxes[best].padded(2 * scale), *lines[best]]
        written.append(boxes[best])
        placed.append(note)
    return placed


def set_scales(axes: Axes, latencies: Sequence[float], heights: Sequence[float]) -> None:
    """A log x axis with ticks at 1, 2 and 5, and room for labels on all sides."""
    axes.set_xscale("log")
    axes.set_xlim(min(latencies) / 2, max(latencies) * 2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    room = 0.25 * (max(heights) - min(heights)) or 0.05 * abs(heights[0]) or 0.1
    axes.set_ylim(min(heights) - room, max(heights) + room)


def staircase(frontier: Sequence[Point]) -> list[Point]:
    """The corners of a staircase through the points, level after each."""
    corners = list(frontier[:1])
    for x, y in frontier[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return corners


def _thick(axes: Axes, segment: tuple[Point, Point], margin: float) -> Bbox:
    """The box of a piece of a line in pixels, with a margin around it."""
    (x0, y0), (x1, y1) = axes.transData.transform(segment)
    return Bbox.from_extents(
        min(x0, x1) - margin, min(y0, y1) - margin, max(x0, x1) + margin, max(y0, y1) + margin
    )


def _leader(centre: NDArray[np.float64], box: Bbox, radius: float, scale: float) -> list[Bbox]:
    """Small boxes along the line from a point to its label, clear of both; none where they touch."""
    end = np.clip(centre, (box.x0, box.y0), (box.x1, box.y1))
    length = float(np.hypot(*(end - centre)))
    shares = np.arange(radius + 2 * scale, length - 2 * scale, 4 * scale) / max(length, 1.0)
    places = [centre + share * (end - centre) for share in shares]
    return [Bbox.from_extents(*(place - 2 * scale), *(place + 2 * scale)) for place in places]


def _offsets(half_width: float, half_height: float) -> list[tuple[float, float]]:
    """Centres of a label around its point, in points, nearest first."""
    offsets = []
    for gap, (right, up) in product((9, 20, 36, 60), product((0, 1, -1), (1, -1, 0))):
        if right or up:
            offsets.append((right * (half_width + gap), up * (half_height + gap)))
    return offsets


def _cost(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """Area in pixels of ``box`` that lies on something else or outside the axes."""
    covered = sum(_area(Bbox.intersection(box, other)) for other in taken)
    return covered + 3 * (_area(box) - _area(Bbox.intersection(box, inside)))


def _area(box: Bbox | None) -> float:
    return 0.0 if box is None else box.width * box.height
