"""The flat state: a round trip, everything in it, and a digest that tells networks apart."""

import numpy as np
import pytest
import torch
from torch import nn

from fl.state import flatten, load_flat, schema_digest, state_tensors, weights_sha256


def small(width: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))


def test_loading_a_flat_state_makes_two_networks_equal_buffers_too() -> None:
    source, target = small(), small()
    source(torch.randn(8, 3, 8, 8))  # moves the running statistics
    with torch.no_grad():
        source[0].weight.add_(1)
    load_flat(target, flatten(source))
    for name, tensor in state_tensors(source).items():
        assert torch.equal(tensor, state_tensors(target)[name]), name
    assert "1.running_var" in state_tensors(source)


def test_the_flat_state_is_a_copy() -> None:
    network = small()
    flat = flatten(network)
    before = flat.copy()
    with torch.no_grad():
        network[0].weight.zero_()
    assert np.array_equal(flat, before)


def test_a_state_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="the network needs"):
        load_flat(small(), flatten(small(5)))


def test_the_schema_tells_widths_apart_and_the_weights_digest_values() -> None:
    assert schema_digest(small()) != schema_digest(small(5))
    flat = flatten(small())
    changed = flat.copy()
    changed[3] = np.nextafter(changed[3], 1)
    assert weights_sha256(flat) != weights_sha256(changed)
