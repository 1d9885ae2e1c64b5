"""A clipping norm that follows a quantile of the clients' norms, by counts that are noised too.

Andrew, Thakkar, McMahan and Ramaswamy 2021, Differentially Private Learning with Adaptive Clipping,
algorithm 1 and theorem 1. Of each client one bit is counted: whether its update was within the norm.
"""

import math

import numpy as np


def noised_share(
    num_unclipped: int,
    num_clipped: int,
    expected: float,
    count_noise_multiplier: float,
    rng: np.random.Generator,
) -> float:
    """Share of unclipped updates, with noise, in [0, 1].

    A bit counts +1/2 or -1/2, so that a client changes the sum by 1/2 whether it is there or not. A client
    that is not there counts as half unclipped, so an empty round leaves the norm near where it is.

    Args:
        num_unclipped: updates within the norm.
        num_clipped: the others that arrived.
        expected: number of clients that a round samples on average, positive.
        count_noise_multiplier: standard deviation of the noise over 1/2; 0: none.
        rng: draws the noise.
    """
    noise = rng.normal(0, count_noise_multiplier / 2) if count_noise_multiplier else 0.0
    share = 0.5 + ((num_unclipped - num_clipped) / 2 + noise) / expected
    return float(min(max(share, 0.0), 1.0))


def next_clip_norm(clip_norm: float, unclipped_share: float, quantile: float, rate: float) -> float:
    """The norm for the next round: it grows while fewer than ``quantile`` of the updates are within it.

    Args:
        clip_norm: of this round, positive.
        unclipped_share: of this round, in [0, 1].
        quantile: the share that is aimed at, in (0, 1).
        rate: how fast it follows, positive; the norm changes by a factor of at most e^rate.
    """
    return clip_norm * math.exp(-rate * (unclipped_share - quantile))


def noise_of_sum(noise_multiplier: float, count_noise_multiplier: float) -> float:
    """The noise multiplier of the sum, so that sum and count together cost ``noise_multiplier``.

    Both are one Gaussian release, of 1 / z^2 = 1 / z_sum^2 + 1 / z_count^2 (theorem 1, where the count's
    standard deviation is z_count / 2).

    Args:
        noise_multiplier: of both together, positive.
        count_noise_multiplier: of the count, above ``noise_multiplier``.
    """
    return float((noise_multiplier**-2 - count_noise_multiplier**-2) ** -0.5)
