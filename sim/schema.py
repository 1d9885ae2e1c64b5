"""What `fl.settings` says about a run's settings: their keys, types, limits, in the order written there.

No heavy import, and neither Hydra nor OmegaConf: the request is checked before anything is loaded.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from functools import reduce
from types import MappingProxyType
from typing import Any, TypeGuard, get_type_hints

from fl.errors import RequestError
from fl.settings import Experiment, Limit

KIND_NAMES: Mapping[Any, str] = MappingProxyType(
    {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        tuple[int, ...]: "a list of whole numbers, e.g. [4,6]",
        tuple[str, ...]: "a list of names, e.g. [camera]",
    }
)
"""How an error message names the type of a setting."""


@dataclass(frozen=True)
class Setting:
    """One setting of `fl.settings.Experiment`.

    Attributes:
        key: dotted path, e.g. ``distill.soft_weight``.
        kind: its type, a key of `KIND_NAMES`.
        default: its default.
        limit: the values it may take; None: any of its type.
        doc: one line that says what it is.
    """

    key: str
    kind: Any
    default: Any
    limit: Limit | None
    doc: str


def is_section(hint: Any) -> TypeGuard[type]:
    """Whether a field's type is a nested dataclass of settings."""
    return isinstance(hint, type) and is_dataclass(hint)


def settings(kind: type = Experiment, prefix: str = "") -> Iterator[Setting]:
    """Every setting of ``kind`` and of the sections nested in it, depth first."""
    hints = get_type_hints(kind)
    for entry in fields(kind):
        key, hint = prefix + entry.name, hints[entry.name]
        if is_section(hint):
            yield from settings(hint, key + ".")
        else:
            yield Setting(key, hint, entry.default, entry.metadata["limit"], entry.metadata["doc"])


def sections(kind: type = Experiment, prefix: str = "") -> Iterator[str]:
    """Dotted path of every nested section, e.g. ``data`` and ``data.clip``."""
    hints = get_type_hints(kind)
    for entry in fields(kind):
        if is_section(hints[entry.name]):
            yield prefix + entry.name
            yield from sections(hints[entry.name], f"{prefix}{entry.name}.")


def value_of(experiment: Experiment, key: str) -> Any:
    """The value at a dotted path."""
    return reduce(getattr, key.split("."), experiment)


def mutable(kind: type) -> type:
    """The same fields, types and defaults as the frozen ``kind``, all the way down, but not frozen.

    OmegaConf makes a node of a frozen dataclass read-only, so no override could be applied to it.
    """
    hints = get_type_hints(kind)
    made: list[Any] = []
    for entry in fields(kind):
        hint = hints[entry.name]
        if is_section(hint):
            section = mutable(hint)
            made.append((entry.name, section, field(default_factory=section)))
        else:
            made.append((entry.name, hint, field(default=entry.default)))
    return make_dataclass(kind.__name__, made)


def describe(limit: Limit) -> str:
    """The limit in a few characters: ``in [0, 1)``, ``above 0``, ``at least 1``, ``one of a, b``."""
    if limit.choices:
        return "one of " + ", ".join(limit.choices)
    if limit.low is not None and limit.high is not None:
        opening, closing = "(" if limit.low_open else "[", ")" if limit.high_open else "]"
        return f"in {opening}{limit.low:g}, {limit.high:g}{closing}"
    if limit.low is not None:
        return f"{'above' if limit.low_open else 'at least'} {limit.low:g}"
    if limit.high is not None:
        return f"{'below' if limit.high_open else 'at most'} {limit.high:g}"
    return "any"


def within(value: Any, limit: Limit) -> bool:
    """Whether one value keeps to the limit; nan and the infinities keep to none."""
    if limit.choices:
        return value in limit.choices
    if not math.isfinite(value):
        return False
    low_kept = limit.low is None or (value > limit.low if limit.low_open else value >= limit.low)
    high_kept = limit.high is None or (value < limit.high if limit.high_open else value <= limit.high)
    return low_kept and high_kept


def check_limits(experiment: Experiment) -> None:
    """Hold every setting against its own limit.

    Raises:
        RequestError: the first that breaks it; the message names key, limit and value.
    """
    for setting in settings():
        value = value_of(experiment, setting.key)
        for item in value if isinstance(value, tuple) else (value,):
            if setting.limit is not None and not within(item, setting.limit):
                remedy = f"; {setting.limit.remedy}" if setting.limit.remedy else ""
                raise RequestError(
                    f"{setting.key} must be {describe(setting.limit)}, got {shown(item)}{remedy}"
                )


def shown(value: Any) -> str:
    """A value as the user would write it on the command line; text in quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else repr(value)


def suggest(word: str, known: Iterable[str]) -> str:
    """A clause for an error: the known words nearest to ``word``, or an empty text.

    A key with the right last part and a wrong or missing section (``soft_weight``) finds those that
    end with it; a key in a known section is compared with that section's keys only.
    """
    choices = list(dict.fromkeys(known))
    section, _, leaf = word.rpartition(".")
    found = [choice for choice in choices if choice.rpartition(".")[2] == leaf]
    if not found and section:
        inside = {choice.rpartition(".")[2]: choice for choice in choices if choice.startswith(section + ".")}
        found = [inside[near] for near in difflib.get_close_matches(leaf, inside, n=2, cutoff=0.6)]
    if not found:
        found = difflib.get_close_matches(word, choices, n=2, cutoff=0.65)
    found.sort(key=lambda choice: -difflib.SequenceMatcher(None, word, choice).ratio())
    return f"; did you mean {' or '.join(found[:2])}?" if found else ""
