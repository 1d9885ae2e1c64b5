"""All windows of a file, read in another process: a file that hangs or ends its decoder costs itself only."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fl.data.processes import Send, Worker, serve
from fl.data.windows import JudgedWindow, read_windows
from fl.settings import ClipSettings, FaceSettings

MODULE = __name__
"""What a `Worker` for `windows_of` runs."""

_ARRAYS = ("frames", "mfcc", "times_s", "found")


def windows_of(path: Path, settings: ClipSettings, worker: Worker) -> Iterator[JudgedWindow]:
    """What `fl.data.windows.read_windows` yields, decoded by a worker.

    Args:
        path: a video or an image.
        settings: how the detector's clips were read.
        worker: of `MODULE`; its limit of time is for one window, the first one including all sound.

    Raises:
        ClipError: the file cannot be used, or its reader hung or died.
    """
    for record, data in worker.ask({"path": str(path), "settings": asdict(settings)}):
        offset = 0
        arrays: dict[str, Any] = dict.fromkeys(_ARRAYS)
        for name, dtype, shape in record.pop("arrays"):
            count = math.prod(shape)
            arrays[name] = np.frombuffer(data, dtype, count, offset).reshape(shape)
            offset += count * np.dtype(dtype).itemsize
        yield JudgedWindow(**record, **arrays)


def main() -> None:
    """The worker's process."""
    cv2.setNumThreads(1)
    serve(_send_windows)


def _send_windows(request: dict[str, Any], send: Send) -> None:
    told = request["settings"]
    settings = ClipSettings(**{**told, "face": FaceSettings(**told["face"])})
    for window in read_windows(Path(request["path"]), settings):
        arrays = {name: array for name in _ARRAYS if (array := getattr(window, name)) is not None}
        record = {name: getattr(window, name) for name in ("start_s", "end_s", "has_sound", "reason")}
        record["arrays"] = [(name, str(array.dtype), array.shape) for name, array in arrays.items()]
        send(record, b"".join(array.tobytes() for array in arrays.values()))
