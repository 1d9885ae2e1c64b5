"""What the audits' tables share: columns of numbers, and how a number is written."""

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from fl.metrics.threshold import OperatingPoint


def number_table(*headings: str, left: int = 1) -> Table:
    """A table whose first ``left`` columns are text, the others numbers."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index < left else "right", no_wrap=True)
    return table


def point_cells(point: "OperatingPoint | None") -> list[str]:
    """Threshold, accuracy, false and true positive rate, these three in %."""
    if point is None:
        return ["-"] * 4
    return [
        three(point.threshold),
        percent(point.accuracy),
        percent(point.false_positive_rate),
        percent(point.true_positive_rate),
    ]


def percent(value: float | None) -> str:
    """A share in %, without the sign; "-" where undefined."""
    return "-" if value is None else f"{100 * value:.1f}"


def three(value: float | None) -> str:
    """Three decimals; "-" where undefined."""
    return "-" if value is None else f"{value:.3f}"
