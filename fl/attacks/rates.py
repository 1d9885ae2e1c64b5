"""How well an attack tells members from non-members: AUC, and true positives where false ones are few.

Few false positives are what counts: an attack that is right about some people for certain is worse than one
that is right a little more often than chance about all (Carlini et al. 2022, "Membership Inference Attacks
From First Principles", section 3). Intervals resample identities, as clips of one person are not independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

Floats = NDArray[np.float64]

FALSE_POSITIVE_RATES = (0.001, 0.01)
NUM_BOOTSTRAP = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class TruePositives:
    """The share of members that an attack finds while it accuses at most a share of the others.

    Attributes:
        fpr: that share; the number of non-members accused is rounded down.
        tpr: in [0, 1]; None where there are too few non-members to measure at this rate.
        ci95: the wider of two intervals: bootstrap over identities, and Clopper-Pearson at the threshold.
        reason: why ``tpr`` is None; else empty.
    """

    fpr: float
    tpr: float | None
    ci95: tuple[float, float] | None
    reason: str = ""


@dataclass(frozen=True)
class AttackRates:
    """An attack, judged.

    Attributes:
        num_members: clips that were trained on.
        num_non_members: clips that were not.
        num_identities: of both; the units of the bootstrap.
        auc: share of pairs (member, other) ordered rightly, a tie counts one half; 0.5 is chance.
        auc_ci95: bootstrap over identities.
        at: true positives at `FALSE_POSITIVE_RATES`.
    """

    num_members: int
    num_non_members: int
    num_identities: int
    auc: float
    auc_ci95: tuple[float, float]
    at: tuple[TruePositives, ...]

    @property
    def above_chance(self) -> bool:
        """Whether the AUC's interval lies above 0.5."""
        return self.auc_ci95[0] > 0.5


@dataclass(frozen=True)
class Scored:
    """What an attack says of some clips, the higher the more it takes them for members.

    Attributes:
        scores: (clips,), finite.
        groups: (clips,), who must stay together: the identity.
    """

    scores: Floats
    groups: tuple[str, ...]

    @classmethod
    def of(cls, scores: ArrayLike, groups: Sequence[str]) -> "Scored":
        """As many scores as groups.

        Raises:
            ValueError: lengths differ, there is none, or a score is not finite.
        """
        values = np.asarray(scores, dtype=np.float64)
        if values.ndim != 1 or len(values) != len(groups) or not len(values):
            raise ValueError(f"one group for each score, and at least one: {values.shape}, {len(groups)}")
        if not np.isfinite(values).all():
            raise ValueError("scores must be finite")
        return cls(values, tuple(groups))

    def weights(self, rng: np.random.Generator, num: int) -> Floats:
        """(num, clips): how often each clip is in each resample of the groups."""
        names, group = np.unique(np.array(self.groups), return_inverse=True)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num)
        return drawn[:, group].astype(np.float64)


def attack_rates(members: Scored, others: Scored, rng: np.random.Generator) -> AttackRates:
    """Judge an attack.

    Args:
        members: clips that were trained on.
        others: clips that were not.
        rng: draws the resamples.

    Raises:
        ValueError: a group is on both sides.
    """
    both = set(members.groups) & set(others.groups)
    if both:
        raise ValueError(f"identity {sorted(both)[0]!r} has clips among members and among others")
    weights = members.weights(rng, NUM_BOOTSTRAP), others.weights(rng, NUM_BOOTSTRAP)
    ones = np.ones((1, len(members.scores))), np.ones((1, len(others.scores)))
    return AttackRates(
        num_members=len(members.scores),
        num_non_members=len(others.scores),
        num_identities=len(set(members.groups)) + len(set(others.groups)),
        auc=float(_aucs(members.scores, others.scores, *ones)[0]),
        auc_ci95=_interval(_aucs(members.scores, others.scores, *weights)),
        at=tuple(_at(rate, members.scores, others.scores, weights) for rate in FALSE_POSITIVE_RATES),
    )


def true_positive_rate(members: Floats, others: Floats, fpr: float) -> float:
    """Share of members above the lowest threshold that at most ``fpr`` of the others exceed.

    Nothing is interpolated: floor(fpr * others) non-members may be accused. Equal scores are accused
    together or not at all.
    """
    return float(_rates_at(fpr, members, others, np.ones((1, len(members))), np.ones((1, len(others))))[0])


def _at(fpr: float, members: Floats, others: Floats, weights: tuple[Floats, Floats]) -> TruePositives:
    if math.floor(fpr * len(others) + 1e-9) < 1:
        needed = math.ceil(1 / fpr)
        return TruePositives(fpr, None, None, f"{len(others)} non-members, at least {needed} needed")
    tpr = true_positive_rate(members, others, fpr)
    low, high = _interval(_rates_at(fpr, members, others, *weights))
    exact = binomtest(round(tpr * len(members)), len(members)).proportion_ci(LEVEL, method="exact")
    return TruePositives(fpr, tpr, (min(low, float(exact.low)), max(high, float(exact.high))))


def _aucs(members: Floats, others: Floats, member_weights: Floats, other_weights: Floats) -> Floats:
    """(resamples,): the AUC of each weighting."""
    order = np.argsort(others, kind="stable")
    below = np.cumsum(np.pad(other_weights[:, order], ((0, 0), (1, 0))), axis=1)
    left = np.searchsorted(others[order], members, side="left")
    right = np.searchsorted(others[order], members, side="right")
    wins = (below[:, left] + below[:, right]) / 2
    pairs = member_weights.sum(axis=1) * other_weights.sum(axis=1)
    return np.asarray((member_weights * wins).sum(axis=1) / pairs)


def _rates_at(
    fpr: float, members: Floats, others: Floats, member_weights: Floats, other_weights: Floats
) -> Floats:
    """(resamples,): the true positive rate of each weighting."""
    order = np.argsort(-others, kind="stable")
    accused = np.cumsum(other_weights[:, order], axis=1)
    found = np.empty(len(accused))
    for index, (row, weight) in enumerate(zip(accused, member_weights, strict=True)):
        allowed = math.floor(fpr * row[-1] + 1e-9)
        first_too_many = int(np.searchsorted(row, allowed, side="right"))
        threshold = others[order[first_too_many]] if first_too_many < len(others) else -np.inf
        found[index] = weight[members > threshold].sum() / weight.sum()
    return found


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
