"""The table and the plot of `python -m sim audit explanation`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from sim.progress import MAX_COLUMNS, clean
from sim.report.cells import number_table, three
from sim.report.figures import DPI
from sim.report.saving import save_picture
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, RED

if TYPE_CHECKING:
    from sim.audits.explanation import Area, Explanation

STYLES = {
    "deletion": (BLUE, "o", "-"),
    "moved_deletion": (ORANGE, "v", "--"),
    "insertion": (GREEN, "^", "-"),
    "moved_insertion": (RED, "D", "--"),
    "random": (GREY, "s", ":"),
}
"""Curve -> colour, marker and line, which differ without colour too."""


def print_explanation(audit: "Explanation") -> None:
    """The areas, and what they and EPS mean."""
    console = Console(width=MAX_COLUMNS, file=sys.stdout)

    def line(text: str) -> None:
        console.print(Text(clean(text)))

    line(f"Explanations of {audit.run}: {audit.num_clips} test clips, {audit.num_fake} fake")
    table = number_table(
        "network\n",
        "removed\n",
        "clips\n",
        "area:\ndel.",
        "\nins.",
        "\nrandom",
        "deletion below\nmoved map",
        "insertion above\nmoved map",
        left=2,
    )
    for row in audit.rows:
        areas = [three(area.mean) for area in (row.deletion, row.insertion, row.random)]
        gains = [_with_interval(gain) for gain in (row.deletion_gain, row.insertion_gain)]
        table.add_row(row.network, row.positions, str(row.num_clips), *areas, *gains)
    console.print(table)
    line(
        "Areas under the probability of the class that the network predicts, while positions are removed (or "
        "put back) in the map's order; random: in a random order, which scatters them. Moved map: the same "
        "holes elsewhere. A map is faithful where both gains over it, with 95 % intervals, lie above 0."
    )
    alike = audit.eps
    interval = "-" if alike.ci95 is None else f"[{alike.ci95[0]:.3f}, {alike.ci95[1]:.3f}]"
    line(
        f"EPS of the student's maps: {three(alike.mean)} {interval}; shuffled {three(alike.shuffled)}; "
        f"constant maps {alike.num_constant}"
    )
    console.print(Text(clean(audit.figure)), soft_wrap=True)


def _with_interval(area: "Area") -> str:
    return f"{area.mean:+.3f} [{area.ci95[0]:+.3f}, {area.ci95[1]:+.3f}]"


def draw_explanation(audit: "Explanation", folder: Path) -> list[Path]:
    """``explanation.png``: one panel for each network and kind of position.

    Raises:
        RunError: the folder cannot be written.
    """
    names = list(dict.fromkeys(row.network for row in audit.rows))
    kinds = list(dict.fromkeys(row.positions for row in audit.rows))
    figure = Figure(figsize=(1 + 4 * len(names), 0.9 + 3.2 * len(kinds)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Are the maps faithful? Mean over at most {audit.num_clips} test clips", fontsize=11)
    grid = figure.subplots(len(kinds), len(names), sharex=True, sharey=True, squeeze=False)
    for row in audit.rows:
        axes = grid[kinds.index(row.positions)][names.index(row.network)]
        for name, (colour, marker, style) in STYLES.items():
            label = name.replace("moved_", "moved map's ")
            axes.plot(row.shares, row.curves[name], color=colour, marker=marker, linestyle=style, label=label)
        axes.set_title(f"{row.network}: {row.positions}", fontsize=10)
        axes.grid(alpha=0.25)
    for axes in grid[-1]:
        axes.set_xlabel("share removed (or put back)")
    for axes in grid[:, 0]:
        axes.set_ylabel("probability of\nthe predicted class")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return save_picture(figure, folder, "explanation")
