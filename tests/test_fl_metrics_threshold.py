"""Tuned thresholds against brute force over every threshold there is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.errors import DataError, RequestError
from fl.metrics.threshold import RULES, operating_point, tune_threshold

TIED = st.sampled_from([0.0, 0.1, 0.3, 0.3 + 1e-16, 0.5, 0.9, float(np.nextafter(1, 0)), 1.0])
TABLES = st.lists(st.tuples(st.booleans(), st.one_of(TIED, st.floats(0, 1))), min_size=1, max_size=20)


def rates(labels: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[float, float, float]:
    """False and true positive rate and F1, counted by hand."""
    fake = scores > threshold
    hits, alarms = int((fake & (labels == 1)).sum()), int((fake & (labels == 0)).sum())
    missed = int((labels == 1).sum()) - hits
    return alarms / (labels == 0).sum(), hits / (labels == 1).sum(), 2 * hits / (2 * hits + alarms + missed)


def all_thresholds(scores: np.ndarray) -> list[float]:
    """One of every kind that differs: each score, what is just below it, and both ends."""
    below = [float(np.nextafter(score, -1)) for score in scores if score > 0]
    return sorted({0.0, 1.0, *map(float, scores), *below})


@given(TABLES, st.sampled_from(RULES), st.sampled_from([0.0, 0.05, 0.25, 0.5, 1.0]))
def test_no_threshold_in_0_to_1_is_better(table: list[tuple[bool, float]], rule: str, max_fpr: float) -> None:
    labels = np.array([int(label) for label, _ in table])
    scores = np.array([score for _, score in table])
    found = tune_threshold(labels, scores, rule, max_fpr)
    if len(set(labels)) == 1:
        assert found is None
        return
    assert found is not None
    assert 0 <= found <= 1

    def worth(threshold: float) -> float:
        false_positive, true_positive, f1 = rates(labels, scores, threshold)
        if rule == "f1":
            return f1
        if rule == "youden":
            return true_positive - false_positive
        return true_positive if false_positive <= max_fpr else -1.0

    best = max(map(worth, all_thresholds(scores)))
    assert worth(found) == pytest.approx(best, abs=1e-9)
    # Of several that are as good, the highest: no better one calls fewer clips fake.
    fewest = min(int((scores > t).sum()) for t in all_thresholds(scores) if worth(t) >= best - 1e-9)
    assert int((scores > found).sum()) == fewest


@given(TABLES, st.floats(0, 1))
def test_an_operating_point_is_what_is_counted(table: list[tuple[bool, float]], threshold: float) -> None:
    labels = np.array([int(label) for label, _ in table])
    scores = np.array([score for _, score in table])
    point = operating_point(labels, scores, threshold)
    assert point.threshold == threshold
    assert point.accuracy == pytest.approx(((scores > threshold) == (labels == 1)).mean())
    assert (point.false_positive_rate is None) == (not (labels == 0).any())
    assert (point.true_positive_rate is None) == (not labels.any())
    if 0 < labels.sum() < len(labels):
        expected = rates(labels, scores, threshold)
        assert (point.false_positive_rate, point.true_positive_rate, point.f1) == pytest.approx(expected)


def test_thresholds_lie_midway() -> None:
    assert tune_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], "youden") == pytest.approx(0.4)
    assert tune_threshold([0, 1, 1], [0.7, 0.9, 0.9], "youden") == pytest.approx(0.8)
    assert tune_threshold([0, 1], [0.4, 0.4], "fpr", 0) == pytest.approx(0.7)
    # F1 calls all fake where that is best, which leaves a threshold below the lowest score.
    assert tune_threshold([1, 0, 1, 1], [0.2, 0.6, 0.4, 0.8], "f1") == pytest.approx(0.1)


def test_a_fixed_rate_is_kept_to() -> None:
    labels = np.array([0] * 20 + [1] * 4)
    scores = np.concatenate([np.linspace(0.02, 0.78, 20), [0.75, 0.77, 0.9, 0.95]])
    found = tune_threshold(labels, scores, "fpr", 0.05)
    assert found is not None
    point = operating_point(labels, scores, found)
    assert (point.false_positive_rate, point.true_positive_rate) == (0.05, 1.0)
    strict = tune_threshold(labels, scores, "fpr", 0.049)
    assert strict is not None
    point = operating_point(labels, scores, strict)
    assert (point.false_positive_rate, point.true_positive_rate) == (0.0, 0.5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]])
def test_one_class_has_no_best_threshold(labels: list[int], rule: str) -> None:
    assert tune_threshold(labels, [0.3] * len(labels), rule) is None


def test_bad_input_is_refused() -> None:
    with pytest.raises(RequestError, match="chosen by f1, youden, fpr, got 'auc'"):
        tune_threshold([0, 1], [0.1, 0.2], "auc")
    with pytest.raises(RequestError, match=r"in \[0, 1\], got 5"):
        tune_threshold([0, 1], [0.1, 0.2], "fpr", 5)
    with pytest.raises(DataError, match="apply the sigmoid"):
        tune_threshold([0, 1], [0.1, 3.0], "f1")
    with pytest.raises(DataError, match="one length"):
        operating_point([0, 1], [0.1], 0.5)
