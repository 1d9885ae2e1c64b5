"""Bulyan: choose by Krum, one after the other, then average each value round its median.

El Mhamdi et al. 2018, The Hidden Vulnerability of Distributed Learning in Byzantium, section 4. With
n >= 4f + 3 replies.
"""

import numpy as np

from server.aggregators.distances import squared_distances
from server.aggregators.krum import ranking
from server.aggregators.replies import Combined, Replies


def bulyan(replies: Replies) -> Combined:
    """Of theta = n - 2f chosen replies, the mean of the beta = theta - 2f values nearest to their median."""
    chosen = np.array(choose(squared_distances(replies), replies.num_byzantine))
    num_near = len(chosen) - 2 * replies.num_byzantine
    state, counts = np.empty_like(replies.sent, np.float32), np.zeros(len(replies))
    for span, values in replies.strips():
        values = values[chosen].astype(np.float64)
        off = np.abs(values - np.median(values, axis=0))
        nearest = np.argsort(off, axis=0, kind="stable")[:num_near]
        state[span] = np.take_along_axis(values, nearest, axis=0).mean(axis=0)
        counts[chosen] += np.bincount(nearest.ravel(), minlength=len(chosen))
    return Combined(state, counts / (num_near * replies.sent.size))


def choose(distances: np.ndarray, num_byzantine: int) -> list[int]:
    """The n - 2f clients that Krum picks when each is taken out before the next pick; in rising order."""
    left, chosen = list(range(len(distances))), []
    for _ in range(len(distances) - 2 * num_byzantine):
        best = left[ranking(distances[np.ix_(left, left)], num_byzantine)[0]] if len(left) > 1 else left[0]
        left.remove(best)
        chosen.append(best)
    return sorted(chosen)
