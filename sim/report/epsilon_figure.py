"""What a private run has spent round by round, by both accountants, beside what it may spend."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sim.report.column import SMALL, column_axes, legend_above
from sim.report.figures import value_at
from sim.report.scatter import BLUE, GREY, ORANGE
from sim.round_record import RoundRecord

CURVES = (
    ("privacy loss distributions", "epsilon_pld", (BLUE, "-", "o")),
    ("Rényi divergence", "epsilon_rdp", (ORANGE, "--", "s")),
)
FEW_ROUNDS = 15
"""Of more, markers are small."""
SEEN = 0.02
"""Of the largest value; less cannot be seen."""


def draw_epsilon(rounds: Sequence[RoundRecord], settings: Mapping[str, Any]) -> Figure | None:
    """Epsilon after each round; None of a run that has none.

    Shaded: from the client that spent least to the one that spent most, where each has its own account.

    Args:
        rounds: of one run, oldest first.
        settings: of the run, by dotted key.
    """
    numbers = [record["round_index"] for record in rounds]
    figure, axes = column_axes(2.3)
    for label, key, (colour, line, marker) in CURVES:
        values = [_number(value_at(record, ("privacy", key))) for record in rounds]
        if not any(map(math.isfinite, values)):
            return None
        size = 3.5 if len(rounds) <= FEW_ROUNDS else 2.0
        axes.plot(
            numbers, values, line, color=colour, marker=marker, markersize=size, linewidth=1, label=label
        )
    _shade_clients(axes, rounds)
    budget, what = _budget(settings)
    if budget:
        axes.axhline(budget, color=GREY, linestyle=":", linewidth=1)
        axes.annotate(
            f"{what} {budget:g}", (0.02, budget), xycoords=("axes fraction", "data"), xytext=(0, -2),
            textcoords="offset points", va="top", fontsize=SMALL, color=GREY,
        )  # fmt: skip
    axes.set(xlabel="round", ylabel="epsilon spent", xlim=(numbers[0] - 0.5, numbers[-1] + 0.5))
    axes.set_ylim(0, 1.1 * max(axes.dataLim.y1, budget))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25)
    legend_above(figure, axes, 2)
    return figure


def _shade_clients(axes: Axes, rounds: Sequence[RoundRecord]) -> None:
    """From the least to the most that a client has spent; nothing where none can be seen."""
    accounts = [value_at(record, ("privacy", "clients")) or [] for record in rounds]
    spent = [[_number(client["epsilon_pld"]) for client in clients] for clients in accounts]
    if not all(spent):
        return
    low, high = [min(each) for each in spent], [max(each) for each in spent]
    if any(most - least > SEEN * max(high) for least, most in zip(low, high, strict=True)):
        numbers = [record["round_index"] for record in rounds]
        axes.fill_between(
            numbers, low, high, color=BLUE, alpha=0.15, linewidth=0, label="from client to client"
        )


def _budget(settings: Mapping[str, Any]) -> tuple[float, str]:
    """The largest epsilon that may be spent, 0 where there is no limit; and what it is called."""
    for key, what in (("privacy.budget_epsilon", "budget"), ("privacy.target_epsilon", "target")):
        if value := float(settings.get(key) or 0):
            return value, what
    return 0.0, ""


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
