"""Pruning plans: properties over random groups and votes."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.compress.importance import prunable_groups
from fl.compress.units import ChannelGroup
from fl.errors import RequestError
from fl.settings import CompressSettings
from models.architecture import Architecture
from server.plan import make_plan

LITE = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})


def plan_of(groups, votes, ratio, *, dense=None, scope="global", round_to=8, min_channel_share=0.2):
    dense = dense or {group.name: group.num_channels for group in groups}
    return make_plan(
        groups,
        np.asarray(votes, np.float32),
        dense_channels=dense,
        ratio=ratio,
        scope=scope,
        round_to=round_to,
        min_channel_share=min_channel_share,
    )


@settings(max_examples=150, deadline=None)
@given(
    widths=st.lists(st.integers(1, 80), min_size=1, max_size=8),
    ratio=st.floats(0, 0.6),
    scope=st.sampled_from(["global", "local"]),
    round_to=st.sampled_from([1, 4, 8, 16]),
    share=st.floats(0.05, 0.4),
    seed=st.integers(0, 10**6),
)
def test_plan_keeps_every_promise(widths, ratio, scope, round_to, share, seed):
    groups = [ChannelGroup(f"g{i}", n) for i, n in enumerate(widths)]
    votes = np.random.default_rng(seed).exponential(size=sum(widths)).astype(np.float32)
    try:
        plan = plan_of(groups, votes, ratio, scope=scope, round_to=round_to, min_channel_share=share)
    except RequestError:
        floors = [min(n, round_to * math.ceil(max(n * share, 1) / round_to)) for n in widths]
        assert ratio > 1 - sum(floors) / sum(widths)
        return
    start, removed_total = 0, 0
    for group in groups:
        scores = votes[start : start + group.num_channels]
        start += group.num_channels
        removed = plan.get(group.name, [])
        removed_total += len(removed)
        kept = sorted(set(range(group.num_channels)) - set(removed))
        assert len(kept) == group.num_channels - len(removed)
        assert len(kept) >= min(group.num_channels, max(round_to, share * group.num_channels))
        assert not removed or len(kept) % round_to == 0
        assert not removed or scores[removed].max() <= scores[kept].min()
    if scope == "global":
        assert ratio * sum(widths) - 1 <= removed_total < ratio * sum(widths) + round_to + 1


def test_global_takes_from_the_unimportant_group_and_local_from_both() -> None:
    groups = [ChannelGroup("low", 32), ChannelGroup("high", 32)]
    votes = np.concatenate([np.full(32, 0.1), np.full(32, 1.0)])
    assert {name: len(x) for name, x in plan_of(groups, votes, 0.25).items()} == {"low": 16}
    local = plan_of(groups, votes, 0.25, scope="local")
    assert {name: len(x) for name, x in local.items()} == {"low": 8, "high": 8}


def test_ratio_counts_from_the_dense_network() -> None:
    dense = {"a": 64, "b": 64}
    half_gone = [ChannelGroup("a", 32), ChannelGroup("b", 64)]
    votes = np.random.default_rng(0).random(96)
    assert plan_of(half_gone, votes, 0.25, dense=dense) == {}
    assert sum(map(len, plan_of(half_gone, votes, 0.5, dense=dense).values())) == 32


def test_ratio_zero_removes_nothing_and_ties_go_to_the_first() -> None:
    groups = [ChannelGroup("a", 32)]
    assert plan_of(groups, np.ones(32), 0.0) == {}
    assert plan_of(groups, np.ones(32), 0.5) == {"a": list(range(16))}


def test_unreachable_ratio_is_refused_with_its_limit() -> None:
    groups = [ChannelGroup("a", 32), ChannelGroup("b", 8)]
    with pytest.raises(RequestError, match=r"compress\.prune_ratio must be at most 0\.600 .* got 0\.7"):
        plan_of(groups, np.ones(40), 0.7)


@pytest.mark.parametrize("votes", [np.ones(31), np.full(32, np.nan), np.ones((2, 16))])
def test_votes_that_do_not_fit_are_refused(votes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="votes must be 32 finite numbers"):
        plan_of([ChannelGroup("a", 32)], votes, 0.5)


@pytest.mark.parametrize("scope", ["global", "local"])
def test_defaults_are_reachable_for_the_student_and_plain_json(scope: str) -> None:
    groups = prunable_groups(LITE.build())
    defaults = CompressSettings()
    votes = np.random.default_rng(0).random(sum(group.num_channels for group in groups))
    plan = plan_of(
        groups,
        votes,
        defaults.prune_ratio,
        scope=scope,
        round_to=defaults.round_to,
        min_channel_share=defaults.min_channel_share,
    )
    assert json.loads(json.dumps(plan)) == plan
