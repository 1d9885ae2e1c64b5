"""Calibration in bins that all hold enough clips."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from sim.report.calibration import MIN_CLIPS, calibration_bins, calibration_table, draw_calibration
from sim.report.recorded_run import Scores


def scored(labels: Sequence[int], scores: Sequence[float], name: str = "student") -> Scores:
    return Scores(name, np.array(labels), np.array(scores, dtype=np.float64), ("real",) * len(labels))


def test_bins_are_right_by_hand() -> None:
    table = scored([0, 0, 1, 1, 1], [0.02, 0.93, 0.04, 0.97, 1.0])
    low, high = calibration_bins(table, min_clips=2)
    assert (low.low, low.high, low.num_clips, low.found) == (0.0, 0.1, 2, 0.5)
    assert (high.low, high.high, high.num_clips, high.found) == (0.1, 1.0, 3, 2 / 3)
    np.testing.assert_allclose([low.given, high.given], [0.03, 2.9 / 3])
    wilson = binomtest(2, 3).proportion_ci(method="wilson")
    assert high.interval == (wilson.low, wilson.high)


def test_a_single_wrong_clip_in_the_middle_makes_no_point_of_its_own() -> None:
    table = scored([0] * 20 + [1] + [1] * 20, [0.05] * 20 + [0.3] + [0.95] * 20)
    bins = calibration_bins(table)
    assert [one.num_clips for one in bins] == [20, 21]
    assert [one.found for one in bins] == [0.0, 1.0]


def test_what_is_left_at_the_end_joins_the_bin_before() -> None:
    bins = calibration_bins(scored([0] * 12 + [1], [0.15] * 12 + [0.99]))
    assert [(one.low, one.high, one.num_clips) for one in bins] == [(0.0, 1.0, 13)]
    assert calibration_bins(scored([1], [1.0]))[0].found == 1.0


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=120))
def test_bins_hold_every_clip_once_and_enough_each(rows: list[tuple[int, float]]) -> None:
    labels, scores = zip(*rows, strict=True)
    bins = calibration_bins(scored(labels, scores))
    assert sum(one.num_clips for one in bins) == len(rows)
    assert min(one.num_clips for one in bins) >= min(MIN_CLIPS, len(rows))
    assert (bins[0].low, bins[-1].high) == (0.0, 1.0)
    assert [one.high for one in bins[:-1]] == [one.low for one in bins[1:]]
    assert sum(one.num_clips * one.found for one in bins) == pytest.approx(sum(labels))
    for one in bins:
        assert one.interval[0] <= one.found + 1e-12
        assert one.found <= one.interval[1] + 1e-12


def test_counts_are_shown_in_the_figure_and_in_the_table() -> None:
    rng = np.random.default_rng(0)
    networks = [scored(rng.integers(0, 2, 90), rng.random(90), name) for name in ("student", "teacher")]
    figure = draw_calibration(networks)
    bins = [one for network in networks for one in calibration_bins(network)]
    drawn = [value for line in figure.axes[1].lines for value in np.asarray(line.get_ydata()).tolist()]
    assert drawn == [one.num_clips for one in bins]
    assert [row[2] for row in calibration_table(networks).rows] == [str(one.num_clips) for one in bins]
