"""Costs against published numbers and closed forms."""

import pytest
import torch
from torch import nn

from fl.metrics.cost import count_macs, count_parameters, example_inputs, size_bytes
from models.architecture import Architecture
from models.output import Inputs
from models.zoo import REFERENCE_INPUT


def reference_network(name: str) -> tuple[nn.Module, Inputs]:
    settings = {key: REFERENCE_INPUT[key] for key in ("num_frames", "num_mfcc")}
    inputs = example_inputs(
        settings, image_size=REFERENCE_INPUT["image_size"], audio_steps=REFERENCE_INPUT["audio_steps"]
    )
    return Architecture(name, settings).build(), inputs


@pytest.mark.parametrize(
    ("name", "published", "total"), [("pinpoint", 18.709e9, 19.354e9), ("pin_lite", 0.778e9, 0.886e9)]
)
def test_macs_are_the_published_ones(name: str, published: float, total: float) -> None:
    network, inputs = reference_network(name)
    macs = count_macs(network, *inputs)
    assert macs.without_attention == pytest.approx(published, rel=0.01)
    assert macs.total == pytest.approx(total, rel=0.001)


def test_macs_of_convolution_linear_and_recurrence_have_closed_forms() -> None:
    conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    assert count_macs(conv, torch.zeros(2, 3, 5, 7)).total == 2 * 5 * 7 * 8 * 3 * 9
    assert count_macs(nn.Linear(6, 4), torch.zeros(3, 6)).total == 3 * 6 * 4
    gru = nn.GRU(5, 7, batch_first=True)
    assert count_macs(gru, torch.zeros(1, 11, 5)).total == 11 * 3 * 7 * (5 + 7)


def test_macs_are_linear_in_the_batch() -> None:
    architecture = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})
    network = architecture.build()
    counts = [
        count_macs(
            network, *example_inputs(architecture.settings, image_size=32, audio_steps=4, batch_size=n)
        )
        for n in (1, 3)
    ]
    assert counts[1].total == 3 * counts[0].total
    assert counts[1].without_attention == 3 * counts[0].without_attention


def test_counting_leaves_modes_and_hooks_as_they_were() -> None:
    network = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13}).build().train()
    network.video.eval()
    count_macs(network, *example_inputs({"num_frames": 2, "num_mfcc": 13}, image_size=32, audio_steps=4))
    assert network.training
    assert not network.video.backbone.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_parameters_and_bytes_have_closed_forms() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert count_parameters(network) == 16 + 8
    assert size_bytes(network) == 4 * (16 + 8 + 8) + 8
