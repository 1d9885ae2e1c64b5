"""Norm clipping: no update counts for more than an ordinary one.

Sun et al. 2019, Can You Really Backdoor Federated Learning?, section 4 (norm thresholding). Their bound is a
constant; here it is the median norm of the round's updates, which less than half of the clients cannot
move beyond the others'. It bounds what a bad client can do, it does not keep it out.
"""

import numpy as np

from server.aggregators.distances import update_norms
from server.aggregators.replies import Combined, Replies


def norm_clipping(replies: Replies) -> Combined:
    """The mean by examples of the updates, each shortened to the median norm, added to what was sent."""
    norms = update_norms(replies)
    bound = float(np.median(norms))
    factors = np.minimum(1, bound / np.maximum(norms, np.finfo(float).tiny))
    weights = factors * np.array(replies.num_examples) / sum(replies.num_examples)
    moved = np.zeros(replies.sent.shape, np.float64)
    for state, weight in zip(replies.states, weights, strict=True):
        moved += (state - replies.sent.astype(np.float64)) * weight
    return Combined((replies.sent + moved).astype(np.float32), weights)
