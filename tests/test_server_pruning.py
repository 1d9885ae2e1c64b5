"""Schedules, targets and voters of a prune round, on real networks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fl.compress.importance import magnitude_importance, prunable_groups
from fl.compress.prune import apply_plan
from fl.compress.target import share_removed, smallest_ratio
from fl.errors import RequestError
from fl.metrics.cost import example_inputs
from fl.settings import CompressSettings
from fl.task import LOSS_KEYS, ClientReport
from models.architecture import Architecture
from server.aggregation import weighted_mean
from server.pruning import check_reachable, choose_plan, clients_vote, decide, scheduled_ratio

LITE = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})
INPUTS = example_inputs(LITE.settings, image_size=32, audio_steps=8)
NETWORK = LITE.build(1)
DEFAULTS = CompressSettings()


def report_of(client: int, vote: np.ndarray) -> ClientReport:
    state, losses = np.empty(0, np.float32), dict.fromkeys(LOSS_KEYS, 0.0)
    return ClientReport(client, 10 + client, 1, state, "s", losses, 0.0, vote)


def pruned_by(settings: CompressSettings, ratio: float, cache_dir: Path) -> torch.nn.Module:
    votes = magnitude_importance(NETWORK, "l2", 32, settings.targets)
    groups = prunable_groups(NETWORK, settings.targets, 32)
    plan = choose_plan(settings, LITE, NETWORK, groups, votes, ratio, INPUTS, cache_dir)
    network = LITE.build(1)
    apply_plan(network, plan)
    return network


def test_schedules_reach_the_ratio_and_differ_between() -> None:
    linear = replace(DEFAULTS, prune_rounds=(2, 4, 6, 8), prune_ratio=0.8)
    cubic = replace(linear, ratio_schedule="cubic")
    assert [scheduled_ratio(linear, r) for r in (2, 4, 6, 8)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    expected = [0.8 * (1 - 0.75**3), 0.8 * (1 - 0.5**3), 0.8 * (1 - 0.25**3), 0.8]
    assert [scheduled_ratio(cubic, r) for r in (2, 4, 6, 8)] == pytest.approx(expected)


@pytest.mark.parametrize(("ratio_of", "targets"), [("parameters", "all"), ("macs", "backbone")])
def test_a_target_is_reached_and_not_by_far(ratio_of: str, targets: str, tmp_path: Path) -> None:
    settings = replace(DEFAULTS, ratio_of=ratio_of, targets=targets, round_to=4)
    network = pruned_by(settings, 0.3, tmp_path)
    both = (LITE, LITE.with_widths_of(network))
    assert 0.3 <= share_removed(ratio_of, NETWORK, network, both, INPUTS, tmp_path) < 0.36


@pytest.mark.slow
def test_a_target_of_latency_shrinks_the_network(tmp_path: Path) -> None:
    settings = replace(DEFAULTS, ratio_of="latency", targets="all")
    network = pruned_by(settings, 0.25, tmp_path)
    both = (LITE, LITE.with_widths_of(network))
    # Counted, not timed again: the search has timed it, and busy cores would make a second time differ.
    assert share_removed("macs", NETWORK, network, both, INPUTS, tmp_path) > 0.05


@pytest.mark.parametrize("targets", ["attention", "feed_forward", "audio", "recurrent", "all"])
def test_every_target_leaves_something_of_each_group(targets: str, tmp_path: Path) -> None:
    network = pruned_by(replace(DEFAULTS, targets=targets), 0.6, tmp_path)
    groups = prunable_groups(network, "all")
    assert min(group.num_channels for group in groups) >= 1
    dense = {group.name: group.num_channels for group in prunable_groups(NETWORK, "all")}
    shrunk = {group.kind for group in groups if group.num_channels < dense[group.name]}
    assert shrunk == {targets} if targets != "all" else len(shrunk) >= 3


def test_a_target_beyond_the_floors_is_refused(tmp_path: Path) -> None:
    settings = replace(DEFAULTS, ratio_of="parameters", targets="attention")
    with pytest.raises(RequestError, match=r"prune_ratio must be at most 0\.\d+ with compress\.ratio_of=par"):
        pruned_by(settings, 0.5, tmp_path)


@pytest.mark.parametrize("ratio_of", ["channels", "parameters", "macs"])
def test_what_the_floors_forbid_is_refused_before_training(ratio_of: str, tmp_path: Path) -> None:
    within = replace(DEFAULTS, ratio_of=ratio_of, prune_ratio=0.1)
    beyond = replace(DEFAULTS, ratio_of=ratio_of, prune_ratio=0.95)
    check_reachable(within, LITE, INPUTS, tmp_path)
    check_reachable(replace(beyond, prune_rounds=()), LITE, INPUTS, tmp_path)
    with pytest.raises(RequestError, match=r"compress.prune_ratio must be at most 0\.\d+ .*got 0.95"):
        check_reachable(beyond, LITE, INPUTS, tmp_path)


def test_bisection_finds_the_step_of_a_staircase() -> None:
    found = smallest_ratio(lambda ratio: np.floor(ratio * 10) / 10, 0.35, 0.9, "macs")
    assert found == pytest.approx(0.4, abs=0.001)
    assert smallest_ratio(lambda ratio: ratio, 0.0, 0.9, "macs") == 0


def test_whose_votes_count() -> None:
    groups = prunable_groups(NETWORK)
    rng = np.random.default_rng(3)
    votes = [rng.random(3848).astype(np.float32) for _ in range(3)]
    reports = [report_of(client, vote / vote.mean()) for client, vote in enumerate(votes)]

    def ask(**changes: str):
        settings = replace(DEFAULTS, **changes)
        return decide(settings, groups, NETWORK, reports, np.random.default_rng(0), 32)

    everyone, one = ask(), ask(voters="one_client")
    assert everyone.voters == (0, 1, 2)
    assert len(one.voters) == 1
    np.testing.assert_allclose(one.votes, reports[one.voters[0]].importance, rtol=1e-5)
    assert (ask(voters="server", importance="l1").votes == magnitude_importance(NETWORK, "l1", 32)).all()
    assert (ask(voters="random").votes == ask(voters="random").votes).all()
    assert ask(voters="random").voters == ()
    assert [clients_vote(replace(DEFAULTS, voters=v)) for v in ("all", "one_client", "server", "random")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("importance", ["taylor", "l2"])
def test_without_any_vote_the_server_decides_by_the_weights(importance: str) -> None:
    settings = replace(DEFAULTS, importance=importance)
    decision = decide(settings, prunable_groups(NETWORK), NETWORK, [], np.random.default_rng(0), 32)
    norm = {"taylor": "l1"}.get(importance, importance)
    assert (decision.votes == magnitude_importance(NETWORK, norm, 32)).all()
    assert decision.voters == ()


def test_default_votes_are_the_mean_that_they_were() -> None:
    rng = np.random.default_rng(5)
    votes = [rng.exponential(size=3848).astype(np.float32) for _ in range(4)]
    reports = [report_of(client, vote / vote.mean()) for client, vote in enumerate(votes)]
    groups = prunable_groups(NETWORK)
    decision = decide(DEFAULTS, groups, NETWORK, reports, np.random.default_rng(0), 32)
    assert (decision.votes == weighted_mean([report.importance for report in reports], reports)).all()
