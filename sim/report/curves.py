"""What a run's predictions show, drawn: ROC and precision-recall with bands, confusion, categories."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, roc_curve

from fl.metrics.comparison import resamples
from fl.metrics.detection import DetectionMetrics, detection_metrics
from sim.report.column import SMALL, TEXT, column_axes, column_figure, dress, legend_above
from sim.report.recorded_run import Scores
from sim.report.scatter import BLUE, GREY, ORANGE, RED

NUM_BOOTSTRAP = 1000
GRID = np.linspace(0, 1, 101)
"""Where bands are measured, along the horizontal axis."""

LINES: Mapping[str, tuple[str, str, str]] = {
    "student": (BLUE, "-", "o"),
    "INT8 student": (RED, "--", "D"),
    "teacher": (ORANGE, "-.", "s"),
}
"""Network -> colour, line, marker."""


class Band(NamedTuple):
    """The ends of the 95 % interval of a curve over `GRID`, each (101,)."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def roc_band(scored: Scores, rng: np.random.Generator, num_bootstrap: int = NUM_BOOTSTRAP) -> Band:
    """True positive rate over the false positive rate, with a pointwise bootstrap over clips.

    Args:
        scored: with both classes.
        rng: draws the resamples.
        num_bootstrap: number of resamples.
    """

    reals, fakes = _called_fake(scored, rng, num_bootstrap)
    rates = zip(reals / reals[:, -1:], fakes / fakes[:, -1:], strict=True)
    return _band([np.interp(GRID, *rate) for rate in rates])


def precision_recall_band(
    scored: Scores, rng: np.random.Generator, num_bootstrap: int = NUM_BOOTSTRAP
) -> Band:
    """Precision over recall, with a pointwise bootstrap over clips.

    Steps are not interpolated, which would flatter (Davis and Goadrich 2006, "The relationship between
    precision-recall and ROC curves"): at a recall stands the precision of the next threshold that reaches it.

    Args:
        scored: with both classes.
        rng: draws the resamples.
        num_bootstrap: number of resamples.
    """

    reals, fakes = (counts[:, 1:] for counts in _called_fake(scored, rng, num_bootstrap))
    precisions = np.where(reals + fakes > 0, fakes / np.maximum(reals + fakes, 1), 1.0)
    recalls = fakes / fakes[:, -1:]
    rows = zip(precisions, recalls, strict=True)
    return _band([precision[np.searchsorted(recall, GRID - 1e-9)] for precision, recall in rows])


def draw_curves(networks: Sequence[Scores], rng: np.random.Generator) -> tuple[Figure, Figure]:
    """The ROC and the precision-recall curves of networks whose clips have both classes."""
    roc, roc_axes = _square("false positive rate", "true positive rate")
    roc_axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=0.8, label="chance")
    recall, recall_axes = _square("recall", "precision")
    share = float(networks[0].labels.mean())
    recall_axes.axhline(share, color=GREY, linestyle=":", linewidth=0.8, label="chance")
    for scored in networks:
        auc = detection_metrics(scored.labels, scored.scores).auc
        false_positive, true_positive, _ = roc_curve(scored.labels, scored.scores)
        points = (false_positive, true_positive)
        _draw_curve(roc_axes, points, roc_band(scored, rng), scored.name, f"AUC {auc:.3f}")
        average = average_precision_score(scored.labels, scored.scores)
        precision, found, _ = precision_recall_curve(scored.labels, scored.scores)
        points = (found, precision)
        band = precision_recall_band(scored, rng)
        _draw_curve(recall_axes, points, band, scored.name, f"AP {average:.3f}", "steps-post")
    roc_axes.legend(loc="lower right", fontsize=SMALL)
    recall_axes.legend(loc="lower left", fontsize=SMALL)
    return roc, recall


def draw_confusion(networks: Sequence[Scores], threshold: float = 0.5) -> Figure:
    """Clips by truth and verdict, a panel for each network."""
    figure = column_figure(1.75)
    panels = figure.subplots(1, len(networks), squeeze=False)[0]
    for axes, scored in zip(panels, networks, strict=True):
        counts = confusion(scored, threshold)
        totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(counts / totals, cmap="Blues", vmin=0, vmax=1)
        for truth, verdict in np.ndindex(2, 2):
            share = counts[truth, verdict] / totals[truth, 0]
            colour = "white" if share > 0.55 else "black"
            text = f"{counts[truth, verdict]}\n{100 * share:.1f} %"
            axes.text(verdict, truth, text, ha="center", va="center", color=colour, fontsize=SMALL)
        axes.set_xticks([0, 1], ["real", "fake"])
        axes.set_yticks([0, 1], ["real", "fake"] if axes is panels[0] else ["", ""])
        axes.set(xlabel="verdict", ylabel="truth" if axes is panels[0] else "")
        axes.set_title(scored.name, fontsize=TEXT, pad=4)
        dress(axes)
    return figure


def confusion(scored: Scores, threshold: float = 0.5) -> NDArray[np.int64]:
    """(2, 2) clips: truth by verdict, 0 = real, 1 = fake."""
    called = scored.scores > threshold
    return np.asarray(confusion_matrix(scored.labels, called, labels=[0, 1]), dtype=np.int64)


def draw_categories(found: Mapping[str, DetectionMetrics]) -> Figure:
    """Accuracy by manipulation, a bar for each network.

    Args:
        found: network -> metrics with ``by_category``; all have the same categories.
    """
    names = sorted(next(iter(found.values())).by_category, key=lambda name: (name != "real", name))
    figure, axes = column_axes(0.8 + 0.28 * len(names))
    thickness = 0.8 / len(found)
    for index, (network, metrics) in enumerate(found.items()):
        places = np.arange(len(names)) + (index - (len(found) - 1) / 2) * thickness
        values = [100 * (metrics.by_category[name].accuracy or 0.0) for name in names]
        axes.barh(places, values, 0.92 * thickness, color=LINES[network][0], label=network)
        for place in places[np.array(values) == 0]:
            axes.text(1, place, "0", va="center", fontsize=SMALL, color=LINES[network][0])
    counts = next(iter(found.values())).by_category
    axes.set_yticks(
        range(len(names)), [f"{name} ({counts[name].num_clips})" for name in names], parse_math=False
    )
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="accuracy, % (in brackets: clips)")
    axes.grid(axis="x", alpha=0.25)
    legend_above(figure, axes, 3)
    return figure


def _called_fake(
    scored: Scores, rng: np.random.Generator, num_bootstrap: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Real clips and fakes above a falling threshold in each resample.

    Returns:
        Both (num_bootstrap, thresholds + 1): 0 first, then as many as have at least each of the scores.
    """
    order = np.argsort(-scored.scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scored.scores[order])), len(order) - 1)
    drawn, labels = resamples(scored.labels, rng, num_bootstrap)[:, order], scored.labels[order]
    reals, fakes = (np.cumsum(drawn * (labels == label), axis=1)[:, ends] for label in (0, 1))
    nothing = np.zeros((num_bootstrap, 1), dtype=np.int64)
    return np.hstack([nothing, reals]), np.hstack([nothing, fakes])


def _band(drawn: Sequence[NDArray[np.float64]]) -> Band:
    low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    return Band(low, high)


def _draw_curve(
    axes: Axes,
    points: tuple[NDArray[np.float64], NDArray[np.float64]],
    band: Band,
    name: str,
    note: str,
    steps: Literal["default", "steps-post"] = "default",
) -> None:
    colour, line, _ = LINES[name]
    axes.fill_between(GRID, band.low, band.high, color=colour, alpha=0.13, linewidth=0)
    axes.plot(*points, line, color=colour, linewidth=1.2, label=f"{name}, {note}", drawstyle=steps)


def _square(across: str, up: str) -> tuple[Figure, Axes]:
    figure, axes = column_axes(3.1)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), xlabel=across, ylabel=up)
    axes.grid(alpha=0.25)
    return figure, axes
