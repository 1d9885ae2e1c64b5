"""`python -m sim reproduce PRESET --counts-only [--json]`: published numbers beside measured ones."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fl.errors import RequestError
from sim.commands.arguments import Parser

if TYPE_CHECKING:
    from fl.compress.thesis import PrunedCount

PRESETS = ("thesis_kd_pruning",)


def main(argv: Sequence[str]) -> int:
    """Print the table, or with ``--json`` a list of objects.

    Raises:
        RequestError: more is asked for than the counts, or the file of weights is missing.
    """
    asked = _parser().parse_args(argv)
    if not asked.counts_only:
        raise RequestError(f"reproduce {asked.preset} compares parameter counts only: add --counts-only")
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


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sim reproduce", description="A published table beside the same numbers measured here."
    )
    parser.add_argument("preset", choices=PRESETS, help="the publication")
    parser.add_argument("--counts-only", action="store_true", help="parameters after pruning; no training")
    parser.add_argument("--json", action="store_true", help="print a JSON list of ratio and num_parameters")
    parser.add_argument("--weights", type=Path, help="a local file of timm's Lite0 weights; else random")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the pictures (0)")
    return parser


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
