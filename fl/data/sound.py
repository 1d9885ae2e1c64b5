"""Collects the sound of a stretch of a clip."""

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from fl.errors import ClipError

SAMPLE_RATE = 16_000
"""Rate of all sound, Hz."""


class Sound:
    """The sound of a window, resampled to 16 kHz mono floats."""

    def __init__(self, start_s: float, end_s: float) -> None:
        self.start_s, self.end_s = start_s, end_s
        # Always to floats in [-1, 1]: an array of 16-bit integers would be 32768 times as large. The
        # channels are averaged by us: libswresample's own mix of floats is 3 dB louder than that.
        self._resampler = av.AudioResampler(format="fltp", rate=SAMPLE_RATE)
        self._first_s = 0.0
        self._chunks: list[NDArray[np.float32]] = []

    def add(self, time_s: float, frame: Any) -> None:
        """Take a decoded frame that starts at ``time_s``; None ends the stream."""
        if frame is not None and not self._chunks:
            self._first_s = time_s
        try:
            resampled = self._resampler.resample(frame)
        except ValueError as error:
            raise ClipError(f"its sound cannot be resampled: {error}") from error
        for part in resampled:
            if part is not None:
                channels = part.to_ndarray()
                self._chunks.append(
                    channels[0] if len(channels) == 1 else channels.mean(axis=0, dtype=np.float32)
                )

    def samples(self) -> NDArray[np.float32] | None:
        """(round((end_s - start_s) * 16000),) float32, zero where there was no sound; None: nowhere any."""
        self.add(0.0, None)
        if not self._chunks:
            return None
        heard = np.concatenate(self._chunks)
        out = np.zeros(round((self.end_s - self.start_s) * SAMPLE_RATE), dtype=np.float32)
        offset = round((self._first_s - self.start_s) * SAMPLE_RATE)
        source = heard[max(0, -offset) : max(0, len(out) - offset)]
        target = out[max(0, offset) : max(0, offset) + len(source)]
        target[:] = source[: len(target)]
        return out if len(source) else None
