"""Architecture: JSON to network and back, dense and pruned."""

import pytest
import torch
from torch import nn

from fl.compress.importance import prunable_groups
from fl.compress.prune import apply_plan
from models.architecture import Architecture

DENSE = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})


def prune_every_group(network: nn.Module) -> None:
    """Take every other channel of every group."""
    plan = {group.name: list(range(0, group.num_channels, 2)) for group in prunable_groups(network)}
    apply_plan(network, plan)


def test_json_round_trip_keeps_the_digest() -> None:
    again = Architecture.from_json(DENSE.to_json())
    assert again == DENSE
    assert again.sha256 == DENSE.sha256
    assert again.sha256 != Architecture("pin_lite", {"num_frames": 3, "num_mfcc": 13}).sha256


def test_same_seed_same_weights_and_torchs_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, second, other = DENSE.build(1), DENSE.build(1), DENSE.build(2)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


@pytest.mark.parametrize("name", ["pin_lite", "pinpoint"])
def test_pruned_network_is_rebuilt_from_json_and_state_dict(name: str) -> None:
    dense = Architecture(name, {"num_frames": 2, "num_mfcc": 13})
    network = dense.build(3)
    prune_every_group(network)
    pruned = Architecture.from_json(dense.with_widths_of(network).to_json())
    rebuilt = pruned.build(9)
    rebuilt.load_state_dict(network.state_dict())
    frames, mfcc = torch.randn(2, 2, 3, 32, 32), torch.randn(2, 4, 13)
    with torch.no_grad():
        expected, output = network(frames, mfcc), rebuilt(frames, mfcc)
    assert torch.equal(output.logits, expected.logits)
    assert torch.equal(output.explanation, expected.explanation)
    assert pruned.with_widths_of(rebuilt) == pruned


def test_dense_network_has_no_widths() -> None:
    assert DENSE.with_widths_of(DENSE.build(5)) == DENSE


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("video.backbone.0.missing", (4,), "which the network has not"),
        ("head.weight", (1, 4096), "cannot have shape"),
        ("head.weight", (0, 128), "cannot have shape"),
        ("head.weight", (1,), "cannot have shape"),
    ],
)
def test_widths_that_do_not_fit_are_refused(key: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture("pin_lite", DENSE.settings, {key: shape}).build()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "pin_lite", "settings": [], "widths": {}}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an architecture"):
        Architecture.from_json(text)
