"""What a setting is: a dataclass field with its limit and one line of documentation."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Limit:
    """The values a setting may take; None stands for no bound.

    Attributes:
        low: smallest value; ``low_open`` excludes the bound itself.
        high: largest value; ``high_open`` excludes the bound itself.
        choices: the only values allowed.
        remedy: what to do, in a few words.
    """

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    choices: tuple[str, ...] = ()
    remedy: str = ""


def setting(default: Any, limit: Limit | None = None, *, doc: str) -> Any:
    """A dataclass field with its limit and one line of documentation."""
    return field(default=default, metadata={"limit": limit, "doc": doc})


def section(kind: type) -> Any:
    """A dataclass field that holds a nested group of settings."""
    return field(default_factory=kind)


POSITIVE = Limit(low=0, low_open=True)
NOT_NEGATIVE = Limit(low=0)
SHARE = Limit(low=0, high=1)
COUNT = Limit(low=1)
