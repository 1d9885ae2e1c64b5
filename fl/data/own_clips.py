"""The clips of one device: a folder of its own videos, read by the readers of corpora, to a store."""

from dataclasses import replace
from pathlib import Path

from fl.data.clips import Clip, without_sound
from fl.data.corpora import folders
from fl.data.corpora.catalogue import READERS
from fl.data.shards import Shard, build_shard
from fl.errors import DataError, RequestError
from fl.settings import DataSettings

LAYOUTS = (*READERS, "folders")
"""How a device's folder may be laid out: as a corpus that is read, or as real videos to forge fakes from."""


def read_own_clips(root: Path, layout: str, data: DataSettings, cache_dir: Path, workers: int) -> list[Clip]:
    """All clips of a folder but those that its table or layout gives to validation or test.

    They come in the order of their paths, as `fl.data.splits.assign_splits` gives a simulation's.

    Args:
        root: the device's folder.
        layout: one of `LAYOUTS`.
        data: of the run; its own corpus and root are not looked at.
        cache_dir: where forged clips go.
        workers: processes to use.

    Raises:
        RequestError: no such layout, or the folder does not hold it.
        DataError: nothing of it can be used.
    """
    if layout not in LAYOUTS:
        raise RequestError(f"data-layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    if layout == "folders":
        all_for_training = replace(data.folders, validation_share=0.0, test_share=0.0)
        root = folders.build_corpus(
            root, all_for_training, cache_dir, lambda count: None, workers, data.max_bad_share
        )
        layout = "lavdf"
    clips = [clip for clip in READERS[layout](root, data) if clip.split in ("", "train")]
    if not clips:
        raise DataError("data-root holds no clip for training: all are marked validation or test")
    return sorted(clips, key=lambda clip: clip.path.as_posix())


def build_own_store(
    root: Path, layout: str, data: DataSettings, cache_dir: Path, *, hears: bool, workers: int
) -> Shard:
    """The store of a device's own clips, preprocessed as the run asks; built once.

    Args:
        root: the device's folder.
        layout: one of `LAYOUTS`.
        data: of the run.
        cache_dir: root of the device's cache.
        hears: whether the student takes sound; if not, fakes of the sound alone count as real.
        workers: processes that decode.

    Raises:
        FedpinError: as `read_own_clips` and `build_shard`.
    """
    clips = read_own_clips(root, layout, data, cache_dir, workers)
    return build_shard(
        [replace(clip if hears else without_sound(clip), split="clients") for clip in clips],
        data.clip,
        cache_dir,
        limits=data.media,
        num_workers=workers,
        max_bad_share=data.max_bad_share,
    )
