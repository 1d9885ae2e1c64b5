import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from fl.errors import DataError
from fl.metrics.explanation import area_matrix, eps, eps_per_sample, mean_interval, mismatch


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def slow_eps(teacher: np.ndarray, student: np.ndarray, num_steps: int) -> float:
    """The definition, one sample at a time, with Python's own sort and sets."""
    left = teacher[:num_steps].ravel().tolist()
    right = student[:num_steps].ravel().tolist()
    num_top = math.ceil(len(left) / 5)
    tops = [
        set(sorted(range(len(values)), key=lambda index, values=values: (-values[index], index))[:num_top])
        for values in (left, right)
    ]
    iou = len(tops[0] & tops[1]) / len(tops[0] | tops[1])
    rho = 0.0 if len(set(left)) == 1 or len(set(right)) == 1 else float(spearmanr(left, right).statistic)
    return 0.5 * rho + 0.5 * iou


def test_identical_maps_score_one_and_keep_all_above_the_shuffled_baseline() -> None:
    maps = rng().random((20, 40, 8))
    found = eps(maps, maps, np.full(20, 40), rng())
    assert (found.mean, found.rho, found.iou, found.p10) == pytest.approx((1, 1, 1, 1))
    assert found.ci95 == pytest.approx((1.0, 1.0))
    assert found.shuffled == pytest.approx(0.055, abs=0.03)
    assert found.above_shuffled == pytest.approx(1 - (found.shuffled or 0))


def test_reversed_order_scores_minus_one_half() -> None:
    maps = rng().random((5, 10, 4))
    found = eps(maps, -maps, np.full(5, 10), rng())
    assert (found.mean, found.rho, found.iou) == pytest.approx((-0.5, -1.0, 0.0))


def test_unrelated_maps_score_what_chance_gives() -> None:
    # E|A & B| = 0.2 k for two random fifths, so IoU = 0.2 / 1.8 = 0.111 and EPS = 0.055.
    found = eps(rng(1).random((216, 80, 8)), rng(2).random((216, 80, 8)), np.full(216, 80), rng())
    assert found.iou == pytest.approx(1 / 9, abs=0.005)
    assert found.rho == pytest.approx(0, abs=0.01)
    assert found.mean == pytest.approx(0.055, abs=0.006)
    assert found.shuffled == pytest.approx(0.055, abs=0.006)


def test_a_shared_prior_is_exposed_by_the_shuffled_baseline() -> None:
    diagonal = np.eye(16)[:, ::2] + np.eye(16)[:, 1::2]
    teacher = diagonal + 0.3 * rng(1).random((50, 16, 8))
    student = diagonal + 0.3 * rng(2).random((50, 16, 8))
    found = eps(teacher, student, np.full(50, 16), rng())
    assert found.mean is not None
    assert found.mean > 0.4
    assert found.above_shuffled == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("levels", [3, 10_000])
def test_equals_the_definition_sample_by_sample(levels: int) -> None:
    # Three levels make nearly every value a tie; lengths differ, so 0.2 n is rarely whole.
    draw = rng(3)
    teacher, student = (draw.integers(0, levels, (40, 13, 3)).astype(float) for _ in range(2))
    valid = draw.integers(1, 14, 40)
    found = eps_per_sample(teacher, student, valid).eps
    wanted = [slow_eps(*item) for item in zip(teacher, student, valid, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("padding", [0.0, 7.0, -7.0, np.nan, np.inf])
def test_padding_does_not_matter(padding: float) -> None:
    teacher, student = rng(4).random((6, 10, 4)), rng(5).random((6, 10, 4))
    short = eps(teacher[:, :6], student[:, :6], np.full(6, 6), rng())
    teacher[:, 6:] = student[:, 6:] = padding
    assert eps(teacher, student, np.full(6, 6), rng()) == short


def test_padding_does_not_matter_when_maps_are_resized() -> None:
    teacher, student = rng(4).random((6, 12, 4)), rng(5).random((6, 6, 8))
    short = eps(teacher[:, :6], student[:, :3], np.full(6, 6), rng())
    teacher[:, 6:] = np.nan
    student[:, 3:] = np.nan
    assert eps(teacher, student, np.full(6, 6), rng()) == short


def test_constant_maps_count_as_rho_zero_even_when_rounding_blurs_them() -> None:
    maps = rng().random((4, 10, 4)).astype(np.float32)
    flat = maps.copy()
    flat[0] = 0.25
    flat[1] = 0.25 + 1e-8 * rng(1).random((10, 4))
    flat[2] = 0.0
    samples = eps_per_sample(maps, flat, np.full(4, 10))
    assert samples.constant.tolist() == [True, True, True, False]
    assert samples.rho.tolist() == pytest.approx([0, 0, 0, 1])
    assert eps(maps, flat, np.full(4, 10), rng()).num_constant == 3
    # Of equal values the lower index wins, so a constant map's top fifth is its first positions.
    assert eps_per_sample(flat[:3], flat[:3], np.full(3, 10)).eps.tolist() == [0.5, 0.5, 0.5]


def test_a_larger_map_is_averaged_to_the_smaller() -> None:
    small = rng(6).random((5, 8, 4))
    large = np.repeat(np.repeat(small, 3, axis=1), 2, axis=2)
    full = np.full(5, 24)
    assert eps(large, small, full, rng()).mean == pytest.approx(1)
    assert eps(small, large, np.full(5, 8), rng()).mean == pytest.approx(1)
    # One map is longer, the other wider.
    mixed = eps(np.repeat(small, 3, axis=1), np.repeat(small, 2, axis=2), full, rng())
    assert mixed.mean == pytest.approx(1)


@given(st.integers(1, 30), st.integers(1, 30))
def test_area_averaging_keeps_the_mean(num_from: int, num_to: int) -> None:
    matrix = area_matrix(max(num_from, num_to), min(num_from, num_to))
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(matrix.mean(axis=0), 1 / max(num_from, num_to))


@settings(max_examples=60)
@given(
    st.data(),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 5),
)
def test_range(data: st.DataObject, num_samples: int, num_steps: int, num_frames: int) -> None:
    shape = (num_samples, num_steps, num_frames)
    values = st.floats(-1e6, 1e6, width=32)
    teacher = data.draw(arrays(np.float32, shape, elements=values))
    student = data.draw(arrays(np.float32, shape, elements=values))
    valid = data.draw(arrays(np.int64, num_samples, elements=st.integers(1, num_steps)))
    samples = eps_per_sample(teacher, student, valid)
    assert np.all((samples.eps >= -0.5) & (samples.eps <= 1 + 1e-12))
    assert np.all((samples.iou >= 0) & (samples.iou <= 1))
    swapped = eps_per_sample(student, teacher, valid)
    np.testing.assert_allclose(swapped.eps, samples.eps, atol=1e-12)


@given(st.integers(2, 40), st.integers(0, 5))
def test_mismatch_is_a_permutation_without_fixed_points(num_samples: int, seed: int) -> None:
    other = mismatch(num_samples, rng(seed))
    assert sorted(other) == list(range(num_samples))
    assert np.all(other != np.arange(num_samples))


def test_the_shuffled_baseline_crops_to_what_both_samples_have() -> None:
    teacher, student = rng(1).random((2, 9, 3)), rng(2).random((2, 9, 3))
    found = eps(teacher, student, [4, 9], rng())
    wanted = [slow_eps(teacher[0], student[1], 4), slow_eps(teacher[1], student[0], 4)]
    assert found.shuffled == pytest.approx(np.mean(wanted))


def test_few_samples() -> None:
    one = rng().random((1, 4, 4))
    alone = eps(one, one, [4], rng())
    assert (alone.mean, alone.shuffled, alone.above_shuffled) == (pytest.approx(1), None, None)
    none = eps(one[:0], one[:0], [], rng())
    assert (none.mean, none.ci95, none.num_constant) == (None, None, 0)


def test_the_interval_of_a_mean_has_the_textbook_width() -> None:
    values = rng().normal(size=400)
    low, high = mean_interval(values, rng(1), num_bootstrap=4000) or (0.0, 0.0)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)
    assert low < values.mean() < high


def test_the_seed_decides() -> None:
    teacher, student = rng(1).random((9, 5, 4)), rng(2).random((9, 5, 4))
    full = np.full(9, 5)
    assert eps(teacher, student, full, rng(7)) == eps(teacher, student, full, rng(7))
    assert eps(teacher, student, full, rng(7)).shuffled != eps(teacher, student, full, rng(8)).shuffled


@pytest.mark.parametrize(
    ("teacher", "student", "valid", "says"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), [3, 3], "must be"),
        (np.ones((2, 3, 2)), np.ones((1, 3, 2)), [3, 3], "one student map"),
        (np.ones((2, 3, 2)), np.ones((2, 3, 2)), [3], r"valid_steps must be \(2,\)"),
        (np.ones((2, 3, 2)), np.ones((2, 3, 2)), [3, 4], r"in \[1, 3\], got 4"),
        (np.ones((2, 3, 2)), np.ones((2, 3, 2)), [0, 3], "got 0"),
        (np.ones((2, 3, 2)), np.full((2, 3, 2), np.nan), [3, 3], "student map of sample 0"),
        (np.ones((2, 0, 2)), np.ones((2, 0, 2)), [0, 0], "must be"),
    ],
)
def test_bad_maps_are_refused(teacher: np.ndarray, student: np.ndarray, valid: list[int], says: str) -> None:
    with pytest.raises(DataError, match=says):
        eps(teacher, student, valid, rng())


def test_a_test_split_takes_well_under_half_a_second() -> None:
    maps = rng().random((216, 80, 8)).astype(np.float32)
    other = rng(1).random((216, 80, 8)).astype(np.float32)
    times_s = []
    for _ in range(5):
        start = time.process_time()
        eps(maps, other, np.full(216, 80), rng())
        times_s.append(time.process_time() - start)
    assert min(times_s) < 0.5
