"""When the pictures and the sound of each clip were altered."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fl.data.features import HOP_S
from fl.data.shards import ShardView


@dataclass(frozen=True)
class Altered:
    """When each clip of a view was altered, as 0 or 1.

    Attributes:
        frames: (clips, num_frames), float32: the pictures at each frame.
        steps: (clips, audio_steps), float32: the sound at each MFCC step.
    """

    frames: Tensor
    steps: Tensor


def altered_labels(view: ShardView) -> Altered:
    """From the clips' fake periods, what each manipulation altered, and where frames and steps lie."""
    num_frames, num_steps = view.shard.frames.shape[1], view.shard.mfcc.shape[1]
    frames = np.zeros((len(view), num_frames), np.float32)
    steps = np.zeros((len(view), num_steps), np.float32)
    times = view.shard.times[view.rows]
    for i, (clip, valid) in enumerate(zip(view.clips, view.valid_steps, strict=True)):
        start_s = max(0.0, (clip.duration_s - float(valid) * HOP_S) / 2)
        step_s = start_s + HOP_S * (np.arange(num_steps) + 0.5)
        for begin, end in clip.fake_periods:
            if clip.modify_video:
                frames[i, (times[i] >= begin) & (times[i] <= end)] = 1
            if clip.modify_audio:
                steps[i, (step_s >= begin) & (step_s <= end)] = 1
    return Altered(torch.from_numpy(frames), torch.from_numpy(steps))
