"""Writes a store of preprocessed clips so that it appears whole or not at all."""

import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fl.data.cache import flush, writing_to
from fl.data.clips import Clip
from fl.data.features import num_steps
from fl.data.reading import FRAMES_FILE, MFCC_FILE, READER_VERSION, ReadClip, read_clips
from fl.data.tables import SkippedClip, check_bad_share, corpus_root, to_record
from fl.settings import ClipSettings

LABELS_FILE, VALID_STEPS_FILE = "labels.u8", "valid_steps.i32"
LAYOUT_FILE, TABLE_FILE = "shard.json", "clips.json"

_LOG = logging.getLogger("fedpin.data")


def write_shard(
    clips: Sequence[Clip],
    settings: ClipSettings,
    folder: Path,
    *,
    num_workers: int,
    max_bad_share: float,
    advance: Callable[[int], None],
) -> None:
    """Read the clips into ``folder``, whose name is their digest. The caller holds its lock.

    Everything is written beside it, flushed to the disk, and renamed; what a killed builder left is removed.

    Raises:
        RequestError: the cache cannot be written.
        DataError: none usable, or too many unusable.
    """
    cache_dir = folder.parent.parent
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    shapes = row_shapes(settings)
    try:
        with writing_to(cache_dir):
            for stale in folder.parent.glob(f"{folder.name}.partial-*"):
                shutil.rmtree(stale)
            partial.mkdir()
            _reserve(partial, len(clips), shapes)
        done, skipped = _read(clips, settings, partial, num_workers, max_bad_share, advance)
        with writing_to(cache_dir):
            for name, (shape, dtype) in shapes.items():
                _compact(
                    partial / name, [clip.row for clip in done], math.prod(shape) * np.dtype(dtype).itemsize
                )
            _describe(partial, clips, settings, done, skipped, digest=folder.name)
            for file in partial.iterdir():
                flush(file)
            flush(partial)
            partial.rename(folder)
            flush(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def row_shapes(settings: ClipSettings) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of one clip's row in each of the large files."""
    side = settings.image_size
    return {
        FRAMES_FILE: ((settings.num_frames, side, side, 3), "uint8"),
        MFCC_FILE: ((num_steps(settings.window_s), settings.num_mfcc), "float16"),
    }


def _reserve(partial: Path, num_clips: int, shapes: dict[str, tuple[tuple[int, ...], str]]) -> None:
    sizes = {
        name: num_clips * math.prod(shape) * np.dtype(dtype).itemsize
        for name, (shape, dtype) in shapes.items()
    }
    free_bytes = shutil.disk_usage(partial).free
    if sum(sizes.values()) > free_bytes:
        raise OSError(f"{sum(sizes.values())} bytes are needed and {free_bytes} are free")
    for name, size_bytes in sizes.items():
        with (partial / name).open("wb") as file:
            file.truncate(size_bytes)


def _read(
    clips: Sequence[Clip],
    settings: ClipSettings,
    partial: Path,
    num_workers: int,
    max_bad_share: float,
    advance: Callable[[int], None],
) -> tuple[list[ReadClip], list[SkippedClip]]:
    """What was read and what was skipped, each in the order of the table; stops once too much is bad."""
    root = corpus_root(clips)
    done: list[ReadClip] = []
    skipped: list[SkippedClip] = []
    for clip in read_clips([clip.path for clip in clips], settings, partial, num_workers=num_workers):
        if clip.reason:
            skipped.append(SkippedClip(clip.row, os.path.relpath(clips[clip.row].path, root), clip.reason))
            _LOG.warning("skipped %r: %s", skipped[-1].file, clip.reason)
            check_bad_share(skipped, len(clips), max_bad_share)
        else:
            done.append(clip)
        advance(1)
    return sorted(done, key=lambda clip: clip.row), sorted(skipped, key=lambda clip: clip.row)


def _compact(path: Path, rows: list[int], row_bytes: int) -> None:
    """Move the rows that were read to the front of the file, in order, and cut off the rest."""
    with path.open("r+b") as file:
        for target, row in enumerate(rows):
            if target == row:
                continue
            file.seek(row * row_bytes)
            data = file.read(row_bytes)
            file.seek(target * row_bytes)
            file.write(data)
        file.truncate(len(rows) * row_bytes)


def _describe(
    partial: Path,
    clips: Sequence[Clip],
    settings: ClipSettings,
    done: list[ReadClip],
    skipped: list[SkippedClip],
    digest: str,
) -> None:
    np.array([clips[clip.row].label for clip in done], dtype=np.uint8).tofile(partial / LABELS_FILE)
    np.array([clip.valid_steps for clip in done], dtype=np.int32).tofile(partial / VALID_STEPS_FILE)
    arrays: dict[str, Any] = {
        name: {"shape": [len(done), *shape], "dtype": dtype}
        for name, (shape, dtype) in row_shapes(settings).items()
    }
    arrays[LABELS_FILE] = {"shape": [len(done)], "dtype": "uint8"}
    arrays[VALID_STEPS_FILE] = {"shape": [len(done)], "dtype": "int32"}
    layout = {"version": READER_VERSION, "digest": digest, "arrays": arrays}
    root = corpus_root(clips)
    table = {
        "root": str(root),
        "settings": asdict(settings),
        "clips": [to_record(clips[clip.row], root) for clip in done],
        "skipped": [asdict(skip) for skip in skipped],
    }
    for name, content in ((LAYOUT_FILE, layout), (TABLE_FILE, table)):
        (partial / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
