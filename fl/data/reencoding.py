"""Whole files through H.264 in reader processes: a file that hangs or ends its decoder costs itself only."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.data.clips import Clip
from fl.data.reader import Setup, Task
from fl.data.readers import read_clips
from fl.data.rows import FRAMES_FILE, row_shapes, row_sizes
from fl.settings import ClipSettings, MediaSettings

ENCODING_TIMES = 5
"""Encoding may take so many times what reading may (``data.media.timeout_s``)."""


def reencode_clips(
    clips: Sequence[Clip],
    boxes: NDArray[np.float32],
    crf: float,
    settings: ClipSettings,
    limits: MediaSettings,
    *,
    num_workers: int,
    advance: Callable[[int], None] = lambda num_clips: None,
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """The crops of some clips after H.264, see `fl.data.degrade.reencoded_crops`.

    Args:
        clips: of videos.
        boxes: (clips, num_frames, 4), the originals' face tracks.
        crf: constant rate factor of x264, [0, 51].
        settings: how they were read.
        limits: what a file may claim of itself, and how long it may take.
        num_workers: processes.
        advance: told of each clip that is done.

    Returns:
        (clips, num_frames, image_size, image_size, 3), zero where there is none; and index -> why not.

    Raises:
        RequestError: the temporary folder cannot be written.
        DataError: no reader could be started.
    """
    shape, _ = row_shapes(settings)[FRAMES_FILE]
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "clips" / "reencoded"
        folder.mkdir(parents=True)
        with (folder / FRAMES_FILE).open("wb") as file:
            file.truncate(len(clips) * row_sizes(settings)[FRAMES_FILE])
        slow = replace(limits, timeout_s=ENCODING_TIMES * limits.timeout_s)
        tasks = [
            Task(index, str(clip.path), clip.crop, clip.num_crops, crf, track.tolist())
            for index, (clip, track) in enumerate(zip(clips, boxes, strict=True))
        ]
        reasons = {}
        for done in read_clips(tasks, Setup(settings, slow, str(folder)), num_workers=num_workers):
            if done.reason:
                reasons[done.row] = done.reason
            advance(1)
        return np.fromfile(folder / FRAMES_FILE, np.uint8).reshape(len(clips), *shape), reasons
