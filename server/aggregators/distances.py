"""Scalar products and distances between whole states, one strip of values after the other."""

import numpy as np

from server.aggregators.replies import Replies


def gram(replies: Replies) -> np.ndarray:
    """(clients, clients), float64: scalar products of the states less their mean, which keeps digits."""
    found = np.zeros((len(replies), len(replies)))
    for _, values in replies.strips():
        centred = values - values.mean(axis=0, dtype=np.float64)
        found += centred @ centred.T
    return found


def squared_distances(replies: Replies) -> np.ndarray:
    """(clients, clients), float64: squared Euclidean distances between states; zero on the diagonal."""
    products = gram(replies)
    norms = np.diag(products)
    distances: np.ndarray = np.maximum(norms[:, None] + norms[None, :] - 2 * products, 0)
    np.fill_diagonal(distances, 0)
    return distances


def update_norms(replies: Replies) -> np.ndarray:
    """(clients,), float64: how far each client moved from what it was sent."""
    squares = np.zeros(len(replies))
    for span, values in replies.strips():
        moved = values - replies.sent[span].astype(np.float64)
        squares += (moved * moved).sum(axis=1)
    norms: np.ndarray = np.sqrt(squares)
    return norms
