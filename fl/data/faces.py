"""What is kept of a clip's pictures: all, or the largest face of OpenCV's Haar cascade in a steady square."""

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fl.errors import ClipError

CASCADE = "haarcascade_frontalface_default.xml"
MIN_FOUND_SHARE = 0.5
"""A clip in which fewer frames than this show a face is not used."""

_WINDOW = 24  # side of the smallest face that the cascade can see, pixels
_COARSE_SIDE = 160  # first look: pictures shrunk to this, pixels
_COARSE_SHARE = 4  # ... for faces of at least a quarter of the shorter side


@dataclass(frozen=True)
class _Look:
    """One pass of the cascade: pictures scaled by ``scale``, faces of at least ``min_face`` pixels before."""

    scale: float
    min_face: int
    scale_factor: float
    min_neighbors: int


def detect_faces(
    frames: NDArray[np.uint8], *, min_face: int = 32, scale_factor: float = 1.2, min_neighbors: int = 5
) -> NDArray[np.float32]:
    """The largest frontal face of each frame.

    Looks for large faces in shrunk pictures first, and again at full detail only if fewer than
    ``MIN_FOUND_SHARE`` of the frames showed a face. A frame between two that show a face at
    nearly the same place takes the mean of their boxes.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        min_face: side of the smallest face looked for, pixels; the cascade's own limit is 24.
        scale_factor: step between the sizes looked for, > 1; smaller is slower and finds more.
        min_neighbors: overlapping finds that make a face; more is stricter.

    Returns:
        (T, 4) float32: left, top, width, height in pixels; NaN where no face was found.
    """
    finest = min(1.0, _WINDOW / min_face)
    coarse = min(finest, _COARSE_SIDE / max(frames.shape[1:3]))
    large = max(min_face, min(frames.shape[1:3]) // _COARSE_SHARE)
    boxes = _detect(frames, _Look(coarse, large, scale_factor, min_neighbors))
    if np.isfinite(boxes[:, 0]).mean() < MIN_FOUND_SHARE:
        boxes = _detect(frames, _Look(finest, min_face, scale_factor, min_neighbors))
    return boxes


def fill_track(boxes: NDArray[np.float32], *, smoothing: int = 5) -> NDArray[np.float32]:
    """A steady square for every frame, from the boxes that were found.

    The side is the median over the clip, so that the crop does not zoom; the centre is filled in
    linearly where no face was found and then follows a running median, which drops a false find
    elsewhere in the picture.

    Args:
        boxes: (T, 4) as from `detect_faces`.
        smoothing: frames of the running median, odd; 1: none.

    Returns:
        (T, 4) float32 without NaN, width = height, all rows of one size.

    Raises:
        ClipError: no face in any frame, or a face in fewer than half of the frames.
    """
    found = np.isfinite(boxes).all(axis=1)
    if not found.any():
        raise ClipError("no face in any frame")
    if found.mean() < MIN_FOUND_SHARE:
        raise ClipError(f"a face in only {int(found.sum())} of {len(boxes)} frames")
    known = boxes[found]
    side = np.median(known[:, 2:].max(axis=1))
    steps = np.arange(len(boxes))
    track = np.full((len(boxes), 4), side, dtype=np.float32)
    for axis in (0, 1):
        centres = np.interp(steps, steps[found], known[:, axis] + known[:, axis + 2] / 2)
        padded = np.pad(centres, smoothing // 2, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, smoothing)
        track[:, axis] = np.median(windows, axis=1) - side / 2
    return track


def crop_faces(
    frames: NDArray[np.uint8], boxes: NDArray[np.float32], *, margin: float, size: int
) -> NDArray[np.uint8]:
    """Cut a square around each box; the picture's border is repeated where the square leaves it.

    Args:
        frames: (T, H, W, 3) uint8.
        boxes: (T, 4) left, top, width, height in pixels, without NaN.
        margin: added on every side of the box, as a share of its longer side.
        size: side of the result, pixels.

    Returns:
        (T, size, size, 3) uint8: area-averaged when it shrinks, bilinear when it grows.
    """
    out = np.empty((len(frames), size, size, 3), dtype=np.uint8)
    height, width = frames.shape[1:3]
    for i, (frame, (left, top, box_width, box_height)) in enumerate(zip(frames, boxes, strict=True)):
        side = max(1, round(float(max(box_width, box_height)) * (1 + 2 * margin)))
        x = round(float(left + box_width / 2) - side / 2)
        y = round(float(top + box_height / 2) - side / 2)
        square = frame[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)]
        pad_top, pad_left = max(0, -y), max(0, -x)
        pad_bottom, pad_right = max(0, y + side - height), max(0, x + side - width)
        if pad_top or pad_left or pad_bottom or pad_right:
            square = cv2.copyMakeBorder(
                square, pad_top, pad_bottom, pad_left, pad_right, cv2.BORDER_REPLICATE
            )
        scaling = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        out[i] = cv2.resize(square, (size, size), interpolation=scaling)
    return out


def shrink_frames(frames: NDArray[np.uint8], *, size: int) -> NDArray[np.uint8]:
    """Whole pictures brought to a square; the ratio of their sides is not kept, so that nothing is cut off.

    Args:
        frames: (T, H, W, 3) uint8.
        size: side of the result, pixels.

    Returns:
        (T, size, size, 3) uint8: area-averaged when the longer side shrinks, bilinear when it grows.
    """
    scaling = cv2.INTER_AREA if max(frames.shape[1:3]) > size else cv2.INTER_LINEAR
    shrunk = [cv2.resize(frame, (size, size), interpolation=scaling) for frame in frames]
    return np.asarray(np.stack(shrunk), dtype=np.uint8)


@functools.cache
def _cascade() -> cv2.CascadeClassifier:
    cv2.setNumThreads(1)  # clips are read in parallel instead
    return cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / CASCADE))  # type: ignore[attr-defined]


def _detect(frames: NDArray[np.uint8], look: _Look) -> NDArray[np.float32]:
    boxes = np.full((len(frames), 4), np.nan, dtype=np.float32)
    for i in sorted({*range(0, len(frames), 2), len(frames) - 1}):
        boxes[i] = _largest_face(frames[i], look)
    for i in range(1, len(frames) - 1, 2):
        before, after = boxes[i - 1], boxes[i + 1]
        # False when either is NaN
        same_place = np.abs(before - after).max() < 0.25 * before[2]
        boxes[i] = (before + after) / 2 if same_place else _largest_face(frames[i], look)
    return boxes


def _largest_face(frame: NDArray[np.uint8], look: _Look) -> NDArray[np.float32]:
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    if look.scale < 1:
        grey = cv2.resize(grey, None, fx=look.scale, fy=look.scale, interpolation=cv2.INTER_AREA)
    side = max(_WINDOW, round(look.min_face * look.scale))
    faces = _cascade().detectMultiScale(
        grey, scaleFactor=look.scale_factor, minNeighbors=look.min_neighbors, minSize=(side, side)
    )
    if not len(faces):
        return np.full(4, np.nan, dtype=np.float32)
    largest = max(faces, key=lambda face: int(face[2]) * int(face[3]))
    return np.asarray(largest, dtype=np.float32) / np.float32(look.scale)
