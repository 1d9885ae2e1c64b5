"""Was this clip trained on? Scores of attacks, the higher the more a clip looks like a member.

A loss threshold (Yeom et al. 2018, "Privacy Risk in Machine Learning", section 3.2), the loss's change by
one update (Nasr et al. 2019, "Comprehensive Privacy Analysis of Deep Learning", section 3), how close a
student is to its teacher, and LiRA (Carlini et al. 2022, "Membership Inference Attacks From First
Principles").
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]


def margins(logits: ArrayLike, labels: ArrayLike) -> Floats:
    """log(p / (1 - p)) of the probability p that a detector gives to the true class, (clips,).

    LiRA's scaled confidence (section 4.1); the loss is log(1 + exp(-margin)), so that a threshold on it is
    one on the loss.

    Args:
        logits: (clips,), positive means fake.
        labels: (clips,), 1 = fake.
    """
    sign = 2 * np.asarray(labels, dtype=np.float64) - 1
    return np.asarray(sign * np.asarray(logits, dtype=np.float64))


def losses(logits: ArrayLike, labels: ArrayLike) -> Floats:
    """Binary cross-entropy of each clip, (clips,); see `margins`."""
    return np.asarray(np.logaddexp(0, -margins(logits, labels)))


def teacher_closeness(student: ArrayLike, teacher: ArrayLike) -> Floats:
    """Minus the distance of two networks' logits, (clips,): a student meets its teacher where it learnt."""
    return -np.abs(np.asarray(student, dtype=np.float64) - np.asarray(teacher, dtype=np.float64))


def balanced_halves(groups: Sequence[str], num_shadows: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which clips each shadow network trains on, (shadows, clips): each clip on exactly half of them.

    Groups stay together: of each pair of shadows, one has half of them, the other has the rest.

    Args:
        groups: (clips,), of at least two names.
        num_shadows: even, at least 2.
        rng: draws the halves.

    Raises:
        ValueError: the number is odd, or there is one group only.
    """
    names, group = np.unique(np.array(groups), return_inverse=True)
    if num_shadows < 2 or num_shadows % 2 or len(names) < 2:
        raise ValueError(f"an even number of shadows and two groups, got {num_shadows} and {len(names)}")
    rows = []
    for _ in range(num_shadows // 2):
        chosen = np.zeros(len(names), dtype=bool)
        chosen[rng.permutation(len(names))[: len(names) // 2]] = True
        rows += [chosen[group], ~chosen[group]]
    return np.array(rows)


def lira(target: Floats, shadows: Floats, trained: NDArray[np.bool_], *, online: bool) -> Floats:
    """Scores of the likelihood ratio attack with one variance for all clips, (clips,).

    Offline: how far the target's margin is above those of shadows that did not train on the clip, in
    their deviations (equation 4, whose probability rises with this). Online: the logarithm of the ratio
    of the two normal densities (equation 3). One variance for all, as the paper's section 6.3 advises
    with fewer than 64 shadows.

    Args:
        target: (clips,), margins of the attacked network.
        shadows: (shadows, clips), margins of the shadows.
        trained: (shadows, clips), whether the shadow trained on the clip; both occur for each clip.
        online: use the shadows that trained on the clip too.
    """
    means_out, deviation_out = _normal(shadows, ~trained)
    if not online:
        return np.asarray((target - means_out) / deviation_out)
    means_in, deviation_in = _normal(shadows, trained)
    inside = norm.logpdf(target, means_in, deviation_in)
    return np.asarray(inside - norm.logpdf(target, means_out, deviation_out))


def _normal(values: Floats, chosen: NDArray[np.bool_]) -> tuple[Floats, float]:
    """The mean of each column's chosen values, and the deviation of all of them from those means."""
    counts = chosen.sum(axis=0)
    means = np.where(chosen, values, 0).sum(axis=0) / counts
    squares = (np.where(chosen, values - means, 0) ** 2).sum()
    freedom = max(int(counts.sum()) - len(means), 1)
    return means, float(np.sqrt(squares / freedom)) or 1.0
