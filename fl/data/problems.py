"""What can be wrong with a corpus."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fl.data.clips import Clip
from fl.data.inspection import FileFacts
from fl.data.splits import SPLITS

UNUSABLE = ("missing", "unreadable")
"""Kinds of problems of one file, which is then skipped and counted."""
HARMLESS = (*UNUSABLE, "near_duplicate")
"""Kinds of problems that spoil no result by themselves."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with a corpus.

    Attributes:
        kind: a leak between splits ("leak_file", "leak_source", "leak_identity", "leak_donor",
            "leak_near_duplicate", "leak_random_crops"); "near_duplicate" between the two training splits,
            which changes no figure of validation and test; or else "empty_split", "one_class",
            "too_many_bad", "missing", "unreadable".
        file: relative to the corpus; empty if it is no single file's.
        reason: what is wrong, in a sentence's worth.
    """

    kind: str
    file: str
    reason: str


def relative(path: Path, root: Path) -> str:
    """``path`` as seen from ``root``, with slashes."""
    return Path(os.path.relpath(path, root)).as_posix()


def bad_files(facts: Iterable[FileFacts], root: Path) -> list[Problem]:
    """Every file that is missing or cannot be used, by name."""
    bad = [found for found in facts if found.reason]
    return [
        Problem("missing" if found.missing else "unreadable", relative(found.path, root), found.reason)
        for found in sorted(bad, key=lambda found: (not found.missing, found.path))
    ]


def spoilt_splits(
    clips: Sequence[Clip], facts: Mapping[Path, FileFacts], max_bad_share: float
) -> list[Problem]:
    """Splits that are empty, hold one class only, or lose too many clips; by the clips that can be used.

    Args:
        clips: the table, its splits final.
        facts: of every file of the table.
        max_bad_share: the largest share of a split's clips that may be unusable, [0, 1].
    """
    problems = []
    for split in SPLITS:
        members = [clip for clip in clips if clip.split == split]
        labels = Counter(clip.label for clip in members if not facts[clip.path].reason)
        bad = len(members) - labels.total()
        if bad > max_bad_share * len(members):
            reason = (
                f"{bad} of {len(members)} clips of {split} cannot be used, data.max_bad_share is "
                f"{max_bad_share:g}: mend or remove these files, or raise it"
            )
            problems.append(Problem("too_many_bad", "", reason))
        if not labels:
            reason = f"{split} holds no clip that can be used: add videos, or change the split's shares"
            problems.append(Problem("empty_split", "", reason))
        elif len(labels) == 1:
            only = "fake" if labels[1] else "real"
            reason = f"every usable clip of {split} ({labels.total()}) is {only}: nothing can be told apart"
            problems.append(Problem("one_class", "", reason))
    return problems
