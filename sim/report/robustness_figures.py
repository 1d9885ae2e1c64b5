"""The plots of `python -m sim audit robustness`: one for each degradation, and one for each network."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fl.data.degrade import UNITS
from sim.report.figures import DPI
from sim.report.robustness import network_names
from sim.report.saving import save_picture
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, RED

if TYPE_CHECKING:
    from sim.audits.robustness import Measurement, Robustness

Value = Callable[["Measurement"], float | None]
Style = tuple[str, str, str]

NETWORK_STYLES: Mapping[str, Style] = {
    "teacher": (GREY, "s", ":"),
    "dense": (BLUE, "o", "-"),
    "pruned": (GREEN, "^", "-"),
    "INT8": (RED, "D", "--"),
}
"""Network -> colour, marker and line, which differ without colour too."""

KEPT, RETUNED = "threshold kept", "threshold re-tuned"


def _point(which: str, key: str) -> Value:
    def value(measured: "Measurement") -> float | None:
        point = getattr(measured.threshold, which)
        return None if point is None else getattr(point, key)

    return value


COMPARED: Sequence[tuple[str, str, Value]] = (
    ("AUC on the test split", "AUC", lambda m: m.auc),
    ("Accuracy, threshold kept from clean clips", "accuracy", _point("before", "accuracy")),
    ("Accuracy, threshold tuned anew", "accuracy", _point("after", "accuracy")),
    ("False positive rate, threshold kept", "false positive rate", _point("before", "false_positive_rate")),
    ("Where the threshold would have to lie", "threshold, re-tuned", _point("after", "threshold")),
    ("Mean probability of fake", "probability", lambda m: m.mean_score),
)
"""Panels of a degradation's plot: title, y axis, and what is shown of each network."""

PARTS: Sequence[tuple[str, Sequence[tuple[str, Value, Style]]]] = (
    (
        "AUC, accuracy",
        (
            ("AUC", lambda m: m.auc, (GREY, "s", ":")),
            (f"accuracy, {KEPT}", _point("before", "accuracy"), (BLUE, "o", "-")),
            (f"accuracy, {RETUNED}", _point("after", "accuracy"), (GREEN, "^", "--")),
        ),
    ),
    (
        "false and true positive rate",
        (
            (f"false positives, {KEPT}", _point("before", "false_positive_rate"), (BLUE, "o", "-")),
            (f"false positives, {RETUNED}", _point("after", "false_positive_rate"), (GREEN, "^", "--")),
            (f"true positives, {KEPT}", _point("before", "true_positive_rate"), (ORANGE, "s", "-")),
            (f"true positives, {RETUNED}", _point("after", "true_positive_rate"), (RED, "D", "--")),
        ),
    ),
    (
        "threshold, mean probability",
        (
            (KEPT, _point("before", "threshold"), (BLUE, "o", "-")),
            (RETUNED, _point("after", "threshold"), (GREEN, "^", "--")),
            ("mean probability of fake", lambda m: m.mean_score, (GREY, "x", ":")),
        ),
    ),
)
"""Rows of a network's plot: y axis, and its lines."""


def draw_robustness(audit: "Robustness", folder: Path) -> list[Path]:
    """``robustness_<kind>.png`` with all networks, and ``robustness_<network>.png`` with all kinds.

    Raises:
        RunError: the folder cannot be written.
    """
    kinds = list(dict.fromkeys(m.kind for m in audit.measurements if m.level is not None))
    written = []
    for kind in kinds:
        written += save_picture(_compared(audit, kind), folder, f"robustness_{kind}")
    for name in network_names(audit) if kinds else ():
        written += save_picture(_network(audit, name, kinds), folder, f"robustness_{name.lower()}")
    return written


def _compared(audit: "Robustness", kind: str) -> Figure:
    figure = Figure(figsize=(13.5, 8.2), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    tuned = f"thresholds tuned on {audit.num_validation_clips} validation clips by the rule {audit.rule!r}"
    figure.suptitle(f"{kind}: {UNITS[kind]} ({audit.num_clips} test clips; {tuned})", fontsize=11)
    grid = figure.subplots(2, 3)
    for axes, (title, ylabel, value) in zip(grid.flat, COMPARED, strict=True):
        axes.set(title=title, ylabel=ylabel, xlabel=f"{kind}, worse to the right")
        for name in network_names(audit):
            _line(axes, _series(audit, name, kind), value, name, NETWORK_STYLES[name])
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _network(audit: "Robustness", name: str, kinds: Sequence[str]) -> Figure:
    figure = Figure(figsize=(1.5 + 3.1 * max(len(kinds), 3), 9.6), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"{name}: {audit.num_clips} test clips; thresholds tuned on {audit.num_validation_clips} validation "
        f"clips by the rule {audit.rule!r}",
        fontsize=11,
    )
    rows: Any = figure.subfigures(len(PARTS), 1)
    for index, (row, (ylabel, lines)) in enumerate(zip(rows, PARTS, strict=True)):
        grid = row.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, kind in zip(grid, kinds, strict=True):
            axes.set_title(kind if index == 0 else "", fontsize=10)
            for label, value, style in lines:
                _line(axes, _series(audit, name, kind), value, label, style)
            if index == len(PARTS) - 1:
                axes.set_xlabel(f"{kind}, worse to the right", fontsize=9)
        grid[0].set_ylabel(ylabel)
        handles, labels = grid[0].get_legend_handles_labels()
        row.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9, frameon=False)
    return figure


def _series(audit: "Robustness", name: str, kind: str) -> list["Measurement"]:
    """A network's measurements of one kind, clean first."""
    return [m for m in audit.measurements if m.network == name and (m.kind == kind or m.level is None)]


def _line(axes: Axes, series: Sequence["Measurement"], value: Value, label: str, style: Style) -> None:
    colour, marker, line = style
    heights = [float("nan") if (height := value(m)) is None else height for m in series]
    axes.plot(range(len(series)), heights, line, color=colour, marker=marker, markersize=5, label=label)
    ticks = ["clean" if m.level is None else f"{m.level:g}" for m in series]
    axes.set_xticks(range(len(series)), ticks)
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.25)
