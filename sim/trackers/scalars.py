"""A record as trackers want it: numbers under names like ``onnx/int8/latency_ms_p50``."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fl.settings import Experiment
from sim.schema import settings, value_of

_NOT_ALLOWED = re.compile(r"[^\w.\- ]")
"""MLflow refuses these in a name; a category of clips may hold any."""

NOT_REPEATED = ("last_round",)
"""Of the summary: what the rounds have said already."""


def round_scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """Every number of a line of ``rounds.jsonl``, by its path.

    Null, text and true or false give nothing. A list of whole numbers (ids of clients) or of objects gives
    its length, a list with fractions (an interval) one number for each place: ``eps/ci95/0``.

    Args:
        record: as `sim.round_record.complete_round` gives it, or a part of a summary.
    """
    return dict(_numbers(record, ""))


def summary_scalars(summary: Mapping[str, Any]) -> dict[str, float]:
    """Every number of ``summary.json`` that the rounds do not hold, as ``summary/teacher/auc``."""
    return round_scalars({"summary": {key: summary[key] for key in summary if key not in NOT_REPEATED}})


def hyperparameters(experiment: Experiment) -> dict[str, Any]:
    """Every setting by the name with which it is set, e.g. ``distill.soft_weight``; lists are text."""
    found = {setting.key: value_of(experiment, setting.key) for setting in settings()}
    return {
        key: "[" + ",".join(str(item) for item in value) + "]" if isinstance(value, tuple) else value
        for key, value in found.items()
    }


def _numbers(value: object, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, f"{path}/{_clean(str(key))}" if path else _clean(str(key)))
    elif isinstance(value, list):
        if any(isinstance(item, float) for item in value):
            for index, item in enumerate(value):
                yield from _numbers(item, f"{path}/{index}")
        elif not any(isinstance(item, str) for item in value):
            yield path, len(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def _clean(name: str) -> str:
    """One part of a path; dots alone would climb."""
    cleaned = _NOT_ALLOWED.sub("_", name)
    return cleaned if cleaned.strip(". ") else "_" * max(1, len(cleaned))
