"""What is said of a whole file: windows all over it, and one verdict over them.

A file's probability is the mean over the most suspicious quarter of its judged windows, at least one: a
video of which only a part was altered is a fake, and a single false alarm in a long one weighs less than
by the maximum. "fake" is said above the threshold. "real" is never said for want of evidence: it takes a
face in at least half of the windows; otherwise the verdict is "undecided", with the reason.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

TOP_SHARE = 0.25
"""Share of a file's judged windows, the most suspicious, whose mean is its probability."""
MIN_JUDGED_SHARE = 0.5
"""Below this share of windows with a face no file is called real."""


@dataclass(frozen=True)
class Segment:
    """A window of a file.

    Attributes:
        start_s: s from the first picture.
        end_s: its end.
        probability: of fake, [0, 1]; None if it could not be judged.
        reason: why not; empty if it could.
    """

    start_s: float
    end_s: float
    probability: float | None
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is said of a file.

    Attributes:
        file: as it was named, printable.
        verdict: "fake", "real" or "undecided".
        probability: of fake, [0, 1]; None if no window could be judged.
        segments: all windows in order of time.
        faces_found: share of the frames looked at in which a face was found; None if none was looked for.
        has_sound: any window has sound; None if the file cannot be read.
        reason: why it is undecided; empty if it is not.
    """

    file: str
    verdict: str
    probability: float | None = None
    segments: tuple[Segment, ...] = ()
    faces_found: float | None = None
    has_sound: bool | None = None
    reason: str = ""


def conclude(segments: Sequence[Segment], threshold: float) -> Verdict:
    """The verdict over a file's windows, without the file's own facts.

    Args:
        segments: at least one.
        threshold: see `judge_file`.
    """
    told = sorted((s.probability for s in segments if s.probability is not None), reverse=True)
    if not told:
        reasons = Counter(segment.reason for segment in segments).most_common(1)
        return Verdict("", "undecided", segments=tuple(segments), reason=reasons[0][0])
    top = told[: math.ceil(TOP_SHARE * len(told))]
    probability = sum(top) / len(top)
    verdict, reason = ("fake", "") if probability > threshold else ("real", "")
    if verdict == "real" and len(told) < MIN_JUDGED_SHARE * len(segments):
        why = Counter(s.reason for s in segments if s.reason).most_common(1)[0][0]
        verdict, reason = "undecided", f"only {len(told)} of {len(segments)} windows can be judged: {why}"
    return Verdict("", verdict, probability, tuple(segments), reason=reason)
