"""Gradient inversion: exact where it must be, good where it can be; PSNR and SSIM by closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fl.attacks.inversion import (
    Descent,
    TwiceDifferentiable,
    cosine_distance,
    gradient_of,
    invert_gradient,
    invert_linear,
    total_variation,
)
from fl.metrics.similarity import psnr, ssim
from sim.audits.gradient_inversion import SIDE, normalise, small_convnet


def test_the_input_of_a_linear_layer_is_read_off_its_gradient() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(12, 5), torch.rand(1, 12)
    weight, bias = gradient_of(F.cross_entropy(layer(x), torch.tensor([2])), layer)
    torch.testing.assert_close(invert_linear(weight, bias), x[0])
    with pytest.raises(ValueError, match="no gradient"):
        invert_linear(torch.zeros(5, 12), torch.zeros(5))


def test_two_clips_in_a_batch_are_mixed() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(12, 5), torch.rand(2, 12)
    weight, bias = gradient_of(F.cross_entropy(layer(x), torch.tensor([2, 3])), layer)
    assert all(float((invert_linear(weight, bias) - one).abs().max()) > 0.01 for one in x)


def test_the_descent_finds_the_picture_behind_a_small_convnets_gradient() -> None:
    """The control of the audit: where the attack is known to work, it works."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    picture = np.stack([x, y, 0.5 + 0.4 * np.sin(6 * x * y)], axis=-1).astype(np.float32)
    frames = torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous()
    network = small_convnet(rng)

    def loss(pictures: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(network(normalise(pictures)), torch.ones(1))

    observed = gradient_of(loss(frames), network)
    descent = Descent(num_steps=200, smoothness=1e-4)
    found, distance = invert_gradient(network, loss, observed, frames.shape, rng, descent)
    assert distance < 1e-3
    assert psnr(found[0].permute(1, 2, 0).numpy(), picture) > 20
    noise = [torch.randn_like(grad) for grad in observed]
    _, lost = invert_gradient(network, loss, noise, frames.shape, rng, Descent(num_steps=20))
    assert lost > 0.5


def test_hard_sigmoids_are_the_same_and_have_second_derivatives() -> None:
    x = torch.linspace(-5, 5, 101, requires_grad=True)
    for function in (F.hardsigmoid, F.hardswish):
        with TwiceDifferentiable():
            value = function(x)
        torch.testing.assert_close(value, function(x))
        (first,) = torch.autograd.grad((value**2).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        assert torch.isfinite(second).all()
        assert float(second[50]) > 0


def test_distances_of_gradients_and_pictures() -> None:
    one = [torch.tensor([1.0, 0.0]), torch.tensor([0.0])]
    assert float(cosine_distance(one, [3 * grad for grad in one])) == pytest.approx(0)
    assert float(cosine_distance(one, [torch.tensor([0.0, 1.0]), torch.tensor([5.0])])) == pytest.approx(1)
    ramp = torch.arange(4.0).expand(1, 3, 4, 4)
    assert float(total_variation(ramp)) == 1.0


def test_psnr_and_ssim_of_known_pictures() -> None:
    rng = np.random.default_rng(0)
    picture = rng.random((24, 24, 3))
    assert psnr(picture, picture) == math.inf
    assert psnr(picture + 0.1, picture) == pytest.approx(20)
    assert ssim(picture, picture) == pytest.approx(1)
    dark, bright = np.full((24, 24, 3), 0.2), np.full((24, 24, 3), 0.6)
    # Of two constants only the luminance is left: (2 a b + c1) / (a^2 + b^2 + c1).
    assert ssim(dark, bright) == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4))
    assert ssim(rng.random((24, 24, 3)), picture) < 0.2
