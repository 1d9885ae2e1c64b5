"""The table and the plots of `python -m sim audit robustness`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fl.data.degrade import UNITS
from sim.progress import MAX_COLUMNS, clean
from sim.report.figures import DPI
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, RED

if TYPE_CHECKING:
    from sim.commands.audit_robustness import Measurement, Robustness

STYLES = {
    "teacher": (GREY, "s", ":"),
    "student": (BLUE, "o", "-"),
    "pruned": (GREEN, "^", "-"),
    "INT8": (RED, "D", "--"),
}
"""Network -> colour, marker and line, which differ without colour too."""

PANELS = (
    ("auc", "AUC", "AUC on the test split"),
    ("accuracy", "accuracy, threshold 0.5", "Accuracy at the threshold in use"),
    ("best_threshold", "best threshold", "Where the threshold would have to lie"),
)


def print_robustness(audit: "Robustness") -> None:
    """One row per quality, three columns per network; at most 100 columns wide."""
    console = Console(width=MAX_COLUMNS, file=sys.stdout)
    networks = _networks(audit)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("quality\n", no_wrap=True)
    for name in networks:
        for heading in (f"{name}\nAUC", "\nacc. %", "\nthr."):
            table.add_column(heading, justify="right", no_wrap=True)
    by_quality: dict[tuple[str, float | None], dict[str, Measurement]] = {}
    for measured in audit.measurements:
        by_quality.setdefault((measured.kind, measured.level), {})[measured.network] = measured
    for (kind, level), row in by_quality.items():
        cells = [cell for name in networks for cell in _cells(row[name])]
        table.add_row(kind if level is None else f"{kind} {level:g}", *cells)
    title = f"Robustness of {audit.run}: {audit.num_clips} test clips, {audit.num_fake} fake"
    console.print(Text(clean(title)))
    console.print(table)
    console.print(
        "acc.: at threshold 0.5; thr.: the threshold that is best at this quality (Youden)", highlight=False
    )
    for line in (*audit.notes, *audit.figures):
        console.print(Text(clean(line)), soft_wrap=True)


def draw_robustness(audit: "Robustness", folder: Path) -> list[Path]:
    """One PNG per kind: AUC, accuracy and best threshold over the levels, clean first."""
    folder.mkdir(exist_ok=True)
    written = []
    for kind in dict.fromkeys(measured.kind for measured in audit.measurements if measured.level is not None):
        figure = Figure(figsize=(13.5, 4.6), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(f"{kind}: {UNITS[kind]} ({audit.num_clips} test clips)", fontsize=11)
        for axes, panel in zip(figure.subplots(1, 3), PANELS, strict=True):
            _draw(axes, audit, kind, *panel)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        written.append(folder / f"robustness_{kind}.png")
        figure.savefig(written[-1], dpi=DPI)
    return written


def _draw(axes: Axes, audit: "Robustness", kind: str, key: str, ylabel: str, title: str) -> None:
    axes.set(title=title, ylabel=ylabel, xlabel=f"{kind}, worse to the right", ylim=(-0.03, 1.03))
    levels: Sequence[float | None] = [
        None,
        *dict.fromkeys(m.level for m in audit.measurements if m.kind == kind),
    ]
    for name in _networks(audit):
        mine = {m.level: getattr(m, key) for m in audit.measurements if m.network == name and m.kind == kind}
        first = next(m for m in audit.measurements if m.network == name and m.level is None)
        heights = [getattr(first, key), *(mine[level] for level in levels[1:])]
        colour, marker, line = STYLES[name]
        shown = [float("nan") if height is None else height for height in heights]
        axes.plot(range(len(levels)), shown, line, color=colour, marker=marker, markersize=5, label=name)
    axes.axhline(0.5, color=ORANGE, linewidth=0.8, linestyle="-.", zorder=0)
    axes.set_xticks(range(len(levels)), ["clean" if level is None else f"{level:g}" for level in levels])
    axes.grid(alpha=0.25)


def _cells(measured: "Measurement") -> list[str]:
    accuracy = "-" if measured.accuracy is None else f"{100 * measured.accuracy:.1f}"
    return [_three(measured.auc), accuracy, _three(measured.best_threshold)]


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _networks(audit: "Robustness") -> list[str]:
    return list(dict.fromkeys(measured.network for measured in audit.measurements))
