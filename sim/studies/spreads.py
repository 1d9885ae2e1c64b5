"""Measures of a study's own rows: means and ranges over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

DIGITS: Mapping[str, int] = {
    **dict.fromkeys(("auc", "attack_auc", "canary_auc", "loss_auc", "clip_auc", "person_auc"), 3),
    **dict.fromkeys(("eps", "shuffled", "latency", "empirical", "noise"), 2),
}
"""Measure -> decimals in a table; the others have one."""


@dataclass(frozen=True)
class Spread:
    """A measure over seeds.

    Attributes:
        mean: of the seeds that have it.
        low: smallest.
        high: largest.
    """

    mean: float
    low: float
    high: float


def spreads_of(measured: Sequence[Mapping[str, float]], keys: Iterable[str]) -> dict[str, Spread]:
    """Measure -> over seeds; one that no seed has is not there.

    Args:
        measured: of each seed, measure -> value.
        keys: measures.
    """
    values = {key: [found[key] for found in measured if key in found] for key in keys}
    return {key: _spread(v) for key, v in values.items() if v}


def _spread(values: Sequence[float]) -> Spread:
    """The mean of equal values is that value: rounding must not put it outside their range."""
    low, high = min(values), max(values)
    return Spread(min(max(sum(values) / len(values), low), high), low, high)


def spread_cell(key: str, spread: Spread | None) -> str:
    """A table's cell: the mean, with the range where there is one."""
    if spread is None:
        return ""
    digits = DIGITS.get(key, 1)
    told = f"{spread.mean:.{digits}f}"
    if spread.low == spread.high:
        return told
    return f"{told} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"


def plain_spreads(spreads: Mapping[str, Spread]) -> dict[str, dict[str, float]]:
    """The same in JSON values."""
    return {key: asdict(spread) for key, spread in spreads.items()}
