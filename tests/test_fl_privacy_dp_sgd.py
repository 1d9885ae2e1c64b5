"""DP-SGD: each clip's gradient is its own and cut, the noise is as large as it says, none is the identity."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_shards import BOTH, FACE, REAL, VOICE, shard
from torch import Tensor, nn

from fl.data.shards import take
from fl.distill.batches import Batch, TeacherOutputs, load_batch, poisson_batches
from fl.distill.loop import take_steps
from fl.distill.losses import LossTerms, batch_loss
from fl.distill.predict import predict
from fl.errors import RequestError
from fl.privacy.dp_sgd import PrivateGradients, check_student, single_clips
from fl.settings import AugmentSettings, DistillSettings
from models.architecture import Architecture

VIEW = take(shard([REAL, FACE, VOICE, BOTH] * 2))
STUDENTS = {
    "pin_lite": Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13, "group_norm": 1}),
    "mobilenetv3_small_100": Architecture("mobilenetv3_small_100", {"group_norm": 1}),
    "tiny_ladeda": Architecture("tiny_ladeda", {"group_norm": 1}),
}
SETTINGS = DistillSettings(batch_size=4, epochs=1)


def loss_terms(network: nn.Module, batch: Batch) -> LossTerms:
    output = network(*batch.inputs)
    return batch_loss(output.logits, output.explanation, batch, SETTINGS)


def batch_of(network: nn.Module, *indices: int) -> Batch:
    teacher = TeacherOutputs(*predict(STUDENTS_OF[type(network).__name__].build(5), VIEW))
    return load_batch(VIEW, np.array(indices, np.int64), teacher)


STUDENTS_OF = {"PinDetector": STUDENTS["pin_lite"], "ImageDetector": STUDENTS["tiny_ladeda"]}


def gradient(network: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def private(
    network: nn.Module, noise: float, clip_norm: float, expected: float = 4, seed: int = 0
) -> PrivateGradients:
    return PrivateGradients(
        torch.optim.SGD(network.parameters(), lr=1.0),
        noise_multiplier=noise,
        clip_norm=clip_norm,
        expected_batch_size=expected,
        rng=np.random.default_rng(seed),
    )


def own_gradients(network: nn.Module, batch: Batch) -> list[Tensor]:
    """Each clip's gradient, (values,), by one plain backward pass over all clips and one clip's loss."""
    found = []
    for index in range(len(batch.labels)):
        network.zero_grad(set_to_none=True)
        output = network(*batch.inputs)
        one = single_clips(batch)[index]
        of_one = slice(index, index + 1)
        batch_loss(output.logits[of_one], output.explanation[of_one], one, SETTINGS).total.backward()
        found.append(
            torch.cat(
                [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in network.parameters()]
            )
        )
    return found


@pytest.mark.parametrize("name", STUDENTS)
def test_without_noise_and_with_room_it_is_the_mean_gradient_over_the_expected_size(name: str) -> None:
    network = STUDENTS[name].build(1).train()
    batch = batch_of(network, 0, 1, 2)
    expected = torch.stack(own_gradients(network, batch)).sum(0) / 4
    private(network, 0.0, 1e9)(network, batch, loss_terms)
    assert float((gradient(network) - expected).norm() / expected.norm()) < 1e-3


@pytest.mark.parametrize("name", STUDENTS)
def test_each_clip_is_cut_to_the_norm_by_itself(name: str) -> None:
    network = STUDENTS[name].build(1).train()
    batch = batch_of(network, 0, 1, 2, 3)
    own = own_gradients(network, batch)
    clip_norm = float(np.median([float(g.norm()) for g in own]))
    cut = [g * min(1.0, clip_norm / float(g.norm())) for g in own]
    private(network, 0.0, clip_norm)(network, batch, loss_terms)
    expected = torch.stack(cut).sum(0) / 4
    assert float((gradient(network) - expected).norm() / expected.norm()) < 1e-3


def test_one_more_clip_moves_the_sum_by_the_norm_at_most_whatever_the_clip() -> None:
    network = STUDENTS["tiny_ladeda"].build(1).train()
    batch = batch_of(network, 0, 1, 2)
    wild = replace(batch, frames=torch.cat([batch.frames[:2], 1e4 * batch.frames[2:]]))
    fewer = single_clips(batch)[0]
    private(network, 0.0, 0.01, expected=1)(network, fewer, loss_terms)
    before = gradient(network)
    for more in (batch, wild):
        two = Batch(*(torch.cat([a, b[2:]]) for a, b in zip(tensors(fewer), tensors(more), strict=True)))
        private(network, 0.0, 0.01, expected=1)(network, two, loss_terms)
        assert float((gradient(network) - before).norm()) <= 0.01 * (1 + 1e-4)


def tensors(batch: Batch) -> list[Tensor]:
    return [getattr(batch, name) for name in Batch.__dataclass_fields__]


def test_a_clip_without_a_finite_gradient_counts_as_none() -> None:
    network = STUDENTS["tiny_ladeda"].build(1).train()
    batch = batch_of(network, 0, 1)
    broken = replace(batch, frames=torch.cat([batch.frames[:1], batch.frames[1:] * float("nan")]))
    private(network, 0.0, 1.0)(network, single_clips(batch)[0], loss_terms)
    alone = gradient(network)
    terms = private(network, 0.0, 1.0)(network, broken, loss_terms)
    assert torch.equal(gradient(network), alone)
    assert torch.isfinite(terms.total)


@pytest.mark.parametrize("indices", [(), (0, 1)])
def test_the_noise_is_as_large_as_it_says_also_in_an_empty_step(indices: tuple[int, ...]) -> None:
    network = STUDENTS["pin_lite"].build(1).train()
    batch = batch_of(network, *indices)
    private(network, 0.0, 0.5)(network, batch, loss_terms)
    without = gradient(network)
    private(network, 1.5, 0.5)(network, batch, loss_terms)
    noise = (gradient(network) - without).double()
    assert float(noise.std()) == pytest.approx(1.5 * 0.5 / 4, rel=0.01)
    assert float(noise.mean()) == pytest.approx(0, abs=4 * 0.19 / noise.numel() ** 0.5)
    assert float(without.abs().max()) == 0 or indices


def test_the_noise_is_the_generators() -> None:
    network = STUDENTS["tiny_ladeda"].build(1).train()
    batch = batch_of(network, 0)
    found = []
    for seed in (0, 0, 1):
        private(network, 1.0, 1.0, seed=seed)(network, batch, loss_terms)
        found.append(gradient(network))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_the_proximal_term_is_added_after_the_noise_and_is_not_cut() -> None:
    """With nothing but an empty step and no noise, the only gradient is mu times the way to the anchor."""
    network = STUDENTS["tiny_ladeda"].build(1)
    empty = batch_of(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    differentiate = private(network, 0.0, 1e-6)
    start = torch.cat([p.detach().flatten().clone() for p in network.parameters()])
    take_steps(
        network,
        [empty],
        loss_terms,
        optimizer,
        proximal_mu=0.1,
        before_step=lambda step: shift(network, 1.0),
        differentiate=differentiate,
    )
    change = torch.cat([p.detach().flatten() for p in network.parameters()]) - start
    np.testing.assert_allclose(change.numpy(), 1 - 0.5 * 0.1, rtol=1e-4)


def shift(network: nn.Module, distance: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += distance


def test_poisson_batches_hold_each_clip_with_the_probability_asked_for() -> None:
    rng = np.random.default_rng(0)
    sizes, seen = [], np.zeros(len(VIEW))
    for batch in poisson_batches(VIEW, None, 0.3, 400, rng, augment=AugmentSettings()):
        sizes.append(len(batch.labels))
        seen[batch.indices.numpy()] += 1
    assert 0 in sizes
    assert len(sizes) == 400
    np.testing.assert_allclose(seen / 400, 0.3, atol=4 * (0.3 * 0.7 / 400) ** 0.5)
    assert np.var(sizes) == pytest.approx(8 * 0.3 * 0.7, rel=0.25)  # independent coins: binomial


def test_a_student_that_mixes_examples_is_refused() -> None:
    with pytest.raises(RequestError, match="BatchNorm"):
        check_student(Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13}).build(), 4, 32, 13)
    check_student(STUDENTS["pin_lite"].build(), 4, 32, 13)


def test_opacus_own_gradients_are_wrong_where_a_weight_is_used_outside_its_layer() -> None:
    """Why `GradSampleModule` is not used: the class activation map reads the head's weight as a filter."""
    import warnings

    from opacus.grad_sample import GradSampleModule

    network = STUDENTS["tiny_ladeda"].build(1).train()
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # its hooks refuse it otherwise
    batch = batch_of(network, 0, 1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hooked = GradSampleModule(network, strict=False, loss_reduction="sum")
        loss_terms(hooked, batch).total.backward()
    head = network.video.projection.weight
    assert head.grad_sample is None
    assert float(head.grad.norm()) > 0
    others = [p for p in network.parameters() if p.grad_sample is not None]
    assert {len(p.grad_sample) for p in others} == {3 * 4}  # frames for examples
