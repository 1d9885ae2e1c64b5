"""From one video file to a detector's tensors, and many of them in parallel.

Worker processes import this module: it and what it imports must stay free of torch.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.data.cache import writing_to
from fl.data.faces import crop_faces, detect_faces, fill_track
from fl.data.features import mfcc, num_steps
from fl.data.media import read_window
from fl.errors import ClipError, DataError
from fl.settings import ClipSettings

READER_VERSION = 1
"""Part of every shard's digest: raise it when the same file would give other tensors."""

FRAMES_FILE, MFCC_FILE = "frames.u8", "mfcc.f16"
_CHUNK = 8  # clips handed to a worker at a time
_MIN_CLIPS_PER_WORKER = 32  # below this, starting a process costs more than it saves


@dataclass(frozen=True, eq=False)
class ClipTensors:
    """One clip as a detector sees it.

    Attributes:
        frames: (num_frames, image_size, image_size, 3) uint8 RGB, the face.
        mfcc: (steps, num_mfcc) float32; zero from ``valid_steps`` on.
        valid_steps: MFCC steps that the clip really has: fewer than ``steps`` if it is shorter
            than the window.
    """

    frames: NDArray[np.uint8]
    mfcc: NDArray[np.float32]
    valid_steps: int


@dataclass(frozen=True)
class ReadClip:
    """What became of one clip: ``reason`` is empty if its tensors were written."""

    row: int
    valid_steps: int = 0
    reason: str = ""


def read_clip(path: Path, settings: ClipSettings) -> ClipTensors:
    """Decode, find the face, crop, and compute the MFCC.

    Raises:
        ClipError: the clip cannot be used; the message is the reason.
    """
    window = read_window(path, num_frames=settings.num_frames, window_s=settings.window_s)
    track = fill_track(detect_faces(window.frames, min_face=settings.face.min_side))
    steps = num_steps(settings.window_s)
    return ClipTensors(
        frames=crop_faces(window.frames, track, margin=settings.face.margin, size=settings.image_size),
        mfcc=mfcc(window.audio, settings.num_mfcc, steps=steps),
        valid_steps=min(steps, num_steps(window.valid_s)),
    )


def read_clips(
    paths: Sequence[Path], settings: ClipSettings, folder: Path, *, num_workers: int
) -> Iterator[ReadClip]:
    """Read clips in parallel and write each into its row of the two files in ``folder``.

    The files must exist; row i belongs to ``paths[i]``, so their bytes do not depend on the number
    of workers. Memory does not grow with the number of clips.

    Args:
        paths: the clips.
        settings: how they are read.
        folder: holds ``frames.u8`` and ``mfcc.f16``; two levels under the root of the cache.
        num_workers: processes; 1, or a few clips only: this one.

    Yields:
        what became of each clip, in the order in which they are done.

    Raises:
        RequestError: the cache cannot be written.
        DataError: a worker process died.
    """
    num_processes = min(num_workers, len(paths) // _MIN_CLIPS_PER_WORKER)
    if num_processes <= 1:
        for row in range(len(paths)):
            yield from _read_chunk([row], [paths[row]], settings, folder)
        return
    chunks = [range(start, min(start + _CHUNK, len(paths))) for start in range(0, len(paths), _CHUNK)]
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, context, initializer=_obey_parent)
    try:
        waiting = [
            pool.submit(_read_chunk, rows, [paths[r] for r in rows], settings, folder) for rows in chunks
        ]
        for done in as_completed(waiting):
            yield from done.result()
    except BrokenProcessPool as error:
        raise DataError(
            "a process that reads clips died (killed, out of memory, or crashed by a file): "
            "run again with num_workers 1 to see at which file"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _obey_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read_chunk(
    rows: Sequence[int], paths: Sequence[Path], settings: ClipSettings, folder: Path
) -> list[ReadClip]:
    done = []
    for row, path in zip(rows, paths, strict=True):
        try:
            clip = read_clip(path, settings)
        except ClipError as error:
            done.append(ReadClip(row, reason=str(error)))
            continue
        for name, data in ((FRAMES_FILE, clip.frames), (MFCC_FILE, clip.mfcc.astype(np.float16))):
            # Written, not mapped: a full disk is then an error and not a fatal signal.
            with writing_to(folder.parent.parent), (folder / name).open("r+b") as file:
                file.seek(row * data.nbytes)
                file.write(data.tobytes())
        done.append(ReadClip(row, clip.valid_steps))
    return done
