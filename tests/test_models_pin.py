"""PinPoint and PIN-Lite against the published counts, and their forward pass."""

import pytest
import torch

from models.architecture import Architecture
from models.pin import Attention, sinusoidal_position
from models.zoo import REFERENCE_INPUT, SYSTEMS, create


@pytest.mark.parametrize(("name", "published"), [("pinpoint", 14_998_732), ("pin_lite", 1_694_508)])
def test_parameters_are_the_published_ones(name: str, published: int) -> None:
    network = create(name, num_frames=REFERENCE_INPUT["num_frames"], num_mfcc=REFERENCE_INPUT["num_mfcc"])
    assert sum(parameter.numel() for parameter in network.parameters()) == published


@pytest.mark.parametrize(("num_layers", "published"), [(1, 1_413_676), (3, 1_975_340)])
def test_student_layers_change_the_parameters_as_published(num_layers: int, published: int) -> None:
    network = create("pin_lite", num_frames=30, num_mfcc=13, num_layers=num_layers)
    assert sum(parameter.numel() for parameter in network.parameters()) == published


@pytest.mark.parametrize("name", SYSTEMS["pin"])
def test_explanation_rows_are_distributions_over_frames(name: str) -> None:
    network = Architecture(name, {"num_frames": 3, "num_mfcc": 13}).build()
    with torch.no_grad():
        output = network(torch.randn(2, 3, 3, 32, 32), torch.randn(2, 5, 13))
    assert output.logits.shape == (2,)
    assert output.explanation.shape == (2, 5, 3)
    assert output.offset_logits.shape == (2, 11)
    assert output.explanation.min() >= 0
    torch.testing.assert_close(output.explanation.sum(-1), torch.ones(2, 5))


def test_clips_of_a_batch_do_not_see_each_other() -> None:
    network = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13}).build()
    frames, mfcc = torch.randn(3, 2, 3, 32, 32), torch.randn(3, 4, 13)
    with torch.no_grad():
        together = network(frames, mfcc).logits
        alone = torch.cat([network(frames[i : i + 1], mfcc[i : i + 1]).logits for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_attention_equals_torchs_own() -> None:
    torch.manual_seed(0)
    ours, reference = Attention(16, 4), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        reference.in_proj_bias.zero_()
        reference.out_proj.load_state_dict(ours.out.state_dict())
    queries, keys = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    attended, weights = ours(queries, keys)
    expected, expected_weights = reference(queries, keys, keys, average_attn_weights=False)
    torch.testing.assert_close(attended, expected)
    torch.testing.assert_close(weights, expected_weights)


def test_sinusoidal_position_has_its_closed_form() -> None:
    table = sinusoidal_position(7, 6)
    step, pair = 5, 1
    angle = torch.tensor(step / 10000 ** (2 * pair / 6))
    torch.testing.assert_close(table[step, 2 * pair], angle.sin())
    torch.testing.assert_close(table[step, 2 * pair + 1], angle.cos())
