"""Groups of units that are removed together, outside the backbone: heads, hidden and recurrent units.

Each group knows which entries of which parameters belong to each of its units; scoring and removing
are then the same few lines for all of them. Backbone channels need a traced graph instead: see
`fl.compress.importance`.

What is removable, and what a removed unit leaves behind:

- a head of an attention: the others keep their outputs. The map is the mean over those left;
- a feed-forward unit, a channel of the first audio convolution: nothing, as if it were masked to zero;
- a channel of the second audio convolution: the LayerNorm behind it normalises over those left;
- a GRU unit: its place in the token holds zero, as if the unit were masked to zero, so the
  embedding keeps its width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.architecture import match_counts
from models.pin import Attention, AudioEncoder, GatedCrossAttentionBlock

KINDS = ("backbone", "attention", "feed_forward", "audio", "recurrent")
"""Kinds of groups; `compress.targets` names one of them, or all."""

_GRU_GATES = 3


@dataclass(frozen=True)
class ChannelGroup:
    """Channels, heads or hidden units of which any may be removed.

    Attributes:
        name: path in the network of the first layer whose outputs these are, e.g.
            ``video.backbone.0``, ``blocks.1.cross`` or ``audio.gru``.
        num_channels: how many there are now; heads count as one each.
        unit_size: channels in each: the width of a head, else 1.
        kind: one of `KINDS`.
    """

    name: str
    num_channels: int
    unit_size: int = 1
    kind: str = "backbone"


@dataclass(frozen=True)
class Slice:
    """The entries of one parameter that belong to the units of a group.

    Attributes:
        parameter: path in the network.
        axis: of the parameter.
        indices: (num_channels, entries of each along the axis).
    """

    parameter: str
    axis: int
    indices: Tensor


@dataclass(frozen=True)
class UnitGroup:
    """A group, and where its units lie.

    Attributes:
        group: name, number, kind.
        terms: slices whose Taylor scores count; those of one term are summed before the absolute
            value, as a weight and its bias are.
        others: slices that are removed with them and only counted by magnitude.
    """

    group: ChannelGroup
    terms: tuple[tuple[Slice, ...], ...]
    others: tuple[Slice, ...] = ()

    @property
    def slices(self) -> tuple[Slice, ...]:
        """All that is removed with a unit."""
        return (*(item for term in self.terms for item in term), *self.others)


def unit_groups(network: nn.Module) -> dict[str, UnitGroup]:
    """Every group of a network outside its backbone, by name, in the order of its modules."""
    return {found.group.name: found for found in _find(network)}


def remove_units(network: nn.Module, found: UnitGroup, removed: Sequence[int]) -> None:
    """Remove units of a group, in place; what stays keeps its weights bit for bit.

    Args:
        network: that the group was found in, at its present widths.
        found: the group.
        removed: indices of units, checked by the caller.
    """
    gone = set(removed)
    kept = torch.tensor([unit for unit in range(found.group.num_channels) if unit not in gone])
    for item in found.slices:
        module_name, _, leaf = item.parameter.rpartition(".")
        module = network.get_submodule(module_name)
        old = network.get_parameter(item.parameter)
        places = item.indices[kept].flatten().sort().values
        left = old.detach().index_select(item.axis, places.to(old.device))
        setattr(module, leaf, nn.Parameter(left, requires_grad=old.requires_grad))
        match_counts(module)
    if found.group.kind == "recurrent":
        encoder = network.get_submodule(found.group.name.rpartition(".")[0])
        if isinstance(encoder, AudioEncoder):
            encoder.kept_units = tuple(encoder.kept_units[unit] for unit in kept.tolist())


def _find(network: nn.Module) -> Iterator[UnitGroup]:
    for name, module in network.named_modules():
        if isinstance(module, AudioEncoder):
            yield from _audio_groups(name, module)
        elif isinstance(module, Attention):
            yield _heads(name, module)
        elif isinstance(module, GatedCrossAttentionBlock):
            yield _feed_forward(name, module)


def _heads(name: str, attention: Attention) -> UnitGroup:
    count, size = attention.num_heads, attention.head_dim
    rows = torch.arange(count * size).reshape(count, size)
    return UnitGroup(
        ChannelGroup(name, count, size, "attention"),
        (_layer(f"{name}.value", rows), (Slice(f"{name}.out.weight", 1, rows),)),
        (*_layer(f"{name}.query", rows), *_layer(f"{name}.key", rows)),
    )


def _feed_forward(name: str, block: GatedCrossAttentionBlock) -> UnitGroup:
    rows = _single(block.expand.out_features)
    return UnitGroup(
        ChannelGroup(f"{name}.expand", len(rows), kind="feed_forward"),
        (_layer(f"{name}.expand", rows), (Slice(f"{name}.contract.weight", 1, rows),)),
    )


def _audio_groups(name: str, audio: AudioEncoder) -> Iterator[UnitGroup]:
    first, second = _single(audio.conv1.out_channels), _single(audio.conv2.out_channels)
    yield UnitGroup(
        ChannelGroup(f"{name}.conv1", len(first), kind="audio"),
        (_layer(f"{name}.conv1", first), (Slice(f"{name}.conv2.weight", 1, first),)),
    )
    yield UnitGroup(
        ChannelGroup(f"{name}.conv2", len(second), kind="audio"),
        (_layer(f"{name}.norm", second), (Slice(f"{name}.gru.weight_ih_l0", 1, second),)),
        _layer(f"{name}.conv2", second),
    )
    units = _single(audio.gru.hidden_size)
    gates = units + len(units) * torch.arange(_GRU_GATES)
    yield UnitGroup(
        ChannelGroup(f"{name}.gru", len(units), kind="recurrent"),
        (
            (Slice(f"{name}.gru.weight_ih_l0", 0, gates), Slice(f"{name}.gru.bias_ih_l0", 0, gates)),
            (Slice(f"{name}.gru.weight_hh_l0", 0, gates), Slice(f"{name}.gru.bias_hh_l0", 0, gates)),
            (Slice(f"{name}.gru.weight_hh_l0", 1, units),),
        ),
    )


def _layer(name: str, rows: Tensor) -> tuple[Slice, Slice]:
    """The rows of a layer's weight, and its bias."""
    return Slice(f"{name}.weight", 0, rows), Slice(f"{name}.bias", 0, rows)


def _single(count: int) -> Tensor:
    return torch.arange(count)[:, None]
