"""How far an update points where single clips would have moved the student.

A client's update is about the sum of its clips' steps, so that those clips' gradients lie along it more
than others' do: Nasr et al. 2019, "Comprehensive Privacy Analysis of Deep Learning", section 4, give the
gradients to a classifier; the cosine alone is the attack of Li et al. 2023, "Effective Passive Membership
Inference Attacks in Federated Learning Against Overparameterized Models", section 4. Under Gaussian noise
it is a matched filter: no other linear score of one known direction finds it better.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fl.distill.batches import Batch

Floats = NDArray[np.float32]


def descent_directions(
    network: nn.Module, batches: Iterable[Batch], loss: Callable[[nn.Module, Batch], Tensor]
) -> Iterator[Floats]:
    """For each batch, minus the gradient of its loss in the learnt values, of length 1; (values,).

    Args:
        network: in evaluation mode, so that clips do not depend on each other.
        batches: of one clip each.
        loss: a scalar, of the network on a batch.
    """
    values = list(network.parameters())
    for batch in batches:
        found = torch.autograd.grad(loss(network, batch), values, allow_unused=True)
        pairs = zip(values, found, strict=True)
        flat = [(torch.zeros_like(value) if part is None else part).flatten() for value, part in pairs]
        yield _unit(-torch.cat(flat))


def update_direction(before: nn.Module, after: nn.Module) -> Floats:
    """The change of the learnt values, of length 1 unless nothing changed; (values,)."""
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    return _unit(torch.cat([(new - old).detach().flatten() for old, new in pairs]))


def _unit(flat: Tensor) -> Floats:
    length = flat.norm()
    return np.asarray((flat / length if length > 0 else flat).numpy())
