"""The table of `python -m sim export`, at most 100 columns wide."""

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from fl.export.manifest import Export

WIDTH = 100


def print_exports(folder: str, exports: "list[Export]") -> None:
    """One row per file: its size and its largest differences from PyTorch."""
    console = Console(width=WIDTH, file=sys.stdout)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("file\n", no_wrap=True)
    for heading in ("size\nMB", "batch\n", "clips\n", "largest\nlogit", "difference\nprob.", "of\nmap"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("\n", no_wrap=True)
    for export in exports:
        parity, batch = export.parity, "-"
        if export.inputs is not None:
            batch = "any" if export.inputs["frames"][0] == "batch" else "1"
        differences = (
            ("-", "-", "-")
            if parity is None
            else tuple(
                _show(value) for value in (parity.logits_max, parity.probability_max, parity.explanation_max)
            )
        )
        table.add_row(
            export.file or export.format,
            "-" if export.size_bytes is None else f"{export.size_bytes / 1e6:.2f}",
            batch,
            "-" if parity is None else str(parity.num_clips),
            *differences,
            {None: "as shipped", True: "pass", False: "FAIL"}[export.passed],
        )
    console.print(f"Exports in {folder}", highlight=False, soft_wrap=True)
    console.print(table)


def _show(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1e}"
