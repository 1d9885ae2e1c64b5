"""Stores in memory, small and learnable, for tests of what trains on them."""

from pathlib import Path

import numpy as np

from fl.data.clips import Clip
from fl.data.features import HOP_S
from fl.data.shards import Shard


def clip(category: str, periods: tuple[tuple[float, float], ...], *, video: bool, audio: bool) -> Clip:
    """A clip of 1 s of which these periods were altered."""
    return Clip(
        path=Path(f"{category}.mp4"),
        label=int(bool(periods)),
        category=category,
        identity="a",
        source="a",
        group="a",
        split="public",
        fake_periods=periods,
        modify_video=video,
        modify_audio=audio,
        duration_s=1.0,
    )


REAL = clip("real", (), video=False, audio=False)
FACE = clip("Deepfakes", ((0.0, 1.0),), video=True, audio=False)
VOICE = clip("AudioReplaced", ((0.0, 1.0),), video=False, audio=True)
BOTH = clip("Dubbed", ((0.0, 1.0),), video=True, audio=True)


def shard(
    clips: list[Clip],
    *,
    num_frames: int = 4,
    steps: int = 10,
    size: int = 32,
    has_audio: list[int] | None = None,
) -> Shard:
    """The middle of each clip, fakes dark, so that a few steps of training tell them apart."""
    rng = np.random.default_rng(0)
    labels = np.array([c.label for c in clips], np.uint8)
    frames = rng.integers(0, 256, (len(clips), num_frames, size, size, 3), dtype=np.uint8)
    frames[labels == 1] //= 4
    sound = np.ones(len(clips), np.uint8) if has_audio is None else np.array(has_audio, np.uint8)
    mfcc = rng.normal(size=(len(clips), steps, 13)).astype(np.float16)
    window_s = steps * HOP_S
    times = (1 - window_s) / 2 + window_s * (np.arange(num_frames) + 0.5) / num_frames
    return Shard(
        digest="d",
        path=Path("nowhere"),
        clips=tuple(clips),
        headers=(),
        frames=frames,
        mfcc=mfcc * sound[:, None, None].astype(np.float16),
        labels=labels,
        valid_steps=np.full(len(clips), steps, np.int32),
        has_audio=sound,
        boxes=np.zeros((len(clips), num_frames, 4), np.float32),
        times=np.tile(times.astype(np.float32), (len(clips), 1)),
        skipped=(),
    )
