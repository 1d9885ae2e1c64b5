"""Architecture: the JSON that rebuilds any network of ours, pruned ones too."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
from torch import nn

from models.group_norm import batch_to_group_norm, num_groups
from models.pin import AudioEncoder
from models.zoo import Detector, create

GROUP_NORM = "group_norm"
"""The setting of an architecture without BatchNorm; those with it do not name it, their digests are older."""

_NORMS = (nn.BatchNorm2d, nn.BatchNorm1d)


@dataclass(frozen=True)
class Architecture:
    """Everything about a network but its weights.

    Attributes:
        name: the builder's name in the zoo.
        settings: the builder's arguments, e.g. ``{"num_frames": 8, "num_mfcc": 13}``; and `GROUP_NORM`: 1
            where every BatchNorm is a GroupNorm (`models.group_norm`).
        widths: parameter and buffer name -> shape, only for those that differ from the dense
            network's; empty for a dense network.
        kept: path of an audio encoder -> its `kept_units`, only where recurrent units were removed:
            the token keeps its width, so shapes alone do not say which.
    """

    name: str
    settings: Mapping[str, int] = field(default_factory=dict)
    widths: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Canonical JSON: the same architecture always gives the same text."""
        data = asdict(self)
        if not self.kept:
            del data["kept"]  # most networks have none, and their digests are older than the key
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: not such a document.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            widths = {str(k): tuple(int(n) for n in v) for k, v in data["widths"].items()}
            settings = {str(k): int(v) for k, v in data["settings"].items()}
            kept = {str(k): tuple(int(n) for n in v) for k, v in data.get("kept", {}).items()}
            return cls(str(data["name"]), settings, widths, kept)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"not an architecture: {error}") from error

    @property
    def sha256(self) -> str:
        """Digest of the canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def build(self, seed: int = 0, pretrained: bool | str = False) -> Detector:
        """Build the network, in evaluation mode, with weights drawn from ``seed``.

        A pruned network's weights have the right shapes and no meaning: load its own after.
        ``pretrained`` starts the backbone from ImageNet weights: True lets timm download them, a
        string names a local file of timm's.
        torch's global generator is left as it was.
        """
        settings = dict(self.settings)
        group_norm = settings.pop(GROUP_NORM, 0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = create(self.name, pretrained=pretrained, **settings)
        if group_norm:
            batch_to_group_norm(network)
        _resize(network, self.widths)
        _keep_units(network, self.kept)
        return network.eval()

    def with_widths_of(self, network: nn.Module) -> "Architecture":
        """The architecture of ``network``, which was built from this one and then pruned."""
        dense = Architecture(self.name, self.settings).build().state_dict()
        widths = {
            key: tuple(value.shape)
            for key, value in network.state_dict().items()
            if value.shape != dense[key].shape
        }
        kept = {
            name: module.kept_units
            for name, module in network.named_modules()
            if isinstance(module, AudioEncoder) and len(module.kept_units) < module.dim
        }
        return Architecture(self.name, self.settings, widths, kept)


def _resize(network: nn.Module, widths: Mapping[str, tuple[int, ...]]) -> None:
    """Give each named tensor its shape, and each module the counts that follow from it."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for key, shape in widths.items():
        if key not in tensors:
            raise ValueError(f"the architecture names {key!r}, which the network has not")
        old = tensors[key]
        if old.dim() != len(shape) or any(n < 1 or n > m for n, m in zip(shape, old.shape, strict=True)):
            raise ValueError(f"{key!r} cannot have shape {shape}: the dense one is {tuple(old.shape)}")
        kept = old.detach()[tuple(slice(n) for n in shape)].clone()
        module_name, _, leaf = key.rpartition(".")
        module = network.get_submodule(module_name)
        if isinstance(old, nn.Parameter):
            setattr(module, leaf, nn.Parameter(kept))
        else:
            module.register_buffer(leaf, kept)
        if leaf.startswith("weight"):
            match_counts(module)


def match_counts(module: nn.Module) -> None:
    """Set a layer's counts of channels, features or units to the shapes of its parameters, in place.

    A convolution that was depthwise stays so. Layers of other kinds are left as they are.
    """
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        depthwise = module.groups == module.out_channels and module.groups > 1
        module.out_channels = module.weight.shape[0]
        module.groups = module.out_channels if depthwise else 1
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _NORMS):
        module.num_features = module.weight.shape[0]
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = module.weight.shape[0]
        module.num_groups = num_groups(module.num_channels)
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.GRU):
        module.input_size = module.get_parameter("weight_ih_l0").shape[1]
        module.hidden_size = module.get_parameter("weight_hh_l0").shape[1]


def _keep_units(network: nn.Module, kept: Mapping[str, tuple[int, ...]]) -> None:
    """Tell each named audio encoder which places its GRU's units fill."""
    for name, units in kept.items():
        encoder = dict(network.named_modules()).get(name)
        if not isinstance(encoder, AudioEncoder):
            raise ValueError(f"the architecture keeps units of {name!r}, which is no audio encoder of it")
        if len(units) != encoder.gru.hidden_size or not set(units) <= set(range(encoder.dim)):
            raise ValueError(
                f"{name!r} must keep {encoder.gru.hidden_size} units of {encoder.dim}, got {len(units)}"
            )
        encoder.kept_units = units
