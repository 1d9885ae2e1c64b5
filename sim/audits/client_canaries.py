"""Made-up clients, each in or out of all rounds by a coin: what the server's mechanism proves to reveal.

The mechanism is the run's own code, `fl.privacy.central_gaussian.CentralGaussian`: it samples, clips, sums,
noises and accounts. A canary client's update is as long as the clipping norm and points along an axis of its
own, the worst case of Steinke et al. 2023, section 6 ("Dirac canaries"); Andrew et al. 2023, "One-shot
Empirical Privacy Estimation for Federated Learning", use random directions, which in high dimension are as
good as orthogonal. The attacker sees every released state, as every client of the run does.
"""

import numpy as np
from numpy.typing import NDArray

from fl.attacks.one_run import EpsilonBound, bound_epsilon
from fl.privacy.central_gaussian import CentralGaussian
from fl.seeds import generator
from fl.settings import Experiment
from sim.audits.clip_canaries import CanaryAudit

PURPOSE = "privacy canary clients"
NUM_CANARIES = 1000
"""They are not trained: a thousand cost a moment."""


def canary_scores(
    mechanism: CentralGaussian, included: NDArray[np.bool_], num_rounds: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """What the released states say of each canary, (canaries,): its axis, summed over the rounds.

    Each release is counted in clipping norms of its round; the noise of every round is then alike.

    Args:
        mechanism: of so many clients; its account is left with all rounds spent.
        included: (canaries,), who takes part at all.
        num_rounds: releases.
        rng: draws who takes part in which round.
    """
    num = len(included)
    state, everything = np.zeros(num, np.float32), np.ones(num, bool)
    scores = np.zeros(num)
    for round_index in range(1, num_rounds + 1):
        length = mechanism.clip_norm
        sampled = np.flatnonzero(included & (rng.random(num) < mechanism.sampling_rate))
        sent = [state + np.where(np.arange(num) == one, length, 0).astype(np.float32) for one in sampled]
        after = mechanism.aggregate(round_index, state, sent, everything)
        scores += (after.astype(np.float64) - state) * mechanism.expected_clients / length
        state = after
    return scores


def audit_client_canaries(experiment: Experiment, num_rounds: int, seed: int) -> CanaryAudit:
    """Canary clients through as many rounds as the run did.

    Args:
        experiment: of the run, with privacy.mechanism=central_gaussian.
        num_rounds: that the run did.
        seed: of the coins and of the noise, which is not the run's.
    """
    mechanism = CentralGaussian(
        experiment.privacy, seed, experiment.strategy.fraction, NUM_CANARIES, experiment.strategy.num_rounds
    )
    rng = generator(seed, 0, -1, PURPOSE)
    included = rng.random(NUM_CANARIES) < 0.5
    scores = canary_scores(mechanism, included, num_rounds, rng)
    bound: EpsilonBound = bound_epsilon(scores, included, experiment.privacy.delta)
    spent = mechanism.epsilon.pld
    what = f"all states that the server's mechanism releases in {num_rounds} rounds"
    return CanaryAudit("client", what, bound, spent if np.isfinite(spent) else None)
