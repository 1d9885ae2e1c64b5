"""Thresholds tuned on one split, to be used on another: by F1, by Youden's J, at a fixed false positive rate.

A clip is called fake if its score is above the threshold, as everywhere. Each function looks at every
threshold in [0, 1] (the points of the ROC curve); of several that are equally good it takes the highest,
and puts it midway between the scores that it parts.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_curve

from fl.errors import RequestError
from fl.metrics.detection import check_table, detection_metrics

RULES = ("f1", "youden", "fpr")
"""How a threshold may be chosen: largest F1; largest true less false positive rate; a fixed rate."""

DEFAULT_FPR = 0.05
"""The false positive rate that "fpr" keeps to."""


@dataclass(frozen=True)
class OperatingPoint:
    """A detector at one threshold; rates in [0, 1].

    Attributes:
        threshold: a higher score is called fake.
        accuracy: share of correct verdicts; None without clips.
        f1: as in `fl.metrics.detection.DetectionMetrics`.
        false_positive_rate: of the real clips, the share that is called fake; None without one.
        true_positive_rate: of the fakes, the share that is found; None without one.
    """

    threshold: float
    accuracy: float | None
    f1: float | None
    false_positive_rate: float | None
    true_positive_rate: float | None


class Scored(NamedTuple):
    """What a network says of the clips of one split.

    Attributes:
        labels: (clips,), 1 = fake.
        scores: (clips,), probability of fake in [0, 1].
    """

    labels: NDArray[np.integer[Any]]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Retuned:
    """What a threshold costs that is kept while the scores change, and what tuning it anew gives back.

    Attributes:
        rule: of `RULES`.
        before: at the threshold that was kept; None where there is none.
        after: at the threshold that was tuned anew; None unless both classes were there to tune on.
    """

    rule: str
    before: OperatingPoint | None
    after: OperatingPoint | None


def retune(
    rule: str, kept: float | None, tuned_on: Scored, judged_on: Scored, max_fpr: float = DEFAULT_FPR
) -> Retuned:
    """Judge changed scores at the old threshold, and at one tuned on changed scores of other clips.

    Args:
        rule: of `RULES`.
        kept: the old threshold, of `tune_threshold` before the change.
        tuned_on: validation clips, after the change.
        judged_on: test clips, after the change.
        max_fpr: see `tune_threshold`.
    """
    tuned = tune_threshold(*tuned_on, rule, max_fpr)
    before, after = (None if cut is None else operating_point(*judged_on, cut) for cut in (kept, tuned))
    return Retuned(rule, before, after)


def tune_threshold(
    labels: ArrayLike, scores: ArrayLike, rule: str, max_fpr: float = DEFAULT_FPR
) -> float | None:
    """The threshold that is best on these clips: never those on which it is to be judged.

    Args:
        labels: (clips,), 1 = fake.
        scores: (clips,), probability of fake in [0, 1].
        rule: of `RULES`: "f1", the largest F1; "youden", the largest true less false positive rate
            (Youden 1950, "Index for rating diagnostic tests"); "fpr", of those with a false positive rate
            of at most ``max_fpr`` the one that finds most fakes.
        max_fpr: for "fpr", [0, 1].

    Returns:
        In [0, 1]; None unless both classes are present.

    Raises:
        RequestError: no such rule, or ``max_fpr`` is out of range.
        DataError: as in `fl.metrics.detection.check_table`.
    """
    if rule not in RULES:
        raise RequestError(f"a threshold is chosen by {', '.join(RULES)}, got {rule!r}")
    if not 0 <= max_fpr <= 1:
        raise RequestError(f"the false positive rate must be in [0, 1], got {max_fpr:g}")
    truth, score = check_table(labels, scores)
    num_fake = int(truth.sum())
    if not 0 < num_fake < len(truth):
        return None
    false_positive, true_positive, cuts = roc_curve(truth, score, drop_intermediate=False)
    thresholds = _midway(cuts)
    false_positive, true_positive = false_positive[: len(thresholds)], true_positive[: len(thresholds)]
    if rule == "youden":
        gain = true_positive - false_positive
    elif rule == "f1":
        called_fake = true_positive * num_fake + false_positive * (len(truth) - num_fake)
        gain = 2 * true_positive * num_fake / (called_fake + num_fake)
    else:
        gain = np.where(false_positive <= max_fpr, true_positive, -1.0)
    # Equal but for rounding is equal: the first is the highest threshold.
    return float(thresholds[np.argmax(gain >= gain.max() - 1e-12)])


def operating_point(labels: ArrayLike, scores: ArrayLike, threshold: float) -> OperatingPoint:
    """A detector at a threshold that was chosen elsewhere.

    Args:
        labels: (clips,), 1 = fake.
        scores: (clips,), probability of fake in [0, 1].
        threshold: a higher score is called fake.

    Raises:
        DataError: as in `fl.metrics.detection.check_table`.
    """
    truth, score = check_table(labels, scores)
    metrics = detection_metrics(truth, score, threshold=threshold)
    false_alarms = score[truth == 0] > threshold
    rate = float(false_alarms.mean()) if len(false_alarms) else None
    return OperatingPoint(threshold, metrics.accuracy, metrics.f1, rate, metrics.recall)


def _midway(cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds in [0, 1] above which lies what a point of `roc_curve` calls fake: its cut and above.

    The first cut is infinite: nothing is fake. The last, all is fake, has none if a score is 0.
    """
    upper = np.concatenate([[1.0], cuts[1:]])
    lower = np.append(cuts[1:], 0.0)
    middle = (upper + lower) / 2
    # Between two neighbouring numbers there is none: the lower one parts them too.
    thresholds = np.where((middle >= upper) & (np.arange(len(cuts)) > 0), lower, middle)
    return thresholds[:-1] if cuts[-1] == 0 else thresholds
