"""A network that mixes examples is found by its gradients, whatever its modules are called."""

import pytest
import torch
from torch import Tensor, nn

from fl.errors import RequestError
from fl.metrics.cost import example_inputs
from fl.privacy.mixing import check_keeps_apart, cross_dependence
from models.architecture import Architecture
from models.names import SYSTEMS
from models.output import DetectorOutput, Inputs

STUDENTS = tuple(student for _, student in SYSTEMS.values())


def student(name: str, **settings: int) -> nn.Module:
    shape = {"num_frames": 2, "num_mfcc": 13} if name == "pin_lite" else {}
    return Architecture(name, {**shape, **settings}).build(1)


def inputs() -> Inputs:
    return example_inputs({"num_frames": 2, "num_mfcc": 13}, image_size=64, audio_steps=6, batch_size=3)


@pytest.mark.parametrize("name", STUDENTS)
def test_students_with_groupnorm_keep_clips_apart(name: str) -> None:
    network = student(name, group_norm=1)
    assert cross_dependence(network, inputs()) == 0
    check_keeps_apart(network, inputs())
    assert not network.training


@pytest.mark.parametrize("name", STUDENTS)
def test_the_gradient_of_a_clip_is_the_same_whatever_lies_beside_it(name: str) -> None:
    network = student(name, group_norm=1).train()
    frames, mfcc, modalities = inputs()
    alone = gradient_of_first(network, (frames[:1], mfcc[:1], modalities[:1]))
    for others in (frames[1:], 30 * frames[1:], torch.zeros_like(frames[1:])):
        beside = (torch.cat([frames[:1], others]), mfcc, modalities)
        torch.testing.assert_close(gradient_of_first(network, beside), alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", STUDENTS)
def test_the_same_gradient_of_a_student_with_batchnorm_depends_on_the_others(name: str) -> None:
    network = student(name).train()
    frames, mfcc, modalities = inputs()
    one = gradient_of_first(network, (frames, mfcc, modalities))
    other = gradient_of_first(network, (torch.cat([frames[:1], 30 * frames[1:]]), mfcc, modalities))
    assert float((one - other).norm() / one.norm()) > 0.05


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("frozen", [False, True])
def test_batchnorm_is_caught_even_with_frozen_scale_and_shift(name: str, frozen: bool) -> None:
    network = student(name)
    for module in network.modules():
        if frozen and isinstance(module, nn.BatchNorm2d):
            module.weight.requires_grad_(False)
            module.bias.requires_grad_(False)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(RequestError, match=r"mixes them in \d+ BatchNorms, .*system.student_norm=group"):
        check_keeps_apart(network, inputs())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_opacus_accepts_the_frozen_batchnorm_that_is_caught_here() -> None:
    from opacus.validators import ModuleValidator

    network = student("pin_lite").train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.requires_grad_(False)
            module.bias.requires_grad_(False)
    errors = [str(error) for error in ModuleValidator.validate(network)]
    assert not [error for error in errors if "BatchNorm" in error]
    assert cross_dependence(network, inputs()) > 0


class Centred(nn.Module):
    """Mixes clips without any norm: takes the batch's mean away."""

    def forward(self, frames: Tensor, mfcc: Tensor, modalities: Tensor) -> DetectorOutput:
        logits = frames.flatten(1).mean(dim=1)
        return DetectorOutput(logits - logits.mean(), frames[:, :, 0, 0])


def test_a_module_of_unknown_kind_is_caught_too() -> None:
    with pytest.raises(RequestError, match="but this one mixes them \\("):
        check_keeps_apart(Centred(), inputs())


def gradient_of_first(network: nn.Module, batch: Inputs) -> Tensor:
    """(values,), of the first clip's outputs by the parameters."""
    network.zero_grad()
    output = network(*batch)
    (output.logits[0] + output.explanation[0].square().mean()).backward()
    return torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in network.parameters()]
    )
