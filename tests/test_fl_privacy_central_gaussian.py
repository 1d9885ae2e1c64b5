"""The central mechanism: what a client can move, what the noise is, and what the account says of it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fl.errors import RequestError
from fl.privacy.accountant import Releases
from fl.privacy.central_gaussian import CentralGaussian, clip_update
from fl.settings import PrivacySettings

SETTINGS = PrivacySettings(mechanism="central_gaussian", noise_multiplier=0.0)
SENT = np.array([1, 2, 3, 4], np.float32)
LEARNT = np.array([True, True, True, False])


def mechanism(num_clients: int = 4, rate: float = 0.5, **changes: object) -> CentralGaussian:
    return CentralGaussian(replace(SETTINGS, **changes), 0, rate, num_clients, num_rounds=5)


@pytest.mark.parametrize(("length", "clipped"), [(0.5, False), (1.0, False), (1.5, True), (1e6, True)])
def test_an_update_keeps_its_direction_and_at_most_the_norm(length: float, clipped: bool):
    update = np.array([0.6, -0.8]) * length
    assert clip_update(update, 1.0) is clipped
    assert update == pytest.approx(np.array([0.6, -0.8]) * min(length, 1.0))


def test_all_clients_weigh_the_same_whatever_they_send_and_whoever_is_missing():
    near, far = SENT + np.float32(0.1), SENT + np.array([0, 0, 1e5, 7], np.float32)
    state = mechanism().aggregate(1, SENT, [near, far], LEARNT)
    assert state == pytest.approx([1 + 0.1 / 2, 2 + 0.1 / 2, 3 + 1.1 / 2, 4])  # of 4 * .5 expected
    alone = mechanism().aggregate(1, SENT, [near], LEARNT)
    assert alone == pytest.approx([1 + 0.1 / 2, 2 + 0.1 / 2, 3 + 0.1 / 2, 4])


def test_a_round_that_nobody_answers_is_noise_alone_and_is_paid_for():
    private = mechanism(noise_multiplier=2.0, clip_norm=0.5)
    many = np.zeros(200_000, np.float32)
    noise = private.aggregate(1, many, [], np.ones(many.size, bool))
    assert noise.std() == pytest.approx(2.0 * 0.5 / 2, rel=0.01)
    assert abs(noise.mean()) < 0.01
    assert private.spent == (Releases(0.5, 2.0, 1),)
    quiet = mechanism().aggregate(1, SENT, [], LEARNT)
    assert (quiet == SENT).all()


def test_noise_is_that_of_the_round_and_seed_unless_it_is_secret():
    def first(private: CentralGaussian, round_index: int) -> float:
        return float(private.aggregate(round_index, SENT, [], LEARNT)[0])

    assert first(mechanism(noise_multiplier=1.0), 1) == first(mechanism(noise_multiplier=1.0), 1)
    assert first(mechanism(noise_multiplier=1.0), 1) != first(mechanism(noise_multiplier=1.0), 2)
    secret = {"noise_multiplier": 1.0, "secret_noise": True}
    assert first(mechanism(**secret), 1) != first(mechanism(**secret), 1)


def test_running_statistics_stay_and_get_no_noise():
    state = mechanism(noise_multiplier=1.0).aggregate(1, SENT, [SENT + np.float32(1)], LEARNT)
    assert state[3] == SENT[3]
    assert (state[:3] != SENT[:3]).all()


@pytest.mark.parametrize("start", [0.1, 10.0])
def test_adaptive_clipping_finds_the_median_norm_within_30_rounds(start: float):
    """Median 1.0, with the count's noise; Flower's wrapper ends at 0.11 or 10.7."""
    rng = np.random.default_rng(1)
    private = mechanism(200, 1.0, noise_multiplier=0.5, clipping="adaptive", clip_norm=start)
    for round_index in range(1, 31):
        norms = rng.lognormal(0.0, 0.5, 200)
        states = [SENT + np.array([norm, 0, 0, 0], np.float32) for norm in norms]
        private.aggregate(round_index, SENT, states, LEARNT)
    assert private.clip_norm == pytest.approx(1.0, rel=0.1)
    assert private.record()["share_clipped"] == pytest.approx(0.5, abs=0.15)


def test_sum_and_count_cost_what_the_account_says_of_both():
    private = mechanism(100, 1.0, noise_multiplier=1.0, clipping="adaptive", count_noise_multiplier=2.0)
    many = np.zeros(200_000, np.float32)
    noise = private.aggregate(1, many, [], np.ones(many.size, bool))
    of_sum = float(noise.std()) * 100  # / clip_norm 1
    assert of_sum**-2 + 2.0**-2 == pytest.approx(1.0, rel=0.02)
    assert private.spent == (Releases(1.0, 1.0, 1),)


def test_an_interrupted_account_goes_on_where_it_was():
    settings = {"noise_multiplier": 1.0, "clipping": "adaptive", "clip_norm": 3.0}
    whole, first = mechanism(**settings), mechanism(**settings)
    for private in (whole, first):
        private.aggregate(1, SENT, [SENT], LEARNT)
    second = mechanism(**settings)
    second.restore(first.state())
    for private in (whole, second):
        private.aggregate(2, SENT, [SENT], LEARNT)
    assert second.state() == whole.state()
    assert second.record() == whole.record()
    assert whole.clip_norm != 3.0


def test_the_budget_ends_before_the_round_that_would_exceed_it():
    private = mechanism(target_epsilon=3.0)
    for round_index in range(1, 6):
        assert not private.is_exhausted
        private.aggregate(round_index, SENT, [], LEARNT)
    assert private.is_exhausted
    assert 2.99 < private.record()["epsilon"] <= 3.0 < private.epsilon_after_next
    assert private.record()["epsilon_rdp"] > private.record()["epsilon_pld"]
    early = mechanism(noise_multiplier=1.0, budget_epsilon=6.0)
    while not early.is_exhausted:
        early.aggregate(1, SENT, [], LEARNT)
    assert early.epsilon.pld <= 6.0 < early.epsilon_after_next


def test_without_noise_nothing_bounds_epsilon():
    private = mechanism()
    private.aggregate(1, SENT, [], LEARNT)
    assert private.epsilon.pld == math.inf
    assert private.record()["epsilon"] is None
    assert not private.is_exhausted


def test_a_count_with_less_noise_than_the_whole_and_a_budget_below_a_round_are_refused():
    with pytest.raises(RequestError, match=r"privacy\.count_noise_multiplier must be above .* 1, got 1;"):
        mechanism(noise_multiplier=1.0, clipping="adaptive", count_noise_multiplier=1.0)
    with pytest.raises(RequestError, match=r"privacy\.budget_epsilon must allow .* got 0\.1;"):
        mechanism(noise_multiplier=1.0, budget_epsilon=0.1)
