"""A lower bound on epsilon from one training run with many canaries.

Steinke, Nasr and Jagielski 2023, "Privacy Auditing with One (1) Training Run". Each of m canaries is put
into the training by a coin of its own. Someone who sees the result guesses the coins, and may abstain. If
the training is (epsilon, delta)-private in one canary, no guesser is right much more often than
exp(epsilon) / (1 + exp(epsilon)): who is, proves that epsilon is larger.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

GUESSED_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Shares of the canaries that are guessed, fixed before any score is seen; the others are abstained from."""

SIGNIFICANCE = 0.05
_MAX_EPSILON = 100.0


@dataclass(frozen=True)
class EpsilonBound:
    """What canaries prove.

    Attributes:
        epsilon: a lower bound, with confidence 1 - significance; 0: nothing is proved.
        delta: for which it holds.
        significance: share of audits that may err, over all shares of guesses together.
        num_canaries: coins.
        num_included: of them, trained on.
        num_guesses: of the best share.
        num_correct: of them.
        resolution: the bound that this number of canaries would give if every guess were right.
        auc: share of pairs of canaries, one in and one out, that the scores order rightly; 0.5 is chance;
            None where all are in, or all out.
    """

    epsilon: float
    delta: float
    significance: float
    num_canaries: int
    num_included: int
    num_guesses: int
    num_correct: int
    resolution: float
    auc: float | None


def p_value(num_canaries: int, num_guesses: int, num_correct: int, epsilon: float, delta: float) -> float:
    """Bound on the probability of so many right guesses if the training is (epsilon, delta)-private.

    Theorem 5.2: with W binomial of ``num_guesses`` trials at exp(eps) / (1 + exp(eps)), and v right ones,
    P[W >= v] + 2 m delta * max over i in 1..v of P[v - i <= W < v] / i.
    """
    chance = float(expit(epsilon))
    beta = float(binom.sf(num_correct - 1, num_guesses, chance))
    if not delta or not num_correct:
        return min(beta, 1.0)
    steps = np.arange(1, num_correct + 1)
    between = binom.sf(num_correct - steps - 1, num_guesses, chance) - beta
    return min(beta + 2 * num_canaries * delta * float((between / steps).max()), 1.0)


def proved_epsilon(
    num_canaries: int, num_guesses: int, num_correct: int, delta: float, significance: float
) -> float:
    """The largest epsilon that so many right guesses refute, in [0, 100]; 0 where they refute none.

    Args:
        num_canaries: m >= 1.
        num_guesses: r <= m, decided before the result is seen.
        num_correct: v <= r.
        delta: in [0, 1).
        significance: in (0, 1).

    Raises:
        ValueError: a number is out of its range.
    """
    if not 0 <= num_correct <= num_guesses <= num_canaries:
        raise ValueError(f"0 <= correct <= guesses <= canaries, got {num_correct, num_guesses, num_canaries}")
    if not (0 <= delta < 1 and 0 < significance < 1):
        raise ValueError(f"delta in [0, 1) and significance in (0, 1), got {delta} and {significance}")

    def margin(epsilon: float) -> float:
        return significance - p_value(num_canaries, num_guesses, num_correct, epsilon, delta)

    if margin(0.0) <= 0:
        return 0.0
    if margin(_MAX_EPSILON) > 0:
        return _MAX_EPSILON
    return float(brentq(margin, 0.0, _MAX_EPSILON, xtol=1e-7))


def bound_epsilon(
    scores: NDArray[np.float64],
    included: NDArray[np.bool_],
    delta: float,
    significance: float = SIGNIFICANCE,
) -> EpsilonBound:
    """Guess the canaries with the highest scores in, those with the lowest out; the best share counts.

    The shares are fixed beforehand and the significance is divided among them (Bonferroni), so that to
    choose the best is honest.

    Args:
        scores: (canaries,), finite; higher for canaries that look trained on.
        included: (canaries,), the coins.
        delta: in [0, 1).
        significance: in (0, 1).

    Raises:
        ValueError: there are fewer than 32 canaries, or the arrays' lengths differ.
    """
    num = len(scores)
    if num != len(included) or num < 2 / GUESSED_SHARES[0]:
        raise ValueError(f"at least 32 canaries and as many scores, got {len(included)} and {num}")
    order = np.argsort(scores, kind="stable")
    level = significance / len(GUESSED_SHARES)
    found = []
    for share in GUESSED_SHARES:
        half = int(share * num / 2)
        correct = int(included[order[num - half :]].sum() + (~included[order[:half]]).sum())
        found.append((proved_epsilon(num, 2 * half, correct, delta, level), 2 * half, correct))
    epsilon, guesses, correct = max(found)
    resolution = max(proved_epsilon(num, guessed, guessed, delta, level) for _, guessed, _ in found)
    auc = float(roc_auc_score(included, scores)) if 0 < included.sum() < num else None
    return EpsilonBound(
        epsilon, delta, significance, num, int(included.sum()), guesses, correct, resolution, auc
    )
