"""The compression thesis's pruning of EfficientNet-Lite0: how many parameters each ratio leaves.

Source: chapters 5.7 and 6.2.4: torch-pruning's group Taylor importance, global, iterative. Its ratio is
of channels, which are not rounded. Runs prune by `fl.compress.prune`; this is only for the comparison.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn import functional as F

from fl.metrics.cost import count_parameters
from models.architecture import Architecture

NETWORK = "efficientnet_lite0"

NUM_STEPS = 5
BATCH_SIZE = 8
IMAGE_SIZE = 96
"""Side of the random pictures, pixels: less than the published 224, so that all ratios take seconds."""


@dataclass(frozen=True)
class PrunedCount:
    """What one ratio leaves of the network.

    Attributes:
        ratio: share of the channels that is removed.
        num_parameters: what is left.
    """

    ratio: float
    num_parameters: int


def pruned_counts(
    ratios: Iterable[float], seed: int, pretrained: bool | str = False
) -> Iterator[PrunedCount]:
    """Prune the network anew to each ratio.

    Args:
        ratios: shares of the channels, in [0, 1).
        seed: of the weights and the pictures.
        pretrained: see `Architecture.build`.
    """
    for ratio in ratios:
        network = Architecture(NETWORK).build(seed, pretrained)
        generator = torch.Generator().manual_seed(seed)
        prune_globally(network.video, ratio, generator)
        yield PrunedCount(ratio, count_parameters(network))


def prune_globally(video: nn.Module, ratio: float, generator: torch.Generator) -> None:
    """Remove a share of the channels in `NUM_STEPS` steps, in place, by group Taylor importance.

    Before each step the network sees a batch of noise, half of it labelled fake, in training mode: BatchNorm
    then has the statistics of the network as it is. In evaluation mode those of fresh weights, and of any
    network that lost channels and was not trained since, belong to another one, and the counts move by 5 %.

    Args:
        video: an encoder of pictures with a ``projection``, which is not pruned.
        ratio: share of the channels, in [0, 1).
        generator: draws the pictures.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch-pruning warns of what later versions call its arguments
        pruner = tp.pruner.BasePruner(
            video,
            torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE),
            importance=tp.importance.GroupTaylorImportance(),
            pruning_ratio=ratio,
            global_pruning=True,
            iterative_steps=NUM_STEPS,
            ignored_layers=[video.get_submodule("projection")],
            in_channel_groups={},  # both defaults are shared between pruners
            out_channel_groups={},
        )
        for _ in range(NUM_STEPS):
            _leave_gradients(video, generator)
            pruner.step()


def _leave_gradients(video: nn.Module, generator: torch.Generator) -> None:
    images = torch.randn(BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    labels = torch.arange(BATCH_SIZE).remainder(2).float()
    video.train().zero_grad()
    logits: Tensor = video(images).squeeze(1)
    F.binary_cross_entropy_with_logits(logits, labels).backward()  # type: ignore[no-untyped-call]
