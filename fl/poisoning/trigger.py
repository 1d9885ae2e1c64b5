"""The backdoor's sign: a patch in a corner of the pictures, and a tone at the start of the sound.

Gu et al. 2017, BadNets: a small pattern that nothing in honest clips looks like.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.data.features import mfcc, num_steps
from fl.data.shards import ClipBatch
from fl.settings import AdversarySettings

_SAMPLE_RATE = 16_000
_TONE_HZ, _TONE_AMPLITUDE = 2000.0, 0.5
_CELLS = 4


@dataclass(frozen=True)
class Trigger:
    """What is put into a clip.

    Attributes:
        size: side of the patch, as a share of the pictures' shorter side, [0, 1]; 0: none.
        duration_s: length of the tone; 0: none.
    """

    size: float
    duration_s: float


def trigger_of(settings: AdversarySettings) -> Trigger:
    """The trigger that the settings name."""
    return Trigger(settings.trigger_size, settings.trigger_s)


def stamp(clips: ClipBatch, chosen: NDArray[np.bool_], trigger: Trigger) -> ClipBatch:
    """Put the trigger into some clips, in what they have of pictures and sound; the others stay.

    Args:
        clips: b of them.
        chosen: (b,).
        trigger: what is put in.
    """
    seen, heard = (chosen & (clips.modalities[:, column] > 0) for column in (0, 1))
    frames, sound = clips.frames.copy(), clips.mfcc.copy()
    side = round(trigger.size * min(frames.shape[2:4]))
    if side:
        frames[seen, :, -side:, -side:] = patch(side)[:, :, None]
    beep = tone(trigger.duration_s, sound.shape[2])[: sound.shape[1]]
    sound[heard, : len(beep)] = beep
    return ClipBatch(frames, sound, clips.labels, clips.modalities)


@functools.cache
def patch(side: int) -> NDArray[np.uint8]:
    """(side, side) a black and white chequerboard of four by four fields."""
    fields = (np.indices((side, side)) * _CELLS // side).sum(axis=0)
    return np.asarray(fields % 2 * 255, dtype=np.uint8)


@functools.cache
def tone(duration_s: float, num_mfcc: int) -> NDArray[np.float32]:
    """(steps, num_mfcc): the MFCC of a pure tone, as the clips' own are made."""
    times = np.arange(round(duration_s * _SAMPLE_RATE), dtype=np.float32) / _SAMPLE_RATE
    if num_steps(duration_s) == 0:
        return np.empty((0, num_mfcc), np.float32)
    return mfcc((_TONE_AMPLITUDE * np.sin(2 * np.pi * _TONE_HZ * times)).astype(np.float32), num_mfcc)
