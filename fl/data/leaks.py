"""Leaks between splits: what a detector could recognise in the test because it has seen it in training.

The splits are compared in pairs: the server's public clips, the clients', validation and test.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fl.data.clips import Clip
from fl.data.fingerprints import NEAR_SHARE, differing_shares, pack
from fl.data.inspection import FileFacts
from fl.data.problems import Problem, relative
from fl.data.splits import SPLITS


def find_leaks(clips: Sequence[Clip], facts: Mapping[Path, FileFacts], root: Path) -> list[Problem]:
    """Every leak between the splits, by what the table says and by what the files hold.

    Args:
        clips: the table, its splits final.
        facts: of the files; those that could not be read are compared by the table alone.
        root: file names are given relative to it.

    Returns:
        One problem per file, source or person that is in two splits, and per file that nearly equals one
        of an earlier split. Files of one source are not called near-duplicates too.
    """
    contents = digest_alike(clips, facts)
    return [
        *_shared(
            clips, root, "leak_file", "its content", lambda clip: contents.get(clip.path, str(clip.path))
        ),
        *_shared(clips, root, "leak_source", "source {!r}", lambda clip: clip.source),
        *_shared(clips, root, "leak_identity", "identity {!r}", lambda clip: clip.identity),
        *_leaking_donors(clips, root),
        *near_duplicates(clips, facts, contents, root),
    ]


def digest_alike(clips: Sequence[Clip], facts: Mapping[Path, FileFacts]) -> dict[Path, str]:
    """SHA-256 of the files whose size occurs in two splits; others are not read, for they are different."""
    by_size: dict[int, dict[Path, str]] = defaultdict(dict)
    for clip in clips:
        if clip.path in facts and facts[clip.path].size_bytes:
            by_size[facts[clip.path].size_bytes][clip.path] = clip.split
    alike = [path for paths in by_size.values() if len(set(paths.values())) > 1 for path in paths]
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter's lock
        digests = dict(zip(alike, pool.map(_digest, alike), strict=True))
    return {path: digest for path, digest in digests.items() if digest}


def near_duplicates(
    clips: Sequence[Clip], facts: Mapping[Path, FileFacts], contents: Mapping[Path, str], root: Path
) -> list[Problem]:
    """For each file, the one of an earlier split that it resembles most, if they are near-duplicates.

    Args:
        clips: the table.
        facts: with the fingerprints.
        contents: digests of files, where known: equal files are no near-duplicates.
        root: file names are given relative to it.
    """
    first = {clip.path: clip for clip in reversed(clips)}
    seen = [clip for clip in first.values() if clip.path in facts and facts[clip.path].fingerprint]
    seen.sort(key=lambda clip: (SPLITS.index(clip.split), str(clip.path)))
    if not seen:
        return []
    packed = pack([facts[clip.path].fingerprint for clip in seen])
    sources = np.unique([clip.source for clip in seen], return_inverse=True)[1]
    digests = np.array([contents.get(clip.path, str(clip.path)) for clip in seen])
    starts = {clip.split: row for row, clip in reversed(list(enumerate(seen)))}
    problems = []
    for row, clip in enumerate(seen):
        earlier = slice(starts[clip.split])
        shares = differing_shares(packed[row], packed[earlier])
        shares[(sources[earlier] == sources[row]) | (digests[earlier] == digests[row])] = 1.0
        nearest = int(shares.argmin()) if len(shares) else -1
        if nearest >= 0 and shares[nearest] <= NEAR_SHARE:
            problems.append(_near(clip, seen[nearest], float(shares[nearest]), root))
    return problems


def _near(clip: Clip, other: Clip, share: float, root: Path) -> Problem:
    training = {clip.split, other.split} == {"public", "clients"}
    return Problem(
        "near_duplicate" if training else "leak_near_duplicate",
        relative(clip.path, root),
        f"in {clip.split}, shows nearly the same as {relative(other.path, root)} in {other.split}: "
        f"their fingerprints differ in {share:.1%} of the bits, the limit is {NEAR_SHARE:.0%}",
    )


def _shared(
    clips: Sequence[Clip], root: Path, kind: str, what: str, key: Callable[[Clip], str]
) -> list[Problem]:
    return [
        _problem(kind, what.format(key(members[0])), members, root)
        for members in _groups([clip for clip in clips if key(clip)], key)
    ]


def _groups(clips: Sequence[Clip], key: Callable[[Clip], str]) -> list[list[Clip]]:
    """The clips of each key that is in more than one split."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[key(clip)].append(clip)
    return [members for members in groups.values() if len({clip.split for clip in members}) > 1]


def _leaking_donors(clips: Sequence[Clip], root: Path) -> list[Problem]:
    """People lent to a fake of one split who are seen, or lent again, in another."""
    lent: dict[str, list[Clip]] = defaultdict(list)
    seen: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        seen[clip.identity].append(clip)
        if clip.donor and clip.donor != clip.identity:
            lent[clip.donor].append(clip)
    problems = []
    for donor, fakes in lent.items():
        own = seen.get(donor, [])
        splits = {clip.split for clip in own}
        if len({clip.split for clip in fakes} | splits) > 1:
            problems.append(_problem("leak_donor", f"donor {donor!r}", [*own, *fakes], root))
    return problems


def _problem(kind: str, what: str, members: Sequence[Clip], root: Path) -> Problem:
    """Names a file of the latest split, and one of each other split."""
    counts = Counter(clip.split for clip in members)
    first = {clip.split: clip for clip in reversed(members)}
    splits = [split for split in SPLITS if split in counts]
    last = splits.pop()
    others = ", ".join(
        f"{split} ({counts[split]}, e.g. {relative(first[split].path, root)})" for split in splits
    )
    return Problem(
        kind,
        relative(first[last].path, root),
        f"{what} is in {last} ({counts[last]}) and in {others}",
    )


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty if it cannot be read, which was said of it already."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
