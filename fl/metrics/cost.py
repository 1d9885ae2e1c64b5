"""What a network costs: parameters, multiply-accumulates (MACs), bytes."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.output import Inputs
from models.pin import Attention

NORMALISATION_OPS = 4
"""Operations that the published counting charges per normalised element (two for the
normalisation, two for scale and shift)."""

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one forward pass.

    Attributes:
        total: all convolutions, linear layers, recurrences and attention products; normalisation
            and activations are not counted.
        without_attention: the published counting of PinPoint and PIN-Lite (18.71 G and 0.78 G at
            `models.zoo.REFERENCE_INPUT`): attention modules, projections and products, are left
            out, and each normalised element counts as four operations.
    """

    total: int
    without_attention: int


def count_parameters(network: nn.Module) -> int:
    """Number of parameters, buffers left out."""
    return sum(parameter.numel() for parameter in network.parameters())


def size_bytes(network: nn.Module) -> int:
    """Bytes of the state dict's tensors, buffers included, without any file header."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def example_inputs(
    settings: Mapping[str, int], *, image_size: int, audio_steps: int, batch_size: int = 1
) -> Inputs:
    """Random inputs of the right shape; the same numbers at every call.

    Args:
        settings: an `Architecture`'s settings; ``num_frames`` and ``num_mfcc`` are read.
        image_size: height and width of a frame, pixels.
        audio_steps: MFCC frames.
        batch_size: clips.

    Returns:
        frames (batch, num_frames, 3, image_size, image_size) and mfcc (batch, audio_steps,
        num_mfcc), both from N(0, 1), and modalities (batch, 2), all present; float32.
    """
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(batch_size, settings["num_frames"], 3, image_size, image_size, generator=generator)
    mfcc = torch.randn(batch_size, audio_steps, settings["num_mfcc"], generator=generator)
    return frames, mfcc, torch.ones(batch_size, 2)


def count_macs(network: nn.Module, *inputs: Tensor) -> Macs:
    """Count the multiply-accumulates of ``network(*inputs)``; the network is left as it was.

    Operators are counted by `torch.utils.flop_counter`, whose flops are two per MAC; it sees each
    step of a recurrence on the CPU.

    Args:
        network: a detector of the zoo.
        inputs: what its forward takes, of any batch size; the counts are of the whole batch.
    """
    attention_macs = 0
    norm_elements = 0
    counter = FlopCounterMode(display=False)
    started: list[int] = []

    def before_attention(module: nn.Module, args: Any) -> None:
        started.append(counter.get_total_flops())

    def after_attention(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal attention_macs
        attention_macs += (counter.get_total_flops() - started.pop()) // 2

    def after_norm(module: nn.Module, args: Any, output: Tensor) -> None:
        nonlocal norm_elements
        norm_elements += output.numel()

    modes = [(module, module.training) for module in network.modules()]
    with ExitStack() as stack:
        for module in network.modules():
            if isinstance(module, Attention):
                stack.callback(module.register_forward_pre_hook(before_attention).remove)
                stack.callback(module.register_forward_hook(after_attention).remove)
            elif isinstance(module, _NORMS):
                stack.callback(module.register_forward_hook(after_norm).remove)
        for module, mode in modes:
            stack.callback(setattr, module, "training", mode)
        network.eval()
        with torch.no_grad(), counter:
            network(*inputs)
    total = counter.get_total_flops() // 2
    return Macs(total, total - attention_macs + NORMALISATION_OPS * norm_elements)
