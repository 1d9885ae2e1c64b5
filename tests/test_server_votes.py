"""Votes that no client decides alone: properties over honest and dishonest clients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.compress.units import ChannelGroup
from server.plan import make_plan
from server.votes import fair_votes

GROUPS = [ChannelGroup("a", 32), ChannelGroup("b", 64), ChannelGroup("c", 4, 32, "attention")]
SPANS = [slice(0, 32), slice(32, 96), slice(96, 100)]
LIMIT = 3.0


def honest(seed: int, num_clients: int) -> list[np.ndarray]:
    votes = np.random.default_rng(seed).exponential(size=(num_clients, 100)).astype(np.float32)
    return [vote / vote.mean() for vote in votes]


def plan_of(votes: list[np.ndarray], examples: list[int]) -> dict[str, list[int]]:
    mean = fair_votes(GROUPS, votes, examples, LIMIT).vote
    return make_plan(
        GROUPS,
        mean,
        dense_channels={group.name: group.num_channels for group in GROUPS},
        ratio=0.4,
        scope="global",
        round_to=8,
        min_channel_share=0.2,
    )


def test_honest_votes_are_averaged_by_examples_and_not_cut() -> None:
    votes, examples = honest(0, 3), [1, 2, 5]
    fair = fair_votes(GROUPS, votes, examples, LIMIT)
    np.testing.assert_allclose(fair.vote, np.average(votes, axis=0, weights=examples), rtol=1e-5)
    assert fair.clipped == ()
    assert fair.vote.dtype == np.float32


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), num_clients=st.integers(2, 8), scale=st.sampled_from([1e-6, 1e3, 1e6]))
def test_multiplying_a_vote_changes_nothing(seed: int, num_clients: int, scale: float) -> None:
    votes, examples = honest(seed, num_clients), list(range(5, 5 + num_clients))
    loud = [votes[0] * np.float32(scale), *votes[1:]]
    assert plan_of(loud, examples) == plan_of(votes, examples)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), num_clients=st.integers(2, 8))
def test_a_vote_of_zeros_is_an_abstention(seed: int, num_clients: int) -> None:
    votes, examples = honest(seed, num_clients), list(range(5, 5 + num_clients))
    silent = [np.zeros(100, np.float32), *votes[1:]]
    assert plan_of(silent, examples) == plan_of(votes[1:], examples[1:])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_clients=st.integers(3, 8),
    dishonest=st.sampled_from(["one unit", "one group", "negative", "random", "loud"]),
)
def test_any_vote_moves_the_sum_of_a_group_by_no_more_than_a_few_honest_ones(
    seed: int, num_clients: int, dishonest: str
) -> None:
    votes, rng = honest(seed, num_clients), np.random.default_rng(seed)
    bad = np.zeros(100, np.float32)
    if dishonest == "one unit":
        bad[rng.integers(100)] = 1e6
    elif dishonest == "one group":
        bad[SPANS[rng.integers(3)]] = 1e6
    elif dishonest == "negative":
        bad = -votes[0]
    else:
        bad = (rng.pareto(0.3, 100) if dishonest == "random" else rng.random(100) * 1e6).astype(np.float32)
    mean = fair_votes(GROUPS, [bad, *votes[1:]], [1] * num_clients, LIMIT).vote
    assert (mean >= 0).all()
    for span in SPANS:
        others = [float(vote[span].sum()) for vote in votes[1:]]
        share = float(mean[span].sum()) * num_clients - sum(others)
        # Where the bad vote abstains the others count for it; else its part is bounded.
        assert share <= LIMIT * max(others) * 1.001 + 1e-3


def test_a_vote_for_one_group_alone_is_cut_and_named() -> None:
    votes = honest(1, 5)
    greedy = np.zeros(100, np.float32)
    greedy[:32] = 1
    fair = fair_votes(GROUPS, [*votes, greedy], [1] * 6, LIMIT)
    assert fair.clipped == ()  # a sum of 100 over 32 channels is within three times the others' 32
    greedy[1:] = 0
    sums = [vote[:32].sum() for vote in votes]
    fair = fair_votes(GROUPS, [*votes, greedy], [1] * 6, 1.5)
    assert fair.clipped == (5,)
    assert fair.vote[0] * 6 - sum(v[0] for v in votes) == pytest.approx(1.5 * sorted(sums)[2], rel=0.2)


def test_a_kind_on_which_a_client_abstains_is_decided_by_the_others() -> None:
    votes = honest(2, 3)
    votes[0][:96] = 0
    mean = fair_votes(GROUPS, votes, [10, 1, 1], LIMIT).vote
    np.testing.assert_allclose(mean[:96], (votes[1][:96] + votes[2][:96]) / 2, rtol=1e-5)


def test_where_all_abstain_every_unit_counts_one() -> None:
    assert (fair_votes(GROUPS, [np.zeros(100, np.float32)] * 2, [1, 1], LIMIT).vote == 1).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), bad=st.integers(1, 4))
def test_the_median_of_votes_stays_within_what_the_honest_majority_says(seed: int, bad: int) -> None:
    votes = honest(seed, 9)
    turned = [vote.max() + vote.min() - vote for vote in votes[:bad]]
    turned = [(vote / vote.mean()).astype(np.float32) for vote in turned]
    fair = fair_votes(GROUPS, [*turned, *votes[bad:]], [100] * bad + [1] * (9 - bad), LIMIT, robust=True).vote
    others = np.array(votes[bad:])
    assert (fair >= others.min(axis=0) * 0.999).all()
    assert (fair <= others.max(axis=0) * 1.001).all()


def test_the_median_of_votes_is_one_client_one_vote() -> None:
    votes = honest(4, 5)
    fair = fair_votes(GROUPS, votes, [1, 1, 1, 1, 1000], LIMIT, robust=True)
    np.testing.assert_allclose(fair.vote, np.median(votes, axis=0), rtol=1e-6)
