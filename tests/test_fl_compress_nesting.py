"""A narrow network inside a wide one: the same values, the same outputs, and the wide one unchanged."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from fl.compress.importance import prunable_groups
from fl.compress.nesting import nest
from fl.compress.prune import PruningPlan, apply_plan
from fl.metrics.cost import count_parameters, example_inputs
from fl.state import flatten, load_flat, schema_digest, state_tensors
from models.architecture import Architecture

LITE = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})
INPUTS = example_inputs(LITE.settings, image_size=32, audio_steps=4, batch_size=2)


def random_plan(network: nn.Module, seed: int, targets: str = "all") -> PruningPlan:
    """Some units of about half of the groups, of some groups all but one."""
    rng = np.random.default_rng(seed)
    plan = {}
    for group in prunable_groups(network, targets):
        if rng.random() < 0.5:
            count = int(rng.integers(0, group.num_channels))
            plan[group.name] = sorted(rng.permutation(group.num_channels)[:count].tolist())
    return plan


def filled(architecture: Architecture) -> nn.Module:
    """A network without equal values, those of BatchNorm and the biases included."""
    network = architecture.build(1)
    state = flatten(network)
    load_flat(network, state + np.random.default_rng(0).uniform(0, 0.02, state.size).astype(np.float32))
    return network


@pytest.mark.parametrize(("seed", "targets"), [(0, "backbone"), (1, "all"), (2, "all")])
def test_the_narrow_values_are_the_wide_ones_at_their_positions(seed: int, targets: str) -> None:
    wide = filled(LITE)
    plan = random_plan(wide, seed, targets)
    nested = nest(LITE, wide, plan)
    pruned = copy.deepcopy(wide)
    apply_plan(pruned, plan)
    state = flatten(wide)
    assert flatten(pruned).tobytes() == state[nested.positions].tobytes()
    assert nested.architecture == LITE.with_widths_of(pruned)
    assert nested.schema == schema_digest(pruned)
    assert (np.diff(nested.positions) > 0).all()
    assert 0 <= nested.positions[0] <= nested.positions[-1] < state.size
    built = nested.build(state)
    with torch.no_grad():
        ours, theirs = built(*INPUTS), pruned.eval()(*INPUTS)
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=0, atol=0)
    torch.testing.assert_close(ours.explanation, theirs.explanation, rtol=0, atol=0)


def test_a_nested_student_of_a_pruned_one() -> None:
    wide = filled(LITE)
    apply_plan(wide, random_plan(wide, 1))
    architecture = LITE.with_widths_of(wide)
    plan = random_plan(wide, 2)
    nested = nest(architecture, wide, plan)
    pruned = copy.deepcopy(wide)
    apply_plan(pruned, plan)
    assert flatten(nested.build(flatten(wide))).tobytes() == flatten(pruned).tobytes()


def test_what_is_learnt_is_all_but_the_running_statistics() -> None:
    wide = filled(LITE)
    nested = nest(LITE, wide, random_plan(wide, 3))
    narrow = nested.architecture.build()
    assert nested.learnt.sum() == count_parameters(narrow)
    statistics = [t.numel() for name, t in state_tensors(narrow).items() if "running_" in name]
    assert (~nested.learnt).sum() == sum(statistics) > 0
    for tensor in state_tensors(narrow).values():
        tensor.zero_()
    for name, parameter in narrow.named_parameters():
        assert "running_" not in name
        parameter.data.fill_(1)
    assert (flatten(narrow) == nested.learnt).all()


def test_an_empty_plan_holds_everything_and_the_wide_network_stays() -> None:
    wide = filled(LITE).train()
    before = flatten(wide).tobytes()
    nested = nest(LITE, wide, {})
    assert (nested.positions == np.arange(flatten(wide).size)).all()
    assert nested.architecture == LITE
    assert flatten(wide).tobytes() == before
    assert wide.training
    assert {p.dtype for p in wide.parameters()} == {torch.float32}


def test_a_bad_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="the plan names 'nowhere'"):
        nest(LITE, LITE.build(), {"nowhere": [1]})


def test_positions_beyond_what_float32_can_count_are_exact() -> None:
    """The first whole number that float32 has not is 2^24 + 1; 60 blocks go beyond."""
    deep = Architecture("pin_lite", {**LITE.settings, "num_layers": 60})
    wide = deep.build()
    size = flatten(wide).size
    assert size > 2**24
    nested = nest(deep, wide, {"blocks.59.expand": [0]})
    assert nested.positions[-1] == size - 1
    assert (np.diff(nested.positions) > 0).all()
