"""Pictures from gradients: what someone sees who holds a network and one client's gradient.

Exactly, where the first layer is linear with a bias and the batch is one clip (Phong et al. 2017, "Privacy-
Preserving Deep Learning: Revisited and Enhanced", section 3); else by descent on the picture until its
gradient points the same way (Geiping et al. 2020, "Inverting Gradients", section 4: cosine distance, total
variation, signed gradients, Adam).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Loss = Callable[[Tensor], Tensor]
"""Pictures in [0, 1] -> the loss whose gradient a client would send."""


@dataclass(frozen=True)
class Descent:
    """How long and how fast the picture descends.

    Attributes:
        num_steps: of Adam.
        learning_rate: in units of [0, 1]; a tenth of it after 3/8, 5/8 and 7/8 of the steps.
        smoothness: weight of the total variation.
    """

    num_steps: int
    learning_rate: float = 0.05
    smoothness: float = 1e-2


class TwiceDifferentiable(TorchFunctionMode):
    """Within this context, hard sigmoids are made of operators whose gradients have gradients, too."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The same values as `torch.nn.functional` gives."""
        if func is F.hardsigmoid:
            return F.relu6(args[0] + 3) / 6
        if func is F.hardswish:
            return args[0] * F.relu6(args[0] + 3) / 6
        return func(*args, **(kwargs or {}))


def invert_linear(weight_gradient: Tensor, bias_gradient: Tensor) -> Tensor:
    """The input (features,) of a linear layer, from the gradients of one example: dL/dW_i = dL/db_i * x.

    Of all outputs the one with the steepest bias is used, which rounds least.

    Args:
        weight_gradient: (outputs, features).
        bias_gradient: (outputs,).

    Raises:
        ValueError: no output had a gradient, as happens behind a dead ReLU.
    """
    row = int(bias_gradient.abs().argmax())
    if not float(bias_gradient[row]):
        raise ValueError("the layer has no gradient: nothing can be told of its input")
    return weight_gradient[row] / bias_gradient[row]


def gradient_of(loss: Tensor, network: nn.Module, *, differentiable: bool = False) -> list[Tensor]:
    """The gradient of a loss in each of a network's parameters; zero where it has no part in the loss."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, parameters, create_graph=differentiable, materialize_grads=True)
    return [grad if differentiable else grad.detach() for grad in found]


def cosine_distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """1 - the cosine of the angle between two gradients, in [0, 2]."""
    dot = torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()
    norms = [torch.stack([(a**2).sum() for a in grads]).sum().sqrt() for grads in (one, other)]
    return 1 - dot / (norms[0] * norms[1]).clamp(min=1e-12)


def total_variation(pictures: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of (pictures, 3, height, width)."""
    down = (pictures[..., 1:, :] - pictures[..., :-1, :]).abs().mean()
    across = (pictures[..., :, 1:] - pictures[..., :, :-1]).abs().mean()
    return down + across


def invert_gradient(
    network: nn.Module,
    loss: Loss,
    observed: Sequence[Tensor],
    shape: Sequence[int],
    rng: np.random.Generator,
    descent: Descent,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Tensor, float]:
    """Look for pictures whose gradient points where the observed one does.

    Args:
        network: as the server sent it; in a mode in which its outputs are functions of the pictures alone.
        loss: of pictures; whoever attacks knows all else of the clip.
        observed: the gradient in each parameter.
        shape: of the pictures, (pictures, 3, height, width).
        rng: draws the noise from which they start.
        descent: how long and how fast.
        advance: called with 1 after each step.

    Returns:
        The pictures in [0, 1] at the least distance that was met, and that distance.
    """
    start = rng.uniform(0.4, 0.6, size=tuple(shape)).astype(np.float32)
    pictures = torch.from_numpy(start).requires_grad_()
    optimizer = torch.optim.Adam([pictures], lr=descent.learning_rate)
    drops = [int(descent.num_steps * share) for share in (3 / 8, 5 / 8, 7 / 8)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, gamma=0.1)
    best, least = pictures.detach().clone(), float("inf")
    for _ in range(descent.num_steps):
        with TwiceDifferentiable():
            value = loss(pictures)
        distance = cosine_distance(gradient_of(value, network, differentiable=True), observed)
        if float(distance.detach()) < least:
            best, least = pictures.detach().clone(), float(distance.detach())
        objective = distance + descent.smoothness * total_variation(pictures)
        (slope,) = torch.autograd.grad(objective, [pictures])
        pictures.grad = slope.sign()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            pictures.clamp_(0, 1)
        advance(1)
    return best, least
