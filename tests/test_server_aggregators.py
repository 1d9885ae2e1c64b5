"""Robust rules: numbers worked out by hand, other people's implementations, and what must not change them."""

from itertools import combinations

import numpy as np
import pytest
from flwr.app import ArrayRecord, RecordDict
from flwr.serverapp.strategy.bulyan import aggregate_n_closest_weights
from flwr.serverapp.strategy.multikrum import select_multikrum
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import trim_mean

from server.aggregators.bulyan import choose
from server.aggregators.distances import squared_distances, update_norms
from server.aggregators.krum import ranking
from server.aggregators.limits import FEWEST, fewest_replies
from server.aggregators.replies import STRIP, Replies
from server.aggregators.rules import RULES, left_out

SELECTING = ("krum", "multi_krum", "bulyan")


def replies(*states: list[float] | np.ndarray, bad: int = 0, sent: object = None, examples: object = None):
    arrays = [np.asarray(state, np.float32) for state in states]
    start = np.zeros_like(arrays[0]) if sent is None else np.asarray(sent, np.float32)
    return Replies(start, arrays, list(examples or [1] * len(arrays)), bad)  # type: ignore[call-overload]


def drawn(seed: int, num_clients: int, num_values: int, num_bad: int, spread: float = 50.0) -> Replies:
    """Honest replies about a point, the first ``num_bad`` far off, each elsewhere."""
    rng = np.random.default_rng(seed)
    states = rng.normal(1, 0.1, (num_clients, num_values))
    states[:num_bad] += rng.normal(0, spread, (num_bad, num_values))
    return replies(*states, bad=num_bad)


def test_the_median_of_three_and_of_four_by_hand() -> None:
    odd = RULES["median"](replies([1, 9], [2, -5], [100, 0]))
    assert odd.state.tolist() == [2, 0]
    assert odd.weights.tolist() == [0, 0.5, 0.5]
    even = RULES["median"](replies([1, 1], [2, 2], [4, 3], [100, -9]))
    assert even.state.tolist() == [3, 1.5]
    assert even.weights.tolist() == [0.25, 0.5, 0.25, 0]


def test_the_trimmed_mean_by_hand_and_as_scipy_has_it() -> None:
    found = RULES["trimmed_mean"](replies([1], [2], [3], [7], [1000], bad=1))
    assert found.state.tolist() == [4]
    assert found.weights == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0])
    many = drawn(1, 10, 1000, 3)
    np.testing.assert_allclose(RULES["trimmed_mean"](many).state, trim_mean(many.states, 0.3), rtol=1e-5)


def test_krum_by_hand() -> None:
    # Squared distances on a line: of 5 replies with f = 1 a score sums the two smallest.
    points = replies([0], [1], [3], [4.5], [100], bad=1)
    # scores: 1+9, 1+4, 4+2.25, 2.25+12.25, ...
    assert ranking(squared_distances(points), 1)[:4] == [1, 2, 0, 3]
    assert RULES["krum"](points).state.tolist() == [1]
    assert RULES["krum"](points).weights.tolist() == [0, 1, 0, 0, 0]
    assert RULES["multi_krum"](points).state.tolist() == [(0 + 1 + 3 + 4.5) / 4]


@pytest.mark.parametrize(("num_clients", "bad"), [(5, 1), (9, 3), (11, 4), (12, 0)])
def test_krum_and_multi_krum_choose_whom_flower_chooses(num_clients: int, bad: int) -> None:
    for seed in range(5):
        given = drawn(seed, num_clients, 40, bad, spread=1.0)
        contents = [RecordDict({"a": ArrayRecord([state.astype(np.float64)])}) for state in given.states]
        for rule, number in (("krum", 1), ("multi_krum", num_clients - bad)):
            theirs = select_multikrum(contents, bad, number)
            chosen = {index for index, content in enumerate(contents) if any(content is t for t in theirs)}
            assert set(np.flatnonzero(RULES[rule](given).weights)) == chosen


def test_bulyan_by_hand() -> None:
    # 7 replies, f = 1, so 5 are picked. The last pick is among 0, 9 and 100: 0 and 9 are each other's
    # nearest, and 9 lies nearer to 100. Of 1, 2, 3, 4, 9 the three nearest to the median, 3, are 2, 3 and 4.
    given = replies([0], [1], [2], [3], [4], [9], [100], bad=1)
    assert choose(squared_distances(given), 1) == [1, 2, 3, 4, 5]
    found = RULES["bulyan"](given)
    assert found.state.tolist() == [3]
    assert found.weights == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 0])


def test_bulyan_chooses_as_the_paper_says_and_averages_as_flower_does() -> None:
    given = drawn(3, 11, 50, 2, spread=1.0)
    left, chosen = dict(enumerate(given.states)), []
    while len(chosen) < 11 - 4:  # straight from the text: Krum's output is taken out, and again
        scores = {
            i: sum(
                sorted(float(((a - b) ** 2).sum()) for j, b in left.items() if j != i)[
                    : max(1, len(left) - 4)
                ]
            )
            for i, a in left.items()
        }
        best = min(scores, key=lambda i: scores[i])
        chosen.append(best)
        del left[best]
    assert choose(squared_distances(given), 2) == sorted(chosen)
    picked = [given.states[i] for i in sorted(chosen)]
    (theirs,) = aggregate_n_closest_weights([np.median(picked, axis=0)], [[state] for state in picked], 3)
    np.testing.assert_allclose(RULES["bulyan"](given).state, theirs, rtol=1e-5)


def test_the_geometric_median_of_four_corners_is_where_the_diagonals_meet() -> None:
    # The segments (0, 0)-(1, 3) and (4, 0)-(0, 2): y = 3 x and y = 2 - x / 2.
    found = RULES["geometric_median"](replies([0, 0], [4, 0], [1, 3], [0, 2]))
    assert found.state == pytest.approx([4 / 7, 12 / 7], abs=1e-4)
    assert found.weights.sum() == pytest.approx(1)


def test_the_geometric_median_is_the_minimum_that_scipy_finds_even_where_it_is_a_reply() -> None:
    def cost(point: np.ndarray, given: Replies) -> float:
        return float(sum(np.linalg.norm(state - point) for state in given.states))

    for seed, bad in ((0, 0), (1, 2), (2, 4)):
        given = drawn(seed, 9, 3, bad)
        best = minimize(
            cost, np.median(given.states, axis=0), (given,), "Nelder-Mead", options={"xatol": 1e-7}
        )
        assert cost(RULES["geometric_median"](given).state, given) <= best.fun * (1 + 1e-5)
    cross = replies([0, 0], [1, 0], [-1, 0], [0, 1], [0, -1])
    assert RULES["geometric_median"](cross).state == pytest.approx([0, 0], abs=1e-6)
    same = replies([2, 3], [2, 3], [2, 3])
    assert RULES["geometric_median"](same).state.tolist() == [2, 3]


def test_norm_clipping_by_hand() -> None:
    # From (1, 0): updates of norm 5, 10 and 50 along one line; the median is 10.
    given = replies([4, 4], [7, 8], [31, 40], sent=[1, 0], examples=[1, 1, 2])
    assert update_norms(given) == pytest.approx([5, 10, 50])
    found = RULES["norm_clipping"](given)
    assert found.weights == pytest.approx([0.25, 0.25, 0.5 * 0.2])
    assert found.state == pytest.approx([1 + (3 + 6 + 2 * 6) / 4, (4 + 8 + 2 * 8) / 4])


def test_who_did_not_move_clips_all_to_nothing_where_most_did_not() -> None:
    assert RULES["norm_clipping"](replies([0, 0], [0, 0], [9, 9])).state.tolist() == [0, 0]


@pytest.mark.parametrize("rule", RULES)
def test_replies_longer_than_a_strip_are_as_short_ones(rule: str) -> None:
    long = drawn(0, 11, 2 * STRIP + 3, 0)
    found = RULES[rule](Replies(long.sent, long.states, long.num_examples, 2))
    assert found.state.dtype == np.float32
    values = np.array(long.states, np.float64)
    distances = ((values[:, None] - values[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distances(long), distances, rtol=1e-9)
    assert (found.state >= values.min(axis=0) - 1e-6).all() or rule == "norm_clipping"
    assert (found.state <= values.max(axis=0) + 1e-6).all()


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_order_and_place_do_not_matter(rule: str, seed: int) -> None:
    given = drawn(seed, 11, 20, 2)
    found = RULES[rule](given)
    order = np.random.default_rng(seed).permutation(11)
    turned = Replies(given.sent, [given.states[i] for i in order], given.num_examples, 2)
    np.testing.assert_allclose(RULES[rule](turned).state, found.state, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(RULES[rule](turned).weights, found.weights[order], atol=1e-6)
    shift = np.full(20, 8, np.float32)
    moved = Replies(given.sent + shift, [state + shift for state in given.states], given.num_examples, 2)
    np.testing.assert_allclose(RULES[rule](moved).state, found.state + shift, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), far=st.sampled_from([10.0, 1e3, 1e6]))
def test_the_bad_replies_that_are_allowed_do_not_carry_the_result_away(
    rule: str, seed: int, far: float
) -> None:
    bad = 2
    given = drawn(seed, fewest_replies(rule, bad), 20, bad, far)
    honest = np.array(given.states[bad:])
    off = np.linalg.norm(RULES[rule](given).state - honest.mean(axis=0))
    # An honest one is about 0.45 off; clipping bounds by the median update, here about 4.5 long.
    assert off < (10 if rule == "norm_clipping" else 3)
    assert (np.linalg.norm(np.mean(given.states, axis=0) - honest.mean(axis=0)) > off) or far == 10.0


@pytest.mark.parametrize("rule", RULES)
def test_nobody_far_off_is_counted_in_full(rule: str) -> None:
    given = drawn(5, 11, 2000, 2, spread=100.0)
    assert left_out(RULES[rule](given).weights)[:2].all()
    if rule not in ("krum", "bulyan"):
        assert not left_out(RULES[rule](given).weights)[2:].any()


def test_each_rule_asks_for_what_its_theory_asks() -> None:
    assert set(FEWEST) == {"mean", *RULES}
    asked = {rule: [fewest_replies(rule, bad) for bad in (0, 1, 4)] for rule in RULES}
    assert asked["krum"] == asked["multi_krum"] == [3, 5, 11]
    assert asked["bulyan"] == [3, 7, 19]
    for rule in ("median", "trimmed_mean", "geometric_median", "norm_clipping"):
        assert asked[rule] == [1, 3, 9]


def test_of_replies_that_agree_every_rule_gives_that_one() -> None:
    same = replies(*[[1.5, -2, 0]] * 11, bad=2)
    for rule in RULES.values():
        assert rule(same).state.tolist() == [1.5, -2, 0]


def test_krum_beats_any_pair_of_bad_replies_that_stand_together() -> None:
    honest = np.random.default_rng(0).normal(0, 0.1, (7, 10))
    for first, second in combinations(range(9), 2):
        states = np.insert(honest, [min(first, 7), min(second, 7)], 5.0, axis=0)
        assert np.linalg.norm(RULES["krum"](replies(*states, bad=2)).state) < 2
