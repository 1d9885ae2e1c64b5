"""What rounds of Gaussian noise spend, by dp-accounting: exactly where it can be, and by Rényi divergence.

One release is a sum over a Poisson sample (each unit takes part by its own coin) with Gaussian noise of
``noise_multiplier`` times the most that one unit can change the sum. Neighbours differ by one unit, added
or removed. Two accountants, both upper bounds: privacy loss distributions (Koskela et al. 2020, Doroshenko et
al. 2022), tight up to rounding, and Rényi divergence (Mironov 2017; subsampled: Mironov et al. 2019).
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from fl.errors import RequestError

LEAST_NOISE = 0.02
"""Below it a single release spends an epsilon in the thousands; the accountants are not asked."""

_TOLERANCE = 1e-4
_FINEST_STEP = 1e-4


@dataclass(frozen=True)
class Releases:
    """So many releases alike.

    Attributes:
        sampling_rate: probability with which a unit takes part in one, in (0, 1].
        noise_multiplier: standard deviation of the noise over the sensitivity; 0: no noise.
        count: how many.
    """

    sampling_rate: float
    noise_multiplier: float
    count: int


@dataclass(frozen=True)
class Epsilon:
    """Spent at one delta, by each accountant; infinite where a release had no noise."""

    pld: float
    rdp: float


def one_more(
    spent: Sequence[Releases], sampling_rate: float, noise_multiplier: float
) -> tuple[Releases, ...]:
    """What is spent after one more release; equal ones that follow each other are counted together."""
    if spent and (spent[-1].sampling_rate, spent[-1].noise_multiplier) == (sampling_rate, noise_multiplier):
        return (*spent[:-1], replace(spent[-1], count=spent[-1].count + 1))
    return (*spent, Releases(sampling_rate, noise_multiplier, 1))


@lru_cache(maxsize=8)
def spent_epsilon(spent: tuple[Releases, ...], delta: float) -> Epsilon:
    """Epsilon of all releases together at ``delta``, in (0, 1); 0 of none."""
    if not spent:
        return Epsilon(0.0, 0.0)
    if any(releases.noise_multiplier == 0 for releases in spent):
        return Epsilon(math.inf, math.inf)
    from dp_accounting.rdp import RdpAccountant

    with _quiet():
        rdp = _composed(RdpAccountant(), spent).get_epsilon(delta)
    return Epsilon(pld=float(_by_distributions(spent).get_epsilon(delta)), rdp=float(rdp))


def spent_delta(spent: tuple[Releases, ...], epsilon: float) -> float:
    """Delta of all releases together at ``epsilon``, by privacy loss distributions; all need noise."""
    return float(_by_distributions(spent).get_delta(epsilon))


def calibrated_noise(target_epsilon: float, delta: float, sampling_rate: float, num_releases: int) -> float:
    """The least noise multiplier with which so many releases spend at most ``target_epsilon``.

    By privacy loss distributions, to 1e-4. The search goes down from the noise that would do without
    sampling, by concentrated privacy (Bun and Steinke 2016, proposition 1.3), so that it never meets
    distributions much wider than the answer's.

    Raises:
        RequestError: next to no noise would spend less.
    """
    from scipy.optimize import brentq

    def spends(noise_multiplier: float) -> float:
        releases = (Releases(sampling_rate, noise_multiplier, num_releases),)
        return float(_by_distributions(releases).get_epsilon(delta))

    log = math.log(1 / delta)
    rho = (math.sqrt(log + target_epsilon) - math.sqrt(log)) ** 2
    enough = math.sqrt(num_releases / (2 * rho))
    while enough > 2 * LEAST_NOISE and spends(enough / 2) <= target_epsilon:
        enough /= 2
    if enough <= 2 * LEAST_NOISE:
        raise RequestError(
            f"privacy.target_epsilon must be one that {num_releases} rounds with noise can spend, got "
            f"{target_epsilon:g}; ask for less, or set privacy.noise_multiplier"
        )
    found = brentq(lambda noise: spends(noise) - target_epsilon, enough / 2, enough, xtol=_TOLERANCE)
    return float(found if spends(found) <= target_epsilon else found + 2 * _TOLERANCE)


def _by_distributions(spent: Sequence[Releases]) -> Any:
    """The accountant of privacy loss distributions after all releases.

    Losses grow as 1 / noise squared, and so do the steps in which they are counted: epsilon stays within
    some 1e-4 of itself, never below the truth, and little noise costs no more time than much.
    """
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import PLDAccountant

    least = min(releases.noise_multiplier for releases in spent)
    step = _FINEST_STEP * max(1.0, least**-2)
    return _composed(PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, step), spent)


def _composed(accountant: Any, spent: Sequence[Releases]) -> Any:
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent

    for releases in spent:
        event = GaussianDpEvent(releases.noise_multiplier)
        if releases.sampling_rate < 1:
            event = PoissonSampledDpEvent(releases.sampling_rate, event)
        accountant.compose(event, releases.count)
    return accountant


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a warning for each order whose divergence has no finite sum: it is left out, which is sound."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
