import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.errors import DataError
from fl.metrics.levels import Rows, average_by


def test_a_video_has_the_mean_probability_of_its_rows() -> None:
    rows = Rows([1, 0, 1, 1], [0.9, 0.2, 0.5, 0.1], ["Dub", "real", "Dub", "Dub"])
    assert average_by(["b", "a", "b", "b"], rows) == Rows([1, 0], [0.5, 0.2], ["Dub", "real"])


def test_rows_without_categories_stay_without() -> None:
    assert average_by(["a", "a"], Rows([0, 0], [0.0, 1.0])) == Rows([0], [0.5])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), min_size=1, max_size=20), st.randoms())
def test_the_order_of_a_videos_rows_does_not_matter(rows: list[tuple[str, float]], random: object) -> None:
    def of(chosen: list[tuple[str, float]]) -> dict[str, float]:
        ids = [name for name, _ in chosen]
        found = average_by(ids, Rows([int(name == "a") for name in ids], [score for _, score in chosen]))
        return dict(zip(dict.fromkeys(ids), found.scores, strict=True))

    found = of(rows)
    assert found == of(rows[::-1])
    for name, score in found.items():
        assert score == pytest.approx(np.mean([s for n, s in rows if n == name]), abs=1e-15)


def test_ids_of_one_row_each_change_nothing() -> None:
    rows = Rows([1, 0], [0.1 + 0.2, 1e-300], ["x", "real"])
    assert average_by(["a", "b"], rows) == rows


@pytest.mark.parametrize(
    ("ids", "rows", "says"),
    [
        (["a", "a"], Rows([0, 1], [0.1, 0.2]), "one video must have one label, but video 'a' has 0 and 1"),
        (["a", "a"], Rows([1, 1], [0.1, 0.2], ["x", "y"]), "one category, but video 'a' has x and y"),
        (["a", ""], Rows([1, 1], [0.1, 0.2]), "row 2 must name its video, got ''"),
        (["a"], Rows([1, 1], [0.1, 0.2]), "each row must have one video, got 1 for 2 rows"),
        (["a", "b"], Rows([1, 1], [0.1, math.nan]), "row 2 must have a finite score, got nan"),
    ],
)
def test_what_cannot_be_averaged_is_refused(ids: list[str], rows: Rows, says: str) -> None:
    with pytest.raises(DataError, match=says):
        average_by(ids, rows)
