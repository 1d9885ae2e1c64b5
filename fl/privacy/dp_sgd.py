"""Example-level DP-SGD in a client's training: each clip's gradient is cut, and every step is noised.

Abadi et al. 2016, "Deep Learning with Differential Privacy", algorithm 1, with Poisson samples. The noise
multiplies clip_norm, the most that one clip moves the sum of a step's gradients. Cutting, noise and scaling
are Opacus' `DPOptimizer`. The gradients are not of its `GradSampleModule`, which is wrong or fails on
networks of ours: it takes frames for examples, and misses a weight that is used outside its own layer
(docs/decisions/0025-private-clients.md). One clip at a time through plain autograd is exact for any
network as it stands, in memory for one clip; `torch.func.vmap` would halve the time of a step, but takes
neither a GRU nor training mode as they are.
"""

import math
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor, nn

from fl.distill.batches import Batch
from fl.distill.losses import LossTerms
from fl.metrics.cost import example_inputs
from fl.privacy.mixing import NUM_CLIPS, check_keeps_apart


class PrivateGradients:
    """Puts the noised mean of cut per-clip gradients where a backward pass would put the batch's gradient.

    For `fl.distill.loop.take_steps`. What is done with such a gradient afterwards (proximal term, weight
    decay, Adam) sees no clip and costs no privacy.

    Args:
        optimizer: over all of the network's parameters.
        noise_multiplier: standard deviation of the noise over clip_norm; 0: none, no guarantee.
        clip_norm: largest Euclidean norm of one clip's gradient over all parameters, > 0.
        expected_batch_size: of the Poisson samples; what the sum is divided by, whatever a sample's size.
        rng: of the noise.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        noise_multiplier: float,
        clip_norm: float,
        expected_batch_size: float,
        rng: np.random.Generator,
    ) -> None:
        from opacus.optimizers import DPOptimizer  # seconds of import, for those who ask for it

        self._optimizer = DPOptimizer(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=clip_norm,
            expected_batch_size=expected_batch_size,
            generator=torch.Generator().manual_seed(int(rng.integers(2**63))),
        )

    def __call__(
        self, network: nn.Module, batch: Batch, loss_terms: Callable[[nn.Module, Batch], LossTerms]
    ) -> LossTerms:
        """Fill the gradients of the network's parameters; the mean loss terms, which are not private.

        A clip whose gradient is not finite counts as a gradient of zero, since no cut bounds it.
        """
        parameters = [p for p in network.parameters() if p.requires_grad]
        self._optimizer.zero_grad()
        terms = [self._add_clip(network, clip, loss_terms, parameters) for clip in single_clips(batch)]
        if not terms:
            self._accumulate(parameters, [p.new_zeros(0, *p.shape) for p in parameters])
        self._optimizer.add_noise()
        self._optimizer.scale_grad()
        return _mean_terms(terms)

    def _add_clip(
        self,
        network: nn.Module,
        clip: Batch,
        loss_terms: Callable[[nn.Module, Batch], LossTerms],
        parameters: list[nn.Parameter],
    ) -> LossTerms:
        terms = loss_terms(network, clip)
        found = torch.autograd.grad(terms.total, parameters, allow_unused=True)
        gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
        norms = torch.stack(torch._foreach_norm(gradients))
        if not math.isfinite(float(norms.norm())):
            gradients = [torch.zeros_like(p) for p in parameters]
        self._accumulate(parameters, [gradient[None] for gradient in gradients])
        return terms

    def _accumulate(self, parameters: list[nn.Parameter], gradients: list[Tensor]) -> None:
        """Cut the gradients of some clips, (clips, ...) each, and add them to the step's sum."""
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad_sample = gradient  # type: ignore[attr-defined]
        self._optimizer.clip_and_accumulate()


def check_student(network: nn.Module, num_frames: int, image_size: int, num_mfcc: int) -> None:
    """Refuse a network that mixes examples, in training as here; see `fl.privacy.mixing`.

    Raises:
        RequestError: it mixes them.
    """
    shape = {"num_frames": num_frames, "num_mfcc": num_mfcc}
    check_keeps_apart(
        network, example_inputs(shape, image_size=image_size, audio_steps=8, batch_size=NUM_CLIPS)
    )


def single_clips(batch: Batch) -> list[Batch]:
    """A batch as batches of one."""
    tensors = [getattr(batch, entry.name) for entry in fields(Batch)]
    return [Batch(*(tensor[i : i + 1] for tensor in tensors)) for i in range(len(batch.labels))]


def _mean_terms(terms: list[LossTerms]) -> LossTerms:
    """The mean of each term; zero of none, and a term that is not finite counts as zero."""
    if not terms:
        return LossTerms(*(torch.zeros(()) for _ in range(4)))
    rows = torch.stack([torch.stack([t.total, t.hard, t.soft, t.attention]).detach() for t in terms])
    return LossTerms(*rows.nan_to_num(0.0, 0.0, 0.0).mean(dim=0).unbind())
