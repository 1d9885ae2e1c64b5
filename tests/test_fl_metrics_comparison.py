import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from fl.errors import DataError
from fl.metrics.comparison import compare_detectors, mcnemar, resamples


def two_detectors(seed: int, num_clips: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, a middling detector's scores, and those of one that knows more."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_clips) % 2
    noise = rng.normal(size=num_clips)
    first, second = (1 / (1 + np.exp(-(gain * (labels - 0.5) + noise))) for gain in (1.0, 3.0))
    return labels, first, second


def test_mcnemar_counts_the_clips_judged_differently() -> None:
    labels = [1, 1, 1, 1, 0, 0, 0, 0]
    first = [0.9, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.1]
    second = [0.1, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.9]
    found = mcnemar(labels, first, second)
    assert (found.only_first, found.only_second) == (2, 5)
    assert found.p_value == pytest.approx(2 * binom.cdf(2, 7, 0.5))  # the definition, both tails
    turned = mcnemar(labels, second, first)
    assert (turned.only_first, turned.only_second, turned.p_value) == (5, 2, found.p_value)


def test_detectors_that_agree_do_not_differ() -> None:
    labels, first, _ = two_detectors(0)
    found = compare_detectors(labels, first, first, np.random.default_rng(0))
    assert found.mcnemar.p_value == 1.0
    assert found.auc is not None
    assert (found.auc.gain, found.auc.low, found.auc.high) == (0.0, 0.0, 0.0)


def test_a_threshold_decides_what_is_a_verdict() -> None:
    assert mcnemar([1, 0], [0.4, 0.2], [0.6, 0.2]).only_second == 1
    assert mcnemar([1, 0], [0.4, 0.2], [0.6, 0.2], threshold=0.3).only_second == 0


def test_the_metrics_are_scikit_learns_and_the_interval_is_narrower_than_unpaired() -> None:
    labels, first, second = two_detectors(1)
    found = compare_detectors(labels, first, second, np.random.default_rng(0))
    assert found.num_clips == 200
    assert found.auc is not None
    assert found.accuracy is not None
    assert found.auc.first == pytest.approx(roc_auc_score(labels, first))
    assert found.auc.second == pytest.approx(roc_auc_score(labels, second))
    assert found.accuracy.gain == pytest.approx(
        np.mean((second > 0.5) == labels) - np.mean((first > 0.5) == labels)
    )
    assert 0 < found.auc.low < found.auc.gain < found.auc.high
    rng = np.random.default_rng(0)
    unpaired = [
        roc_auc_score(labels, second, sample_weight=one) - roc_auc_score(labels, first, sample_weight=other)
        for one, other in zip(resamples(labels, rng, 300), resamples(labels, rng, 300), strict=True)
    ]
    low, high = np.quantile(unpaired, [0.025, 0.975])
    assert found.auc.high - found.auc.low < high - low


def test_the_interval_is_that_of_scikit_learns_auc_on_the_same_resamples() -> None:
    labels, first, second = two_detectors(2, 40)
    first, second = first.round(1), second.round(1)  # ties
    found = compare_detectors(labels, first, second, np.random.default_rng(7), num_bootstrap=50)
    counts = resamples(labels, np.random.default_rng(7), 50)
    gains = [
        roc_auc_score(labels, second, sample_weight=row) - roc_auc_score(labels, first, sample_weight=row)
        for row in counts
    ]
    assert found.auc is not None
    np.testing.assert_allclose([found.auc.low, found.auc.high], np.quantile(gains, [0.025, 0.975]))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    labels, first, second = two_detectors(3, 100_000)
    truth = roc_auc_score(labels, second) - roc_auc_score(labels, first)
    hits = 0
    for seed in range(100):
        found = compare_detectors(*two_detectors(10 + seed), np.random.default_rng(seed), num_bootstrap=200)
        assert found.auc is not None
        hits += found.auc.low <= truth <= found.auc.high
    assert 86 <= hits <= 100  # 95 expected


def test_resamples_keep_the_classes() -> None:
    labels = np.array([0, 1, 1, 0, 1])
    counts = resamples(labels, np.random.default_rng(0), 20)
    assert counts.shape == (20, 5)
    assert (counts[:, labels == 1].sum(axis=1) == 3).all()
    assert (counts[:, labels == 0].sum(axis=1) == 2).all()
    assert len({tuple(row) for row in counts}) > 1


def test_one_class_has_no_differences() -> None:
    found = compare_detectors([1, 1], [0.2, 0.9], [0.8, 0.9], np.random.default_rng(0))
    assert (found.accuracy, found.auc) == (None, None)
    assert found.mcnemar.only_second == 1


@pytest.mark.parametrize(
    ("second", "options", "says"),
    [
        ([0.5], {}, "one length"),
        ([0.5, 2.0], {}, "in \\[0, 1\\]"),
        ([0.5, 0.1], {"num_bootstrap": 0}, "num_bootstrap must be at least 1"),
        ([0.5, 0.1], {"level": 1.0}, "level in \\(0, 1\\)"),
    ],
)
def test_wrong_tables_are_refused(second: list[float], options: dict[str, float], says: str) -> None:
    with pytest.raises(DataError, match=says):
        compare_detectors([0, 1], [0.1, 0.9], second, np.random.default_rng(0), **options)
