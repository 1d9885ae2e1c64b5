"""Reading LAV-DF's layout: ``{train,dev,test}/*.mp4`` and ``metadata.min.json``.

The same reader serves the genuine data set and the corpora that fedpin writes, whose entries carry the
extra keys category, identity, source and group. Cai et al., DICTA 2022.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fl.data.clips import REAL, Clip, Split
from fl.data.corpora.building import METADATA_NAME
from fl.errors import DataError, RequestError
from fl.seeds import derive

SPLITS: dict[str, Split] = {"dev": "validation", "test": "test"}


def read_corpus(root: Path, public_share: float, seed: int) -> list[Clip]:
    """The clips of a corpus in LAV-DF's layout.

    Args:
        root: folder of the corpus.
        public_share: share of the training groups that go to the server's split, in (0, 1).
        seed: of the choice of those groups.

    Returns:
        Clips in the order of the metadata: train becomes "public" and "clients" by whole groups, dev
        "validation", test "test". Without the extra keys a fake belongs to its original.

    Raises:
        RequestError: ``root`` is not a folder or has no metadata.
        DataError: the metadata is malformed, empty, or names a file outside ``root``.
    """
    entries = read_metadata(root)
    resolved = root.resolve()
    drafts = [read_entry(entry, position, root, resolved) for position, entry in enumerate(entries)]
    train_groups = sorted({clip.group for clip, split in drafts if split == "train"})
    public = choose_public(train_groups, public_share, seed)
    clips = []
    for clip, split in drafts:
        training: Split = "public" if clip.group in public else "clients"
        clips.append(replace(clip, split=SPLITS.get(split, training)))
    return clips


def read_metadata(root: Path) -> list[dict[str, Any]]:
    """The entries of ``metadata.min.json``, a list that is not empty."""
    remedy = f"set data.root to a folder that holds {METADATA_NAME} beside train, dev and test"
    if not root.is_dir():
        raise RequestError(f"data.root must be a folder that exists, got {str(root)!r}: {remedy}")
    path = root / METADATA_NAME
    if not path.is_file():
        raise RequestError(f"data.root must hold {METADATA_NAME}, got {str(root)!r}: {remedy}")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"data.root: {str(path)!r} is not valid JSON ({error}): fetch it again") from error
    if not isinstance(entries, list) or not entries:
        raise DataError(f"data.root: {str(path)!r} must be a list with at least one clip: {remedy}")
    return entries


def read_entry(entry: Any, position: int, root: Path, resolved: Path) -> tuple[Clip, str]:
    """One clip (its split not yet final) and LAV-DF's name of its split."""
    try:
        file, split = str(entry["file"]), str(entry["split"])
        periods = tuple((float(start), float(end)) for start, end in entry["fake_periods"])
        video, audio = bool(entry["modify_video"]), bool(entry["modify_audio"])
        original = entry.get("original")
        duration, frames = float(entry.get("duration") or 0.0), int(entry.get("video_frames") or 0)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"data.root: entry {position} of {METADATA_NAME} is malformed ({type(error).__name__}: {error}): "
            "it needs file, split, fake_periods, modify_video and modify_audio"
        ) from error
    if split not in ("train", "dev", "test"):
        raise DataError(f"data.root: split of {file!r} must be train, dev or test, got {split!r}")
    path = root / file
    if not path.resolve().is_relative_to(resolved):
        raise DataError(
            f"data.root: {file!r} lies outside {str(root)!r}: entries must name files below data.root"
        )
    fake = video or audio or bool(periods)
    source = str(entry.get("source") or original or file)
    identity = str(entry.get("identity") or source)
    clip = Clip(
        path=path,
        label=int(fake),
        category=str(entry.get("category") or name_category(video, audio, fake)),
        identity=identity,
        source=source,
        group=str(entry.get("group") or identity),
        split="clients",
        fake_periods=periods,
        modify_video=video,
        modify_audio=audio,
        duration_s=duration,
        num_frames=frames,
    )
    return clip, split


def name_category(modify_video: bool, modify_audio: bool, fake: bool) -> str:
    """LAV-DF's four kinds, for entries without a category of their own."""
    if modify_video and modify_audio:
        return "VideoAudio"
    if modify_video:
        return "Video"
    if modify_audio:
        return "Audio"
    return "Fake" if fake else REAL


def choose_public(groups: list[str], public_share: float, seed: int) -> set[str]:
    """A random share of the groups, at least one and, with two groups or more, not all."""
    if not groups:
        return set()
    count = min(max(round(len(groups) * public_share), 1), max(len(groups) - 1, 1))
    order = np.random.default_rng(derive(seed, "public groups")).permutation(len(groups))
    return {groups[index] for index in order[:count]}
