"""How well a detector tells fake from real: metrics of one table of labels and scores.

Whatever the data leave undefined (AUC of one class, precision without a positive verdict) is None:
never NaN, and never a value that could be mistaken for a measurement.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score, roc_curve

from fl.errors import DataError


@dataclass(frozen=True)
class CategoryMetrics:
    """One manipulation (or the real clips).

    Attributes:
        num_clips: clips of this category.
        accuracy: share of them judged correctly.
        auc: fakes of this category against all real clips; None for the real clips themselves.
    """

    num_clips: int
    accuracy: float | None
    auc: float | None


@dataclass(frozen=True)
class DetectionMetrics:
    """Metrics in [0, 1] of a two-class detector, 1 = fake; None where undefined.

    Attributes:
        accuracy: share of correct verdicts; None without clips.
        precision: of the verdicts "fake", the share that is right; None without such a verdict.
        recall: of the fakes, the share found; None without a fake.
        f1: 2 TP / (2 TP + FP + FN); None where that is 0 / 0.
        auc: area under the ROC curve; None unless both classes are present.
        eer: error rate at which false positives equal false negatives; None like ``auc``.
        by_category: the same by manipulation; empty if no categories were given.
    """

    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    auc: float | None
    eer: float | None
    by_category: dict[str, CategoryMetrics] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """The plain dictionary that goes into ``rounds.jsonl``."""
        return asdict(self)


def detection_metrics(
    labels: ArrayLike,
    scores: ArrayLike,
    categories: Sequence[str] | None = None,
    threshold: float = 0.5,
) -> DetectionMetrics:
    """All detection metrics of one table.

    Args:
        labels: (num_clips,), 1 = fake, 0 = real.
        scores: (num_clips,), probability of fake in [0, 1].
        categories: (num_clips,), the manipulation of each clip, "real" for real ones.
        threshold: a clip is called fake if its score is above this; 0.5 equals logit > 0.

    Raises:
        DataError: lengths differ, a label is neither 0 nor 1, a score is not finite or outside [0, 1].
    """
    truth, score = check_table(labels, scores)
    verdict = (score > threshold).astype(np.int64)
    if categories is None:
        by_category: dict[str, CategoryMetrics] = {}
    elif len(categories) != len(truth):
        raise DataError(f"categories must have one entry per clip ({len(truth)}), got {len(categories)}")
    else:
        by_category = _by_category(truth, score, verdict, np.asarray(categories, dtype=object))
    return DetectionMetrics(
        accuracy=_defined(accuracy_score(truth, verdict)) if len(truth) else None,
        precision=_defined(precision_score(truth, verdict, zero_division=np.nan)) if len(truth) else None,
        recall=_defined(recall_score(truth, verdict, zero_division=np.nan)) if len(truth) else None,
        f1=_defined(f1_score(truth, verdict, zero_division=np.nan)) if len(truth) else None,
        auc=_auc(truth, score),
        eer=equal_error_rate(truth, score),
        by_category=by_category,
    )


def check_table(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels as integers and scores as doubles, both (num_clips,).

    Raises:
        DataError: as in `detection_metrics`.
    """
    truth = np.asarray(labels, dtype=np.float64)
    score = np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != score.shape:
        raise DataError(f"labels and scores must be of one length, got {truth.shape} and {score.shape}")
    wrong = truth[(truth != 0) & (truth != 1)]
    if wrong.size:
        raise DataError(f"labels must be 0 (real) or 1 (fake), got {wrong[0]:g}; convert them")
    if not np.isfinite(score).all():
        index = int(np.flatnonzero(~np.isfinite(score))[0])
        raise DataError(f"scores must be finite, got {score[index]} for clip {index}; the detector diverged")
    outside = score[(score < 0) | (score > 1)]
    if outside.size:
        raise DataError(f"scores must be in [0, 1], got {outside[0]:g}; apply the sigmoid to logits")
    return truth.astype(np.int64), score


def equal_error_rate(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """The equal error rate in [0, 1]: where the ROC curve meets false positives = false negatives.

    The only definition in this project. The curve joins the points of all thresholds by straight lines
    (Fawcett 2006, "An introduction to ROC analysis", section 5; clips of equal score enter together). It
    is not its convex hull, whose rate (ROCCH-EER, Bruemmer and de Villiers 2013, "The BOSARIS Toolkit") is
    never above this one.

    Args:
        labels: (num_clips,), 1 = fake.
        scores: (num_clips,), probability of fake.

    Returns:
        None unless both classes are present.
    """
    truth, score = check_table(labels, scores)
    if len(np.unique(truth)) < 2:
        return None
    false_positive, true_positive, _ = roc_curve(truth, score, drop_intermediate=False)
    gap = false_positive - (1.0 - true_positive)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    return float(false_positive[before] + share * (false_positive[after] - false_positive[before]))


def auc_interval(
    labels: ArrayLike,
    scores: ArrayLike,
    rng: np.random.Generator,
    num_bootstrap: int = 1000,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the AUC; real and fake clips are resampled apart.

    Args:
        labels: (num_clips,), 1 = fake.
        scores: (num_clips,), probability of fake.
        rng: draws the resamples.
        num_bootstrap: number of resamples.
        level: coverage in (0, 1).

    Returns:
        (low, high), or None unless both classes are present.
    """
    truth, score = check_table(labels, scores)
    num_fake = int(truth.sum())
    num_real = len(truth) - num_fake
    if not num_fake or not num_real:
        return None
    values, group = np.unique(score, return_inverse=True)
    fake_share = np.bincount(group, weights=truth, minlength=len(values)) / num_fake
    real_share = np.bincount(group, weights=1 - truth, minlength=len(values)) / num_real
    fakes = rng.multinomial(num_fake, fake_share, size=num_bootstrap)
    reals = rng.multinomial(num_real, real_share, size=num_bootstrap)
    reals_below = np.cumsum(reals, axis=1) - 0.5 * reals  # a tie counts one half
    aucs = (fakes * reals_below).sum(axis=1) / (num_fake * num_real)
    low, high = np.quantile(aucs, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _by_category(
    truth: NDArray[np.int64],
    score: NDArray[np.float64],
    verdict: NDArray[np.int64],
    categories: NDArray[Any],
) -> dict[str, CategoryMetrics]:
    result = {}
    for category in sorted(set(categories.tolist())):
        chosen = categories == category
        fakes_and_all_real = (chosen & (truth == 1)) | (truth == 0)
        result[str(category)] = CategoryMetrics(
            num_clips=int(chosen.sum()),
            accuracy=float((truth[chosen] == verdict[chosen]).mean()),
            auc=_auc(truth[fakes_and_all_real], score[fakes_and_all_real]),  # None without a fake of its own
        )
    return result


def _auc(truth: NDArray[np.int64], score: NDArray[np.float64]) -> float | None:
    if len(np.unique(truth)) < 2:
        return None
    return _defined(roc_auc_score(truth, score))


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
