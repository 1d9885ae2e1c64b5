"""Forward passes over a whole shard."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from fl.data.shards import ShardView
from fl.distill.batches import ordered_batches
from fl.distill.precision import autocast


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
            output = network(*batch.inputs)
        logits.append(output.logits.float().numpy())
        maps.append(output.explanation.float().numpy())
        if advance is not None:
            advance(len(batch.labels))
    if not logits:
        raise ValueError("cannot predict on an empty shard")
    return np.concatenate(logits), np.concatenate(maps)


def valid_rows(view: ShardView, maps: np.ndarray) -> np.ndarray:
    """How many of the first rows of each clip's map are not padding, (clips,).

    Rows of an audio-visual network's map are steps of sound; a clip without sound counts over all of
    them, as positions in time. Rows of a map over the picture are places: all count.

    Args:
        view: the clips.
        maps: (clips, rows, columns), of a network of either kind.
    """
    num_rows = maps.shape[1]
    in_time = maps.shape[1:] == (view.shard.mfcc.shape[1], view.shard.frames.shape[1])
    if not in_time:
        return np.full(len(view), num_rows)
    return np.where(view.modalities[:, 1] > 0, view.valid_steps, num_rows)
