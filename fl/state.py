"""A network's parameters and float buffers as one flat array, and the digest of its schema.

One array in place of two hundred: aggregation is one addition, and the wire carries one object.
Integer buffers (BatchNorm's batch counters) are not state that travels: no network of ours uses
them, since momentum is set.
"""

import hashlib
import json

import numpy as np
import torch
from torch import Tensor, nn


def state_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Name -> tensor for every parameter and floating-point buffer, in the state dict's order."""
    return {k: v for k, v in network.state_dict(keep_vars=False).items() if v.is_floating_point()}


def schema_digest(network: nn.Module) -> str:
    """SHA-256 of the names and shapes in the flat array's order."""
    schema = [[name, list(tensor.shape)] for name, tensor in state_tensors(network).items()]
    return hashlib.sha256(json.dumps(schema).encode()).hexdigest()


def flatten(network: nn.Module) -> np.ndarray:
    """The state as one float32 array of its own, (num_values,)."""
    return torch.cat([t.reshape(-1) for t in state_tensors(network).values()]).numpy()


def learnt_values(network: nn.Module) -> np.ndarray:
    """(num_values,), bool: which values of the flat state are parameters, not running statistics."""
    parameters = dict(network.named_parameters())
    masks = [np.full(tensor.numel(), name in parameters) for name, tensor in state_tensors(network).items()]
    return np.concatenate(masks)


def value_mask(network: nn.Module, endings: tuple[str, ...]) -> np.ndarray:
    """(num_values,), which values of the flat state belong to tensors whose names end so."""
    tensors = state_tensors(network).items()
    return np.concatenate([np.full(tensor.numel(), name.endswith(endings)) for name, tensor in tensors])


@torch.no_grad()
def load_flat(network: nn.Module, flat: np.ndarray) -> None:
    """Copy a flat array into a living network, in place: all state, buffers too.

    Raises:
        ValueError: the array's length is not the network's.
    """
    tensors = list(state_tensors(network).values())
    sizes = [t.numel() for t in tensors]
    if flat.shape != (sum(sizes),):
        raise ValueError(f"state has shape {flat.shape}, the network needs ({sum(sizes)},)")
    source = torch.split(torch.tensor(flat), sizes)
    torch._foreach_copy_(tensors, [s.view_as(t) for s, t in zip(source, tensors, strict=True)])


def teacher_digest(architecture_sha256: str, flat: np.ndarray) -> str:
    """SHA-256 of a network itself, architecture and weights, wherever it came from."""
    return hashlib.sha256(f"{architecture_sha256} {weights_sha256(flat)}".encode()).hexdigest()


def weights_sha256(flat: np.ndarray) -> str:
    """SHA-256 of a flat state's bytes, little-endian float32."""
    return hashlib.sha256(np.ascontiguousarray(flat, dtype="<f4").tobytes()).hexdigest()
