"""A recording in memory: what a camera and a microphone give, before any encoding."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Recording:
    """Pictures and sound of one person.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB.
        boxes: (T, 4) float64 x, y, width, height of the face in each frame, pixels.
        audio: (samples,) float32 in [-1, 1], 16 kHz, mono.
        fps: frames per second.
    """

    frames: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    audio: NDArray[np.float32]
    fps: float

    @property
    def duration_s(self) -> float:
        """Length of the pictures in s."""
        return len(self.frames) / self.fps
