"""Channels of a network's video encoder that must be removed together, from torch-pruning's graph.

A group is a set of channels that can only be removed together: the outputs of one or more
convolutions, their BatchNorms, depthwise convolutions and squeeze-excite gates, and the inputs
of whatever reads them. Only `network.video` is looked at: it holds no recurrence, which
torch-pruning cannot trace. The outputs of its ``projection`` are the embedding and stay.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from models.architecture import match_counts

TRACE_SIZE = 64
"""Side of the blank frame that is traced, pixels."""


@dataclass(frozen=True)
class ChannelSlice:
    """What one layer holds of a group's channels.

    Attributes:
        module: the layer.
        role: "norm" for a BatchNorm or GroupNorm, "reader" for what takes the channels in, "maker" for what
            puts them out.
        channels: of the group.
        indices: where they lie in the layer, as long as ``channels``.
    """

    module: Any
    role: str
    channels: Sequence[int]
    indices: Sequence[int]

    @property
    def weight(self) -> Tensor:
        """The layer's weight, without gradient."""
        weight: Tensor = self.module.weight.detach()
        return weight

    @property
    def axis(self) -> int:
        """Of the weight, along which ``indices`` count."""
        return 1 if self.role == "reader" else 0


def trace(network: nn.Module, image_size: int = TRACE_SIZE) -> Any:
    """The dependency graph of ``network.video`` (`torch_pruning.DependencyGraph`).

    Weights, buffers and modes are left as they were.
    """
    video = network.get_submodule("video")
    like = next(video.parameters())
    with _frozen_mode(video), torch.enable_grad():
        return tp.DependencyGraph().build_dependency(
            video, example_inputs=like.new_zeros(1, 3, image_size, image_size), verbose=False
        )


def root_layers(graph: Any) -> dict[str, nn.Conv2d]:
    """Group name -> the convolution from which the group is reached, in the order of the modules."""
    video = graph.model
    names = {module: f"video.{name}" for name, module in video.named_modules()}
    position = {module: index for index, module in enumerate(names)}
    roots = []
    for group in graph.get_all_groups(ignored_layers=[video.projection], root_module_types=[nn.Conv2d]):
        members = {dep.target.module for dep, _ in group if dep.handler == tp.prune_conv_out_channels}
        roots.append(min(members, key=position.__getitem__))
    return {names[root]: root for root in sorted(roots, key=position.__getitem__)}


def channel_slices(graph: Any, root: nn.Conv2d) -> list[ChannelSlice]:
    """What every layer of a group holds of its channels; layers without weights are left out."""
    group = graph.get_pruning_group(root, tp.prune_conv_out_channels, list(range(root.out_channels)))
    slices = []
    for item in group:
        role = _role(item.dep.handler)
        if role:
            slices.append(ChannelSlice(item.dep.target.module, role, item.root_idxs, item.idxs))
    return slices


def _role(handler: Any) -> str:
    if handler in (tp.prune_batchnorm_out_channels, tp.prune_groupnorm_out_channels):
        return "norm"
    if handler in (tp.prune_conv_in_channels, tp.prune_linear_in_channels):
        return "reader"
    makers = (tp.prune_conv_out_channels, tp.prune_depthwise_conv_out_channels, tp.prune_linear_out_channels)
    return "maker" if handler in makers else ""


def remove_channels(graph: Any, root: nn.Conv2d, removed: list[int]) -> None:
    """Remove channels of a group from every layer that makes or reads them, in place."""
    group = graph.get_pruning_group(root, tp.prune_conv_out_channels, removed)
    group.prune()
    for item in group:
        if isinstance(item.dep.target.module, nn.GroupNorm):
            match_counts(item.dep.target.module)  # torch-pruning leaves the number of groups


@contextmanager
def _frozen_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode with every parameter in the autograd graph, and back."""
    modes = [(module, module.training) for module in network.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    network.eval().requires_grad_(True)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
