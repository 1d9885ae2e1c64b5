from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from fl.errors import DataError
from fl.metrics.detection import auc_interval, detection_metrics, equal_error_rate

LABELS = [0, 0, 1, 1]
SCORES = [0.1, 0.4, 0.35, 0.8]


def test_hand_counted_table() -> None:
    found = detection_metrics(LABELS, SCORES)
    assert (found.accuracy, found.precision, found.recall) == (0.75, 1.0, 0.5)
    assert found.f1 == pytest.approx(2 / 3)
    assert found.auc == 0.75  # of four pairs, one is in the wrong order
    assert found.eer == 0.5
    assert found.by_category == {}


def test_scores_are_not_thresholded_before_the_auc() -> None:
    # Every score is below the threshold, so a thresholded AUC would be 0.5.
    found = detection_metrics([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4])
    assert (found.auc, found.eer) == (1.0, 0.0)
    assert (found.accuracy, found.precision, found.recall, found.f1) == (0.5, None, 0.0, 0.0)


def test_a_score_at_the_threshold_is_real_like_logit_zero() -> None:
    assert detection_metrics([0], [0.5]).accuracy == 1.0


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_auc_and_eer_undefined(label: int) -> None:
    found = detection_metrics([label] * 3, [0.2, 0.6, 0.9])
    assert found.auc is None
    assert found.eer is None
    assert found.recall == (pytest.approx(2 / 3) if label else None)
    assert auc_interval([label] * 3, [0.2, 0.6, 0.9], np.random.default_rng(0)) is None


def test_no_clips_leave_everything_undefined() -> None:
    record = detection_metrics([], [], []).as_record()
    assert record.pop("by_category") == {}
    assert set(record.values()) == {None}


def test_each_manipulation_stands_against_all_real_clips() -> None:
    labels = [0, 0, 1, 1, 1]
    scores = [0.2, 0.6, 0.9, 0.1, 0.7]
    found = detection_metrics(labels, scores, ["real", "real", "FaceSwap", "Dub", "FaceSwap"]).by_category
    assert {name: entry.num_clips for name, entry in found.items()} == {"real": 2, "FaceSwap": 2, "Dub": 1}
    assert (found["FaceSwap"].auc, found["FaceSwap"].accuracy) == (1.0, 1.0)
    assert (found["Dub"].auc, found["Dub"].accuracy) == (0.0, 0.0)
    assert (found["real"].auc, found["real"].accuracy) == (None, 0.5)


def test_eer_between_two_points_of_the_curve_is_interpolated() -> None:
    # ROC (0,0) (0,1/2) (1/3,1/2) (1/3,1): the curve meets fpr = 1 - tpr on the vertical part at 1/3.
    assert equal_error_rate([0, 1, 0, 1, 0], [0.1, 0.5, 0.6, 0.9, 0.2]) == pytest.approx(1 / 3)
    # All scores tie: the curve is the diagonal, which meets fpr = 1 - tpr at 1/2.
    assert equal_error_rate([0, 1], [0.3, 0.3]) == pytest.approx(0.5)
    # A tie of 2 fakes and 1 real among 4 and 2: from (0, 1/2) to (1/2, 1) they meet at fpr = 1/4.
    assert equal_error_rate([1, 1, 1, 1, 0, 0], [0.9, 0.9, 0.5, 0.5, 0.5, 0.1]) == pytest.approx(0.25)


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.0])), max_size=30))
def test_turning_the_table_round_keeps_auc_and_eer(rows: list[tuple[int, float]]) -> None:
    labels = np.array([row[0] for row in rows])
    scores = np.array([row[1] for row in rows])
    there = detection_metrics(labels, scores)
    back = detection_metrics(1 - labels, 1.0 - scores)
    assert (there.auc is None) == (back.auc is None)
    if there.auc is not None and there.eer is not None:
        assert back.auc == pytest.approx(there.auc)
        assert back.eer == pytest.approx(there.eer)
        assert 0 <= there.eer <= 1


def test_auc_interval_covers_the_auc_of_a_known_shift() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 300)
    scores = 1 / (1 + np.exp(-rng.normal(labels.astype(float), 1.0)))  # d' = 1: AUC = Phi(1 / sqrt 2) = 0.760
    low, high = auc_interval(labels, scores, rng) or (0.0, 0.0)
    assert low < 0.760 < high
    # Standard error by Hanley and McNeil for AUC 0.76 and 300 + 300: about 0.019.
    assert high - low == pytest.approx(2 * 1.96 * 0.019, rel=0.15)


@pytest.mark.parametrize(
    ("labels", "scores", "says"),
    [
        ([0, 1], [0.5, float("nan")], "finite, got nan for clip 1"),
        ([0, 1], [0.5, float("inf")], "finite"),
        ([0, 1], [0.5, 1.5], r"\[0, 1\], got 1.5; apply the sigmoid"),
        ([0, 2], [0.5, 0.5], "labels must be 0"),
        ([0, 1], [0.5], "one length"),
        ([[0, 1]], [[0.5, 0.5]], "one length"),
    ],
)
def test_bad_tables_are_refused(labels: list[int], scores: list[float], says: str) -> None:
    with pytest.raises(DataError, match=says):
        detection_metrics(labels, scores)


def test_categories_must_match_the_clips() -> None:
    with pytest.raises(DataError, match=r"one entry per clip \(4\), got 1"):
        detection_metrics(LABELS, SCORES, ["real"])


# Few different scores, so that many tie.
TABLES = st.lists(
    st.tuples(st.integers(0, 1), st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))),
    min_size=1,
    max_size=40,
)


@given(TABLES)
def test_every_metric_is_scikit_learns_or_its_definition(rows: list[tuple[int, float]]) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    verdicts, found = scores > 0.5, detection_metrics(labels, scores)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, verdicts), abs=1e-12)
    if verdicts.any():
        assert found.precision == pytest.approx(metrics.precision_score(labels, verdicts), abs=1e-12)
    else:
        assert found.precision is None
    if labels.any():
        assert found.recall == pytest.approx(metrics.recall_score(labels, verdicts), abs=1e-12)
    else:
        assert found.recall is None
    if labels.any() or verdicts.any():
        assert found.f1 == pytest.approx(metrics.f1_score(labels, verdicts), abs=1e-12)
    else:
        assert found.f1 is None
    if not 0 < labels.sum() < len(labels):
        assert (found.auc, found.eer) == (None, None)
        return
    assert found.auc == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    fakes, reals = scores[labels == 1], scores[labels == 0]
    pairs = np.sign(fakes[:, None] - reals) / 2 + 0.5  # Mann and Whitney: a tie counts one half
    assert found.auc == pytest.approx(pairs.mean(), abs=1e-12)
    assert found.eer == pytest.approx(crossing(fakes, reals), abs=1e-12)


def crossing(fakes: np.ndarray, reals: np.ndarray) -> float:
    """Where false positives equal false negatives, on lines between the rates of all thresholds."""
    cuts = [np.inf, *sorted({*fakes.tolist(), *reals.tolist()}, reverse=True)]
    points = [(float((reals >= cut).mean()), float((fakes < cut).mean())) for cut in cuts]
    for (false_0, missed_0), (false_1, missed_1) in pairwise(points):
        if false_1 >= missed_1:
            # false_0 + t (false_1 - false_0) = missed_0 + t (missed_1 - missed_0)
            t = (missed_0 - false_0) / ((false_1 - false_0) + (missed_0 - missed_1))
            return false_0 + t * (false_1 - false_0)
    raise AssertionError("the last threshold calls all clips fake")


def test_the_eer_is_that_of_the_curve_and_not_of_its_convex_hull() -> None:
    # ROC (0,0) (0,1/2) (1/2,1/2) (1/2,1) (1,1) meets fpr = 1 - tpr at 1/2; its hull, from (0,1/2)
    # straight to (1/2,1), at 1/4.
    labels, scores = [1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]
    assert equal_error_rate(labels, scores) == pytest.approx(0.5)
