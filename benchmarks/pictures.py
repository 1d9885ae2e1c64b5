"""Single pictures of stored clips, with labels of their own, for networks that neither hear nor compare."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from fl.compress.calibration import Calibration
from fl.data.clips import Clip
from fl.data.shards import Shard, ShardView, take
from fl.distill.altered import altered_labels
from fl.distill.batches import load_batch


def picture_shard(stores: Sequence[Shard]) -> Shard:
    """Pictures as clips of one frame: altered ones, label 1, and those of clips with authentic pictures.

    Authentic pictures of clips that were altered at other moments are left out.

    Args:
        stores: of one picture size.
    """
    parts = [_pictures(store) for store in stores]
    clips = tuple(clip for part in parts for clip in part.clips)
    count = len(clips)
    return Shard(
        digest="-".join(store.digest for store in stores),
        path=Path(),
        clips=clips,
        frames=np.concatenate([part.frames for part in parts]),
        mfcc=np.zeros((count, 1, stores[0].mfcc.shape[2]), np.float16),
        labels=np.array([clip.label for clip in clips], np.uint8),
        valid_steps=np.ones(count, np.int32),
        has_audio=np.zeros(count, np.uint8),
        boxes=np.concatenate([part.boxes for part in parts]),
        times=np.concatenate([part.times for part in parts]),
        skipped=(),
    )


class _Pictures(NamedTuple):
    """What becomes of one store: arrays as in `Shard`, one frame each."""

    clips: list[Clip]
    frames: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    times: NDArray[np.float32]


def _pictures(store: Shard) -> _Pictures:
    altered = altered_labels(take(store)).frames.numpy() > 0
    touched = np.array([clip.modify_video for clip in store.clips])
    rows, places = np.nonzero(np.where(touched[:, None], altered, True))
    clips = [replace(store.clips[row], label=int(touched[row])) for row in rows]
    return _Pictures(
        clips,
        store.frames[rows, places][:, None],
        store.boxes[rows, places][:, None],
        store.times[rows, places][:, None],
    )


def calibrate_on(view: ShardView, rows: NDArray[np.int64], image_size: int) -> Calibration:
    """Some pictures, brought to a size.

    Args:
        view: of a `picture_shard`.
        rows: which, of both classes.
        image_size: side, pixels.
    """
    batch = load_batch(view, rows)
    frames = resized(batch.frames, image_size)
    return Calibration(frames.numpy(), batch.mfcc.numpy(), batch.modalities.numpy(), batch.labels.numpy())


def resized(frames: torch.Tensor, image_size: int) -> torch.Tensor:
    """(clips, 1, 3, height, width) to (clips, 1, 3, image_size, image_size), bilinear."""
    if frames.shape[-1] == image_size:
        return frames
    return F.interpolate(frames[:, 0], size=image_size, mode="bilinear", antialias=True)[:, None]
