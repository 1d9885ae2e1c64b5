"""The tables and the plot of `python -m sim audit baselines`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sklearn.metrics import roc_curve

from fl.data.clips import REAL
from sim.audits.prediction_table import TEST, columns
from sim.progress import MAX_COLUMNS, clean
from sim.report.cells import number_table, percent, three
from sim.report.figures import DPI
from sim.report.saving import save_picture
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, PURPLE, RED

if TYPE_CHECKING:
    from sim.audits.baselines import Baselines
    from sim.audits.prediction_table import ClipScore, ModelResult

LOOKS = ((BLUE, "-"), (ORANGE, "-."), (GREEN, "--"), (PURPLE, ":"), (RED, (0, (5, 1, 1, 1, 1, 1))))
"""Colour and line of each model in its order; they differ without colour too."""

WIDTH = 0.38
"""Of a bar; 1 is the distance of two models."""


def print_baselines(audit: "Baselines") -> None:
    """Accuracies and ranking, verdicts, accuracy by manipulation, then what trained whom."""
    console = Console(width=MAX_COLUMNS, file=sys.stdout)

    def line(text: str) -> None:
        console.print(Text(clean(text)))

    counts = ", ".join(f"{number} {split}" for split, number in audit.clips.items())
    line(f"Baselines of {audit.run}: {counts} clips")
    console.print(_accuracies(audit.results))
    line(
        "McNemar p: exact test against the student on the test clips; above .05 the two cannot be told "
        "apart. cv: accuracy on held-out training clips, identities kept together, by which the setting "
        "was chosen."
    )
    console.print(_verdicts(audit.results))
    console.print(_categories(audit.results))
    for note in audit.notes:
        line(note)
    for path in (audit.table, audit.figure):
        console.print(Text(clean(path)), soft_wrap=True)


def _accuracies(results: Sequence["ModelResult"]) -> Table:
    table = number_table(
        "model\n",
        "train.\nclips",
        "acc. %\ntrain.",
        "\ntest",
        "\ngap",
        "test\nAUC",
        "[95 %]\n",
        "EER\n%",
        "McNemar\np",
    )
    for result in results:
        interval = result.auc_ci95
        table.add_row(
            result.model,
            str(result.num_training_clips) if result.trained_on else "-",
            percent(result.training_accuracy),
            percent(result.test_accuracy),
            percent(result.gap),
            three(result.auc),
            "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
            percent(result.eer),
            "" if result.p_value is None else f"{result.p_value:.2g}",
        )
    return table


def _verdicts(results: Sequence["ModelResult"]) -> Table:
    table = number_table(
        "model\n", "F1\n", "real\nright", "\nwrong", "fake\nwrong", "\nright", "cv\nacc. %", "setting\n"
    )
    for result in results:
        chosen = ", ".join(
            f"{key} {'none' if value is None else format(value, 'g')}" for key, value in result.chosen.items()
        )
        table.add_row(
            result.model,
            three(result.f1),
            str(result.true_negatives),
            str(result.false_positives),
            str(result.false_negatives),
            str(result.true_positives),
            percent(result.cv_accuracy) if result.chosen else "",
            chosen,
        )
    return table


def _categories(results: Sequence["ModelResult"]) -> Table:
    table = number_table("test acc. %", *(result.model for result in results))
    for name in sorted(results[0].by_category, key=lambda name: (name != REAL, name)):
        table.add_row(clean(name), *(percent(result.by_category[name]) for result in results))
    return table


def draw_baselines(audit: "Baselines", rows: Sequence["ClipScore"], folder: Path) -> list[Path]:
    """``baselines.png``: training and test accuracy with the gap, and the ROC of all models.

    Args:
        audit: what the rows say.
        rows: the table of predictions.
        folder: made if it is not there.

    Raises:
        RunError: the folder cannot be written.
    """
    figure = Figure(figsize=(13, 5.2), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.45, 1))
    _draw_bars(left, audit.results)
    _draw_roc(right, audit.results, [row for row in rows if row.split == TEST])
    return save_picture(figure, folder, "baselines")


def _draw_bars(axes: Axes, results: Sequence["ModelResult"]) -> None:
    for index, result in enumerate(results):
        colour = LOOKS[index][0]
        heights = [100 * (value or 0.0) for value in (result.training_accuracy, result.test_accuracy)]
        axes.bar(index - WIDTH / 2, heights[0], WIDTH, facecolor="white", edgecolor=colour, hatch="///")
        axes.bar(index + WIDTH / 2, heights[1], WIDTH, color=colour, edgecolor=colour)
        for place, value, height in zip(
            (index - WIDTH / 2, index + WIDTH / 2),
            (result.training_accuracy, result.test_accuracy),
            heights,
            strict=True,
        ):
            axes.text(place, height + 1, percent(value), ha="center", fontsize=9)
        if result.gap is not None:
            text = f"gap {100 * result.gap:+.1f}"
            axes.text(index, max(heights) + 7, text, ha="center", fontsize=10, fontweight="bold")
    axes.bar(0, 0, facecolor="white", edgecolor=GREY, hatch="///", label="on the clips that trained it")
    axes.bar(0, 0, color=GREY, label="on test clips")
    judged = results[0]
    num_real = judged.true_negatives + judged.false_positives
    num_fake = judged.true_positives + judged.false_negatives
    larger = 100 * max(num_real, num_fake) / (num_real + num_fake)
    axes.axhline(larger, color=GREY, linestyle=":", linewidth=1, label="always the commoner class")
    axes.set_xticks(range(len(results)), [result.model for result in results])
    axes.set(
        ylim=(0, 130), yticks=range(0, 101, 20), ylabel="accuracy, %", title="Training and test accuracy"
    )
    axes.legend(loc="upper center", ncols=3, fontsize=9)


def _draw_roc(axes: Axes, results: Sequence["ModelResult"], test: Sequence["ClipScore"]) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="chance")
    for (colour, style), result in zip(LOOKS, results, strict=True):
        labels, scores = columns(test, result.model)
        if result.auc is not None:
            false_positive, true_positive, _ = roc_curve(labels, scores)
            label = f"{result.model}, AUC {result.auc:.3f}"
            axes.plot(false_positive, true_positive, color=colour, linestyle=style, linewidth=2, label=label)
    axes.set(
        xlabel="false positive rate", ylabel="true positive rate", title=f"ROC on {len(test)} test clips"
    )
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", fontsize=9)
