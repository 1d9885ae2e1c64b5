"""Membership scores: what they are monotone in, halves of the shadows, and LiRA on a known world."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from fl.attacks.membership import balanced_halves, lira, losses, margins, teacher_closeness


def test_a_margin_is_the_log_odds_of_the_true_class_and_decides_the_loss() -> None:
    logits, labels = np.array([2.0, 2.0, -3.0]), np.array([1, 0, 0])
    assert margins(logits, labels).tolist() == [2.0, -2.0, 3.0]
    truth = np.where(labels == 1, expit(logits), 1 - expit(logits))
    np.testing.assert_allclose(losses(logits, labels), -np.log(truth))
    assert losses(np.array([-800.0]), np.array([1])) == pytest.approx(800)
    assert teacher_closeness([1.0, 2.0], [1.0, 0.0]).tolist() == [0.0, -2.0]


def test_each_clip_is_in_exactly_half_of_the_shadows_and_identities_stay_whole() -> None:
    groups = [f"p{index // 3}" for index in range(30)]
    trained = balanced_halves(groups, 8, np.random.default_rng(0))
    assert trained.shape == (8, 30)
    assert (trained.sum(axis=0) == 4).all()
    assert (trained.reshape(8, 10, 3).std(axis=2) == 0).all()
    assert not np.array_equal(trained[0], trained[2])
    for wrong in (0, 3):
        with pytest.raises(ValueError, match="an even number of shadows"):
            balanced_halves(groups, wrong, np.random.default_rng(0))


def test_lira_sees_what_the_loss_threshold_does_not() -> None:
    """Clips differ in how hard they are by far more than training changes them."""
    rng, num, num_shadows = np.random.default_rng(0), 400, 16
    hardness, gain = rng.normal(0, 5, num), 1.0
    member = np.arange(num) < num // 2
    trained = balanced_halves([str(index) for index in range(num)], num_shadows, rng)
    shadows = hardness + gain * trained + rng.normal(0, 0.5, (num_shadows, num))
    target = hardness + gain * member + rng.normal(0, 0.5, num)
    aucs = [roc_auc_score(member, target)]
    aucs += [roc_auc_score(member, lira(target, shadows, trained, online=online)) for online in (False, True)]
    assert aucs[0] < 0.65
    assert aucs[1] > 0.85
    assert aucs[2] >= aucs[1] - 0.02


def test_offline_lira_counts_deviations_above_the_shadows_that_did_not_train() -> None:
    shadows = np.array([[0.0, 10.0], [9.0, 4.0], [2.0, 10.0], [9.0, 6.0]])
    trained = np.array([[False, True], [True, False], [False, True], [True, False]])
    # Means 1 and 5, squared deviations 1 + 1 + 1 + 1 over 4 - 2 degrees of freedom.
    scores = lira(np.array([3.0, 5.0]), shadows, trained, online=False)
    np.testing.assert_allclose(scores, [2 / np.sqrt(2), 0.0])
