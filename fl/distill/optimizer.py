"""Which optimiser steps, how its learning rate moves, and what an example of each class weighs."""

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from fl.settings import OptimizerSettings

Parameters = Iterable[nn.Parameter]


def _adamw(parameters: Parameters, rate: float, settings: OptimizerSettings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=settings.weight_decay, fused=True)


def _adam(parameters: Parameters, rate: float, settings: OptimizerSettings) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=rate, weight_decay=settings.weight_decay, fused=True)


def _sgd(parameters: Parameters, rate: float, settings: OptimizerSettings) -> torch.optim.Optimizer:
    decay, momentum = settings.weight_decay, settings.momentum
    return torch.optim.SGD(parameters, lr=rate, weight_decay=decay, momentum=momentum, fused=True)


OPTIMIZERS: Mapping[str, Callable[[Parameters, float, OptimizerSettings], torch.optim.Optimizer]] = (
    MappingProxyType({"adamw": _adamw, "adam": _adam, "sgd": _sgd})
)
"""Name -> maker, from parameters, a learning rate and the settings."""


def make_optimizer(
    parameters: Parameters, settings: OptimizerSettings, learning_rate: float
) -> torch.optim.Optimizer:
    """A new optimiser, without state.

    Args:
        parameters: what it steps.
        settings: its kind (a key of `OPTIMIZERS`), weight decay and, for SGD, momentum.
        learning_rate: > 0; of the settings, or what a schedule makes of it.
    """
    return OPTIMIZERS[settings.optimizer](parameters, learning_rate, settings)


def rate_share(progress: float, schedule: str, warmup_share: float, final_share: float = 0.0) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine, or the peak to the end.

    Args:
        progress: in [0, 1], how much of the training is done.
        schedule: "cosine" (Loshchilov and Hutter 2017, without restarts) or "constant".
        warmup_share: in [0, 1), how much of the training the rise takes; it begins at 5 %.
        final_share: in [0, 1], where the cosine ends.
    """
    if progress < warmup_share:
        return 0.05 + 0.95 * progress / warmup_share
    if schedule == "constant":
        return 1.0
    cosine = 0.5 * (1 + math.cos(math.pi * (progress - warmup_share) / (1 - warmup_share)))
    return final_share + (1 - final_share) * cosine


def class_weights(labels: np.ndarray, kind: str) -> Tensor | None:
    """What an example of each class weighs in the hard loss.

    Args:
        labels: (clips,), 0 or 1, of all training clips.
        kind: "none", or "balanced": both classes weigh the same in sum, and 1 on average (scikit-learn's
            class_weight="balanced").

    Returns:
        (2,), of real and fake; a class without clips weighs 1, and so does the only one. None for "none".
    """
    if kind == "none":
        return None
    counts = np.bincount(np.asarray(labels, int), minlength=2)
    num_classes = int((counts > 0).sum())
    weights = np.ones(2, np.float32)
    weights[counts > 0] = len(labels) / (num_classes * counts[counts > 0])
    return torch.from_numpy(weights)
