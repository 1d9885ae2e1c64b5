"""The geometric median: the state with the smallest sum of distances to the replies.

Pillutla et al. 2022, Robust Aggregation for Federated Learning (RFA), by the smoothed Weiszfeld algorithm
(algorithm 2). One client, one vote, where RFA weighs by examples: those are what a client says of itself.
"""

import numpy as np

from server.aggregators.distances import gram
from server.aggregators.krum import weighted_sum
from server.aggregators.replies import Combined, Replies

MAX_STEPS = 1000
TOLERANCE = 1e-10
SMOOTHING = 1e-9
"""Distances below this share of the replies' spread count as this: the median may fall on a reply."""


def geometric_median(replies: Replies) -> Combined:
    """Every iterate is a weighted mean of the replies, so their scalar products are all that is needed."""
    weights = weiszfeld(gram(replies))
    return Combined(weighted_sum(replies, weights), weights)


def weiszfeld(products: np.ndarray) -> np.ndarray:
    """The weights (n,), which add up to 1, of the points whose scalar products are given.

    Args:
        products: (n, n), of n points less any common one, such as their mean.
    """
    num_points = len(products)
    weights, norms = np.full(num_points, 1 / num_points), np.diag(products)
    least = SMOOTHING * np.sqrt(max(norms.max(initial=0), 0))
    if least == 0:
        return weights  # all points are one
    for _ in range(MAX_STEPS):
        towards = products @ weights
        squares = norms - 2 * towards + weights @ towards
        pulls = 1 / np.maximum(np.sqrt(np.maximum(squares, 0)), least)
        new = pulls / pulls.sum()
        moved, weights = np.abs(new - weights).max(), new
        if moved < TOLERANCE:
            break
    return weights
