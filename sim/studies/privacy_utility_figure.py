"""The privacy study as curves over epsilon, with the range over seeds as error bars."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sim.report.figures import DPI
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, RED
from sim.studies.privacy_utility import PrivacyUtility, Row
from sim.studies.privacy_utility_runs import EPSILONS

PANELS = (
    ("Utility: test accuracy", "accuracy, %", (("central", "accuracy", "student", BLUE),)),
    ("Utility: area under the ROC curve", "AUC, test clips", (("central", "auc", "student", BLUE),)),
    (
        "Explanations kept (EPS)",
        "EPS, -1 to 1",
        (("central", "eps", "student", GREEN), ("central", "shuffled", "shuffled baseline", GREY)),
    ),
    (
        "Who took part, from released students",
        "attack AUC, .5 is chance",
        (
            ("central", "canary_auc", "made-up clients", ORANGE),
            ("central", "attack_auc", "real clips, by loss", RED),
        ),
    ),
    (
        "Who took part, from single updates",
        "attack AUC, .5 is chance",
        (
            ("local", "person_auc", "person, by gradient", ORANGE),
            ("local", "clip_auc", "clip, by gradient", RED),
            ("local", "loss_auc", "clip, by loss", GREY),
        ),
    ),
    (
        "Epsilon: accounted, and shown",
        "epsilon",
        (
            ("central", "epsilon", "accounted (PLD)", BLUE),
            ("central", "empirical", "shown by canaries", ORANGE),
        ),
    ),
)
"""Title, axis, and curves: part of the study, measure, name, colour."""


def privacy_figure(outcome: PrivacyUtility) -> Figure:
    """Six panels; the last point of each has no noise."""
    figure = Figure(figsize=(11.5, 6.6), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    names = ["no noise" if epsilon is None else f"{epsilon:g}" for epsilon in EPSILONS]
    for axes, (title, label, curves) in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
        axes.set(title=title, ylabel=label, xlabel="epsilon")
        for place, (part, key, name, colour) in enumerate(curves):
            rows = [row for row in outcome.rows if row.part == part]
            _curve(axes, rows, key, name, colour, 0.06 * place)
        if title.startswith("Who took part"):
            axes.axhline(0.5, color="black", linewidth=0.8, linestyle="--")
            axes.set_ylim(0.4, 1.02)
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=8, loc="upper left")
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
