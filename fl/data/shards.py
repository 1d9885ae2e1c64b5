"""Preprocessed clips on disk, memory-mapped; one store per split (docs/decisions/0002).

``<cache_dir>/shards/<digest>/`` holds ``shard.json`` (version, shapes, dtypes), ``clips.json`` (the
table, the settings, what was skipped and why) and the raw arrays ``frames.u8``, ``mfcc.f16``,
``labels.u8``, ``valid_steps.i32``. A shard is not to be sent to another process, or its pixels would
travel: send its path, and `open_shard` it there.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from fl.data.cache import writing_to
from fl.data.clips import Clip
from fl.data.reading import FRAMES_FILE, MFCC_FILE, READER_VERSION
from fl.data.tables import SkippedClip, check_bad_share, from_record, table_digest
from fl.data.writing import (
    LABELS_FILE,
    LAYOUT_FILE,
    TABLE_FILE,
    VALID_STEPS_FILE,
    write_shard,
)
from fl.errors import DataError
from fl.settings import ClipSettings


@dataclass(frozen=True, eq=False)
class Shard:
    """A store of N clips; its arrays stay on disk.

    Attributes:
        digest: SHA-256 of what it was built from.
        path: its folder.
        clips: the N clips, in the order of the rows.
        frames: (N, num_frames, image_size, image_size, 3) uint8 RGB, read-only memory map.
        mfcc: (N, steps, num_mfcc) float16, read-only memory map.
        labels: (N,) uint8, 1 = fake.
        valid_steps: (N,) int32, MFCC steps that are not padding.
        skipped: the clips that are not in it.
    """

    digest: str
    path: Path
    clips: tuple[Clip, ...]
    frames: NDArray[np.uint8]
    mfcc: NDArray[np.float16]
    labels: NDArray[np.uint8]
    valid_steps: NDArray[np.int32]
    skipped: tuple[SkippedClip, ...]

    def __len__(self) -> int:
        return len(self.clips)


@dataclass(frozen=True, eq=False)
class ShardView:
    """Some rows of a store, e.g. one client's.

    Attributes:
        shard: the store.
        rows: (n,) int64, rows of the store.
    """

    shard: Shard
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The n clips."""
        return tuple(self.shard.clips[row] for row in self.rows)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(n,) uint8, 1 = fake."""
        return np.asarray(self.shard.labels[self.rows])

    @property
    def valid_steps(self) -> NDArray[np.int32]:
        """(n,) int32, MFCC steps that are not padding."""
        return np.asarray(self.shard.valid_steps[self.rows])

    def batch(
        self, indices: NDArray[np.integer[Any]] | Sequence[int] | slice
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """Copies of b clips, named by their index in the view.

        Returns:
            frames (b, T, H, W, 3) uint8; mfcc (b, steps, num_mfcc) float32; labels (b,) float32.
        """
        rows = self.rows[indices]
        return (
            np.asarray(self.shard.frames[rows]),
            np.asarray(self.shard.mfcc[rows], dtype=np.float32),
            np.asarray(self.shard.labels[rows], dtype=np.float32),
        )


def take(shard: Shard, rows: NDArray[np.integer[Any]] | None = None) -> ShardView:
    """The view of those rows of a store; None: of all."""
    chosen = np.arange(len(shard)) if rows is None else rows
    return ShardView(shard, np.asarray(chosen, dtype=np.int64))


def build_shard(
    clips: Sequence[Clip],
    settings: ClipSettings,
    cache_dir: Path,
    *,
    num_workers: int = 1,
    max_bad_share: float = 0.0,
    advance: Callable[[int], None] = lambda num_clips: None,
) -> Shard:
    """Open the store of these clips, building it first if it is not there.

    If two processes ask at once, one builds and the other waits. A clip that cannot be used is
    skipped, with one line in the log ``fedpin.data``; rows keep the order of ``clips``.

    Args:
        clips: what goes in.
        settings: how a clip is read.
        cache_dir: root of the cache; need not be writable if the store exists.
        num_workers: processes that decode; 1: this one.
        max_bad_share: the largest share of unusable clips, [0, 1].
        advance: told the number of clips done since the last call, while building.

    Raises:
        DataError: no clip, none usable, or too many unusable.
        RequestError: the cache cannot be written; found out before anything is decoded.
    """
    if not clips:
        raise DataError("no clips: this split of the corpus is empty; check data.root and the splits' shares")
    folder = cache_dir / "shards" / table_digest(clips, settings, READER_VERSION)
    if not folder.is_dir():
        lock = FileLock(folder.with_name(f"{folder.name}.lock"))
        with writing_to(cache_dir):
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            if not folder.is_dir():
                write_shard(
                    clips,
                    settings,
                    folder,
                    num_workers=num_workers,
                    max_bad_share=max_bad_share,
                    advance=advance,
                )
        finally:
            lock.release()
    shard = open_shard(folder)
    check_bad_share(shard.skipped, len(clips), max_bad_share)
    skipped_rows = {skip.row for skip in shard.skipped}
    # The caller's clips, and not the table's: they know where the files are if the corpus was moved.
    return replace(shard, clips=tuple(clip for row, clip in enumerate(clips) if row not in skipped_rows))


def open_shard(path: Path) -> Shard:
    """Open a store that was built.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        layout = json.loads((path / LAYOUT_FILE).read_text(encoding="utf-8"))
        table = json.loads((path / TABLE_FILE).read_text(encoding="utf-8"))
        arrays = {name: _map(path / name, **entry) for name, entry in layout["arrays"].items()}
        root = Path(table["root"])
        return Shard(
            digest=layout["digest"],
            path=path,
            clips=tuple(from_record(record, root) for record in table["clips"]),
            frames=arrays[FRAMES_FILE],
            mfcc=arrays[MFCC_FILE],
            labels=arrays[LABELS_FILE],
            valid_steps=arrays[VALID_STEPS_FILE],
            skipped=tuple(SkippedClip(**record) for record in table["skipped"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"shard {str(path)!r} cannot be read ({error}): delete that folder and run again"
        ) from error


def _map(path: Path, shape: list[int], dtype: str) -> NDArray[Any]:
    expected_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if path.stat().st_size != expected_bytes:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {expected_bytes}")
    return np.memmap(path, dtype=np.dtype(dtype), mode="r", shape=tuple(shape))
