"""Forward passes over a whole shard, and the precision they run in."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import nn

from fl.data.shards import ShardView
from fl.distill.batches import ordered_batches


def has_fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def autocast(precision: str) -> AbstractContextManager[object]:
    """The context of a forward pass: "bfloat16" (mixed), or "float32"."""
    if precision == "bfloat16":
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()


def resolve_precision(precision: str) -> str:
    """ "auto" becomes bfloat16 where the CPU has it in hardware, else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_fast_bfloat16() else "float32"


@torch.no_grad()
def predict(
    network: nn.Module,
    view: ShardView,
    *,
    batch_size: int = 32,
    precision: str = "float32",
    advance: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and maps of every clip of a view, in its order, in evaluation mode.

    Returns:
        Logits (clips,) and maps (clips, audio_steps, video_frames), both float32.

    Raises:
        ValueError: the view is empty.
    """
    network.eval()
    logits, maps = [], []
    for batch in ordered_batches(view, None, batch_size):
        with autocast(precision):
            output = network(batch.frames, batch.mfcc)
        logits.append(output.logits.float().numpy())
        maps.append(output.explanation.float().numpy())
        if advance is not None:
            advance(len(batch.labels))
    if not logits:
        raise ValueError("cannot predict on an empty shard")
    return np.concatenate(logits), np.concatenate(maps)
