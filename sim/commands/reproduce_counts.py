"""`python -m sim reproduce thesis_kd_pruning --counts-only`: parameters left by each published ratio."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fl.errors import RequestError
from sim.studies.published import PUBLISHED

if TYPE_CHECKING:
    from fl.compress.thesis import PrunedCount

PRINTED = {
    row.values["ratio"]: int(row.values["num_parameters"])
    for row in PUBLISHED["thesis_kd_pruning/figure_6_2_4_3_1"].rows
}
"""Ratio of channels -> parameters left."""


def print_counts(asked: Namespace) -> int:
    """Print the table, or with ``--json`` a list of objects.

    Raises:
        RequestError: another publication, or the file of weights is missing.
    """
    if asked.preset != "thesis_kd_pruning":
        raise RequestError(f"--counts-only is for thesis_kd_pruning, got {asked.preset}")
    if asked.weights is not None and not asked.weights.is_file():
        raise RequestError(f"--weights must name a file of timm's weights, got {asked.weights}: no such file")
    from fl.compress.thesis import pruned_counts

    pretrained = False if asked.weights is None else str(asked.weights)
    counts = list(pruned_counts(PRINTED, asked.seed, pretrained))
    if asked.json:
        rows = [{"ratio": count.ratio, "num_parameters": count.num_parameters} for count in counts]
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        _print_table(counts, "random" if asked.weights is None else asked.weights.name, asked.seed)
    return 0


def _print_table(counts: Sequence["PrunedCount"], weights: str, seed: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="EfficientNet-Lite0, global group Taylor, 5 steps: parameters")
    for heading in ("ratio", "published", "measured", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for count in counts:
        table.add_row(
            f"{count.ratio:.2f}",
            f"{PRINTED[count.ratio]:,}",
            f"{count.num_parameters:,}",
            f"{count.num_parameters / PRINTED[count.ratio] - 1:+.2%}",
        )
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    console.print(
        f"Not the same: {weights} weights, seed {seed}; gradients from noise; no training between the steps.",
        highlight=False,
    )
