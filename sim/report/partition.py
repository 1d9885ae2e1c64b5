"""The picture of a partition: clients by categories, drawn from ``summary.json`` alone.

Clients run from left to right, in bands one below the other, so that the counts of a hundred can be read. A
band has bars (size of each client, real and fake) above a heat map (its clips by category, and by quality
where there are several).
"""

import json
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fl.data.clips import REAL
from fl.data.partition import divergences
from sim.record import SUMMARY_FILE, read_rounds
from sim.report.figures import DPI, footer_text
from sim.report.saving import save_picture
from sim.report.scatter import GREEN, GREY, ORANGE

CLIENTS_PER_BAND = 25
"""As many counts as can be read side by side."""

MAX_BANDS = 8
"""With more clients than fill these the bands get longer, and the counts are left out."""

PARAMETERS = {
    "dirichlet": "alpha",
    "dirichlet_label": "alpha",
    "zipf": "zipf_exponent",
    "lognormal": "lognormal_sigma",
}
"""Scheme -> the setting that says how skewed it is."""

_WIDTH, _RIGHT, _TOP, _BOTTOM = 13.5, 0.75, 0.75, 0.2  # inches: the widest figure, and its margins
_CELL, _ROW, _BARS, _GAP = 0.9, 0.25, 0.75, 0.55  # inches: widest column, row, bars, between bands
_NAME_LETTERS = 24


def draw_partition(run_dir: Path) -> list[Path]:
    """Draw ``figures/partition.png`` of a run's folder.

    Args:
        run_dir: with ``summary.json``, unless the run was interrupted.

    Returns:
        The PNG file; none for a run without a summary.
    """
    path = run_dir / SUMMARY_FILE
    if not path.is_file():
        return []
    summary = json.loads(path.read_text(encoding="utf-8"))
    footer = footer_text(run_dir.name, summary, read_rounds(run_dir))
    return save_picture(partition_figure(summary["partition"], footer), run_dir / "figures", "partition")


class _Clients(NamedTuple):
    """Clients side by side.

    Attributes:
        sizes: (clients,) clips.
        num_real: (clients,) real clips.
        counts: (clients, rows) clips by category, then by quality if there are several.
        lacks: what each device cannot record.
    """

    sizes: NDArray[np.int64]
    num_real: NDArray[np.int64]
    counts: NDArray[np.int64]
    lacks: NDArray[np.str_]

    def between(self, first: int, stop: int) -> "_Clients":
        """Those from ``first`` up to ``stop``."""
        some = slice(first, stop)
        return _Clients(self.sizes[some], self.num_real[some], self.counts[some], self.lacks[some])


def partition_figure(partition: Mapping[str, Any], footer: str) -> Figure:
    """Clients by categories: counts as numbers, shares of the client's clips as shades.

    Args:
        partition: as in ``summary.json``: the keys of `PartitionSettings` and of `PartitionSkew`.
        footer: where the numbers come from.
    """
    names, clients = _read(partition)
    num_bands = min(math.ceil(len(clients.sizes) / CLIENTS_PER_BAND), MAX_BANDS)
    columns = math.ceil(len(clients.sizes) / num_bands)
    left = 0.45 + 0.075 * max(map(len, names))
    cell = min(_CELL, (_WIDTH - left - _RIGHT) / columns)
    heat_height = len(names) * _ROW
    band = _BARS + heat_height + _GAP
    width, height = max(left + columns * cell + _RIGHT, 8.5), _TOP + num_bands * band + _BOTTOM
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)

    def axes_at(x: float, y: float, wide: float, high: float) -> Axes:
        """Axes in inches from the upper left corner of the figure."""
        return figure.add_axes((x / width, 1 - (y + high) / height, wide / width, high / height))

    for index, first in enumerate(range(0, len(clients.sizes), columns)):
        own = clients.between(first, first + columns)
        wide, y = len(own.sizes) * cell, _TOP + index * band
        bars, heat = axes_at(left, y, wide, _BARS), axes_at(left, y + _BARS, wide, heat_height)
        _draw_bars(bars, own, int(clients.sizes.max()))
        shades = _draw_heat(heat, own, names)
        heat.axhline(len(partition["categories"]) - 0.5, color=GREY, linewidth=1)
        _name_clients(heat, first, own)
        if not index:
            bars.legend(loc="lower left", bbox_to_anchor=(1, 0.2), fontsize=7, frameon=False, handlelength=1)
            scale = axes_at(left + wide + 0.12, y + _BARS, 0.1, heat_height)
            figure.colorbar(shades, cax=scale, format="{x:.0%}").ax.tick_params(labelsize=6.5, length=2)
    _write(figure, partition, footer, left / width)
    return figure


def _read(partition: Mapping[str, Any]) -> tuple[list[str], _Clients]:
    """The rows of the heat map, and the clients."""
    by_category = np.array(partition["counts"], dtype=np.int64)
    names, counts = list(partition["categories"]), by_category
    if len(partition["qualities"]) > 1:
        names += partition["qualities"]
        counts = np.hstack([counts, np.array(partition["quality_counts"], dtype=np.int64)])
    num_real = by_category[:, [name == REAL for name in partition["categories"]]].sum(axis=1)
    shortened = [textwrap.shorten(name, _NAME_LETTERS, placeholder="...") for name in names]
    return shortened, _Clients(by_category.sum(axis=1), num_real, counts, np.array(partition["lacks"]))


def _draw_bars(axes: Axes, clients: _Clients, largest: int) -> None:
    """Size of each client, real clips below fakes, on the same scale in all bands."""
    places, num_fake = np.arange(len(clients.sizes)), clients.sizes - clients.num_real
    axes.bar(places, clients.num_real, 0.75, color=GREEN, label="real")
    fake = axes.bar(places, num_fake, 0.75, clients.num_real, color=ORANGE, hatch="///", label="fake")
    for bar in fake:
        bar.set(edgecolor="white", linewidth=0)
    if len(places) <= CLIENTS_PER_BAND:
        for place, size in enumerate(clients.sizes):
            axes.text(place, size, str(size), ha="center", va="bottom", fontsize=6.5, color=GREY)
    axes.set(xlim=(-0.5, len(places) - 0.5), ylim=(0, 1.35 * largest), xticks=[], yticks=[0, largest])
    axes.tick_params(labelsize=6.5)
    axes.set_ylabel("clips", fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_heat(axes: Axes, clients: _Clients, names: list[str]) -> QuadMesh:
    """Shares of each client's clips as shades, and the counts that are not zero."""
    shares = clients.counts / clients.sizes[:, None]
    readable = len(shares) <= CLIENTS_PER_BAND
    x, y = (np.arange(length + 1) - 0.5 for length in shares.shape)
    shades = axes.pcolormesh(x, y, shares.T, cmap="Blues", vmin=0, vmax=1, edgecolors="white")
    shades.set_linewidth(0.5 if readable else 0)
    axes.set_yticks(range(len(names)), names, fontsize=7.5, parse_math=False)
    axes.invert_yaxis()
    if readable:
        for place, row in zip(*np.nonzero(clients.counts), strict=True):
            colour = "white" if shares[place, row] > 0.55 else "black"
            count = str(clients.counts[place, row])
            axes.text(place, row, count, ha="center", va="center", fontsize=6.5, color=colour)
    return shades


def _name_clients(axes: Axes, first: int, clients: _Clients) -> None:
    """Client ids below a band, with what each client's device cannot record."""
    step = math.ceil(len(clients.sizes) / CLIENTS_PER_BAND)
    places = range(0, len(clients.sizes), step)
    notes = [f"\nno {name}" if name and step == 1 else "" for name in clients.lacks[::step]]
    names = [f"{first + place}{note}" for place, note in zip(places, notes, strict=True)]
    axes.set_xticks(list(places), names, fontsize=6.5)
    axes.tick_params(length=2)


def _write(figure: Figure, partition: Mapping[str, Any], footer: str, left: float) -> None:
    """Title, key and footer."""
    height = figure.get_figheight()
    scheme = partition["scheme"]
    parameter = PARAMETERS.get(scheme)
    title = f"Partition {scheme}" + (f", {parameter} {partition[parameter]:g}" if parameter else "")
    title += f": {len(partition['sizes'])} clients, divergence {divergences(partition)}"
    key = "number: clips; shade: share of the client's clips; below: client; divergence 0 = IID"
    for name in sorted(set(partition["lacks"]) - {""}):
        key += f"; {partition['lacks'].count(name)} clients lack {name}"
    figure.text(left, 1 - 0.3 / height, title, fontsize=11)
    figure.text(left, 1 - 0.5 / height, key, fontsize=7.5, color=GREY)
    lines = "\n".join(textwrap.wrap(footer, int(18 * figure.get_figwidth())))
    figure.text(0.01, 0.05 / height, lines, fontsize=7.5, color=GREY, parse_math=False)
