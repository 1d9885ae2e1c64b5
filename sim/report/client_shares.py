"""Clients by manipulation in one column, for the report; `sim.report.partition` draws the wide picture."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sim.report.column import SMALL, column_axes

MAX_COUNTS = 12
"""With more clients the cells are too narrow for counts."""
MAX_NAMES = 24
"""Labels along the axis; half as many of three digits."""
_NAME_LETTERS = 18


def draw_client_shares(partition: Mapping[str, Any]) -> Figure:
    """Clips of each client by category: counts as numbers, shares of the client's clips as shades.

    Args:
        partition: as in ``summary.json``.
    """
    counts = np.array(partition["counts"], dtype=np.int64)
    names = [textwrap.shorten(name, _NAME_LETTERS, placeholder="...") for name in partition["categories"]]
    sizes = counts.sum(axis=1)
    shares = counts / np.maximum(sizes[:, None], 1)
    readable = len(counts) <= MAX_COUNTS
    figure, axes = column_axes(0.9 + 0.17 * len(names))
    x, y = (np.arange(length + 1) - 0.5 for length in shares.shape)
    shades = axes.pcolormesh(x, y, shares.T, cmap="Blues", vmin=0, vmax=1, edgecolors="white")
    shades.set_linewidth(0.5 if readable else 0)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()
    if readable:
        for client, row in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[client, row] > 0.55 else "black"
            text = str(counts[client, row])
            axes.text(client, row, text, ha="center", va="center", fontsize=SMALL, color=colour)
    num_names = MAX_NAMES if len(counts) <= 100 else MAX_NAMES // 2
    places = list(range(0, len(counts), math.ceil(len(counts) / num_names)))
    lines = [f"{place}\n({sizes[place]})" if readable else str(place) for place in places]
    axes.set_xticks(places, lines)
    axes.set_xlabel("client (clips)" if readable else "client")
    bar = figure.colorbar(shades, ax=axes, format="{x:.0%}", aspect=12, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL, length=2)
    bar.outline.set_visible(False)
    return figure
