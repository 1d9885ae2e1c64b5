"""Preprocessed clips on disk, memory-mapped; one store per split (docs/decisions/0002).

``<cache_dir>/shards/<digest>/`` holds ``shard.json`` (version, shapes, dtypes), ``clips.json`` (the
table, the settings, the files' headers, what was skipped and why) and the raw arrays ``frames.u8``,
``mfcc.f16``, ``boxes.f32``, ``times.f32``, ``labels.u8``, ``valid_steps.i32``, ``has_audio.u8``. While it
is built, ``<digest>.partial/`` holds what there is so far, and ``journal.jsonl``.

A shard is not to be sent to another process, or its pixels would
travel: send its path, and `open_shard` it there.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from fl.data.cache import writing_to
from fl.data.clips import MODALITIES, Clip, label_without
from fl.data.headers import DEFAULT_LIMITS, Header
from fl.data.reading import READER_VERSION
from fl.data.rows import BOXES_FILE, FRAMES_FILE, MFCC_FILE, TIMES_FILE
from fl.data.tables import SkippedClip, check_bad_share, fill_in, from_record, table_digest
from fl.data.writing import (
    HAS_AUDIO_FILE,
    LABELS_FILE,
    LAYOUT_FILE,
    TABLE_FILE,
    VALID_STEPS_FILE,
    Order,
    write_shard,
)
from fl.errors import DataError, RequestError
from fl.settings import ClipSettings, MediaSettings


@dataclass(frozen=True, eq=False)
class Shard:
    """A store of N clips; its arrays stay on disk.

    Attributes:
        digest: SHA-256 of what it was built from.
        path: its folder.
        clips: the N clips, in the order of the rows; length, number of frames and quality (the codec)
            are filled in where the corpus tells none.
        frames: (N, num_frames, image_size, image_size, 3) uint8 RGB, read-only memory map.
        mfcc: (N, steps, num_mfcc) float16, read-only memory map.
        labels: (N,) uint8, 1 = fake.
        valid_steps: (N,) int32, MFCC steps that are not padding.
        has_audio: (N,) uint8, 1 = the clip has sound in its window; its ``mfcc`` is zero otherwise.
        boxes: (N, num_frames, 4) float32: left, top, width, height of the face's track in pixels of the
            upright picture.
        times: (N, num_frames) float32, when each frame is shown, s.
        skipped: the clips that are not in it.
        headers: what the N files say of themselves.
    """

    digest: str
    path: Path
    clips: tuple[Clip, ...]
    frames: NDArray[np.uint8]
    mfcc: NDArray[np.float16]
    labels: NDArray[np.uint8]
    valid_steps: NDArray[np.int32]
    has_audio: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    times: NDArray[np.float32]
    skipped: tuple[SkippedClip, ...]
    headers: tuple[Header, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)


class ClipBatch(NamedTuple):
    """Copies of b clips.

    Attributes:
        frames: (b, T, H, W, 3) uint8; zero where the pictures are missing.
        mfcc: (b, steps, num_mfcc) float32; zero where the sound is missing.
        labels: (b,) float32, 1 = fake.
        modalities: (b, 2) float32, columns as ``MODALITIES``, 1 = present.
    """

    frames: NDArray[np.uint8]
    mfcc: NDArray[np.float32]
    labels: NDArray[np.float32]
    modalities: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ShardView:
    """Some rows of a store, e.g. one client's.

    Attributes:
        shard: the store.
        rows: (n,) int64, rows of the store.
        lacks: the modality that its holder's devices cannot record: "", "audio" or "video". A fake of
            which only that modality was altered is authentic in what remains, and has the label 0.
    """

    shard: Shard
    rows: NDArray[np.int64]
    lacks: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The n clips."""
        return tuple(self.shard.clips[row] for row in self.rows)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(n,) uint8, 1 = fake, in what is there."""
        return self._labels(self.rows)

    @property
    def valid_steps(self) -> NDArray[np.int32]:
        """(n,) int32, MFCC steps that are not padding."""
        return np.asarray(self.shard.valid_steps[self.rows])

    @property
    def modalities(self) -> NDArray[np.float32]:
        """(n, 2) float32, columns as ``MODALITIES``, 1 = present; both 0 where nothing is left."""
        return self._modalities(self.rows)

    def batch(self, indices: NDArray[np.integer[Any]] | Sequence[int] | slice) -> ClipBatch:
        """Copies of b clips, named by their index in the view."""
        rows = self.rows[indices]
        frames, mfcc = self.shard.frames, self.shard.mfcc
        return ClipBatch(
            np.zeros((len(rows), *frames.shape[1:]), np.uint8) if self.lacks == "video" else frames[rows],
            np.zeros((len(rows), *mfcc.shape[1:]), np.float32)
            if self.lacks == "audio"
            else np.asarray(mfcc[rows], dtype=np.float32),
            self._labels(rows).astype(np.float32),
            self._modalities(rows),
        )

    def _labels(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        if not self.lacks:
            return np.array(self.shard.labels[rows])
        return np.array([label_without(self.shard.clips[row], self.lacks) for row in rows], dtype=np.uint8)

    def _modalities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        present = np.ones((len(rows), len(MODALITIES)), dtype=np.float32)
        present[:, MODALITIES.index("audio")] = self.shard.has_audio[rows]
        if self.lacks:
            present[:, MODALITIES.index(self.lacks)] = 0
        return present


def take(shard: Shard, rows: NDArray[np.integer[Any]] | None = None, lacks: str = "") -> ShardView:
    """The view of those rows of a store (None: of all), whose holder lacks a modality ("": none).

    Raises:
        ValueError: ``lacks`` is no modality.
    """
    if lacks and lacks not in MODALITIES:
        raise ValueError(f"lacks must be one of {('', *MODALITIES)}, got {lacks!r}")
    chosen = np.arange(len(shard)) if rows is None else rows
    return ShardView(shard, np.asarray(chosen, dtype=np.int64), lacks)


def build_shard(
    clips: Sequence[Clip],
    settings: ClipSettings,
    cache_dir: Path,
    *,
    limits: MediaSettings = DEFAULT_LIMITS,
    num_workers: int = 1,
    max_bad_share: float = 0.0,
    advance: Callable[[int], None] = lambda num_clips: None,
) -> Shard:
    """Open the store of these clips, building it first if it is not there.

    If two processes ask at once, one builds and the other waits; if one is killed, the next goes on
    where it was. A clip that cannot be used is
    skipped, with one line in the log ``fedpin.data``; rows keep the order of ``clips``.

    Args:
        clips: what goes in.
        settings: how a clip is read.
        cache_dir: root of the cache; need not be writable if the store exists.
        limits: what a file may claim of itself, and how long reading it may take.
        num_workers: processes that decode; files are never decoded in this one, which they might end.
        max_bad_share: the largest share of unusable clips, [0, 1].
        advance: told the number of clips done since the last call, while building.

    Raises:
        DataError: no clip, none usable, or too many unusable.
        RequestError: the cache cannot be written, found out before anything is decoded; a setting is wrong.
    """
    if settings.face.smoothing % 2 == 0:
        raise RequestError(
            f"data.clip.face.smoothing must be odd, got {settings.face.smoothing}: "
            f"use {settings.face.smoothing - 1} or {settings.face.smoothing + 1}"
        )
    if not clips:
        raise DataError("no clips: this split of the corpus is empty; check data.root and the splits' shares")
    folder = cache_dir / "shards" / table_digest(clips, settings, limits, READER_VERSION)
    if not folder.is_dir():
        lock = FileLock(folder.with_name(f"{folder.name}.lock"))
        with writing_to(cache_dir):
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            if not folder.is_dir():
                order = Order(clips, settings, limits, num_workers, max_bad_share, advance)
                write_shard(order, folder)
        finally:
            lock.release()
    shard = open_shard(folder)
    check_bad_share(shard.skipped, len(clips), max_bad_share)
    skipped_rows = {skip.row for skip in shard.skipped}
    # The caller's clips, and not the table's: they know where the files are if the corpus was moved.
    used = [clip for row, clip in enumerate(clips) if row not in skipped_rows]
    return replace(shard, clips=tuple(map(fill_in, used, shard.headers)))


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
            has_audio=arrays[HAS_AUDIO_FILE],
            boxes=arrays[BOXES_FILE],
            times=arrays[TIMES_FILE],
            skipped=tuple(SkippedClip(**record) for record in table["skipped"]),
            headers=tuple(Header(**record) for record in table["headers"]),
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
