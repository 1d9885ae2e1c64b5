"""Writes a store of preprocessed clips: it appears whole or not at all, and a killed build is resumed."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fl.data.cache import flush, writing_to
from fl.data.clips import Clip
from fl.data.journal import Journal
from fl.data.reader import ReadClip, Setup, Task
from fl.data.readers import read_clips
from fl.data.reading import READER_VERSION
from fl.data.rows import compact_rows, row_shapes, row_sizes
from fl.data.tables import SkippedClip, check_bad_share, corpus_root, fill_in, printable, to_record
from fl.errors import DataError
from fl.settings import ClipSettings, MediaSettings

LABELS_FILE, VALID_STEPS_FILE, HAS_AUDIO_FILE = "labels.u8", "valid_steps.i32", "has_audio.u8"
LAYOUT_FILE, TABLE_FILE = "shard.json", "clips.json"

_LOG = logging.getLogger("fedpin.data")


@dataclass(frozen=True)
class Order:
    """What a store is built from, and how.

    Attributes:
        clips: what goes in.
        settings: how a clip is read.
        limits: what a file may claim of itself.
        num_workers: processes that decode.
        max_bad_share: the largest share of unusable clips, [0, 1].
        advance: told the number of clips done since the last call.
    """

    clips: Sequence[Clip]
    settings: ClipSettings
    limits: MediaSettings
    num_workers: int
    max_bad_share: float
    advance: Callable[[int], None]


def write_shard(order: Order, folder: Path) -> None:
    """Read the clips into ``folder``, whose name is their digest. The caller holds its lock.

    Everything is written beside it, flushed to the disk, and renamed. A builder that is killed leaves
    its part there, and the next one reads only what is missing.

    Raises:
        RequestError: the cache cannot be written.
        DataError: none usable, or too many unusable; nothing is left then.
    """
    cache_dir = folder.parent.parent
    partial = folder.with_name(f"{folder.name}.partial")
    sizes = row_sizes(order.settings)
    with writing_to(cache_dir):
        partial.mkdir(exist_ok=True)
        _reserve(partial, len(order.clips), sizes)
    journal = Journal(partial)
    try:
        done, skipped = _read(order, partial, journal)
    except DataError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    with writing_to(cache_dir):
        for name, row_bytes in sizes.items():
            compact_rows(partial / name, [clip.row for clip in done], row_bytes)
        _describe(partial, order, done, skipped, digest=folder.name)
        journal.remove()
        for file in partial.iterdir():
            flush(file)
        flush(partial)
        partial.rename(folder)
        flush(folder.parent)


def _reserve(partial: Path, num_clips: int, sizes: dict[str, int]) -> None:
    """Make the large files as long as they will be at most, if the disk has room for what they still lack."""
    files = {partial / name: num_clips * row_bytes for name, row_bytes in sizes.items()}
    needed_bytes = sum(files.values()) - sum(file.stat().st_blocks * 512 for file in files if file.exists())
    free_bytes = shutil.disk_usage(partial).free
    if needed_bytes > free_bytes:
        raise OSError(f"{needed_bytes} bytes are needed and {free_bytes} are free")
    for path, size_bytes in files.items():
        with path.open("ab") as file:
            file.truncate(size_bytes)


def _read(order: Order, partial: Path, journal: Journal) -> tuple[list[ReadClip], list[SkippedClip]]:
    """What was read and what was skipped, each in the order of the table; stops once too much is bad."""
    clips, root = order.clips, corpus_root(order.clips)
    done: list[ReadClip] = []
    skipped: list[SkippedClip] = []

    def note(clip: ReadClip) -> None:
        if clip.reason:
            name = printable(os.path.relpath(clips[clip.row].path, root))
            skipped.append(SkippedClip(clip.row, name, clip.reason))
            _LOG.warning("skipped %r: %s", name, clip.reason)
            check_bad_share(skipped, len(clips), order.max_bad_share)
        else:
            done.append(clip)
        order.advance(1)

    known = journal.entries(row_sizes(order.settings))
    for clip in known:
        note(clip)
    known_rows = {clip.row for clip in known}
    tasks = [
        Task(row, os.fspath(clip.path), clip.crop, clip.num_crops)
        for row, clip in enumerate(clips)
        if row not in known_rows
    ]
    setup = Setup(order.settings, order.limits, os.fspath(partial))
    for clip in read_clips(tasks, setup, num_workers=order.num_workers):
        with writing_to(partial.parent.parent):
            journal.append(clip)
        note(clip)
    return sorted(done, key=lambda clip: clip.row), sorted(skipped, key=lambda skip: skip.row)


def _describe(
    partial: Path, order: Order, done: list[ReadClip], skipped: list[SkippedClip], digest: str
) -> None:
    columns: dict[str, np.ndarray] = {
        LABELS_FILE: np.array([order.clips[clip.row].label for clip in done], dtype=np.uint8),
        VALID_STEPS_FILE: np.array([clip.valid_steps for clip in done], dtype=np.int32),
        HAS_AUDIO_FILE: np.array([clip.has_audio for clip in done], dtype=np.uint8),
    }
    arrays: dict[str, Any] = {
        name: {"shape": [len(done), *shape], "dtype": dtype}
        for name, (shape, dtype) in row_shapes(order.settings).items()
    }
    for name, column in columns.items():
        column.tofile(partial / name)
        arrays[name] = {"shape": [len(done)], "dtype": str(column.dtype)}
    layout = {"version": READER_VERSION, "digest": digest, "arrays": arrays}
    root = corpus_root(order.clips)
    headers = [clip.header for clip in done if clip.header is not None]
    table = {
        "root": str(root),
        "settings": asdict(order.settings),
        "limits": asdict(order.limits),
        "clips": [
            to_record(fill_in(order.clips[clip.row], header), root)
            for clip, header in zip(done, headers, strict=True)
        ],
        "headers": [asdict(header) for header in headers],
        "skipped": [asdict(skip) for skip in skipped],
    }
    for name, content in ((LAYOUT_FILE, layout), (TABLE_FILE, table)):
        (partial / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
