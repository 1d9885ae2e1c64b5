"""`python -m sim data check`: what a corpus holds, and what in it would spoil a result."""

import mimetypes
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fl.data.clips import Clip
from fl.data.headers import Header
from fl.data.inspection import FileFacts, inspect_files
from fl.data.leaks import find_leaks
from fl.data.problems import HARMLESS, Problem, bad_files, relative, spoilt_splits
from fl.data.splits import SPLITS
from fl.data.tables import corpus_root
from fl.settings import DataSettings, Experiment
from sim.progress import Progress


@dataclass(frozen=True)
class SplitCount:
    """The clips of one split, whether or not their files can be used."""

    num_real: int
    num_fake: int
    num_identities: int


@dataclass(frozen=True)
class CorpusCheck:
    """What `check_corpus` found.

    Attributes:
        corpus: name of its kind, e.g. "celebdf".
        root: the folder to which file names are relative.
        scheme: of the splits.
        clips: the table.
        facts: of every file that the table names.
        unlisted: videos and pictures below the root that the table does not name.
        problems: in the order in which they are to be told.
        notes: small matters, a sentence each.
    """

    corpus: str
    root: Path
    scheme: str
    clips: Sequence[Clip]
    facts: Mapping[Path, FileFacts]
    unlisted: Sequence[Path]
    problems: Sequence[Problem]
    notes: Sequence[str]

    @property
    def ok(self) -> bool:
        """Nothing would spoil a result."""
        return all(problem.kind in HARMLESS for problem in self.problems)

    @property
    def headers(self) -> list[Header]:
        """Of the files that can be used."""
        return _headers(self.facts.values())

    def splits(self) -> dict[str, SplitCount]:
        """Every split, also an empty one."""
        counts: dict[str, SplitCount] = {}
        for split in SPLITS:
            members = [clip for clip in self.clips if clip.split == split]
            num_fake = sum(clip.label for clip in members)
            identities = {clip.identity for clip in members}
            counts[split] = SplitCount(len(members) - num_fake, num_fake, len(identities))
        return counts


def check_corpus(
    clips: Sequence[Clip],
    experiment: Experiment,
    progress: Progress,
    *,
    look: bool,
    num_workers: int,
    notes: Sequence[str] = (),
) -> CorpusCheck:
    """Inspect every file of a table and look for what would spoil a result.

    Args:
        clips: the table, its splits final.
        experiment: how the corpus is read and split.
        progress: where the work is shown.
        look: compare pictures too; without, near-duplicates are not found.
        num_workers: processes that read.
        notes: small matters known already.
    """
    data, scheme = experiment.data, experiment.split.scheme
    made = data.corpus in ("synthetic", "folders")
    root = corpus_root(clips) if made else Path(data.root).expanduser()
    paths = list({clip.path: None for clip in clips})
    facts: dict[Path, FileFacts] = {}
    with progress.stage("Inspecting files", total=len(paths)) as advance:
        for found in inspect_files(paths, data.media, look=look, num_workers=num_workers):
            facts[found.path] = found
            advance(1)
    facts = {path: _without_sound(facts[path], data) for path in paths}
    with progress.stage("Looking for leaks"):
        leaks = find_leaks(clips, facts, root)
    unlisted = unlisted_files(root, paths)
    problems = [
        *(_leaky_scheme() if scheme == "random_crops_leaky" else ()),
        *leaks,
        *spoilt_splits(clips, facts, data.max_bad_share),
        *bad_files(facts.values(), root),
    ]
    told = [*notes, *_notes(facts, unlisted, root, data, look)]
    return CorpusCheck(data.corpus, root, scheme, clips, facts, unlisted, problems, told)


def unlisted_files(root: Path, listed: Iterable[Path]) -> list[Path]:
    """Videos and pictures below ``root`` that are not listed, hidden ones left out; sorted."""
    known = {os.path.abspath(path) for path in listed}
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(place, name) for name in names if not name.startswith(".")]
        found += [path for path in paths if _is_media(path) and os.path.abspath(path) not in known]
    return sorted(found)


def to_json(check: CorpusCheck) -> dict[str, Any]:
    """The answer to ``--json``."""
    identities = Counter(clip.identity for clip in check.clips)
    return {
        "ok": check.ok,
        "corpus": check.corpus,
        "root": str(check.root),
        "split_scheme": check.scheme,
        "num_clips": len(check.clips),
        "splits": {split: asdict(count) for split, count in check.splits().items()},
        "categories": dict(Counter(clip.category for clip in check.clips).most_common()),
        "identities": dict(sorted(identities.items())),
        "files": describe_files(check),
        "problems": [asdict(problem) for problem in check.problems],
        "notes": list(check.notes),
    }


def describe_files(check: CorpusCheck) -> dict[str, Any]:
    """Counts of the files by what their headers say; of lengths in s the spread, None without a video."""
    headers, videos = check.headers, _videos(check.headers)
    return {
        "num_files": len(check.facts),
        "num_usable": len(headers),
        "num_missing": sum(found.missing for found in check.facts.values()),
        "num_unlisted": len(check.unlisted),
        "num_with_audio": sum(header.has_audio for header in headers),
        "size_bytes": sum(found.size_bytes for found in check.facts.values()),
        "duration_s": _spread([header.duration_s for header in videos]),
        "resolutions": _count(f"{header.width}x{header.height}" for header in headers),
        "frame_rates": _count(f"{header.fps:.2f}".rstrip("0").rstrip(".") for header in videos),
        "codecs": _count(header.codec for header in headers),
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    parts = {
        "min": min(values),
        "median": statistics.median(values),
        "max": max(values),
        "sum": sum(values),
    }
    return {name: round(value, 3) for name, value in parts.items()}


def _count(names: Iterable[str]) -> dict[str, int]:
    """How often each occurs, the commonest first."""
    return dict(Counter(names).most_common())


def _headers(facts: Iterable[FileFacts]) -> list[Header]:
    return [found.header for found in facts if found.header is not None and not found.reason]


def _videos(headers: Iterable[Header]) -> list[Header]:
    return [header for header in headers if header.fps]


def _is_media(path: Path) -> bool:
    kind = mimetypes.guess_type(path.name)[0] or ""
    return kind.startswith(("video/", "image/"))


def _without_sound(facts: FileFacts, data: DataSettings) -> FileFacts:
    """A file that would be skipped for having no sound cannot be used."""
    if facts.header is None or facts.header.has_audio or not data.clip.require_audio:
        return facts
    return replace(facts, reason="no audio track, and data.clip.require_audio is true")


def _leaky_scheme() -> list[Problem]:
    reason = (
        "split=random_crops_leaky puts crops of one video into several splits by design: validation and "
        "test figures are too good; take split=by_identity for any result"
    )
    return [Problem("leak_random_crops", "", reason)]


def _notes(
    facts: Mapping[Path, FileFacts], unlisted: Sequence[Path], root: Path, data: DataSettings, look: bool
) -> list[str]:
    usable = [found for found in facts.values() if not found.reason]
    videos, clip = _videos(_headers(usable)), data.clip
    silent = sum(not header.has_audio for header in videos)
    short = sum(header.duration_s < clip.window_s - 0.05 for header in videos)
    few = sum(header.num_frames < clip.num_frames for header in videos)
    blank = sum(not found.fingerprint for found in usable)
    counted = [
        (silent, "have no sound: a mask tells the detectors so"),
        (short, f"are shorter than data.clip.window_s = {clip.window_s:g} s: padded"),
        (few, f"have fewer frames than data.clip.num_frames = {clip.num_frames}: some are repeated"),
        (blank if look else 0, "are too flat (black, say) to be compared with others"),
    ]
    notes = [f"{count} of {len(usable)} usable files {what}" for count, what in counted if count]
    if unlisted:
        first = relative(unlisted[0], root)
        notes.append(
            f"not named by the corpus: {len(unlisted)} videos or pictures below the root, e.g. {first}"
        )
    if not look:
        notes.append("near-duplicates were not looked for (--headers-only)")
    return notes
