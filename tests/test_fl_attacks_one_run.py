"""The one-run audit: the reference implementation's numbers, and properties of the bound."""

import math

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import beta, binom, norm

from fl.attacks.one_run import bound_epsilon, p_value, proved_epsilon


def frontier(members: np.ndarray, others: np.ndarray) -> list[tuple[int, int]]:
    """(accused members, accused others) at the corners of the convex hull of the receiver curve."""
    thresholds = np.append(np.union1d(members, others), np.inf)
    missed, spared = (np.searchsorted(np.sort(side), thresholds) for side in (members, others))
    corners: list[tuple[int, int]] = []
    for x, y in zip(missed.tolist(), spared.tolist(), strict=True):
        while len(corners) > 1:
            (a, b), (c, d) = corners[-2:]
            if (d - b) * (x - c) > (y - d) * (c - a):
                break
            corners.pop()
        corners.append((x, y))
    return [(len(members) - x, len(others) - y) for x, y in corners]


@pytest.mark.parametrize(("shift", "expected"), [(0, 0.0), (1, 1.13346), (2, 2.311945), (4, 4.395568)])
def test_the_reference_implementations_numbers(shift: float, expected: float) -> None:
    """google-deepmind/jax_privacy, auditing_test.py: 10,000 normal scores on each side, significance .05
    divided by the corners of the hull, delta 1e-6."""
    others = norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    corners = frontier(others + shift, others)
    level, best = 0.05 / len(corners), 0.0
    told = [(logit(beta.ppf(level, right, wrong + 1)), right, wrong) for right, wrong in corners if right]
    for without_delta, right, wrong in sorted(told, reverse=True):
        if without_delta > best and p_value(20_000, right + wrong, right, best, 1e-6) < level:
            best = max(best, proved_epsilon(20_000, right + wrong, right, 1e-6, level))
    assert best == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_without_delta_it_is_the_binomial_tail() -> None:
    epsilon = math.log(3)  # the chance of a right guess is 3/4
    assert p_value(100, 20, 18, epsilon, 0.0) == pytest.approx(binom.sf(17, 20, 0.75))
    # all right: (e / (1 + e)) ** 20 = 0.05
    chance = 0.05 ** (1 / 20)
    assert proved_epsilon(100, 20, 20, 0.0, 0.05) == pytest.approx(math.log(chance / (1 - chance)), abs=1e-5)


def test_delta_and_more_errors_weaken_the_bound() -> None:
    bounds = [proved_epsilon(1000, 200, 190, delta, 0.05) for delta in (0.0, 1e-5, 1e-3)]
    assert bounds[0] > bounds[1] > bounds[2]
    by_errors = [proved_epsilon(1000, 200, right, 1e-5, 0.05) for right in (200, 190, 150, 100)]
    assert by_errors == sorted(by_errors, reverse=True)
    assert by_errors[-1] == 0


def test_randomised_response_is_seldom_judged_above_its_epsilon() -> None:
    """A mechanism whose epsilon is known: each coin is told rightly with probability e / (1 + e)."""
    rng, epsilon = np.random.default_rng(0), 1.0
    proved = []
    for _ in range(200):
        included = rng.random(1000) < 0.5
        told = included ^ (rng.random(1000) > 1 / (1 + math.exp(-epsilon)))
        proved.append(bound_epsilon(told + rng.random(1000) / 10, included, 0.0).epsilon)
    assert np.mean(np.array(proved) > epsilon) <= 0.05 + 0.03
    assert np.mean(proved) > 0.6  # and it is found


def test_scores_that_know_nothing_prove_nothing_and_perfect_ones_all_that_can_be() -> None:
    rng = np.random.default_rng(0)
    included = rng.random(256) < 0.5
    blind = bound_epsilon(rng.random(256), included, 1e-5)
    assert blind.epsilon == 0
    assert blind.auc == pytest.approx(0.5, abs=0.1)
    perfect = bound_epsilon(included + rng.random(256) / 10, included, 1e-5)
    assert perfect.epsilon == perfect.resolution > 2
    assert perfect.num_guesses == perfect.num_correct == 128
    assert perfect.auc == 1
    assert bound_epsilon(rng.random(256), np.ones(256, bool), 1e-5).auc is None


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 canaries"):
        bound_epsilon(np.zeros(31), np.zeros(31, bool), 1e-5)
    with pytest.raises(ValueError, match="0 <= correct <= guesses <= canaries"):
        proved_epsilon(10, 5, 6, 0.0, 0.05)
    with pytest.raises(ValueError, match="delta"):
        proved_epsilon(10, 5, 5, 1.0, 0.05)
