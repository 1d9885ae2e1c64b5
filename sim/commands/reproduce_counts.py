"""`python -m sim reproduce thesis_kd_pruning --counts-only`: parameters left by each published ratio."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fl.errors import RequestError

if TYPE_CHECKING:
    from fl.compress.thesis import PrunedCount


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

    counts = list(pruned_counts(asked.seed, False if asked.weights is None else str(asked.weights)))
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
            f"{count.published:,}",
            f"{count.num_parameters:,}",
            f"{count.num_parameters / count.published - 1:+.2%}",
        )
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    console.print(
        f"Not the same: {weights} weights, seed {seed}; gradients from noise; no training between the steps.",
        highlight=False,
    )
