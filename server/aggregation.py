"""How the reports of a round become one state: means by examples, added in the order of client ids."""

import numpy as np

from fl.task import LOSS_KEYS, ClientReport
from server.fleet import WeakPart


def weighted_mean(vectors: list[np.ndarray], reports: list[ClientReport]) -> np.ndarray:
    """Mean of flat vectors by the reports' examples, summed in float64 in the order given."""
    total = sum(report.num_examples for report in reports)
    mean = np.zeros(vectors[0].shape, np.float64)
    for vector, report in zip(vectors, reports, strict=True):
        mean += vector * (report.num_examples / total)
    return mean.astype(np.float32)


def mean_of_holders(sent: np.ndarray, reports: list[ClientReport], weak: WeakPart | None) -> np.ndarray:
    """The mean of each value over the clients that hold it, by examples (Diao et al. 2021, algorithm 1).

    Clients of full width hold all values, weak ones those of the narrow student. BatchNorm's running
    statistics of a narrow student describe another network than the global one: only those of full
    width count for them. What nobody holds stays as it was.

    Args:
        sent: (num_values,), the global state before the round.
        reports: of the round, in the order of client ids.
        weak: the narrow student's part of the round, if any.
    """
    full = [report for report in reports if weak is None or report.client_id not in weak.clients]
    mean = weighted_mean([report.state for report in full], full) if full else sent.copy()
    if weak is None or len(full) == len(reports):
        return mean
    learnt = weak.nested.learnt
    shared = weak.nested.positions[learnt]
    states = [
        report.state[learnt] if report.client_id in weak.clients else report.state[shared]
        for report in reports
    ]
    mean[shared] = weighted_mean(states, reports)
    return mean


def mean_losses(reports: list[ClientReport]) -> dict[str, float]:
    """Mean of each loss term by examples; empty where losses stay at the clients."""
    told = [report for report in reports if report.losses]
    if not told:
        return {}
    total = sum(report.num_examples for report in told)
    return {key: sum(r.losses[key] * r.num_examples for r in told) / total for key in LOSS_KEYS}
