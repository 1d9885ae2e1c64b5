"""The privacy study as curves over epsilon, with the range over seeds as error bars."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sim.report.figures import DPI
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, RED
from sim.studies.privacy_utility import PrivacyUtility, Row

PANELS = (
    ("Utility: test accuracy", "accuracy, %", (("accuracy", "student", BLUE),)),
    ("Utility: area under the ROC curve", "AUC, test clips", (("auc", "student", BLUE),)),
    (
        "Explanations kept (EPS)",
        "EPS, -1 to 1",
        (("eps", "student", GREEN), ("shuffled", "shuffled baseline", GREY)),
    ),
    ("Membership inference by the loss", "attack AUC, .5 is chance", (("attack_auc", "attack", RED),)),
    (
        "Epsilon: accounted, and shown by canaries",
        "epsilon",
        (("epsilon", "accounted (PLD)", BLUE), ("empirical", "shown: lower bound", ORANGE)),
    ),
    ("Latency of the INT8 student", "ms, batch 1, one thread", (("latency", "student", BLUE),)),
)
"""Title, axis, and curves: measure, name, colour."""


def privacy_figure(outcome: PrivacyUtility) -> Figure:
    """Six panels; the last point of each has no noise."""
    figure = Figure(figsize=(11.5, 6.6), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    names = ["no noise" if row.epsilon is None else f"{row.epsilon:g}" for row in outcome.rows]
    for axes, (title, label, curves) in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
        axes.set(title=title, ylabel=label, xlabel="epsilon")
        for place, (key, name, colour) in enumerate(curves):
            _curve(axes, outcome.rows, key, name, colour, 0.06 * place)
        if title.startswith("Membership"):
            axes.axhline(0.5, color=GREY, linewidth=1, linestyle="--")
            reach = max(0.1, *(abs(limit - 0.5) for limit in axes.get_ylim()))
            axes.set_ylim(0.5 - reach, 0.5 + reach)
        if title.startswith("Latency"):
            axes.set_ylim(bottom=0)
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=8)
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.3, len(names) - 0.6)
        axes.grid(alpha=0.25)
    return figure


def _curve(axes: Axes, rows: Sequence[Row], key: str, name: str, colour: str, shift: float) -> None:
    points = [(place, row.spreads[key]) for place, row in enumerate(rows) if key in row.spreads]
    spreads = [spread for _, spread in points]
    axes.errorbar(
        [place + shift for place, _ in points],
        [spread.mean for spread in spreads],
        yerr=[[s.mean - s.low for s in spreads], [s.high - s.mean for s in spreads]],
        color=colour,
        marker="o",
        capsize=3,
        linewidth=1.4,
        markersize=5,
        label=name,
    )
