"""Heads, feed-forward, audio and recurrent units: groups, votes, and what removing them changes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fl.compress.export import load_template, max_difference
from fl.compress.importance import (
    magnitude_importance,
    prunable_groups,
    random_importance,
    taylor_importance,
)
from fl.compress.prune import PruningPlan, apply_plan
from fl.compress.units import KINDS, ChannelGroup, unit_groups
from fl.metrics.cost import count_parameters, example_inputs
from fl.metrics.latency import open_session
from fl.state import flatten, weights_sha256
from models.architecture import Architecture
from models.output import DetectorOutput, Inputs

LITE = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})
PUBLISHED = Architecture("pin_lite", {"num_frames": 30, "num_mfcc": 13})
GROUPS = [found.group for found in unit_groups(LITE.build()).values()]
CROSS, SELF = ["blocks.0.cross", "blocks.1.cross"], ["blocks.0.self_attention", "blocks.1.self_attention"]


def inputs_of(batch_size: int = 2) -> Inputs:
    return example_inputs(LITE.settings, image_size=32, audio_steps=5, batch_size=batch_size)


def answers(network: nn.Module) -> DetectorOutput:
    with torch.no_grad():
        return network(*inputs_of())


def with_gradients(architecture: Architecture = LITE) -> nn.Module:
    network = architecture.build(1)
    targets = torch.tensor([0.0, 1.0])
    nn.functional.binary_cross_entropy_with_logits(network(*inputs_of()).logits, targets).backward()
    return network


def plan_for(seed: int, group: ChannelGroup) -> list[int]:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, group.num_channels))
    return sorted(rng.choice(group.num_channels, count, replace=False).tolist())


@torch.no_grad()
def masked(network: nn.Module, plan: PruningPlan) -> nn.Module:
    """The dense network with the plan's units made to put out zero, by weights or by hooks."""
    for name, removed in plan.items():
        kind = unit_groups(network)[name].group.kind
        module = network.get_submodule(name)
        if kind == "attention":
            module.out.weight.reshape(module.out.out_features, module.num_heads, -1)[:, removed] = 0
        elif kind == "feed_forward":
            network.get_submodule(name.replace("expand", "contract")).weight[:, removed] = 0
        elif kind == "recurrent":
            new = torch.tensor(removed) + 2 * module.hidden_size  # rows of the candidate state
            for parameter in module.parameters():
                parameter[new] = 0
        elif name == "audio.conv1":
            module.weight[removed] = module.bias[removed] = 0
        else:
            norm_without(network.audio.norm, removed)
    return network


def norm_without(norm: nn.LayerNorm, removed: list[int]) -> None:
    """A LayerNorm that takes its statistics over the other channels and puts out zero for these."""
    kept = torch.ones(len(norm.weight), dtype=torch.bool)
    kept[removed] = False

    def replace(module: nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        x = args[0]
        mean = x[..., kept].mean(-1, keepdim=True)
        variance = x[..., kept].var(-1, unbiased=False, keepdim=True)
        return (norm.weight * (x - mean) / (variance + norm.eps).sqrt() + norm.bias) * kept

    norm.register_forward_hook(replace)


def test_groups_cover_all_that_has_width_in_one_order() -> None:
    groups = prunable_groups(LITE.build(), "all")
    assert [group.kind for group in groups[:26]] == ["backbone"] * 26
    assert {group.name: group.num_channels for group in groups[26:]} == {
        "audio.conv1": 64,
        "audio.conv2": 128,
        "audio.gru": 128,
        "blocks.0.expand": 512,
        "blocks.0.cross": 4,
        "blocks.0.self_attention": 4,
        "blocks.1.expand": 512,
        "blocks.1.cross": 4,
        "blocks.1.self_attention": 4,
    }
    assert {group.unit_size for group in groups if group.kind == "attention"} == {32}
    for kind in KINDS:
        assert prunable_groups(LITE.build(2), kind) == tuple(g for g in groups if g.kind == kind)


def test_two_of_four_heads_gone_gives_the_published_counts() -> None:
    network = PUBLISHED.build()
    apply_plan(network, {name: [0, 2] for name in CROSS})
    assert count_parameters(network) == 1_628_588
    apply_plan(network, {name: [1, 3] for name in SELF})
    assert count_parameters(network) == 1_562_668


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_pruned_equals_masked(group: ChannelGroup, seed: int) -> None:
    plan = {group.name: plan_for(seed, group)}
    dense, pruned = masked(LITE.build(3), plan), LITE.build(3)
    apply_plan(pruned, plan)
    expected, output = answers(dense), answers(pruned)
    assert count_parameters(pruned) < count_parameters(dense)
    torch.testing.assert_close(output.logits, expected.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.offset_logits, expected.offset_logits, atol=1e-5, rtol=1e-4)
    if group.name != "blocks.1.cross":
        torch.testing.assert_close(output.explanation, expected.explanation, atol=1e-5, rtol=1e-4)


def test_the_map_of_a_pruned_attention_is_the_mean_over_the_heads_left() -> None:
    dense, pruned = LITE.build(3), LITE.build(3)
    heads: list[torch.Tensor] = []
    dense.blocks[1].cross.register_forward_hook(lambda module, args, output: heads.append(output[1]))
    apply_plan(pruned, {"blocks.1.cross": [1]})
    answers(dense)
    expected = heads[0][:, [0, 2, 3]].mean(dim=1)
    torch.testing.assert_close(answers(pruned).explanation, expected)


def every_kind() -> dict[str, list[int]]:
    plan = {group.name: plan_for(5, group) for group in GROUPS}
    return {**plan, "video.backbone.0": [1, 5]}


def test_units_of_all_kinds_together_and_twice_equal_the_masked_network() -> None:
    plan = {group.name: plan_for(5, group) for group in GROUPS if "cross" not in group.name}
    dense, pruned = masked(LITE.build(4), plan), LITE.build(4)
    first = {name: [removed[0]] for name, removed in plan.items()}
    apply_plan(pruned, first)
    apply_plan(pruned, {name: [index - 1 for index in removed[1:]] for name, removed in plan.items()})
    expected, output = answers(dense), answers(pruned)
    torch.testing.assert_close(output.logits, expected.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.explanation, expected.explanation, atol=1e-5, rtol=1e-4)


def test_an_empty_plan_changes_no_bit() -> None:
    dense, pruned = LITE.build(3), LITE.build(3)
    apply_plan(pruned, {group.name: [] for group in GROUPS})
    for before, after in zip(answers(dense)[:3], answers(pruned)[:3], strict=True):
        assert torch.equal(before, after)
    assert LITE.with_widths_of(pruned) == LITE
    assert "kept" not in LITE.to_json()


def test_json_rebuilds_a_network_that_lost_units_of_every_kind() -> None:
    network = LITE.build(3)
    apply_plan(network, every_kind())
    pruned = Architecture.from_json(LITE.with_widths_of(network).to_json())
    rebuilt = pruned.build(9)
    rebuilt.load_state_dict(network.state_dict())
    for before, after in zip(answers(network)[:3], answers(rebuilt)[:3], strict=True):
        assert torch.equal(before, after)
    assert pruned.with_widths_of(rebuilt) == pruned
    assert len(pruned.kept["audio"]) == rebuilt.audio.gru.hidden_size < 128


@pytest.mark.parametrize("kept", [{"audio": (0, 1)}, {"audio": tuple(range(1, 129))}, {"blocks.0": (0,)}])
def test_units_that_do_not_fit_are_refused(kept: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"keep|kept"):
        Architecture("pin_lite", LITE.settings, {}, kept).build()


REPLAY = """
import json, sys
from fl.compress.prune import apply_plan
from fl.state import flatten, weights_sha256
from models.architecture import Architecture
architecture = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})
network = architecture.build(3)
apply_plan(network, json.loads(sys.argv[1]))
print(architecture.with_widths_of(network).sha256, weights_sha256(flatten(network)))
"""


@pytest.mark.slow
def test_replay_in_another_process_gives_the_same_digests(project_dir: Path) -> None:
    network = LITE.build(3)
    plan = every_kind()
    apply_plan(network, plan)
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, json.dumps(plan)],
        cwd=project_dir,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [LITE.with_widths_of(network).sha256, weights_sha256(flatten(network))]


@pytest.mark.parametrize(
    ("indices", "message"),
    [([4], r"must be in \[0, 4\)"), ([0, 0], "repeats"), ([0, 1, 2, 3], "remove all 4")],
)
def test_a_plan_that_empties_an_attention_is_refused(indices: list[int], message: str) -> None:
    network = LITE.build(3)
    before = weights_sha256(flatten(network))
    with pytest.raises(ValueError, match=message):
        apply_plan(network, {"audio.gru": [0], "blocks.0.cross": indices})
    assert weights_sha256(flatten(network)) == before


def test_a_pruned_network_learns_and_exports(tmp_path: Path) -> None:
    network = LITE.build(3)
    apply_plan(network, every_kind())
    network.train()
    network(*inputs_of()).logits.sum().backward()
    assert all(p.grad is not None for name, p in network.named_parameters() if "offset" not in name)
    architecture = LITE.with_widths_of(network)
    network.eval()
    template = load_template(architecture, network, inputs_of(1), tmp_path)
    session = open_session(template.with_weights(network.state_dict()).SerializeToString())
    assert max_difference(session, network, inputs_of(3)) < 1e-4


def test_votes_have_one_number_for_each_unit_and_mean_one() -> None:
    network = with_gradients()
    for targets in ("all", "attention", "recurrent"):
        votes = taylor_importance(network, targets=targets)
        assert votes.dtype == np.float32
        assert len(votes) == sum(group.num_channels for group in prunable_groups(network, targets))
        assert votes.min() >= 0
        assert votes.mean() == pytest.approx(1, abs=1e-4)


def test_a_heads_vote_is_the_derivative_by_a_factor_on_its_output() -> None:
    """Values and output columns of a head both equal dL/d(factor), so its score is twice that."""
    network, factors = with_gradients(), torch.ones(4, requires_grad=True)
    scores = taylor_importance(network, targets="attention")[:4]
    spread = factors.repeat_interleave(32)
    network.zero_grad()
    network.blocks[0].cross.out.register_forward_pre_hook(lambda module, args: (args[0] * spread,))
    targets = torch.tensor([0.0, 1.0])
    nn.functional.binary_cross_entropy_with_logits(network(*inputs_of()).logits, targets).backward()
    expected = factors.grad.abs().numpy()
    np.testing.assert_allclose(scores / scores.sum(), expected / expected.sum(), rtol=1e-3)


def test_a_unit_without_effect_scores_zero() -> None:
    network = LITE.build(1)
    with torch.no_grad():
        network.blocks[0].contract.weight[:, 7] = 0
        network.blocks[0].expand.weight[7] = 0
        network.blocks[0].expand.bias[7] = 0
    network(*inputs_of()).logits.sum().backward()
    votes = taylor_importance(network, targets="feed_forward")
    assert votes[7] == 0
    assert (votes[:512] > 0).sum() > 400


def test_a_part_without_signal_does_not_change_the_votes_of_the_others() -> None:
    """A client whose device records no pictures says nothing about the backbone."""
    network = with_gradients()
    alone = taylor_importance(network, targets="attention")
    for parameter in network.video.parameters():
        parameter.grad.zero_()
    everything = taylor_importance(network, targets="all")
    assert (everything[:3848] == 0).all()
    last = everything[-8:]  # the heads of the last block
    np.testing.assert_allclose(last / last.sum(), alone[8:] / alone[8:].sum(), rtol=1e-3)
    assert everything[3848:].mean() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_magnitude_has_its_closed_form(norm: str) -> None:
    network = LITE.build(1)
    votes = magnitude_importance(network, norm, targets="all")
    block, order = network.blocks[1], {"l1": 1, "l2": 2}[norm]
    rows = torch.cat([block.expand.weight, block.expand.bias[:, None], block.contract.weight.T], dim=1)
    expected = rows.norm(p=order, dim=1).detach().numpy()
    names = [group.name for group in prunable_groups(network, "all")]
    widths = [group.num_channels for group in prunable_groups(network, "all")]
    start = sum(widths[: names.index("blocks.1.expand")])
    np.testing.assert_allclose(votes[start : start + 512], expected / expected.mean(), rtol=1e-4)
    stem = network.video.backbone[0].weight.detach()
    assert votes[: widths[0]].mean() == pytest.approx(1, abs=1e-4)
    assert len(votes) == sum(widths)
    assert names[0] == "video.backbone.0"
    assert stem.shape[0] == widths[0]


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_magnitude_of_a_backbone_channel_has_its_closed_form(norm: str) -> None:
    network = Architecture("pinpoint", LITE.settings).build(1)
    votes = magnitude_importance(network, norm)
    groups = prunable_groups(network)
    index = [group.name for group in groups].index("video.backbone.layer1.0.conv1")
    start = sum(group.num_channels for group in groups[:index])
    block = network.video.backbone.layer1[0]
    parts = [block.conv1.weight.flatten(1), block.bn1.weight[:, None]]
    rows = torch.cat([*parts, block.conv2.weight.transpose(0, 1).flatten(1)], dim=1)
    expected = rows.norm(p={"l1": 1, "l2": 2}[norm], dim=1).detach().numpy()
    np.testing.assert_allclose(votes[start : start + 64], expected / expected.mean(), rtol=1e-4)


def test_random_votes_follow_their_seed() -> None:
    votes = [random_importance(4000, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert (votes[0] == votes[1]).all()
    assert (votes[0] != votes[2]).any()
    assert votes[0].mean() == pytest.approx(1, abs=0.05)
