"""The poisoning study as curves over the number of bad clients, with the range over seeds as error bars."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sim.report.figures import DPI
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY
from sim.studies.poisoning import Poisoning, Row
from sim.studies.poisoning_runs import BAD, NUM_CLIENTS, WITHSTANDS

STYLES = {
    "mean": (GREY, "x", "--"),
    "norm_clipping": (ORANGE, "s", "-"),
    "median": (BLUE, "o", "-"),
    "trimmed_mean": (SKY, "v", "-"),
    "geometric_median": (GREEN, "^", "-"),
    "krum": (PURPLE, "P", ":"),
    "multi_krum": (PURPLE, "D", "-"),
    "bulyan": (RED, "*", "-"),
}

PANELS = (
    ("sign_flip", "accuracy", "Sign flip: accuracy", "accuracy, %"),
    ("sign_flip", "eps", "Sign flip: EPS", "EPS, -0.5 to 1"),
    ("backdoor", "success", "Backdoor: fakes with the trigger called real", "share, %"),
    ("backdoor", "accuracy", "Backdoor: accuracy on clips without the trigger", "accuracy, %"),
)
"""Attack, measure, title, axis."""

_SHIFT = 0.05
"""Clients by which neighbouring curves are moved apart, so that their error bars do not hide each other."""


def poisoning_figure(outcome: Poisoning) -> Figure:
    """Two panels for each attack; a point that no run reached is left out."""
    figure = Figure(figsize=(11.5, 8.2), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(2, 2).flat)
    for axes, (attack, key, title, label) in zip(panels, PANELS, strict=True):
        axes.set(title=title, ylabel=label, xlabel=f"malicious clients of {NUM_CLIENTS}")
        for place, rule in enumerate(WITHSTANDS):
            rows = [row for row in outcome.rows if (row.attack, row.rule) == (attack, rule)]
            _curve(axes, [row for row in rows if key in row.spreads], key, rule, place)
        axes.set_xticks(BAD, [f"{bad}\n({100 * bad / NUM_CLIENTS:.0f} %)" for bad in BAD])
        axes.grid(alpha=0.25)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(STYLES), fontsize=8, frameon=False)
    return figure


def _curve(axes: Axes, rows: Sequence[Row], key: str, rule: str, place: int) -> None:
    colour, marker, line = STYLES[rule]
    spreads = [row.spreads[key] for row in rows]
    axes.errorbar(
        [row.num_bad + _SHIFT * (place - (len(STYLES) - 1) / 2) for row in rows],
        [spread.mean for spread in spreads],
        yerr=[[s.mean - s.low for s in spreads], [s.high - s.mean for s in spreads]],
        color=colour,
        marker=marker,
        linestyle=line,
        capsize=2.5,
        linewidth=1.3,
        markersize=5,
        label=rule.replace("_", " "),
    )
