"""Krum and Multi-Krum: the replies that lie nearest to their neighbours.

Blanchard et al. 2017, Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, sections 4
and 5. With n >= 2f + 3 replies.
"""

import numpy as np

from server.aggregators.distances import squared_distances
from server.aggregators.replies import Combined, Replies


def krum(replies: Replies) -> Combined:
    """The one reply with the best score."""
    return mean_of(replies, ranking(squared_distances(replies), replies.num_byzantine)[:1])


def multi_krum(replies: Replies) -> Combined:
    """The plain mean of the n - f replies with the best scores, as in the paper's experiments."""
    best = ranking(squared_distances(replies), replies.num_byzantine)
    return mean_of(replies, best[: len(replies) - replies.num_byzantine])


def ranking(distances: np.ndarray, num_byzantine: int) -> list[int]:
    """Clients from the best score to the worst.

    A score is the sum of the squared distances to the n - f - 2 nearest others, at least to one: then two
    that are each other's nearest have the same, and the one nearer to all others is ahead.

    Args:
        distances: (n, n), squared.
        num_byzantine: f.
    """
    num_nearest = max(1, len(distances) - num_byzantine - 2)
    others = np.sort(distances + np.diag(np.full(len(distances), np.inf)), axis=1)
    scores, further = others[:, :num_nearest].sum(axis=1), distances.sum(axis=1)
    return [int(client) for client in np.lexsort((further, scores))]


def mean_of(replies: Replies, chosen: list[int]) -> Combined:
    """The plain mean of some replies, added in the order of clients."""
    weights = np.zeros(len(replies))
    weights[chosen] = 1 / len(chosen)
    return Combined(weighted_sum(replies, weights), weights)


def weighted_sum(replies: Replies, weights: np.ndarray) -> np.ndarray:
    """The sum of the states times their weights, in float64 in the order of clients; float32."""
    total = np.zeros(replies.sent.shape, np.float64)
    for state, weight in zip(replies.states, weights, strict=True):
        if weight:
            total += state * weight
    return total.astype(np.float32)
