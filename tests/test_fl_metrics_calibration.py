import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.errors import DataError
from fl.metrics.calibration import expected_calibration_error


def test_closed_forms() -> None:
    assert expected_calibration_error([0, 1], [0.0, 1.0]) == 0
    assert expected_calibration_error([1, 0], [0.0, 1.0]) == 1
    # two bins: 0.2 said and 1/2 found, 0.9 said and 1 found; two clips each
    assert expected_calibration_error([0, 1, 1, 1], [0.2, 0.2, 0.9, 0.9]) == pytest.approx((0.3 + 0.1) / 2)
    assert expected_calibration_error([], []) is None


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1), st.integers(1, 20))
def test_it_is_the_weighted_mean_of_the_gaps(table: list[tuple[int, float]], num_bins: int) -> None:
    labels, scores = (np.array(column, dtype=float) for column in zip(*table, strict=True))
    bins = [min(int(score * num_bins), num_bins - 1) for score in scores]
    expected = sum(
        np.mean(np.array(bins) == index)
        * abs(scores[np.array(bins) == index].mean() - labels[np.array(bins) == index].mean())
        for index in set(bins)
    )
    found = expected_calibration_error(labels, scores, num_bins)
    assert found == pytest.approx(expected)
    assert 0 <= found <= 1


def test_a_score_that_is_no_probability_is_refused() -> None:
    with pytest.raises(DataError, match="apply the sigmoid"):
        expected_calibration_error([1], [1.5])
