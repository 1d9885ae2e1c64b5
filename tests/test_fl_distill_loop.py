"""The one loop: it descends, its proximal term is FedProx's, and what it reports is what it did."""

import pytest
import torch
from torch import nn

from fl.distill.batches import Batch
from fl.distill.loop import take_steps
from fl.distill.losses import LossTerms


def batches(count: int, size: int = 4) -> list[Batch]:
    nothing = torch.empty(0)
    return [
        Batch(nothing, nothing, nothing, torch.ones(size), nothing, nothing, nothing) for _ in range(count)
    ]


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1, bias=False)


def linear_loss(net: nn.Module, batch: Batch) -> LossTerms:
    """The sum of the weights: its gradient is one everywhere."""
    total = net.weight.sum()
    return LossTerms(total, total, torch.zeros(()), torch.zeros(()))


def test_one_sgd_step_with_the_proximal_term_matches_its_closed_form() -> None:
    net = network()
    start = net.weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    means = take_steps(net, batches(2), linear_loss, optimizer, proximal_mu=0.5)
    # step 1: w1 = w0 - 0.1; step 2: gradient 1 + 0.5 * (w1 - w0)
    second = 0.1 * (1 + 0.5 * -0.1)
    assert torch.allclose(net.weight, start - 0.1 - second)
    # the term before each step: 0, then mu / 2 * 3 * 0.1^2
    assert means.proximal == pytest.approx(0.5 * 0.5 * 3 * 0.01 / 2)
    assert (means.num_steps, means.num_examples) == (2, 8)
    assert means.loss == pytest.approx(means.hard + means.proximal)


def test_without_mu_the_proximal_term_is_zero() -> None:
    net = network()
    means = take_steps(net, batches(3), linear_loss, torch.optim.SGD(net.parameters(), lr=0.1))
    assert means.proximal == 0


def test_a_larger_mu_keeps_the_weights_nearer() -> None:
    moved = []
    for mu in (0.0, 1.0, 5.0):
        net = network()
        start = net.weight.detach().clone()
        take_steps(net, batches(20), linear_loss, torch.optim.SGD(net.parameters(), lr=0.05), proximal_mu=mu)
        moved.append(float((net.weight - start).detach().norm()))
    assert moved[0] > moved[1] > moved[2] > 0


def test_the_gradient_is_clipped() -> None:
    net = network()
    start = net.weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    take_steps(net, batches(1), linear_loss, optimizer, clip_norm=0.3)
    assert float((net.weight - start).detach().norm()) == pytest.approx(0.3, rel=1e-4)


def test_a_loss_that_is_not_finite_is_an_error_at_its_step() -> None:
    net = network()
    seen: list[int] = []

    def explode(net: nn.Module, batch: Batch) -> LossTerms:
        total = net.weight.sum() * (float("nan") if len(seen) == 2 else 1.0)
        return LossTerms(total, total, torch.zeros(()), torch.zeros(()))

    with pytest.raises(FloatingPointError, match="step 1"):
        take_steps(
            net, batches(5), explode, torch.optim.SGD(net.parameters(), lr=0.1), before_step=seen.append
        )


def test_no_batch_is_no_step() -> None:
    net = network()
    means = take_steps(net, [], linear_loss, torch.optim.SGD(net.parameters(), lr=0.1))
    assert (means.num_steps, means.loss) == (0, 0.0)
