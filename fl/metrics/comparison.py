"""Whether two detectors differ on the same clips: paired bootstrap intervals and McNemar's exact test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from fl.errors import DataError
from fl.metrics.detection import check_table, detection_metrics

NUM_BOOTSTRAP = 2000


@dataclass(frozen=True)
class Difference:
    """Second detector less first, in one metric.

    Attributes:
        first: the metric of the first, in [0, 1].
        second: that of the second.
        low: lower end of the interval of ``second - first``, in [-1, 1].
        high: upper end.
    """

    first: float
    second: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        """``second - first``, in [-1, 1]."""
        return self.second - self.first


@dataclass(frozen=True)
class McNemar:
    """The clips on whose verdict two detectors disagree.

    Attributes:
        only_first: clips that only the first judges correctly.
        only_second: clips that only the second judges correctly.
        p_value: two-sided, in (0, 1]; 1 if they never disagree.
    """

    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Two detectors on the same clips; differences are None without both classes."""

    num_clips: int
    accuracy: Difference | None
    auc: Difference | None
    mcnemar: McNemar


def compare_detectors(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    rng: np.random.Generator,
    num_bootstrap: int = NUM_BOOTSTRAP,
    level: float = 0.95,
    threshold: float = 0.5,
) -> Comparison:
    """Compare two detectors clip by clip.

    The percentile bootstrap (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13)
    draws the same clips for both; real and fake clips are resampled apart.

    Args:
        labels: (num_clips,), 1 = fake.
        first: (num_clips,), probability of fake in [0, 1].
        second: (num_clips,), that of the other detector for the same clips.
        rng: draws the resamples.
        num_bootstrap: number of resamples, at least 1.
        level: coverage of the intervals in (0, 1).
        threshold: a clip is called fake if its score is above this.

    Raises:
        DataError: as in `fl.metrics.detection.check_table`.
    """
    truth, score = check_table(labels, first)
    _, other = check_table(labels, second)
    accuracy, auc = _differences(truth, score, other, rng, num_bootstrap, level, threshold)
    return Comparison(len(truth), accuracy, auc, mcnemar(truth, score, other, threshold))


def mcnemar(labels: ArrayLike, first: ArrayLike, second: ArrayLike, threshold: float = 0.5) -> McNemar:
    """McNemar's test in its exact form (McNemar 1947): a binomial test of the clips judged differently.

    Args:
        labels: (num_clips,), 1 = fake.
        first: (num_clips,), probability of fake in [0, 1].
        second: (num_clips,), that of the other detector for the same clips.
        threshold: a clip is called fake if its score is above this.

    Raises:
        DataError: as in `fl.metrics.detection.check_table`.
    """
    truth, score = check_table(labels, first)
    _, other = check_table(labels, second)
    right, other_right = (score > threshold) == truth, (other > threshold) == truth
    only_first, only_second = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    disagreed = only_first + only_second
    p_value = float(binomtest(only_second, disagreed, 0.5).pvalue) if disagreed else 1.0
    return McNemar(only_first, only_second, p_value)


def resamples(labels: ArrayLike, rng: np.random.Generator, num_bootstrap: int) -> NDArray[np.int64]:
    """How often each clip occurs in each resample; real and fake clips are drawn apart.

    Args:
        labels: (num_clips,), 1 = fake.
        rng: draws them.
        num_bootstrap: number of resamples.

    Returns:
        (num_bootstrap, num_clips); each row has as many real and as many fake clips as ``labels``.
    """
    truth = np.asarray(labels)
    counts = np.zeros((num_bootstrap, len(truth)), dtype=np.int64)
    for label in (0, 1):
        rows = np.flatnonzero(truth == label)
        if len(rows):
            counts[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), num_bootstrap)
    return counts


def _differences(
    truth: NDArray[np.int64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    rng: np.random.Generator,
    num_bootstrap: int,
    level: float,
    threshold: float,
) -> tuple[Difference | None, Difference | None]:
    """Of accuracy and AUC."""
    if num_bootstrap < 1 or not 0 < level < 1:
        raise DataError(f"num_bootstrap must be at least 1 and level in (0, 1), got {num_bootstrap}, {level}")
    if len(np.unique(truth)) < 2:
        return None, None
    counts = resamples(truth, rng, num_bootstrap)
    tails = [(1 - level) / 2, (1 + level) / 2]
    change = ((second > threshold) == truth).astype(np.int64) - ((first > threshold) == truth)
    accuracies = counts @ change / len(truth)
    groups = [np.unique(score, return_inverse=True)[1] for score in (first, second)]
    aucs = [_auc(truth, groups[1], row) - _auc(truth, groups[0], row) for row in counts]
    before, after = (detection_metrics(truth, score, threshold=threshold) for score in (first, second))
    found = []
    for name, values in (("accuracy", accuracies), ("auc", np.array(aucs))):
        low, high = np.quantile(values, tails)
        found.append(Difference(getattr(before, name), getattr(after, name), float(low), float(high)))
    return found[0], found[1]


def _auc(truth: NDArray[np.int64], group: NDArray[np.intp], counts: NDArray[np.int64]) -> float:
    """Area under the ROC curve; ``group``: (clips,), the rank of a clip's score, equal ones alike."""
    fakes = np.bincount(group, weights=counts * truth)
    reals = np.bincount(group, weights=counts * (1 - truth))
    below = np.cumsum(reals) - 0.5 * reals  # a tie counts one half
    return float((fakes * below).sum() / (fakes.sum() * reals.sum()))
