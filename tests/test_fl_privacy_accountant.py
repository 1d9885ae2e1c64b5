"""The accountants against numbers of other implementations, closed forms, and each other."""

import math

import pytest
from scipy.special import ndtr

from fl.errors import RequestError
from fl.privacy.accountant import Epsilon, Releases, calibrated_noise, one_more, spent_delta, spent_epsilon

DELTA = 1e-5


def test_golden_numbers_of_one_full_release():
    assert spent_epsilon((Releases(1.0, 1.0, 1),), DELTA) == Epsilon(
        pld=pytest.approx(4.3772, abs=5e-5), rdp=pytest.approx(4.7285, abs=5e-5)
    )


def test_golden_numbers_of_ten_thousand_sampled_releases():
    assert spent_epsilon((Releases(0.01, 4.0, 10_000),), DELTA) == Epsilon(
        pld=pytest.approx(0.947, abs=5e-4), rdp=pytest.approx(1.0355, abs=5e-5)
    )


def test_the_golden_number_of_2250_sampled_releases():
    # That of an implementation with other orders: these give .0002 more, still an upper bound.
    assert spent_epsilon((Releases(0.04, 1.5, 2250),), DELTA).rdp == pytest.approx(7.32911, abs=3e-4)


def test_the_golden_delta_of_three_releases_with_little_noise():
    assert spent_delta((Releases(0.2, 0.5, 3),), 1.0) == pytest.approx(0.15594, abs=2e-5)


@pytest.mark.parametrize("noise", [0.2, 0.6, 2.5])
def test_releases_to_all_spend_what_the_closed_form_says(noise: float):
    """Balle and Wang 2018, theorem 8; four releases are one with half the noise."""
    (epsilon, mu) = spent_epsilon((Releases(1.0, noise, 4),), DELTA).pld, 2 / noise
    exact = ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon) * ndtr(-mu / 2 - epsilon / mu)
    assert 0.97 * DELTA < exact <= DELTA


def test_releases_add_up_whatever_their_noise():
    spent: tuple[Releases, ...] = ()
    for noise in (1.0, 1.0, 2.0, 1.0):
        spent = one_more(spent, 0.5, noise)
    assert spent == (Releases(0.5, 1.0, 2), Releases(0.5, 2.0, 1), Releases(0.5, 1.0, 1))
    together = spent_epsilon((Releases(0.5, 1.0, 3), Releases(0.5, 2.0, 1)), DELTA)
    assert spent_epsilon(spent, DELTA).pld == pytest.approx(together.pld, rel=1e-6)
    assert together.pld > spent_epsilon((Releases(0.5, 1.0, 3),), DELTA).pld


def test_nothing_spends_nothing_and_no_noise_spends_all():
    assert spent_epsilon((), DELTA) == Epsilon(0.0, 0.0)
    assert spent_epsilon((Releases(0.5, 1.0, 3), Releases(0.5, 0.0, 1)), DELTA) == Epsilon(math.inf, math.inf)


@pytest.mark.parametrize(("target", "rate", "rounds"), [(1.0, 0.25, 30), (8.0, 1.0, 5), (60.0, 0.5, 3)])
def test_the_calibrated_noise_spends_the_target_and_no_more(target: float, rate: float, rounds: int):
    noise = calibrated_noise(target, DELTA, rate, rounds)
    assert 0.999 * target < spent_epsilon((Releases(rate, noise, rounds),), DELTA).pld <= target


def test_a_target_that_no_noise_can_reach_is_refused():
    with pytest.raises(
        RequestError, match=r"privacy\.target_epsilon must be one that 1 rounds .* got 1e\+06"
    ):
        calibrated_noise(1e6, DELTA, 1.0, 1)
