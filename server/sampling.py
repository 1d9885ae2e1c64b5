"""Who takes part in a round: drawn from (seed, round), the same on every grid."""

import math
from collections.abc import Sequence

import numpy as np

from fl.seeds import generator
from fl.settings import StrategySettings


def sample_clients(
    settings: StrategySettings,
    seed: int,
    round_index: int,
    num_clients: int,
    poisson: bool = False,
    secret: bool = False,
) -> tuple[list[int], list[int], list[int]]:
    """Who is sampled, who of them is a (simulated) straggler, and who drops out (simulated).

    The same seed and round always give the same answer; at least one of those sampled is left to reply.

    Args:
        settings: the share to sample, and what is simulated.
        seed: the run's.
        round_index: from 1.
        num_clients: of the run.
        poisson: each client takes part by a coin of its own, so that there may be none; else a fixed number.
        secret: drawn from the system's entropy, not from the seed.
    """
    rng = np.random.default_rng() if secret else generator(seed, round_index, -1, "sampling")
    num_sampled = settings.num_sampled(num_clients)
    if poisson:  # as many as have their coins up; which, is uniform
        coins = rng if secret else generator(seed, round_index, -1, "poisson")
        num_sampled = int(coins.binomial(num_clients, settings.fraction))
    sampled = sorted(rng.choice(num_clients, num_sampled, replace=False).tolist())
    slow = rng.random(num_sampled) < settings.straggler_share
    lost = rng.random(num_sampled) < settings.dropout_share
    if num_sampled and lost.all():
        lost[int(rng.integers(num_sampled))] = False
    dropped = [c for c, gone in zip(sampled, lost, strict=True) if gone]
    stragglers = [c for c, late in zip(sampled, slow, strict=True) if late and c not in dropped]
    return sampled, stragglers, dropped


def sample_spares(
    settings: StrategySettings, seed: int, round_index: int, num_clients: int, sampled: Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """Who is asked beyond the plan, in the order drawn; who of them straggles; who drops out.

    None without over-sampling; whoever is sampled stays sampled with it.
    """
    if not settings.over_sampling:
        return [], [], []
    rng = generator(seed, round_index, -1, "spares")
    others = np.setdiff1d(np.arange(num_clients), sampled)
    num_spares = min(len(others), math.ceil(settings.over_sampling * len(sampled)))
    spares = rng.permutation(others)[:num_spares].tolist()
    slow = rng.random(num_spares) < settings.straggler_share
    lost = rng.random(num_spares) < settings.dropout_share
    dropped = [c for c, gone in zip(spares, lost, strict=True) if gone]
    return spares, [c for c, late in zip(spares, slow, strict=True) if late and c not in dropped], dropped
