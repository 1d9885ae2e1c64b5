"""The gate that every reply passes before it is aggregated: what fails is refused by client and reason."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fl.errors import ReplyError
from fl.task import ClientReport

MAX_MOVE = 100
"""A reply's distance from what was sent is at most this many times 1 + the norm of what was sent: what honest
training never nears. An update enlarged tenfold passes: it is for aggregators to withstand."""


@dataclass(frozen=True)
class Expectation:
    """What a valid reply of this round looks like.

    Attributes:
        num_values: length of the flat state.
        schema: digest of its names and shapes.
        num_importances: length of a vote; 0 when none was asked.
        declared_examples: clips that each client declared, by client id; an upper bound.
        max_abs: bound on the size of any value of the state.
        sent: (num_values,), the state before the round; None: how far a reply moved is not judged.
        variances: (num_values,), which values are variances, and so not negative; None: none.
        mechanism: ``privacy.mechanism``: which fields a reply has.
    """

    num_values: int
    schema: str
    num_importances: int
    declared_examples: Mapping[int, int]
    max_abs: float = 1e6
    sent: np.ndarray | None = None
    variances: np.ndarray | None = None
    mechanism: str = "none"


def check_report(report: ClientReport, client_id: int, expected: Expectation) -> None:
    """Refuse a report whose names, shapes, values or counts are not what was asked for.

    Args:
        report: as read from the wire: float32 arrays, integer counts.
        client_id: whom the task was sent to.
        expected: this round's.

    Raises:
        ReplyError: with the key, the limit and the value.
    """
    if report.client_id != client_id:
        raise ReplyError(f"client-id must be {client_id}, got {report.client_id}")
    if report.schema != expected.schema:
        raise ReplyError(f"schema must be {expected.schema[:12]}, got {report.schema[:12]}")
    if report.state.shape != (expected.num_values,):
        raise ReplyError(f"state must have shape ({expected.num_values},), got {report.state.shape}")
    limit = expected.declared_examples[client_id]
    if not 0 < report.num_examples <= limit:
        raise ReplyError(f"num-examples must be in [1, {limit}] as declared, got {report.num_examples}")
    if report.num_steps < 1:
        raise ReplyError(f"num-steps must be at least 1, got {report.num_steps}")
    _check_values("state", report.state, expected.max_abs)
    _check_move(report.state, expected)
    if report.importance.shape != (expected.num_importances,):
        raise ReplyError(
            f"importance must have shape ({expected.num_importances},), got {report.importance.shape}"
        )
    _check_values("importance", report.importance, expected.max_abs)
    for key, value in report.losses.items():
        if not np.isfinite(value):
            raise ReplyError(f"{key} must be finite, got {value}")


def _check_move(state: np.ndarray, expected: Expectation) -> None:
    """No variance below zero, and not further from what was sent than any training goes."""
    if expected.variances is not None and (state[expected.variances] < 0).any():
        bad = int((state[expected.variances] < 0).sum())
        raise ReplyError(f"state must hold no negative variance, got {bad}")
    if expected.sent is not None:
        limit = MAX_MOVE * (1 + float(np.linalg.norm(expected.sent)))
        norm = float(np.linalg.norm(state - expected.sent))
        if norm > limit:
            raise ReplyError(f"state must be within {limit:.4g} of the state that was sent, got {norm:.4g}")


def _check_values(name: str, values: np.ndarray, max_abs: float) -> None:
    """All finite and within the bound: one pass over the array."""
    largest = float(np.abs(values).max()) if values.size else 0.0
    if np.isnan(largest) or np.isinf(largest):
        bad = int((~np.isfinite(values)).sum())
        raise ReplyError(f"{name} must be finite, got {bad} of {values.size} values that are not")
    if largest > max_abs:
        raise ReplyError(f"{name} must be within +-{max_abs:g}, got {largest:g}")
