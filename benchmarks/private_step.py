"""What a step of private training costs beside a plain one: `python -m benchmarks.private_step`.

CPU seconds of one thread, the least of three, for a step of 16 clips of PIN-Lite (8 frames of 64x64): with
BatchNorm, with GroupNorm, by DP-SGD (each clip's own gradient, cut, and noise), and by `torch.func.vmap`,
which was the alternative.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fl.distill.batches import Batch
from fl.distill.loop import backward
from fl.distill.losses import LossTerms, batch_loss
from fl.metrics.cost import example_inputs
from fl.privacy.dp_sgd import PrivateGradients
from fl.settings import DistillSettings
from models.architecture import Architecture

CLIPS = 16
SHAPE = {"num_frames": 8, "num_mfcc": 13}


def loss_terms(network: nn.Module, batch: Batch) -> LossTerms:
    """The distillation loss of the default experiment."""
    output = network(*batch.inputs)
    return batch_loss(output.logits, output.explanation, batch, DistillSettings())


def make_batch() -> Batch:
    """Noise, with a teacher's answers drawn too."""
    generator = torch.Generator().manual_seed(0)
    inputs = example_inputs(SHAPE, image_size=64, audio_steps=100, batch_size=CLIPS)
    logits, maps = torch.randn(CLIPS, generator=generator), torch.rand(CLIPS, 100, 8, generator=generator)
    return Batch(*inputs, (torch.arange(CLIPS) % 2).float(), logits, maps, torch.arange(CLIPS))


def by_vmap(network: nn.Module, batch: Batch, chunk_size: int) -> dict[str, Tensor]:
    """Each clip's gradient by `torch.func.vmap`, which needs a GRU's first state made of the clip."""

    def first_state(gru: nn.GRU, args: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return args[0], args[0].new_zeros(1, 1, gru.hidden_size) + 0 * args[0][:, 0, :1][None]

    def loss(parameters: dict[str, Tensor], *tensors: Tensor) -> Tensor:
        one = Batch(*(tensor[None] for tensor in tensors))
        output = functional_call(network, parameters, one.inputs)
        return batch_loss(output.logits, output.explanation, one, DistillSettings()).total

    hooks = [m.register_forward_pre_hook(first_state) for m in network.modules() if isinstance(m, nn.GRU)]
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    tensors = [getattr(batch, name) for name in Batch.__dataclass_fields__]
    each = grad(loss)
    found: dict[str, Tensor] = vmap(each, in_dims=(None, *(0 for _ in tensors)), chunk_size=chunk_size)(
        parameters, *tensors
    )
    for hook in hooks:
        hook.remove()
    return found


def least_seconds(work: Callable[[], object]) -> float:
    """CPU time, the least of three."""

    def times() -> Iterator[float]:
        for _ in range(3):
            started = time.process_time()
            work()
            yield time.process_time() - started

    return min(times())


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    batch = make_batch()
    plain = {norm: Architecture("pin_lite", {**SHAPE, **extra}).build().train() for norm, extra in NORMS}
    student = plain["GroupNorm"]
    private = PrivateGradients(
        torch.optim.AdamW(student.parameters()),
        noise_multiplier=1.0,
        clip_norm=1.0,
        expected_batch_size=CLIPS,
        rng=np.random.default_rng(0),
    )
    work: dict[str, Callable[[], object]] = {
        **{name: partial(backward, network, batch, loss_terms) for name, network in plain.items()},
        "DP-SGD, GroupNorm": lambda: private(student, batch, loss_terms),
        "vmap of 4 clips, gradients alone": lambda: by_vmap(student.eval(), batch, 4),
        "vmap of 16 clips, gradients alone": lambda: by_vmap(student.eval(), batch, 16),
    }
    seconds = {name: least_seconds(task) for name, task in work.items()}
    for name, spent in seconds.items():
        print(f"{name:<36}{spent:6.2f} s  x{spent / seconds['BatchNorm']:.1f}")


NORMS = (("BatchNorm", {}), ("GroupNorm", {"group_norm": 1}))

if __name__ == "__main__":
    main()
