"""The one table of clips to which every corpus is turned."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["public", "clients", "validation", "test"]
"""``public`` belongs to the server (teacher training, calibration); ``clients`` is partitioned."""

REAL = "real"
"""The category of a clip that nobody manipulated."""


@dataclass(frozen=True)
class Clip:
    """One video file and what is known of it.

    Attributes:
        path: the file.
        label: 1 = fake, 0 = real.
        category: the manipulation ("Deepfakes", "FaceSwap", ...), or "real".
        identity: who is seen; the unit of partitions.
        source: the recording it was made from (a real clip is its own source).
        group: clips of one group must never be split: the connected component of all
            identities and sources that forgery has mixed.
        split: whose it is.
        fake_periods: (start, end) in s of what was altered; empty for real clips.
        modify_video: the pictures were altered.
        modify_audio: the sound was altered.
        duration_s: length in s; 0.0 if unknown.
        num_frames: number of video frames; 0 if unknown.
    """

    path: Path
    label: int
    category: str
    identity: str
    source: str
    group: str
    split: Split
    fake_periods: tuple[tuple[float, float], ...] = ()
    modify_video: bool = False
    modify_audio: bool = False
    duration_s: float = 0.0
    num_frames: int = 0
