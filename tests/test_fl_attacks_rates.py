"""Rates of attacks: closed forms, and what too few non-members cannot say."""

import numpy as np
import pytest
from scipy.stats import norm

from fl.attacks.rates import Scored, attack_rates, true_positive_rate


def names(prefix: str, num: int, each: int = 1) -> list[str]:
    return [f"{prefix}{index // each}" for index in range(num)]


def spread(mean: float, num: int) -> np.ndarray:
    """Normal quantiles: a sample without chance."""
    return norm.ppf((np.arange(num) + 0.5) / num) + mean


def test_normal_scores_have_the_rates_of_the_normal_distribution() -> None:
    members, others = spread(1.0, 2000), spread(0.0, 2000)
    rates = attack_rates(
        Scored.of(members, names("a", 2000)), Scored.of(others, names("b", 2000)), np.random.default_rng(0)
    )
    assert rates.auc == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=1e-3)
    assert rates.auc_ci95[0] < rates.auc < rates.auc_ci95[1]
    assert rates.above_chance
    for at in rates.at:
        assert at.tpr == pytest.approx(norm.sf(norm.isf(at.fpr) - 1), abs=0.01)
        assert at.ci95[0] <= at.tpr <= at.ci95[1]


def test_a_rate_that_the_non_members_cannot_resolve_is_not_told() -> None:
    rates = attack_rates(
        Scored.of(spread(3, 50), names("a", 50)), Scored.of(spread(0, 999), names("b", 999)),
        np.random.default_rng(0),
    )  # fmt: skip
    low, one_percent = rates.at
    assert (low.tpr, low.ci95) == (None, None)
    assert low.reason == "999 non-members, at least 1000 needed"
    assert one_percent.tpr is not None
    assert one_percent.reason == ""


def test_equal_scores_are_accused_together_or_not_at_all() -> None:
    others = np.array([0.0] * 95 + [1.0] * 5)
    assert true_positive_rate(np.array([1.0, 2.0]), others, 0.01) == 0.5  # the 1.0 would accuse five
    assert true_positive_rate(np.array([1.0, 2.0]), others, 0.05) == 1.0
    assert true_positive_rate(np.array([0.0, 0.0]), np.zeros(100), 0.5) == 0.0


def test_an_attack_that_finds_nobody_still_has_an_upper_limit() -> None:
    rates = attack_rates(
        Scored.of(np.zeros(20), names("a", 20)), Scored.of(np.ones(200), names("b", 200)),
        np.random.default_rng(0),
    )  # fmt: skip
    assert rates.at[1].tpr == 0
    assert rates.at[1].ci95 == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))


def test_clips_of_one_identity_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    mean = np.repeat(rng.normal(size=40), 10)  # ten clips of a person are alike
    members, others = mean[:200] + 0.5, mean[200:]
    widths = []
    for each in (1, 10):
        found = attack_rates(
            Scored.of(members, names("a", 200, each)), Scored.of(others, names("b", 200, each)),
            np.random.default_rng(1),
        )  # fmt: skip
        widths.append(found.auc_ci95[1] - found.auc_ci95[0])
    assert widths[1] > 2 * widths[0]


def test_an_identity_on_both_sides_is_refused() -> None:
    with pytest.raises(ValueError, match="'a1' has clips among members and among others"):
        attack_rates(
            Scored.of([1, 2], ["a0", "a1"]), Scored.of([1, 2], ["a1", "b"]), np.random.default_rng(0)
        )
    with pytest.raises(ValueError, match="finite"):
        Scored.of([np.nan], ["a"])
    with pytest.raises(ValueError, match="at least one"):
        Scored.of([], [])
