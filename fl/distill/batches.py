"""Batches of a shard: pixels to normalised tensors, teacher outputs beside them."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor

from fl.data.features import normalise_frames
from fl.data.shards import ShardView


@dataclass(frozen=True)
class TeacherOutputs:
    """What the teacher says of every clip of a store, memory-mapped.

    Attributes:
        logits: (clips,), float32.
        maps: (clips, audio_steps, video_frames), float32.
    """

    logits: np.ndarray
    maps: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Clips ready for a network.

    Attributes:
        frames: (batch, num_frames, 3, height, width), normalised.
        mfcc: (batch, audio_steps, num_mfcc).
        labels: (batch,), float, 1 = fake.
        teacher_logits: (batch,); empty without a teacher.
        teacher_maps: (batch, audio_steps, video_frames); empty without a teacher.
        indices: (batch,), which clips of the view these are.
    """

    frames: Tensor
    mfcc: Tensor
    labels: Tensor
    teacher_logits: Tensor
    teacher_maps: Tensor
    indices: Tensor


def load_batch(
    view: ShardView,
    indices: np.ndarray,
    outputs: TeacherOutputs | None = None,
    flip: np.ndarray | None = None,
) -> Batch:
    """Read some clips of a view.

    Args:
        view: the shard.
        indices: (batch,), positions in the view.
        outputs: the teacher's, of the view's whole store.
        flip: (batch,), bool: clips to mirror left to right; the maps do not change by it, since
            they are over time only.
    """
    frames, mfcc, labels = view.batch(indices)
    pixels = normalise_frames(frames)
    if flip is not None and flip.any():
        chosen = torch.from_numpy(flip)
        pixels[chosen] = pixels[chosen].flip(-1)
    rows = view.rows[indices]
    nothing = torch.empty(0)
    return Batch(
        pixels,
        torch.from_numpy(mfcc),
        torch.from_numpy(labels),
        nothing if outputs is None else torch.from_numpy(outputs.logits[rows]),
        nothing if outputs is None else torch.from_numpy(outputs.maps[rows]),
        torch.from_numpy(indices),
    )


def num_batches(num_clips: int, batch_size: int) -> int:
    """Batches of one epoch, the last one short."""
    return ceil(num_clips / batch_size)


def shuffled_batches(
    view: ShardView,
    outputs: TeacherOutputs | None,
    batch_size: int,
    num_steps: int,
    rng: np.random.Generator,
    *,
    flip: bool,
) -> Iterator[Batch]:
    """`num_steps` batches, epoch after epoch, each epoch in a new order drawn from ``rng``."""
    done = 0
    while done < num_steps:
        order = rng.permutation(len(view))
        for start in range(0, len(order), batch_size):
            if done == num_steps:
                return
            chosen = order[start : start + batch_size]
            mirrored = rng.random(len(chosen)) < 0.5 if flip else None
            yield load_batch(view, chosen, outputs, mirrored)
            done += 1


def ordered_batches(view: ShardView, outputs: TeacherOutputs | None, batch_size: int) -> Iterator[Batch]:
    """All clips of a view once, in their order."""
    for start in range(0, len(view), batch_size):
        indices = np.arange(start, min(start + batch_size, len(view)))
        yield load_batch(view, indices, outputs)
