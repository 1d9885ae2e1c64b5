"""Removing channels, heads and hidden units by a plan, and mending BatchNorm after."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from fl.compress.channels import TRACE_SIZE, remove_channels, root_layers, trace
from fl.compress.units import remove_units, unit_groups

PruningPlan = Mapping[str, Sequence[int]]
"""Group name (`ChannelGroup.name`) -> indices of the channels, heads or units to remove: plain JSON."""


def apply_plan(network: nn.Module, plan: PruningPlan, image_size: int = TRACE_SIZE) -> None:
    """Remove a plan's channels, heads and hidden units from the network, in place.

    Every layer that produces or reads a removed unit shrinks with it; what is left keeps its
    weights bit for bit. The same plan on the same network gives the same network anywhere. An
    optimiser of the network must be made anew, since the parameters are other objects now.

    Args:
        network: a detector with a `video` encoder, dense or pruned.
        plan: what to remove, counted in the network's present widths.
        image_size: side of the blank frame that is traced, pixels; the result does not depend on it.

    Raises:
        ValueError: no such group, an index that it has not, a repeated index, or a group that
            would lose its last unit. The network is then as it was.
    """
    units = unit_groups(network)
    # Tracing costs a pass through the encoder: only a plan of its channels needs it.
    graph = trace(network, image_size) if set(plan) - set(units) else None
    roots = root_layers(graph) if graph is not None else {}
    widths = {name: root.out_channels for name, root in roots.items()}
    widths.update({name: found.group.num_channels for name, found in units.items()})
    for name, indices in plan.items():
        if name not in widths:
            raise ValueError(f"the plan names {name!r}; the network's groups are {', '.join(widths)}")
        _check_indices(name, indices, widths[name])
    chosen = {name: sorted(indices) for name, indices in plan.items() if indices}
    for name, root in roots.items():
        if name in chosen:
            remove_channels(graph, root, chosen[name])
    for name, found in units.items():
        if name in chosen:
            remove_units(network, found, chosen[name])


def reestimate_batchnorm(network: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Replace BatchNorm's running statistics by those of some batches, each weighing the same.

    After pruning the old ones belong to another network. Only BatchNorm is in training mode
    while the batches pass; nothing else changes, and no gradient is kept. A network without BatchNorm is
    left as it is.

    Args:
        network: a detector.
        batches: what the detector's forward takes: frames, mfcc, and modalities if some are absent.

    Raises:
        ValueError: no batch; the network is then as it was.
    """
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise ValueError("BatchNorm cannot be estimated from no batch at all")
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    modes = [(module, module.training) for module in network.modules()]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.training = True
        with torch.no_grad():
            network(*first)
            for inputs in batches:
                network(*inputs)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes:
            module.training = mode


def _check_indices(name: str, indices: Sequence[int], num_channels: int) -> None:
    unique = set(indices)
    if len(unique) != len(indices):
        raise ValueError(f"the plan repeats a channel of {name!r}")
    if unique and not (min(unique) >= 0 and max(unique) < num_channels):
        raise ValueError(f"the plan's channels of {name!r} must be in [0, {num_channels})")
    if len(unique) == num_channels:
        raise ValueError(f"the plan would remove all {num_channels} channels of {name!r}")
