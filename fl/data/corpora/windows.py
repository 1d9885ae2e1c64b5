"""Windows of real videos: where a face is seen while sound is heard, and how they become recordings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fl.data.containers import read_header
from fl.data.corpora.recording import Recording
from fl.data.faces import detect_faces, fill_track
from fl.data.media import read_all
from fl.errors import ClipError

MAX_SIDE = 360
"""Pictures whose shorter side is longer than this are shrunk to it, pixels."""
MAX_FPS = 31
MIN_FACE = 32
SHORTEST_S = 0.8


@dataclass(frozen=True)
class ScanTask:
    """A file, relative to the root, and the windows wanted of it."""

    file: str
    num_windows: int
    window_s: float


@dataclass(frozen=True)
class Found:
    """A window that can be used.

    Attributes:
        file: relative to the root.
        start_s: where it starts.
        duration_s: how long it is.
        boxes: the face in each frame, (x, y, width, height) in pixels of the recording.
    """

    file: str
    start_s: float
    duration_s: float
    boxes: list[list[float]]


def scan_file(task: ScanTask, root: Path) -> list[dict[str, Any]]:
    """The windows of one file as fields of ``Found``, or one entry {file, reason} if it has none."""
    try:
        path = root / task.file
        if not path.resolve().is_relative_to(root.resolve()):
            raise ClipError("a link that leads outside data.root")
        duration_s = read_header(path).duration_s
        if duration_s < min(task.window_s, SHORTEST_S) - 1e-3:
            raise ClipError(f"{duration_s:.2f} s long, at least {SHORTEST_S} s are needed")
        length_s = min(task.window_s, duration_s)
        num_windows = max(min(task.num_windows, int(duration_s / length_s + 1e-6)), 1)
        free_s = duration_s - num_windows * length_s
        results = []
        for index in range(num_windows):
            start_s = free_s * (index + 1) / (num_windows + 1) + index * length_s
            found = Found(task.file, start_s, length_s, [])
            frames = read_recording(root, found).frames
            boxes = fill_track(detect_faces(frames, min_face=MIN_FACE))
            results.append({**found.__dict__, "boxes": boxes.astype(float).tolist()})
        return results
    except ClipError as error:
        return [{"file": task.file, "reason": str(error)}]


def read_recording(root: Path, found: Found) -> Recording:
    """Read a window; pictures at most 360 pixels on the shorter side, at most 31 frames a second.

    Raises:
        ClipError: it cannot be read.
    """
    window = read_all(root / found.file, start_s=found.start_s, duration_s=found.duration_s)
    step = max(int(np.ceil(window.fps / MAX_FPS)), 1)
    num_frames = max(round(found.duration_s * window.fps), 1)
    frames = shrink(window.frames[:num_frames:step])
    boxes = np.asarray(found.boxes, dtype=np.float64).reshape(-1, 4)
    return Recording(frames=frames, boxes=boxes, audio=window.audio, fps=window.fps / step)


def shrink(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) with even sides, the shorter at most ``MAX_SIDE`` pixels."""
    height, width = frames.shape[1:3]
    scale = min(1.0, MAX_SIDE / min(height, width))
    size = (int(width * scale) // 2 * 2, int(height * scale) // 2 * 2)
    if scale == 1.0:
        return np.ascontiguousarray(frames[:, : size[1], : size[0]])
    return np.stack([np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA)) for frame in frames])
