"""Reads pictures and sound out of video files: each file is decoded once, in order, single-threaded."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from fl.data.containers import Header, check_header, opened, video_stream
from fl.errors import ClipError

SAMPLE_RATE = 16_000
"""Rate of all sound, Hz."""

_SEEK_FROM_S = 10.0  # a window that starts later than this is reached by seeking
_PREROLL_S = 0.5  # sound decoded before the window, for codecs that lean on earlier packets


@dataclass(frozen=True)
class Window:
    """A stretch of a clip.

    Attributes:
        frames: (num_frames, H, W, 3) uint8 RGB, upright.
        times_s: (num_frames,) float64, when each frame is shown, from the clip's first frame.
        audio: (round(valid_s * 16000),) float32 mono, full scale 1, exactly the window; zero where
            the track has no sound.
        start_s: where the window starts in the clip.
        valid_s: length of the window: what was asked for, or the whole clip if that is shorter.
        fps: frame rate of the clip.
        duration_s: length of the clip.
    """

    frames: NDArray[np.uint8]
    times_s: NDArray[np.float64]
    audio: NDArray[np.float32]
    start_s: float
    valid_s: float
    fps: float
    duration_s: float


def read_window(path: Path, *, num_frames: int, window_s: float) -> Window:
    """Read the middle ``window_s`` of a clip (all of it if shorter).

    Args:
        path: the file.
        num_frames: frames taken at the centres of as many equal parts of the window; a clip with
            fewer frames repeats some.
        window_s: length of the window, s.

    Raises:
        ClipError: the file cannot be used; the message is the reason.
    """
    with opened(path) as container:
        video = video_stream(container)
        header = check_header(container, video)
        valid_s = min(window_s, header.duration_s)
        start_s = (header.duration_s - valid_s) / 2
        targets_s = [start_s + valid_s * (i + 0.5) / num_frames for i in range(num_frames)]
        nearest: list[tuple[float, float, Any]] = [(math.inf, 0.0, None)] * num_frames
        sound = _Sound(start_s, start_s + valid_s)
        for time_s, frame in _decoded(container, video, header, sound, targets_s[-1]):
            middle_s = time_s + 0.5 / header.fps
            for i, target_s in enumerate(targets_s):
                if abs(middle_s - target_s) < nearest[i][0] - 1e-6:  # of two as near, the earlier
                    nearest[i] = (abs(middle_s - target_s), time_s, frame)
        for target_s, (distance_s, _, _) in zip(targets_s, nearest, strict=True):
            _check_gap(distance_s, target_s, header)
        reformatter = VideoReformatter()
        pictures = [_rgb(frame, reformatter) for _, _, frame in nearest]
        if any(picture.shape != pictures[0].shape for picture in pictures):
            raise ClipError("the size of its pictures changes")
        times_s = [time_s for _, time_s, _ in nearest]
        return _window(np.stack(pictures), times_s, sound, header)


def read_all(
    path: Path, *, start_s: float = 0.0, duration_s: float | None = None, max_bytes: int = 1 << 30
) -> Window:
    """Read every frame and all sound of a clip, or of a stretch of it.

    Args:
        path: the file.
        start_s: where the stretch starts, s.
        duration_s: its length, s; None: to the end.
        max_bytes: the most that the decoded frames may take.

    Raises:
        ClipError: the file cannot be used, the stretch is not inside it, or it is too large.
    """
    with opened(path) as container:
        video = video_stream(container)
        header = check_header(container, video)
        end_s = header.duration_s if duration_s is None else start_s + duration_s
        if not 0 <= start_s < end_s <= header.duration_s + 1 / header.fps:
            raise ClipError(f"{start_s:.2f} to {end_s:.2f} s is not inside its {header.duration_s:.2f} s")
        sound = _Sound(start_s, end_s)
        margin_s = 0.25 / header.fps  # rounding of time stamps
        reformatter = VideoReformatter()
        pictures: list[NDArray[np.uint8]] = []
        times_s: list[float] = []
        for time_s, frame in _decoded(container, video, header, sound, end_s - margin_s):
            if not start_s - margin_s <= time_s < end_s - margin_s:
                continue
            pictures.append(_rgb(frame, reformatter))
            times_s.append(time_s)
            if pictures[-1].shape != pictures[0].shape:
                raise ClipError("the size of its pictures changes")
            if len(pictures) * pictures[0].nbytes > max_bytes:
                raise ClipError(f"its frames take more than the limit, {max_bytes} bytes")
        _check_gap(end_s - times_s[-1] if times_s else math.inf, end_s, header)
        return _window(np.stack(pictures), times_s, sound, header)


def _check_gap(gap_s: float, at_s: float, header: Header) -> None:
    if gap_s > max(0.1, 2.5 / header.fps):
        raise ClipError(f"truncated: no picture near {at_s:.2f} s of {header.duration_s:.2f} s")


def _window(frames: NDArray[np.uint8], times_s: list[float], sound: "_Sound", header: Header) -> Window:
    return Window(
        frames=frames,
        times_s=np.array(times_s),
        audio=sound.samples(),
        start_s=sound.start_s,
        valid_s=sound.end_s - sound.start_s,
        fps=header.fps,
        duration_s=header.duration_s,
    )


class _Sound:
    """Collects the sound of a window as 16 kHz mono floats."""

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
                self._chunks.append(part.to_ndarray().mean(axis=0, dtype=np.float32))

    def samples(self) -> NDArray[np.float32]:
        """(round((end_s - start_s) * 16000),) float32, zero where there was no sound."""
        self.add(0.0, None)
        if not self._chunks:
            raise ClipError("no sound in the window")
        heard = np.concatenate(self._chunks)
        out = np.zeros(round((self.end_s - self.start_s) * SAMPLE_RATE), dtype=np.float32)
        offset = round((self._first_s - self.start_s) * SAMPLE_RATE)
        source = heard[max(0, -offset) : max(0, len(out) - offset)]
        target = out[max(0, offset) : max(0, offset) + len(source)]
        target[:] = source[: len(target)]
        return out


def _decoded(
    container: Any, video: Any, header: Header, sound: _Sound, video_end_s: float
) -> Iterator[tuple[float, Any]]:
    """Yield (time_s, frame) in order until ``video_end_s`` is passed; the sound goes to ``sound``."""
    if not header.has_audio:
        raise ClipError("no audio track")
    audio = container.streams.audio[0]
    if audio.codec_context is None:
        raise ClipError("no decoder for its audio track")
    origin_s = float((video.start_time or 0) * video.time_base)
    # AVI stores no presentation times (libav's are out of order with B-frames), but its rate is constant.
    counted = container.format.name == "avi"
    if sound.start_s > _SEEK_FROM_S and not counted:
        container.seek(int((sound.start_s + origin_s - 1) * av.time_base))
    more_video = more_audio = True
    time_s = -1 / header.fps
    for packet in container.demux(video, audio):
        if packet.stream is audio:
            packet_s = 0.0 if packet.pts is None else float(packet.pts * audio.time_base) - origin_s
            more_audio = more_audio and packet_s < sound.end_s + _PREROLL_S
            if more_audio and (packet.pts is None or packet_s >= sound.start_s - _PREROLL_S):
                for frame in packet.decode():
                    sound.add((frame.time or 0.0) - origin_s, frame)
        elif more_video:
            for frame in packet.decode():
                untimed = counted or frame.pts is None
                time_s = time_s + 1 / header.fps if untimed else frame.time - origin_s
                yield time_s, frame
                more_video = time_s < video_end_s
        if not (more_video or more_audio):
            return


def _rgb(frame: Any, reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, turned upright as the file's display matrix says."""
    if frame.is_corrupt:
        raise ClipError("damaged picture")
    rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return np.rot90(np.asarray(rgb, dtype=np.uint8), round(frame.rotation / 90) % 4)
