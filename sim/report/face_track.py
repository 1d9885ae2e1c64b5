"""The largest face of every frame of a video, as boxes that move without jumping."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from fl.data.containers import check_header, opened, video_stream
from fl.data.decoding import Stretch, decode
from fl.data.faces import detect_faces
from fl.data.headers import Header
from fl.data.media import upright_rgb
from fl.data.sound import Sound
from fl.errors import ClipError
from sim.progress import Advance

LOOK_SIDE = 480
"""Faces are looked for in pictures shrunk to this longer side, pixels."""

_SMOOTHING = 9  # frames of the running median, then of the running mean
_LOOK_FRAMES = 32  # pictures looked at together


@dataclass(frozen=True, eq=False)
class FoundFaces:
    """The largest face of every frame of a video.

    Attributes:
        boxes: (frames, 4) as from `detect_faces`, pixels of the upright picture.
        height: of the upright picture, pixels.
        width: of the upright picture, pixels.
        fps: frame rate, 1/s.
    """

    boxes: NDArray[np.float32]
    height: int
    width: int
    fps: float


def find_faces(source: Path, advance: Advance) -> FoundFaces:
    """Look for faces in every frame of a video.

    Raises:
        ClipError: it cannot be decoded to its end, or the size of its pictures changes.
    """
    boxes: list[NDArray[np.float32]] = []
    waiting: list[NDArray[np.uint8]] = []
    shape, scale = (0, 0), 1.0

    def look() -> None:
        if waiting:
            boxes.append(detect_faces(np.stack(waiting)) / np.float32(scale))
            advance(len(waiting))
            waiting.clear()

    with opened(source) as container:
        video = video_stream(container)
        header = check_header(container, video)
        for _, picture in upright_pictures(container, video, header, None):
            if picture.shape[:2] != shape and shape != (0, 0):
                raise ClipError("the size of its pictures changes")
            shape = picture.shape[0], picture.shape[1]
            scale = min(1.0, LOOK_SIDE / max(shape))
            size = round(shape[1] * scale), round(shape[0] * scale)
            waiting.append(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8))
            if len(waiting) == _LOOK_FRAMES:
                look()
        look()
    if not boxes:
        raise ClipError("no picture can be decoded")
    return FoundFaces(np.concatenate(boxes), *shape, header.fps)


def upright_pictures(
    container: Any, video: Any, header: Header, sound: Sound | None
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Every picture and its time in s; sound goes to ``sound``."""
    reformatter = VideoReformatter()
    whole = Stretch(0.0, header.duration_s, has_sound=sound is not None)
    for time_s, frame in decode(container, video, header, sound or Sound(0.0, 0.0), [whole]):
        yield time_s, np.ascontiguousarray(upright_rgb(frame, reformatter))


def steady_track(boxes: NDArray[np.float32], *, max_gap: int) -> NDArray[np.float64]:
    """Boxes that move without jumping.

    Args:
        boxes: (frames, 4) left, top, width, height; NaN where no face was found.
        max_gap: frames without a face over which the box goes on, linearly.

    Returns:
        (frames, 4); NaN where the face is lost for longer, and before the first and after the last.
    """
    track = np.full(boxes.shape, np.nan)
    known = np.flatnonzero(np.isfinite(boxes[:, 0]))
    # Parts of the video between losses are smoothed apart: a box does not glide from one to the next.
    for part in np.split(known, np.flatnonzero(np.diff(known) > max_gap + 1) + 1):
        if not len(part):
            continue
        steps = np.arange(part[0], part[-1] + 1)
        for axis in range(4):
            values = np.interp(steps, part, boxes[part, axis])
            for smooth in (np.median, np.mean):
                padded = np.pad(values, _SMOOTHING // 2, mode="edge")
                values = smooth(np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHING), axis=1)
            track[steps, axis] = values
    return track
