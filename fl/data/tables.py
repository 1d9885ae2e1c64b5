"""The table of clips as JSON, its digest, and what to do about clips that cannot be used."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fl.data.clips import Clip
from fl.data.headers import Header
from fl.errors import DataError
from fl.settings import ClipSettings, MediaSettings


@dataclass(frozen=True)
class SkippedClip:
    """A clip that could not be used.

    Attributes:
        row: its place in the table that was asked for.
        file: its path relative to the corpus, printable.
        reason: why.
    """

    row: int
    file: str
    reason: str


def corpus_root(clips: Sequence[Clip]) -> Path:
    """The deepest folder that holds all clips."""
    return Path(os.path.commonpath([os.path.abspath(clip.path.parent) for clip in clips]))


def to_record(clip: Clip, root: Path) -> dict[str, Any]:
    """A clip for JSON, its path relative to ``root``."""
    return {**asdict(clip), "path": os.path.relpath(clip.path, root)}


def from_record(record: dict[str, Any], root: Path) -> Clip:
    """The clip of a record of `to_record`."""
    periods = tuple((float(start), float(end)) for start, end in record["fake_periods"])
    return Clip(**{**record, "path": root / record["path"], "fake_periods": periods})


def printable(path: str) -> str:
    """A file's name as it can be printed and sent anywhere: what is not UTF-8 becomes a backslash code."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def fill_in(clip: Clip, header: Header) -> Clip:
    """The clip with length, number of frames and codec (as its quality) where its corpus tells none."""
    return replace(
        clip,
        duration_s=clip.duration_s or header.duration_s,
        num_frames=clip.num_frames or header.num_frames,
        quality=clip.quality or header.codec,
    )


def table_digest(
    clips: Sequence[Clip], settings: ClipSettings, limits: MediaSettings, reader_version: int
) -> str:
    """SHA-256 over the table, its files' sizes and times of change, the settings and the reader's version.

    The limits count too: they decide which clips a store lacks, so a store that was built under other
    limits is another store.

    Paths count relative to the clips' common folder. Size and time (as in make and git) stand for the
    contents, so that a corpus of any size is known at once; a copied corpus is read again.
    """
    root = corpus_root(clips)
    described = []
    for clip in clips:
        status = clip.path.stat() if clip.path.is_file() else None
        described.append([to_record(clip, root), [status.st_size, status.st_mtime_ns] if status else None])
    text = json.dumps([reader_version, asdict(settings), asdict(limits), described], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_bad_share(skipped: Sequence[SkippedClip], num_clips: int, max_bad_share: float) -> None:
    """Refuse a corpus of which too much, or everything, cannot be used; may be asked before all is read.

    Raises:
        DataError: with the counts, the commonest reasons and an example of each.
    """
    share = len(skipped) / num_clips
    if share <= max_bad_share and len(skipped) < num_clips:
        return
    counts = Counter(skip.reason for skip in skipped).most_common(3)
    examples = {skip.reason: skip.file for skip in reversed(skipped)}
    reasons = "; ".join(f"{count} x {reason} (as {examples[reason]!r})" for reason, count in counts)
    if len(skipped) == num_clips:
        raise DataError(f"none of the {num_clips} clips can be used: {reasons}; check data.root")
    raise DataError(
        f"data.max_bad_share is {max_bad_share:g}, but at least {len(skipped)} of {num_clips} clips "
        f"({share:.3f}) cannot be used: {reasons}; mend or remove these files, or raise data.max_bad_share"
    )
