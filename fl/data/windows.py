"""All of a video as a row of windows, each of which a detector can judge, decoded in one pass.

A store holds one window of each clip, the middle; a file that somebody asks about is judged all over.
"""

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.containers import HEAD_BYTES, check_header, opened, video_stream
from fl.data.decoding import Stretch, decode
from fl.data.headers import DEFAULT_LIMITS, Header, open_file
from fl.data.images import is_image
from fl.data.media import Pictures, Window
from fl.data.reading import crop_window, find_boxes, read_frames, window_mfcc
from fl.data.sampling import SPREAD, sample_times
from fl.data.sound import Sound
from fl.errors import ClipError
from fl.settings import ClipSettings, MediaSettings

MIN_REST_S = 0.04
"""What is left of a video after its last whole window is a window of its own if it is longer than this."""

_MARGIN_S = 0.5  # sound that is handed to a window beyond its ends, as its resampler leans on it


@dataclass(frozen=True, eq=False)
class JudgedWindow:
    """A stretch of a file as a detector sees it.

    Attributes:
        start_s: where it starts, s from the first picture.
        end_s: where it ends.
        frames: (num_frames, image_size, image_size, 3) uint8; None if there is nothing to judge.
        mfcc: (steps, num_mfcc) float32; zero where there is no sound.
        has_sound: there is sound in it.
        times_s: (num_frames,) when each frame is shown.
        found: (num_frames, 4) the face in pixels of the upright picture, NaN where none was found.
        reason: why there is nothing to judge; empty if there is.
    """

    start_s: float
    end_s: float
    frames: NDArray[np.uint8] | None
    mfcc: NDArray[np.float32]
    has_sound: bool
    times_s: NDArray[np.float64]
    found: NDArray[np.float32]
    reason: str = ""


def window_spans(duration_s: float, window_s: float) -> list[tuple[float, float]]:
    """Windows side by side from 0 on; the last one ends with the video and may overlap the one before.

    Args:
        duration_s: of the video, above 0.
        window_s: length of a window; a shorter video is one window.

    Returns:
        (start, end) of each, s, ascending.
    """
    if duration_s <= window_s + MIN_REST_S:
        return [(0.0, min(duration_s, window_s))]
    count = int((duration_s + 1e-9) / window_s)
    spans = [(index * window_s, (index + 1) * window_s) for index in range(count)]
    if duration_s - count * window_s > MIN_REST_S:
        spans.append((duration_s - window_s, duration_s))
    return spans


def read_windows(
    path: Path, settings: ClipSettings, limits: MediaSettings = DEFAULT_LIMITS
) -> Iterator[JudgedWindow]:
    """Read a whole file, window by window; pictures of one or two windows are in memory at a time.

    An image is one window. So is a video where ``settings.sampling`` takes frames from the whole file.

    Args:
        path: a video or an image.
        settings: how the detector's clips were read.
        limits: what the file may claim of itself.

    Yields:
        the windows in order of time; one without a face, or without sound where it is required, says so.

    Raises:
        ClipError: the file cannot be used.
    """
    with open_file(path) as file:
        still = is_image(file.read(HEAD_BYTES))
    if still or settings.sampling != "spread":
        yield _only_window(read_frames(path, settings, limits=limits), settings)
        return
    with opened(path, limits) as container:
        header = check_header(container, video_stream(container, limits), limits)
        spans = window_spans(header.duration_s, settings.window_s)
        sounds = _read_sounds(container, header, spans, settings, limits)
    with opened(path, limits) as container:
        pictures = _read_pictures(container, header, spans, settings, limits)
        for span, sound, shown in zip(spans, sounds, pictures, strict=True):
            yield _judged(span, sound, np.stack(shown.rgb), np.array(shown.times_s), header, settings)


def _only_window(window: Window, settings: ClipSettings) -> JudgedWindow:
    sound = window_mfcc(window.audio, settings) if len(window.audio) else None
    span = 0.0, window.header.duration_s
    return _judged(span, sound, window.frames, window.times_s, window.header, settings)


def _judged(
    span: tuple[float, float],
    mfcc: NDArray[np.float32] | None,
    pictures: NDArray[np.uint8],
    times_s: NDArray[np.float64],
    header: Header,
    settings: ClipSettings,
) -> JudgedWindow:
    found = find_boxes(pictures, times_s, settings)
    frames, reason = None, ""
    try:
        if settings.require_audio and mfcc is None:
            raise ClipError("no sound in the window" if header.has_audio else "no audio track")
        frames, _ = crop_window(pictures, found, settings)
    except ClipError as error:
        reason = str(error)
    heard = window_mfcc(np.empty(0, np.float32), settings) if mfcc is None else mfcc
    return JudgedWindow(*span, frames, heard, mfcc is not None, times_s, found, reason)


def _read_pictures(
    container: Any,
    header: Header,
    spans: Sequence[tuple[float, float]],
    settings: ClipSettings,
    limits: MediaSettings,
) -> Iterator[Pictures]:
    """The sampled pictures of each window in turn: of all windows, those wanted soonest are taken first."""
    chosen = [sample_times(header, settings.num_frames, span, SPREAD) for span in spans]
    waiting = deque(sorted((time_s, index) for index, times in enumerate(chosen) for time_s in times))
    begun: dict[int, Pictures] = {}
    stretch = Stretch(0.0, waiting[-1][0], has_sound=False)
    video = video_stream(container, limits)
    decoded = decode(container, video, header, Sound(0.0, 0.0), [stretch])
    before: tuple[float, Any] | None = None
    for after in itertools.chain(decoded, [None]):
        while waiting and (after is None or waiting[0][0] <= after[0] + 0.5 / header.fps):
            time_s, index = waiting.popleft()
            pictures = begun.setdefault(index, Pictures(header))
            pictures.add_nearest(time_s, before, after)
            if len(pictures.rgb) == settings.num_frames:
                yield begun.pop(index)
        before = after


def _read_sounds(
    container: Any,
    header: Header,
    spans: Sequence[tuple[float, float]],
    settings: ClipSettings,
    limits: MediaSettings,
) -> list[NDArray[np.float32] | None]:
    """The MFCC of each window, None where it has no sound."""
    sounds = _WindowSounds(spans, settings)
    if header.has_audio:
        whole = Stretch(0.0, -np.inf, has_sound=True)
        deque(decode(container, video_stream(container, limits), header, sounds, [whole]), maxlen=0)
    return sounds.finish()


class _WindowSounds(Sound):
    """Hands sound to every window that it belongs to, and turns it into MFCC once a window is full."""

    def __init__(self, spans: Sequence[tuple[float, float]], settings: ClipSettings) -> None:
        super().__init__(spans[0][0], spans[-1][1])
        self._settings = settings
        self._open = deque((index, Sound(*span)) for index, span in enumerate(spans))
        self._mfcc: list[NDArray[np.float32] | None] = [None] * len(spans)

    def add(self, time_s: float, frame: Any) -> None:
        """Take a decoded frame that starts at ``time_s``."""
        end_s = time_s + frame.samples / frame.sample_rate
        while self._open and self._open[0][1].end_s + _MARGIN_S < time_s:
            self._close(*self._open.popleft())
        for _, sound in self._open:
            if sound.start_s - _MARGIN_S > end_s:
                break
            sound.add(time_s, frame)

    def finish(self) -> list[NDArray[np.float32] | None]:
        """What every window has heard."""
        while self._open:
            self._close(*self._open.popleft())
        return self._mfcc

    def _close(self, index: int, sound: Sound) -> None:
        audio = sound.samples()
        if audio is not None:
            self._mfcc[index] = window_mfcc(audio, self._settings)
