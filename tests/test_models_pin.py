"""PinPoint and PIN-Lite against the published counts, and their forward pass."""

import pytest
import torch

from models.architecture import Architecture
from models.names import SYSTEMS
from models.pin import Attention, sinusoidal_position
from models.zoo import REFERENCE_INPUT, create


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


LITE = Architecture("pin_lite", {"num_frames": 3, "num_mfcc": 13})


def clips(batch_size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(batch_size, 3, 3, 32, 32, generator=generator)
    return frames, torch.randn(batch_size, 5, 13, generator=generator)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SYSTEMS["pin"])
def test_all_modalities_present_changes_no_bit(name: str, training: bool) -> None:
    outputs = []
    for modalities in (None, torch.ones(2, 2)):
        network = Architecture(name, {"num_frames": 3, "num_mfcc": 13}).build().train(training)
        with torch.no_grad():
            outputs.append(network(*clips(2), modalities))
    assert all(torch.equal(a, b) for a, b in zip(*(output[:3] for output in outputs), strict=True))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("absent", [0, 1])
def test_what_an_absent_modality_holds_does_not_matter(absent: int, training: bool) -> None:
    network = LITE.build().train(training)
    modalities = torch.ones(3, 2)
    modalities[:2, absent] = 0
    first, other = clips(3), clips(3, seed=1)
    inputs = list(first)
    inputs[absent] = torch.cat([other[absent][:2], first[absent][2:]])
    with torch.no_grad():
        a, b = network(*first, modalities), network(*inputs, modalities)
        present = network(*first)
    assert torch.equal(a.logits, b.logits)
    assert torch.equal(a.explanation, b.explanation)
    assert not torch.isclose(a.logits[:2], present.logits[:2]).any()
    torch.testing.assert_close(a.explanation.sum(-1), torch.ones(3, 5))


def test_batchnorm_learns_from_clips_with_pictures_only() -> None:
    frames, mfcc = clips(4)
    frames[2:] = 0
    modalities = torch.tensor([[1.0, 1], [1, 0], [0, 1], [0, 1]])
    masked, alone = LITE.build().train(), LITE.build().train()
    masked(frames, mfcc, modalities)
    alone(frames[:2], mfcc[:2])
    for name, buffer in alone.named_buffers():
        assert torch.equal(buffer, masked.get_buffer(name)), name


@pytest.mark.parametrize(("absent", "encoder"), [(0, "video"), (1, "audio")])
def test_an_encoder_that_meets_no_clip_stays_as_it_is(absent: int, encoder: str) -> None:
    network = LITE.build().train()
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    modalities = torch.ones(2, 2)
    modalities[:, absent] = 0
    network(*clips(2), modalities).logits.sum().backward()
    assert all(p.grad is None for p in network.get_submodule(encoder).parameters())
    assert network.head.weight.grad is not None
    if encoder == "video":
        assert all(torch.equal(buffer, buffers[name]) for name, buffer in network.named_buffers())
