"""A process that reads clips: tasks come in as lines of JSON, and one line goes out for each.

It is started by `fl.data.readers`, apart from the process that waits for it: a file that makes a decoder
hang or crash costs this process, and not the run. Lines in: ``Setup`` first, then one ``Task`` each. Lines
out: ``{}`` when ready, then a ``ReadClip`` each, or ``{"error": ...}`` if the cache cannot be written.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from fl.data.cache import writing_to
from fl.data.degrade import reencoded_crops
from fl.data.headers import Header
from fl.data.processes import open_pipes
from fl.data.reading import read_clip
from fl.data.rows import FRAMES_FILE, write_arrays, write_row
from fl.errors import ClipError, RequestError
from fl.settings import ClipSettings, FaceSettings, MediaSettings


@dataclass(frozen=True)
class Setup:
    """What all tasks share.

    Attributes:
        settings: how clips are read.
        limits: what a file may claim of itself.
        folder: holds the files of `fl.data.rows`; two levels under the root of the cache.
    """

    settings: ClipSettings
    limits: MediaSettings
    folder: str


@dataclass(frozen=True)
class Task:
    """One clip to be read, and the row of the store where it belongs.

    Attributes:
        row: see above.
        path: of its file.
        crop: see `fl.data.reading.read_clip`.
        num_crops: as there.
        crf: only its pictures are wanted, after H.264 of this constant rate factor; None: all, as it is.
        boxes: with ``crf``: (num_frames, 4), see `fl.data.degrade.reencoded_crops`.
    """

    row: int
    path: str
    crop: int = 0
    num_crops: int = 1
    crf: float | None = None
    boxes: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class ReadClip:
    """What became of one clip.

    Attributes:
        row: its place in the table.
        reason: why it cannot be used; empty if its tensors were written. All below is empty otherwise.
        valid_steps: MFCC steps that are not padding.
        has_audio: it has sound in its window.
        crc: CRC-32 of its row in the store's files.
        header: what its file says of itself.
    """

    row: int
    reason: str = ""
    valid_steps: int = 0
    has_audio: bool = False
    crc: int = 0
    header: Header | None = None

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "ReadClip":
        """The inverse of ``dataclasses.asdict``."""
        header = record["header"]
        return cls(**{**record, "header": None if header is None else Header(**header)})


def read_task(task: Task, setup: Setup) -> ReadClip:
    """Read a clip and write its row.

    Raises:
        RequestError: the cache cannot be written.
    """
    if task.crf is not None:
        return _reencode_task(task, task.crf, setup)
    folder = Path(setup.folder)
    try:
        clip = read_clip(
            Path(task.path), setup.settings, crop=task.crop, num_crops=task.num_crops, limits=setup.limits
        )
    except ClipError as error:
        return ReadClip(task.row, str(error))
    except Exception as error:
        # Whatever a damaged file makes a library raise costs that clip; it is counted and told by name.
        return ReadClip(task.row, f"cannot be read: {type(error).__name__}: {error}")
    with writing_to(folder.parent.parent):
        crc = write_row(folder, task.row, clip)
    return ReadClip(task.row, "", clip.valid_steps, clip.has_audio, crc, clip.header)


def _reencode_task(task: Task, crf: float, setup: Setup) -> ReadClip:
    folder, boxes = Path(setup.folder), np.array(task.boxes, dtype=np.float32)
    crops = {"crop": task.crop, "num_crops": task.num_crops}
    try:
        frames = reencoded_crops(Path(task.path), crf, boxes, setup.settings, setup.limits, **crops)
    except ClipError as error:
        return ReadClip(task.row, str(error))
    except Exception as error:  # as above
        return ReadClip(task.row, f"cannot be encoded anew: {type(error).__name__}: {error}")
    with writing_to(folder.parent.parent):
        crc = write_arrays(folder, task.row, {FRAMES_FILE: frames})
    return ReadClip(task.row, crc=crc)


def main() -> None:
    """Read clips until standard input ends, which it does with the parent, however that ended."""
    replies, lines = open_pipes()
    cv2.setNumThreads(1)  # clips are read in parallel instead
    first = json.loads(lines.get())
    clip = ClipSettings(**{**first["settings"], "face": FaceSettings(**first["settings"]["face"])})
    setup = Setup(clip, MediaSettings(**first["limits"]), first["folder"])
    _send(replies, {})
    while True:
        task = Task(**json.loads(lines.get()))
        try:
            _send(replies, asdict(read_task(task, setup)))
        except RequestError as error:
            _send(replies, {"error": str(error)})


def _send(replies: BinaryIO, record: dict[str, Any]) -> None:
    try:
        replies.write(json.dumps(record).encode() + b"\n")
    except BrokenPipeError:
        os._exit(0)  # the parent is gone
