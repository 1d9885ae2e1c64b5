"""The picture of `python -m sim audit quantization`."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sim.report.figures import DPI
from sim.report.quantization import NUM_LAYERS
from sim.report.saving import save_picture
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Marks, place_labels

if TYPE_CHECKING:
    from sim.audits.quantization import Audit, Variant

Scores = NDArray[np.float64]

PER_ROW = 4
STYLES = (
    (BLUE, "o", "-"),
    (RED, "D", "--"),
    (GREEN, "^", "-."),
    (ORANGE, "s", "-"),
    (PURPLE, "v", "--"),
    ("#56B4E9", "P", "-."),
    ("#000000", "X", ":"),
    ("#8C6D31", "<", "-"),
    ("#7A3E9D", ">", "--"),
)
"""Colour, marker and line of each variant, which differ without colour too."""

_LEAST = 1e-5  # changes below it are drawn there, on a log axis


def draw_quantization(
    audit: "Audit", labels: NDArray[Any], scores: Mapping[str, Scores], folder: Path
) -> list[Path]:
    """Float against quantised probability, the changes, size over latency, and the layers that lose most.

    Args:
        audit: what was found.
        labels: (test clips,), 1 = fake.
        scores: variant -> (test clips,), probability of fake; the float network's as "float".
        folder: where ``quantization.png`` and ``quantization.svg`` go.

    Raises:
        RunError: the folder cannot be written.
    """
    float_network, *variants = audit.variants
    rows = ceil(len(variants) / PER_ROW)
    figure = Figure(figsize=(13.5, 3.4 * rows + 5.0), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Quantisation of {Path(audit.run).name}: {audit.num_clips} test clips", parse_math=False)
    parts: Any = figure.subfigures(2, 1, height_ratios=[3.4 * rows, 4.6])
    above, below = parts
    grid = above.subplots(rows, PER_ROW, sharex=True, sharey=True, squeeze=False)
    for index, axes in enumerate(grid.flat):
        axes.set_visible(index < len(variants))
    for variant, axes in zip(variants, grid.flat, strict=False):
        _scatter(axes, variant, labels, scores[float_network.name], scores[variant.name], audit.tolerance)
    above.supxlabel("probability of fake, float", fontsize=10)
    above.supylabel("probability of fake, INT8", fontsize=10)
    handles, names = grid[0, 0].get_legend_handles_labels()
    above.legend(handles, names, loc="outside upper right", ncols=len(names), fontsize=9, frameon=False)
    left, middle, right = below.subplots(1, 3)
    _changes(left, audit, scores)
    marks = _trade_off(middle, audit)
    _layers(right, audit)
    place_labels(figure, middle, marks)
    return save_picture(figure, folder, "quantization", ("png", "svg"))


def _scatter(
    axes: Axes, variant: "Variant", labels: NDArray[Any], before: Scores, after: Scores, tolerance: float
) -> None:
    axes.axhline(0.5, color=GREY, linewidth=0.6)
    axes.axvline(0.5, color=GREY, linewidth=0.6)
    axes.fill_between([0, 1], [-tolerance, 1 - tolerance], [tolerance, 1 + tolerance], color=GREY, alpha=0.25)
    for label, name, colour, marker in ((0, "real", BLUE, "o"), (1, "fake", ORANGE, "^")):
        chosen = labels == label
        axes.scatter(
            before[chosen], after[chosen], s=16, color=colour, marker=marker, alpha=0.7, lw=0, label=name
        )
    flipped = (before > 0.5) != (after > 0.5)
    axes.scatter(
        before[flipped],
        after[flipped],
        s=75,
        facecolors="none",
        edgecolors=RED,
        lw=1.4,
        label="verdict flips",
    )
    verdict = "pass" if variant.passed else "FAIL"
    quality = variant.quality
    axes.set_title(
        f"{variant.name}: largest change {quality.change_max:.4f}, {verdict}\n{quality.num_flips} flips",
        fontsize=9.5,
        parse_math=False,
    )
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")


def _changes(axes: Axes, audit: "Audit", scores: Mapping[str, Scores]) -> None:
    """How many clips change by more than x: a histogram, summed up from the right."""
    axes.set_title("How far the probability moves")
    axes.set(xlabel="change of the probability of fake, log scale", ylabel="clips that move further, %")
    reference = scores[audit.variants[0].name]
    for variant, (colour, _, line) in zip(audit.variants[1:], STYLES, strict=False):
        moved = np.sort(np.maximum(np.abs(scores[variant.name] - reference), _LEAST))
        share = 100 * (1 - np.arange(len(moved) + 1) / len(moved))
        axes.step([_LEAST, *moved], share, where="post", color=colour, linestyle=line, label=variant.name)
    axes.axvline(audit.tolerance, color=GREY, linewidth=1.2, label=f"tolerance {audit.tolerance:g}")
    axes.set(xscale="log", xlim=(_LEAST, 1), ylim=(0, 102))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4, frameon=False)


def _trade_off(axes: Axes, audit: "Audit") -> Marks:
    axes.set_title("Size against latency")
    axes.set(xlabel="latency of 1 clip, ms, p50, 1 thread", ylabel="size of the file, MB")
    labels = []
    for variant, (colour, marker, _) in zip(audit.variants, ((GREY, "*", ":"), *STYLES), strict=False):
        x, y = variant.latency[0].p50_ms, variant.size_bytes / 1e6
        axes.scatter([x], [y], s=70, color=colour, marker=marker, zorder=3)
        labels.append((variant.name, x, y))
    axes.margins(0.25)
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.25)
    return Marks(labels, [])


def _layers(axes: Axes, audit: "Audit") -> None:
    axes.set_title("Layers that lose most")
    if audit.sensitivity is None:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=GREY)
        axes.set(xticks=[], yticks=[])
        return
    worst = audit.sensitivity["sweep"][:NUM_LAYERS]
    names = [entry["module"] for entry in worst]
    axes.barh(names, [entry["logit_change_mean"] for entry in worst], color=BLUE, height=0.6, label="mean")
    axes.plot([entry["logit_change_max"] for entry in worst], names, "D", color=RED, label="largest")
    axes.invert_yaxis()
    axes.set_xlabel("change of the logit if only this module is INT8")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)
    axes.grid(alpha=0.25, axis="x")
