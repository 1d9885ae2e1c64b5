"""The one loop that steps an optimiser: teacher training and local distillation both pass here."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fl.distill.batches import Batch
from fl.distill.losses import LossTerms

LossOfBatch = Callable[[nn.Module, Batch], LossTerms]
"""The loss of a network on a batch."""


@dataclass(frozen=True)
class MeanLosses:
    """The mean of each term over the examples seen; the proximal term is already weighted.

    Attributes:
        loss: the weighted sum that was descended, proximal term included.
        hard: binary cross-entropy.
        soft: Bernoulli KL times temperature squared.
        attention: 1 - correlation of the maps.
        proximal: mu / 2 * ||w - w_global||^2.
        num_steps: optimiser steps.
        num_examples: clips seen, repeats counted.
    """

    loss: float
    hard: float
    soft: float
    attention: float
    proximal: float
    num_steps: int
    num_examples: int


def backward(network: nn.Module, batch: Batch, loss_terms: LossOfBatch) -> LossTerms:
    """Put the gradient of the batch's loss on the network's parameters; the terms of the loss."""
    terms = loss_terms(network, batch)
    terms.total.backward()  # type: ignore[no-untyped-call]
    return terms


def take_steps(
    network: nn.Module,
    batches: Iterable[Batch],
    loss_terms: LossOfBatch,
    optimizer: torch.optim.Optimizer,
    *,
    proximal_mu: float = 0.0,
    clip_norm: float = 0.0,
    before_step: Callable[[int], None] | None = None,
    differentiate: Callable[[nn.Module, Batch, LossOfBatch], LossTerms] = backward,
) -> MeanLosses:
    """One optimiser step for each batch.

    The proximal term of FedProx (Li et al. 2020, equation 2) is added to the gradients directly,
    mu * (w - w_global), where w_global are the parameters at the time of the call: six times
    cheaper than through autograd.

    Args:
        network: put into training mode; its parameters are changed in place.
        batches: what to learn from, in this order.
        loss_terms: the loss of the network on one batch.
        optimizer: over all of the network's parameters.
        proximal_mu: mu >= 0; 0 leaves the term out.
        clip_norm: bound on the norm of the gradient; 0 leaves it free.
        before_step: called with the index of each step, e.g. to set the learning rate.
        differentiate: fills the gradients, before the proximal term: `backward`, or a private one.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    network.train()
    parameters = [p for p in network.parameters() if p.requires_grad]
    anchor = [p.detach().clone() for p in parameters] if proximal_mu else []
    sums = torch.zeros(5, dtype=torch.float64)
    num_steps = num_examples = 0
    for batch in batches:
        if before_step is not None:
            before_step(num_steps)
        optimizer.zero_grad()
        terms = differentiate(network, batch, loss_terms)
        if not torch.isfinite(terms.total):
            raise FloatingPointError(f"the loss is {float(terms.total.detach())} at step {num_steps}")
        proximal = _add_proximal(parameters, anchor, proximal_mu) if proximal_mu else 0.0
        if clip_norm:
            nn.utils.clip_grad_norm_(parameters, clip_norm)
        optimizer.step()
        size = len(batch.labels)
        total = terms.total.detach() + proximal
        row = [total, terms.hard.detach(), terms.soft.detach(), terms.attention.detach()]
        sums += size * torch.tensor([*(float(value) for value in row), proximal], dtype=torch.float64)
        num_steps += 1
        num_examples += size
    loss, hard, soft, attention, proximal_mean = (sums / max(num_examples, 1)).tolist()
    return MeanLosses(loss, hard, soft, attention, proximal_mean, num_steps, num_examples)


@torch.no_grad()
def _add_proximal(parameters: Sequence[nn.Parameter], anchor: Sequence[Tensor], mu: float) -> float:
    """Add mu * (w - w_global) to the gradients; the value of the term before the step."""
    moved = [(p, a, p.grad) for p, a in zip(parameters, anchor, strict=True) if p.grad is not None]
    distance = torch._foreach_sub([p for p, _, _ in moved], [a for _, a, _ in moved])
    torch._foreach_add_([grad for _, _, grad in moved], distance, alpha=mu)
    norms = torch.stack(torch._foreach_norm(distance))
    return float(0.5 * mu * (norms**2).sum())
