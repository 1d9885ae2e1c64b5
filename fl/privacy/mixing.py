"""Whether a network mixes examples: whether what it says of one clip depends on the clips beside it.

Example-level DP-SGD bounds what one clip may move by cutting that clip's own gradient. Where a module mixes
examples there is no such thing, and the proof is void; Opacus's validator knows modules by their type and
lets a BatchNorm with frozen scale and shift pass. So the dependence itself is measured: gradients of one
clip's outputs by the inputs of the others are exactly zero in a network that keeps clips apart.
"""

import torch
from torch import Tensor, nn

from fl.errors import RequestError
from models.output import Inputs

NUM_CLIPS = 3


def check_keeps_apart(network: nn.Module, inputs: Inputs) -> None:
    """Refuse a network that mixes examples in training.

    Args:
        network: a detector; buffers, gradients and mode are left as they were.
        inputs: of any clips, see `NUM_CLIPS`; their values do not matter.

    Raises:
        RequestError: it mixes them.
    """
    dependence = cross_dependence(network, inputs)
    if dependence > 0:
        norms = [name for name, module in network.named_modules() if takes_batch_statistics(module)]
        where = f" in {len(norms)} BatchNorms, {norms[0]} first" if norms else ""
        raise RequestError(
            "privacy.mechanism=dp_sgd needs a student whose answer to a clip does not depend on the clips "
            f"beside it, but this one mixes them{where} (gradient {dependence:.1e}, must be 0); "
            "add system.student_norm=group"
        )


def cross_dependence(network: nn.Module, inputs: Inputs) -> float:
    """Largest gradient of a clip's outputs by another clip's inputs, in training mode; 0: kept apart.

    A NaN, which no comparison would catch, counts as infinite.

    Args:
        network: a detector; buffers, gradients and mode are left as they were.
        inputs: frames (clips, num_frames, 3, height, width), mfcc (clips, audio_steps, num_mfcc) and
            modalities (clips, 2), of at least two clips; modalities are taken as they are.
    """
    modes = [(module, module.training) for module in network.modules()]
    buffers = {name: buffer.detach().clone() for name, buffer in network.named_buffers()}
    frames, mfcc = (tensor.detach().clone().requires_grad_(True) for tensor in inputs[:2])
    try:
        output = network.train()(frames, mfcc, inputs[2])
        found = [_from_others(part, (frames, mfcc)) for part in output if part is not None]
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(buffers[name])
    return max(found)


def takes_batch_statistics(module: nn.Module) -> bool:
    """Whether a module is a BatchNorm, whatever of it is frozen."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def _from_others(output: Tensor, inputs: tuple[Tensor, ...]) -> float:
    """Largest gradient of the last clip's part of an output by the inputs of the clips before it."""
    # Squares, since a sum may be the same whatever goes in, as that of softmax weights is.
    target = output[-1].square().sum()
    if not target.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(target, inputs, retain_graph=True, allow_unused=True)
    largest = [float(g[:-1].abs().max()) for g in gradients if g is not None]
    return max((value if value == value else float("inf") for value in largest), default=0.0)
