"""PinPoint's losses of sound against picture: synchrony of the attention, and by how much sound was shifted.

Both count in seconds: the published losses took two steps of sound for each frame, whatever their rates.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fl.data.features import HOP_S
from fl.distill.losses import masked_mean
from models.pin import NUM_OFFSETS, PinDetector

OFFSET_S = 0.04
"""Step between two classes of the offset head, s: a frame at 25 fps."""


def sync_loss(maps: Tensor, both: Tensor) -> Tensor:
    """Cross-entropy of each audio step's attention against the frames shown at that time.

    PinPoint is trained with synchrony losses; this one asks the cross-attention to compare a sound
    with the pictures of its moment. The target of a step is shared by its two nearest frames.

    Args:
        maps: (batch, audio_steps, video_frames), rows that sum to 1.
        both: (batch,), 1 where the clip has both modalities, else 0: without one there is nothing to
            compare.
    """
    num_steps, num_frames = maps.shape[1:]
    place = (torch.arange(num_steps) + 0.5) / num_steps * num_frames - 0.5
    distance = (place.clamp(0, num_frames - 1)[:, None] - torch.arange(num_frames)).abs()
    steps = -((1 - distance).clamp(min=0) * maps.clamp(min=1e-8).log()).sum(dim=2)
    return masked_mean(steps, both[:, None].expand_as(steps))


@dataclass(frozen=True)
class ShiftedSound:
    """A batch's sound, each clip's moved in time.

    Attributes:
        mfcc: (batch, audio_steps, num_mfcc); zero where nothing is heard any more.
        classes: (batch,), int64, the offset head's class: 0 is 5 frames too early, 10 as many too late.
    """

    mfcc: Tensor
    classes: Tensor


def shift_sound(mfcc: Tensor, generator: torch.Generator) -> ShiftedSound:
    """Move each clip's sound by -0.2 to 0.2 s, in steps of 40 ms, drawn evenly.

    Args:
        mfcc: (batch, audio_steps, num_mfcc), `fl.data.features.HOP_S` apart.
        generator: of the draws.
    """
    num_clips, num_steps = mfcc.shape[:2]
    classes = torch.randint(NUM_OFFSETS, (num_clips,), generator=generator)
    shift = (classes - NUM_OFFSETS // 2) * round(OFFSET_S / HOP_S)
    source = torch.arange(num_steps) - shift[:, None]
    heard = (source >= 0) & (source < num_steps)
    rows = source.clamp(0, num_steps - 1)[:, :, None].expand_as(mfcc)
    return ShiftedSound(mfcc.gather(1, rows) * heard[:, :, None], classes)


def offset_loss(detector: PinDetector, video: Tensor, sound: ShiftedSound, usable: Tensor) -> Tensor:
    """Cross-entropy of the offset head on sound that was moved against its pictures.

    Args:
        detector: whose audio encoder, blocks and offset head learn; pictures are encoded once.
        video: (batch, num_frames, dim), the tokens of the pictures.
        sound: of the same clips.
        usable: (batch,), 1 where the clip has pictures, and sound that nobody altered; else 0.
    """
    chosen = usable > 0
    if not bool(chosen.any()):
        return video.new_zeros(())
    logits = detector.fuse(video[chosen], detector.audio(sound.mfcc[chosen])).offset_logits
    assert logits is not None  # a PinDetector has the head
    return F.cross_entropy(logits.float(), sound.classes[chosen])
