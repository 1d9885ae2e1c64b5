"""Local noise: the update is cut, the noise is as large as it says, and rounds add up in the account."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from fl.errors import RequestError, RunError
from fl.privacy.client_account import ClientAccounts, client_accounts
from fl.privacy.client_releases import releases_of_round
from fl.privacy.local_gaussian import noised_update
from fl.privacy.noise import private_generator
from fl.privacy.release_log import FILE, ReleaseLog
from fl.settings import DistillSettings, Experiment, PrivacySettings

LOCAL = PrivacySettings(mechanism="local_gaussian", noise_multiplier=8.0)
STEPS = PrivacySettings(mechanism="dp_sgd", noise_multiplier=1.5)
DISTILL = DistillSettings(batch_size=4, epochs=2)


def gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """Exact epsilon of one Gaussian release: Balle and Wang 2018, theorem 8."""

    def excess(epsilon: float) -> float:
        a, b = 1 / (2 * noise_multiplier), epsilon * noise_multiplier
        return float(stats.norm.cdf(a - b) - math.exp(epsilon) * stats.norm.cdf(-a - b)) - delta

    return float(brentq(excess, 0, 100))


def test_a_long_update_is_cut_and_a_short_one_stays() -> None:
    sent = np.linspace(-1, 1, 50, dtype=np.float32)
    rng = np.random.default_rng(0)
    for length, left in ((0.5, 0.5), (40.0, 2.0)):
        update = length * np.eye(1, 50, 7, dtype=np.float32)[0]
        told = noised_update(sent, sent + update, clip_norm=2.0, noise_std=0.0, rng=rng)
        assert told.dtype == np.float32
        np.testing.assert_allclose(told - sent, update * left / length, atol=1e-6)


def test_the_noise_is_as_large_as_it_says_on_every_value() -> None:
    sent = np.zeros(200_000, np.float32)
    told = noised_update(sent, sent, clip_norm=1.0, noise_std=3.0, rng=np.random.default_rng(1))
    assert told.std() == pytest.approx(3.0, rel=0.01)
    assert stats.kstest(told[:2000] / 3.0, "norm").pvalue > 1e-3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_update_that_is_not_finite_counts_as_none(bad: float) -> None:
    sent = np.ones(5, np.float32)
    told = noised_update(sent, sent * bad, clip_norm=1.0, noise_std=0.0, rng=np.random.default_rng(0))
    assert np.array_equal(told, sent)


def test_one_round_of_local_noise_spends_what_a_gaussian_of_twice_the_sensitivity_does() -> None:
    accounts = ClientAccounts(LOCAL, DISTILL, 3, {0: 10, 1: 30})
    accounts.count_round({0: 1.0, 1: 1.0})
    assert accounts.epsilon.pld == pytest.approx(gaussian_epsilon(8.0 / 2, LOCAL.delta), rel=2e-3)


def test_rounds_compose_only_for_those_who_were_asked() -> None:
    accounts = ClientAccounts(LOCAL, DISTILL, 9, {0: 10, 1: 30})
    for _ in range(4):
        accounts.count_round({1: 0.5})
    told = accounts.record()["clients"]
    assert [client["num_releases"] for client in told] == [0, 4]
    assert told[0]["epsilon_pld"] == 0
    # Four Gaussian releases are one with half of the noise.
    assert told[1]["epsilon_pld"] == pytest.approx(gaussian_epsilon(8.0 / 4, LOCAL.delta), rel=2e-3)
    assert accounts.record()["epsilon"] == told[1]["epsilon_pld"]


def test_steps_of_small_clients_cost_more_than_those_of_large_ones() -> None:
    accounts = ClientAccounts(STEPS, DISTILL, 2, {0: 8, 1: 100})
    accounts.count_round({0: 1.0, 1: 1.0})
    small, large = accounts.record()["clients"]
    assert (small["sampling_rate"], large["sampling_rate"]) == (0.5, 0.04)
    assert (small["num_releases"], large["num_releases"]) == (4, 50)
    assert small["epsilon_pld"] > large["epsilon_pld"] > 0
    assert all(client["epsilon_rdp"] > client["epsilon_pld"] for client in (small, large))


def test_a_stragglers_steps_are_fewer() -> None:
    assert releases_of_round(STEPS, DISTILL, 100, 5, 0.5).count == 25
    assert releases_of_round(STEPS, DISTILL, 3, 5) == replace(
        releases_of_round(STEPS, DISTILL, 4, 5), sampling_rate=1.0
    )


def test_2250_steps_of_dp_sgd_cost_the_published_epsilon() -> None:
    """sigma 1.5, q .04, 2250 steps, delta 1e-5: 7.32911 by Rényi divergence (Opacus' own test)."""
    accounts = ClientAccounts(STEPS, replace(DISTILL, epochs=90), 1, {0: 100})
    accounts.count_round({0: 1.0})
    assert accounts.record()["clients"][0]["num_releases"] == 2250
    assert accounts.epsilon.rdp == pytest.approx(7.32911, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [LOCAL, STEPS])
def test_with_a_target_every_client_gets_the_noise_that_meets_it(settings: PrivacySettings) -> None:
    aimed = replace(settings, target_epsilon=4.0)
    accounts = ClientAccounts(aimed, DISTILL, 3, {0: 8, 1: 40})
    for _ in range(3):
        assert not accounts.is_exhausted
        accounts.count_round({0: 1.0, 1: 1.0})
    for client in accounts.record()["clients"]:
        assert 3.97 < client["epsilon_pld"] <= 4.0
    assert accounts.is_exhausted


def test_the_account_goes_on_after_a_resume_and_counts_what_was_broken_off(tmp_path: Path) -> None:
    first = ClientAccounts(STEPS, DISTILL, 5, {0: 8, 1: 40})
    first.count_round({1: 1.0})
    again = ClientAccounts(STEPS, DISTILL, 5, {0: 8, 1: 40})
    again.restore(first.state())
    assert again.num_releases == {0: 0, 1: 20}
    log = ReleaseLog(tmp_path)
    log.write(1, {1: 1.0})
    log.write(2, {0: 1.0, 1: 0.5})
    assert ReleaseLog(tmp_path).count_broken(again, num_known=1) == 1
    assert again.num_releases == {0: 4, 1: 30}
    assert again.record()["num_broken"] == 1
    later = ClientAccounts(STEPS, DISTILL, 5, {0: 8, 1: 40})
    later.restore(again.state())
    assert later.record() == again.record()


def test_a_release_that_was_not_yet_written_down_was_not_made_and_a_damaged_log_is_refused(
    tmp_path: Path,
) -> None:
    ReleaseLog(tmp_path).write(1, {3: 1.0})
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:10])
    assert ReleaseLog(tmp_path).shares == [{3: 1.0}]
    assert path.read_bytes() == whole
    path.write_text("{}\n")
    with pytest.raises(RunError, match=r"releases.jsonl line 1 cannot be read"):
        ReleaseLog(tmp_path)


def test_what_protects_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match=r"privacy.delta must be below 1 / 40"):
        ClientAccounts(replace(STEPS, delta=0.03), DISTILL, 1, {0: 8, 1: 40})
    with pytest.raises(RequestError, match=r"privacy.budget_epsilon must allow at least one round"):
        ClientAccounts(replace(STEPS, budget_epsilon=0.01), DISTILL, 1, {0: 8, 1: 40})
    assert client_accounts(Experiment(), {0: 1}) is None


def test_without_noise_nothing_bounds_epsilon() -> None:
    accounts = ClientAccounts(replace(LOCAL, noise_multiplier=0.0), DISTILL, 1, {0: 8})
    accounts.count_round({0: 1.0})
    assert accounts.record()["epsilon"] is None


def test_noise_from_the_seed_repeats_and_secret_noise_does_not() -> None:
    def draw(settings: PrivacySettings) -> float:
        return float(private_generator(settings, 0, 1, 2, "noise").random())

    assert draw(LOCAL) == draw(LOCAL)
    secret = replace(LOCAL, secret_noise=True)
    assert draw(secret) != draw(secret)
