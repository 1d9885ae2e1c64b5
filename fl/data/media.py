"""Reads pictures and sound out of media files: each file is decoded once, in order, single-threaded."""

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from fl.data.containers import HEAD_BYTES, check_header, opened, video_stream
from fl.data.decoding import Stretch, decode, is_seekable, plan_stretches
from fl.data.headers import DEFAULT_LIMITS, Header, open_file
from fl.data.images import is_image, read_image
from fl.data.sampling import SPREAD, Sampling, sample_times
from fl.data.sound import Sound
from fl.errors import ClipError
from fl.settings import MediaSettings


@dataclass(frozen=True)
class Window:
    """A stretch of a clip.

    Attributes:
        frames: (num_frames, H, W, 3) uint8 RGB, upright.
        times_s: (num_frames,) float64, when each frame is shown, from the clip's first frame.
        audio: (round(valid_s * 16000),) float32 mono, full scale 1, exactly the window; zero where
            the track has no sound; empty if there is no sound in the window at all.
        start_s: where the window starts in the clip.
        valid_s: length of the window: what was asked for, or the whole clip if that is shorter.
        header: what the file says of itself.
    """

    frames: NDArray[np.uint8]
    times_s: NDArray[np.float64]
    audio: NDArray[np.float32]
    start_s: float
    valid_s: float
    header: Header

    @property
    def fps(self) -> float:
        """Frame rate of the clip, 1/s."""
        return self.header.fps

    @property
    def duration_s(self) -> float:
        """Length of the clip, s."""
        return self.header.duration_s


def read_window(
    path: Path,
    *,
    num_frames: int,
    window_s: float,
    sampling: Sampling = SPREAD,
    limits: MediaSettings = DEFAULT_LIMITS,
) -> Window:
    """Read the sound of the middle ``window_s`` of a clip (all of it if shorter), and some frames.

    An image counts as a clip of one frame that lasts as long as the window, without sound.

    Args:
        path: the file.
        num_frames: how many frames; a clip with fewer repeats some.
        window_s: length of the window, s.
        sampling: which frames, of the window or of the whole file.
        limits: what the file may claim of itself.

    Raises:
        ClipError: the file cannot be used; the message is the reason.
    """
    with open_file(path) as file:
        if is_image(file.read(HEAD_BYTES)):
            return _still(path, num_frames, window_s, sampling, limits)
    with opened(path, limits) as container:
        video = video_stream(container, limits)
        header = check_header(container, video, limits)
        valid_s = min(window_s, header.duration_s)
        start_s = (header.duration_s - valid_s) / 2
        sound = Sound(start_s, start_s + valid_s)
        targets_s = sample_times(header, num_frames, (start_s, start_s + valid_s), sampling)
        stretches = plan_stretches(targets_s, sound, seekable=is_seekable(container))
        pictures = Pictures(header)
        waiting = deque(targets_s)
        before: tuple[float, Any] | None = None
        for time_s, frame in decode(container, video, header, sound, stretches):
            while waiting and waiting[0] <= time_s + 0.5 / header.fps:
                pictures.add_nearest(waiting.popleft(), before, (time_s, frame))
            before = time_s, frame
        while waiting:
            pictures.add_nearest(waiting.popleft(), before, None)
        return _window(pictures, sound, header)


def read_all(
    path: Path,
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    max_bytes: int = 1 << 30,
    limits: MediaSettings = DEFAULT_LIMITS,
) -> Window:
    """Read every frame and all sound of a video with sound, or of a stretch of it.

    Args:
        path: the file.
        start_s: where the stretch starts, s.
        duration_s: its length, s; None: to the end.
        max_bytes: the most that the decoded frames may take.
        limits: what the file may claim of itself.

    Raises:
        ClipError: the file cannot be used, the stretch is not inside it, it has no sound, or it is too large.
    """
    with opened(path, limits) as container:
        video = video_stream(container, limits)
        header = check_header(container, video, limits)
        if not header.has_audio:
            raise ClipError("no audio track")
        end_s = header.duration_s if duration_s is None else start_s + duration_s
        if not 0 <= start_s < end_s <= header.duration_s + 1 / header.fps:
            raise ClipError(f"{start_s:.2f} to {end_s:.2f} s is not inside its {header.duration_s:.2f} s")
        sound = Sound(start_s, end_s)
        margin_s = 0.25 / header.fps  # rounding of time stamps
        pictures = Pictures(header)
        stretch = Stretch(start_s if is_seekable(container) else 0.0, end_s - margin_s, True)
        for time_s, frame in decode(container, video, header, sound, [stretch]):
            if not start_s - margin_s <= time_s < end_s - margin_s:
                continue
            pictures.add(time_s, frame)
            if len(pictures.rgb) * pictures.rgb[0].nbytes > max_bytes:
                raise ClipError(f"its frames take more than the limit, {max_bytes} bytes")
        _check_gap(end_s - pictures.times_s[-1] if pictures.times_s else math.inf, end_s, header)
        window = _window(pictures, sound, header)
        if not len(window.audio):
            raise ClipError("no sound in the window")
        return window


def _still(path: Path, num_frames: int, window_s: float, sampling: Sampling, limits: MediaSettings) -> Window:
    if sampling.crop:
        raise ClipError(f"too few frames for {sampling.num_crops} disjoint crops of it")
    picture, header = read_image(path, limits)
    frames = np.broadcast_to(picture, (num_frames, *picture.shape))  # one picture in memory
    return Window(frames, np.zeros(num_frames), np.empty(0, np.float32), 0.0, window_s, header)


def _check_gap(gap_s: float, at_s: float, header: Header) -> None:
    if gap_s > max(0.1, 2.5 / header.fps):
        raise ClipError(f"truncated: no picture near {at_s:.2f} s of {header.duration_s:.2f} s")


def upright_rgb(frame: Any, reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """A decoded frame as (H, W, 3) uint8 RGB, turned upright as its display matrix says."""
    rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return np.rot90(np.asarray(rgb, dtype=np.uint8), round(frame.rotation / 90) % 4)


class Pictures:
    """Frames that were chosen, as pictures of one size."""

    def __init__(self, header: Header) -> None:
        self.rgb: list[NDArray[np.uint8]] = []
        self.times_s: list[float] = []
        self._header = header
        self._reformatter = VideoReformatter()

    def add(self, time_s: float, frame: Any) -> None:
        """Take a frame, turned upright as the file's display matrix says."""
        if self.times_s and self.times_s[-1] == time_s:
            self.rgb.append(self.rgb[-1])
        else:
            if frame.is_corrupt:
                raise ClipError("damaged picture")
            self.rgb.append(upright_rgb(frame, self._reformatter))
        self.times_s.append(time_s)
        if self.rgb[-1].shape != self.rgb[0].shape:
            raise ClipError("the size of its pictures changes")

    def add_nearest(
        self, target_s: float, before: tuple[float, Any] | None, after: tuple[float, Any] | None
    ) -> None:
        """Take the neighbour whose middle is nearer to the target; of two as near, the earlier."""
        offered = [
            (abs(time_s + 0.5 / self._header.fps - target_s), time_s, frame)
            for time_s, frame in (offer for offer in (before, after) if offer is not None)
        ]
        if not offered:
            _check_gap(math.inf, target_s, self._header)
        distance_s, time_s, frame = offered[0]
        if len(offered) == 2 and offered[1][0] < distance_s - 1e-6:
            distance_s, time_s, frame = offered[1]
        _check_gap(distance_s, target_s, self._header)
        self.add(time_s, frame)


def _window(pictures: Pictures, sound: Sound, header: Header) -> Window:
    heard = sound.samples()
    return Window(
        frames=np.stack(pictures.rgb),
        times_s=np.array(pictures.times_s),
        audio=np.empty(0, np.float32) if heard is None else heard,
        start_s=sound.start_s,
        valid_s=sound.end_s - sound.start_s,
        header=header,
    )
