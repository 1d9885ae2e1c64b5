"""The tables of `python -m sim audit compression`, at most 100 columns wide."""

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from sim.audits.compression_aims import Aim, Compression

WIDTH = 100


def print_compression(told: "Compression") -> None:
    """Print one row per network and variant, the aims, and where the figure is."""
    console = Console(width=WIDTH, file=sys.stdout)
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading in ("network\n", "variant\n"):
        table.add_column(heading, no_wrap=True)
    headings = ("param.\nM", "MACs\nM", "size\nMB", "p50\nms", "x\nteacher", "x\ndense", "acc.\n%", "AUC\n")
    for heading in (*headings, "EPS\n(shuffled)", "flips\n"):
        table.add_column(heading, justify="right", no_wrap=True)
    before = ""
    for row in told.rows:
        if before and row.network != before:
            table.add_section()
        first, before = row.network != before, row.network
        table.add_row(
            row.network if first else "",
            row.variant,
            f"{row.num_parameters / 1e6:.2f}" if first else "",
            f"{row.macs / 1e6:,.0f}" if first else "",
            f"{row.size_bytes / 1e6:.2f}",
            f"{row.latency_ms_p50:.2f}",
            f"{row.speedup_teacher:.1f}",
            f"{row.speedup_dense:.2f}",
            "-" if row.accuracy is None else f"{100 * row.accuracy:.1f}",
            _show(row.auc, ".3f"),
            f"{_show(row.eps, '.2f')} ({_show(row.eps_shuffled, '.2f')})",
            str(row.num_flips),
        )
    for line in _heading(told):
        console.print(line, highlight=False, markup=False)
    console.print(table)
    for aim in told.aims:
        console.print(
            f"{_verdict(aim):10s}{aim.text}: {aim.told}", highlight=False, markup=False, soft_wrap=True
        )
    console.print(f"Figure: {told.figure}", highlight=False, markup=False, soft_wrap=True)


def _heading(told: "Compression") -> list[str]:
    whole = "backbone channels" if told.targets == "backbone" else "channels, heads and units"
    shares = (
        f"share of all {whole}" if told.ratio_of == "channels" else f"share of all parameters ({whole} go)"
    )
    return [
        f"Compression of {told.run}: dense student of round {told.dense_round}, {told.num_clips} test clips",
        f"pruned: {shares}; widths are multiples of {told.round_to}",
        f"tuned, pruned: {told.num_epochs} epochs on the server's public clips, from the teacher",
    ]


def _verdict(aim: "Aim") -> str:
    return "not told" if aim.met is None else "met" if aim.met else "MISSED"


def _show(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
