"""How much each removable unit of a network matters: from gradients, from weights, or drawn.

A vote is one flat float32 vector: a number per channel, head or hidden unit, group after group in
the order of `prunable_groups`. Backbone groups come from torch-pruning's graph of `network.video`
(`fl.compress.channels`), the others from `fl.compress.units`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fl.compress.channels import TRACE_SIZE, ChannelSlice, channel_slices, root_layers, trace
from fl.compress.units import ChannelGroup, Slice, UnitGroup, unit_groups

FloatVector = NDArray[np.float32]


def prunable_groups(
    network: nn.Module, targets: str = "backbone", image_size: int = TRACE_SIZE
) -> tuple[ChannelGroup, ...]:
    """The groups of a network that may be pruned, backbone first, each part in the order of its modules.

    Args:
        network: a detector, dense or pruned.
        targets: "backbone" for the channels of the `video` encoder, "attention" for heads, "feed_forward",
            "audio" for the channels of its convolutions, "recurrent" for GRU units, or "all".
        image_size: side of the blank frame that is traced, pixels; the groups do not depend on it.
    """
    groups: list[ChannelGroup] = []
    if targets in ("backbone", "all"):
        roots = root_layers(trace(network, image_size))
        groups += [ChannelGroup(name, root.out_channels) for name, root in roots.items()]
    groups += [found.group for found in _units_of(network, targets)]
    return tuple(groups)


def taylor_importance(
    network: nn.Module, image_size: int = TRACE_SIZE, targets: str = "backbone"
) -> FloatVector:
    """First-order Taylor importance of every unit, from the gradients that lie on the network.

    A unit's score is the sum, over the tensors that it is made of, of |sum of w * dL/dw| over its slice:
    for a channel of the backbone its BatchNorm scale and shift together, and its column in each layer
    that reads it; for a head its values and its columns in the output projection, where the sum is the
    derivative of the loss by a factor on the head's output (Michel et al. 2019, "Are Sixteen Heads
    Really Better than One?"). Rows ahead of a BatchNorm or LayerNorm are left out: there that sum is
    zero or nearly so, since the loss does not depend on their scale (Molchanov et al. 2019, "Importance
    Estimation for Neural Network Pruning", which places its gate after the BatchNorm as well).

    The whole vector is divided by its mean, so that vectors of several clients, whose losses and
    numbers of batches differ, may be averaged. Groups keep their proportions: dividing each by its
    own mean cost 20 points of accuracy right after a global pruning of 55 % on a trained PIN-Lite.
    A kind without any gradient signal, as of an encoder whose modality the client lacks, scores 0
    and does not count for the mean; without any signal at all every unit scores 1.

    Args:
        network: as in `prunable_groups`, after ``loss.backward()`` over a few batches.
        image_size: as in `prunable_groups`.
        targets: as in `prunable_groups`.

    Returns:
        One number per unit of each group, in the order of `prunable_groups`; finite unless a
        gradient is not, never negative, of mean 1 over the kinds that have a signal.

    Raises:
        ValueError: a layer has no gradient.
    """
    scores = _score_groups(network, "taylor", image_size, targets)
    heard = {kind for kind, group_scores in scores if group_scores.any()}
    votes = np.concatenate([group_scores for _, group_scores in scores])
    if not heard:
        return np.ones_like(votes)
    mean = np.concatenate([group_scores for kind, group_scores in scores if kind in heard]).mean()
    scaled: FloatVector = votes / mean
    return scaled


def magnitude_importance(
    network: nn.Module, norm: str, image_size: int = TRACE_SIZE, targets: str = "backbone"
) -> FloatVector:
    """Size of the weights that each unit would take with it: needs no data, so anybody can compute it.

    Li et al. 2017, "Pruning Filters for Efficient ConvNets", over all of a unit's slices (rows of the
    layers that make it, columns of those that read it). Each group is divided by its own mean, since
    layers of different shape have weights of different size; a group of zeros scores 1.

    Args:
        network: as in `prunable_groups`; its gradients do not matter.
        norm: "l1", the sum of absolute values, or "l2", the root of the sum of squares.
        image_size: as in `prunable_groups`.
        targets: as in `prunable_groups`.

    Returns:
        As `taylor_importance`; of mean 1 in each group.
    """
    parts = []
    for _, scores in _score_groups(network, norm, image_size, targets):
        mean = scores.mean()
        parts.append(scores / mean if mean != 0 else np.ones_like(scores))
    return np.concatenate(parts)


def random_importance(num_units: int, rng: np.random.Generator) -> FloatVector:
    """Uniform numbers of mean about 1: the control that every other importance must beat."""
    return (2 * rng.random(num_units)).astype(np.float32)


def _units_of(network: nn.Module, targets: str) -> list[UnitGroup]:
    return [found for found in unit_groups(network).values() if targets in ("all", found.group.kind)]


def _score_groups(
    network: nn.Module, criterion: str, image_size: int, targets: str
) -> list[tuple[str, FloatVector]]:
    """Kind and scores of each group, in the order of `prunable_groups`."""
    scores: list[tuple[str, FloatVector]] = []
    if targets in ("backbone", "all"):
        graph = trace(network, image_size)
        for root in root_layers(graph).values():
            slices = channel_slices(graph, root)
            scores.append(("backbone", _channel_scores(root.out_channels, slices, criterion)))
    for found in _units_of(network, targets):
        scores.append((found.group.kind, _unit_scores(network, found, criterion)))
    return scores


def _channel_scores(num_channels: int, slices: list[ChannelSlice], criterion: str) -> FloatVector:
    total = torch.zeros(num_channels)
    for item in slices:
        if criterion == "taylor":
            score = _channel_taylor(item)
        else:
            score = _entries(item.weight, item.axis, criterion)
        if score is not None:
            total.index_add_(0, torch.as_tensor(item.channels), score[torch.as_tensor(item.indices)].cpu())
    scores: FloatVector = _root(total, criterion).numpy()
    return scores


def _channel_taylor(item: ChannelSlice) -> Tensor | None:
    """|sum of w * dL/dw| of each channel's slice of one layer; None where it does not count."""
    if item.role == "norm":
        return (_products(item.module.weight) + _products(item.module.bias)).abs()
    if item.role == "reader":
        return _products(item.module.weight).transpose(0, 1).flatten(1).sum(1).abs()
    return None


def _unit_scores(network: nn.Module, found: UnitGroup, criterion: str) -> FloatVector:
    if criterion == "taylor":
        parts = [torch.stack([_taylor(network, s) for s in term]).sum(0).abs() for term in found.terms]
    else:
        parts = [_size(network.get_parameter(s.parameter).detach(), s, criterion) for s in found.slices]
    scores: FloatVector = _root(torch.stack(parts).sum(0), criterion).numpy()
    return scores


def _taylor(network: nn.Module, item: Slice) -> Tensor:
    """Sum of w * dL/dw over each unit's slice, (num_channels,)."""
    products = _products(network.get_parameter(item.parameter)).movedim(item.axis, 0)
    return products.reshape(len(products), -1).sum(1).cpu()[item.indices].sum(1)


def _size(weight: Tensor, item: Slice, norm: str) -> Tensor:
    """Sum of |w| or of squares over each unit's slice, (num_channels,)."""
    return _entries(weight, item.axis, norm).cpu()[item.indices].sum(1)


def _entries(weight: Tensor, axis: int, norm: str) -> Tensor:
    """Sum of |w| or of squares over all axes but one."""
    sizes = weight.abs() if norm == "l1" else weight.square()
    moved = sizes.movedim(axis, 0)
    return moved.reshape(len(moved), -1).sum(1)


def _root(total: Tensor, criterion: str) -> Tensor:
    return total.sqrt() if criterion == "l2" else total


def _products(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        raise ValueError("importance needs gradients: call loss.backward() on the network first")
    return parameter.detach() * parameter.grad
