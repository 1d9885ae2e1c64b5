"""Rules that look at one value at a time: the median and the trimmed mean.

Yin et al. 2018, Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, definitions 1
and 2. One client, one vote: examples are what a client says of itself.
"""

import numpy as np

from server.aggregators.replies import Combined, Replies


def median(replies: Replies) -> Combined:
    """The median of each value; the mean of the middle two where the number of clients is even."""
    num_clients = len(replies)
    return middle_mean(replies, (num_clients - 1) // 2)


def trimmed_mean(replies: Replies) -> Combined:
    """The mean of each value without its f smallest and its f largest; f = 0: the mean."""
    return middle_mean(replies, replies.num_byzantine)


def middle_mean(replies: Replies, num_cut: int) -> Combined:
    """The mean of each value without its ``num_cut`` smallest and largest; added in their rising order."""
    num_clients = len(replies)
    kept = num_clients - 2 * num_cut
    state, counts = np.empty_like(replies.sent, np.float32), np.zeros(num_clients)
    for span, values in replies.strips():
        order = np.argsort(values, axis=0, kind="stable")[num_cut : num_cut + kept]
        middle = np.take_along_axis(values, order, axis=0)
        state[span] = middle.mean(axis=0, dtype=np.float64)
        counts += np.bincount(order.ravel(), minlength=num_clients)
    return Combined(state, counts / (kept * replies.sent.size))
