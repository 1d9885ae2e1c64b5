"""The narrow student of a mixed fleet: who trains it, which channels it keeps, what is asked for it."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from fl.compress.importance import magnitude_importance, prunable_groups
from fl.compress.prune import apply_plan
from fl.compress.units import ChannelGroup
from fl.errors import RequestError
from fl.metrics.cost import count_parameters
from fl.settings import CompressSettings, Experiment, FleetSettings
from fl.state import flatten, schema_digest
from fl.task import RoundTask
from models.architecture import Architecture
from server.fleet import WeakWidth, after_plan, first_width, narrowing_plan, next_width, share_of, weak_part
from server.gate import Expectation

LITE = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})
MIXED = replace(Experiment(), fleet=FleetSettings(kind="mixed"))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return LITE.build(1)


@pytest.fixture(scope="module")
def weak(network: nn.Module) -> WeakWidth:
    made = first_width(MIXED, LITE, network, 8)
    assert made is not None
    return made


def test_a_uniform_fleet_has_no_narrow_student(network: nn.Module) -> None:
    assert first_width(Experiment(), LITE, network, 8) is None


def test_the_first_narrow_student_is_the_servers_choice(network: nn.Module, weak: WeakWidth) -> None:
    assert weak.clients == {0, 3, 6}  # camera, laptop, phone in turn
    assert (weak.since_round, weak.ranked_by) == (0, "server")
    assert weak.ratio == pytest.approx(MIXED.fleet.weak_ratio, abs=0.05)
    narrow = weak.nested.architecture.build()
    assert count_parameters(narrow) < 0.65 * count_parameters(network)
    widths = {group.name: group.num_channels for group in prunable_groups(network)}
    for group in prunable_groups(narrow):
        assert group.num_channels % MIXED.compress.round_to == 0 or group.num_channels == widths[group.name]
        assert group.num_channels >= MIXED.compress.min_channel_share * widths[group.name]


def test_a_narrow_student_as_wide_as_the_others_is_refused(network: nn.Module) -> None:
    coarse = replace(MIXED, compress=replace(MIXED.compress, round_to=1024))
    with pytest.raises(
        RequestError, match=r"fleet\.weak_ratio must be large.*round_to=1024.*got 0\.5; raise"
    ):
        first_width(coarse, LITE, network, 8)


@pytest.mark.parametrize("ratio", [0.01, 0.5, 0.79, 0.99])
def test_every_layer_loses_the_same_share_down_to_its_floor_and_the_least_important(ratio: float) -> None:
    groups = [ChannelGroup("a", 100), ChannelGroup("b", 40), ChannelGroup("c", 4, 8, "attention")]
    votes = np.random.default_rng(0).random(144).astype(np.float32)
    compress = CompressSettings(round_to=4, min_channel_share=0.2)
    plan = narrowing_plan(FleetSettings("mixed", weak_ratio=ratio), compress, groups, votes)
    for group, scores in zip(groups, np.split(votes, [100, 140]), strict=True):
        gone = list(plan.get(group.name, ()))
        stays = np.delete(scores, gone)
        step = 4 if group.unit_size == 1 else 1
        assert len(stays) >= 0.2 * group.num_channels
        assert abs(len(stays) - group.num_channels * max(1 - ratio, 0.2)) <= step
        assert not gone or scores[gone].max() <= stays.min()
    assert 0 <= share_of(groups, plan) <= 0.8


def test_what_a_plan_leaves_has_its_own_groups_and_votes(network: nn.Module) -> None:
    groups = prunable_groups(network, "all")
    votes = np.arange(sum(group.num_channels for group in groups), dtype=np.float32)
    plan = {groups[3].name: [0, 5], groups[-1].name: [1]}
    left, kept = after_plan(groups, votes, plan)
    pruned = copy.deepcopy(network)
    apply_plan(pruned, plan)
    assert tuple(left) == prunable_groups(pruned, "all")
    start = sum(group.num_channels for group in groups[:3])
    lost = {start, start + 5, votes.size - groups[-1].num_channels + 1}
    assert kept.tolist() == sorted(set(range(votes.size)) - lost)


def test_after_a_pruning_the_narrow_student_lies_in_the_pruned_one(
    network: nn.Module, weak: WeakWidth
) -> None:
    pruned = copy.deepcopy(network)
    apply_plan(pruned, {prunable_groups(network)[5].name: [0, 1, 2]})
    architecture = LITE.with_widths_of(pruned)
    groups, votes = prunable_groups(pruned), magnitude_importance(pruned, "l1")
    later = next_width(weak, MIXED, architecture, pruned, groups, votes, round_index=2, ranked_by="clients")
    assert (later.clients, later.since_round, later.ranked_by) == (weak.clients, 2, "clients")
    assert later.nested.positions[-1] < flatten(pruned).size
    wide = {group.name: group.num_channels for group in groups}
    narrow = {g.name: g.num_channels for g in prunable_groups(later.nested.architecture.build())}
    assert all(narrow[name] <= wide[name] for name in wide)
    assert sum(narrow.values()) == pytest.approx((1 - later.ratio) * sum(wide.values()))


def test_the_narrow_task_fits_the_narrow_student_and_asks_for_no_vote(
    network: nn.Module, weak: WeakWidth
) -> None:
    state = flatten(network)
    task = RoundTask(3, LITE, state, schema_digest(network), 1e-3, measure_importance=True, quantize=True)
    part = weak_part(weak, task, Expectation(state.size, task.schema, 3848, {0: 9}))
    narrow = part.task.architecture.build()
    assert part.task.schema == part.expected.schema == schema_digest(narrow)
    assert part.task.state.shape == flatten(narrow).shape == (part.expected.num_values,)
    assert (part.task.measure_importance, part.expected.num_importances) == (False, 0)
    assert (part.task.round_index, part.task.quantize, part.task.learning_rate) == (3, True, 1e-3)
    assert part.expected.declared_examples == {0: 9}
