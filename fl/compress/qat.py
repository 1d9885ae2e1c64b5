"""Quantisation-aware fine-tuning: a finished student learns to live with the rounding of static INT8.

While it trains, the weights and inputs of convolutions and linear layers are rounded as the static
recipe will round them, and the gradient passes the rounding as if it were not there (straight-through
estimator; Jacob et al. 2018, section 3). BatchNorm keeps its statistics, as in the graph to come.
Rounding per output channel before BatchNorm equals rounding after it was folded in, since folding
scales whole channels. The student is then quantised statically, with ranges measured anew.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fl.data.shards import ShardView
from fl.distill.batches import Batch, TeacherAnswers, num_batches, shuffled_batches
from fl.distill.loop import take_steps
from fl.distill.losses import LossTerms
from fl.seeds import generator
from fl.settings import DistillSettings

HEADS = ("head", "offset_head")
"""Layers that static INT8 leaves in float, and so does this."""

LEARNING_RATE = 1e-4
"""Of AdamW: a tenth of what the clients train with, since the student is finished."""

RANGE_MOMENTUM = 0.1
"""Weight of a batch's extremes in the moving range of an input."""


def fine_tune(
    network: nn.Module,
    public: ShardView,
    teacher: TeacherAnswers,
    loss_terms: Callable[[nn.Module, Batch], LossTerms],
    settings: DistillSettings,
    *,
    num_epochs: int,
    seed: int,
) -> nn.Module:
    """A copy of a student, trained with rounding on the distillation loss; in evaluation mode.

    Args:
        network: the finished student; left as it is.
        public: the server's clips.
        teacher: its answers to them.
        loss_terms: the distillation loss of a student on a batch.
        settings: batch size, weight decay and bound on the gradient.
        num_epochs: at least 1.
        seed: of the order of the clips.
    """
    student = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, weight_decay=settings.weight_decay)
    steps = num_epochs * num_batches(len(public), settings.batch_size)
    rng = generator(seed, 0, -1, "quantisation-aware batches")
    batches = shuffled_batches(public, teacher, settings.batch_size, steps, rng, augment=None)
    norms = [module for module in student.modules() if isinstance(module, nn.BatchNorm2d)]

    def loss_with_fixed_norms(network: nn.Module, batch: Batch) -> LossTerms:
        for norm in norms:
            norm.eval()
        return loss_terms(network, batch)

    with rounding(student):
        take_steps(student, batches, loss_with_fixed_norms, optimizer, clip_norm=settings.clip_norm)
    return student.eval()


@contextmanager
def rounding(network: nn.Module) -> Iterator[None]:
    """Round the weights and inputs of all layers but the heads, as long as the block lasts.

    The parameters themselves stay float and the same objects; they are what an optimiser changes.
    """
    layers = [
        module
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)) and name not in HEADS
    ]
    hooks = [layer.register_forward_pre_hook(_InputRounder()) for layer in layers]
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", WeightRounder())
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
            if layer.bias is not None:  # the weight came back last; the order is part of a flat state
                layer._parameters["bias"] = layer._parameters.pop("bias")


class WeightRounder(nn.Module):
    """A weight at the 255 levels of its output channel; the gradient passes."""

    def forward(self, weight: Tensor) -> Tensor:
        """Round (channels, ...) to multiples of each channel's largest magnitude / 127."""
        with torch.no_grad():
            step = weight.abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True) / 127
            scale = torch.where(step > torch.finfo(step.dtype).tiny, step, torch.ones_like(step))
            moved = torch.round(weight / scale) * scale - weight
        return weight + moved


class _InputRounder:
    """A layer's input at 256 levels of its moving range, which always holds 0."""

    def __init__(self) -> None:
        self._range: tuple[float, float] | None = None

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        inputs: Tensor = args[0]
        low, high = min(float(inputs.detach().min()), 0.0), max(float(inputs.detach().max()), 0.0)
        if self._range is not None and module.training:
            low = self._range[0] + RANGE_MOMENTUM * (low - self._range[0])
            high = self._range[1] + RANGE_MOMENTUM * (high - self._range[1])
        self._range = (low, high)
        scale = max((high - low) / 255, torch.finfo(torch.float32).tiny)
        zero_point = min(max(round(-low / scale), 0), 255)
        return (torch.fake_quantize_per_tensor_affine(inputs, scale, zero_point, 0, 255), *args[1:])
