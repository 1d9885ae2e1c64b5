"""What an exported detector says of whole files: windows all over each, and one verdict.

A file's probability is the mean over the most suspicious quarter of its judged windows, at least one: a
video of which only a part was altered is a fake, and a single false alarm in a long one weighs less than
by the maximum. "fake" is said above the threshold. "real" is never said for want of evidence: it takes a
face in at least half of the windows; otherwise the verdict is "undecided", with the reason.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort

from fl.compress.model_card import ModelCard
from fl.data.features import normalise_frames
from fl.data.tables import printable
from fl.data.windows import JudgedWindow, read_windows
from fl.errors import ClipError
from fl.metrics.scores import probabilities

TOP_SHARE = 0.25
"""Share of a file's judged windows, the most suspicious, whose mean is its probability."""
MIN_JUDGED_SHARE = 0.5
"""Below this share of windows with a face no file is called real."""

_BATCH = 16


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


def judge_file(path: Path, session: ort.InferenceSession, card: ModelCard, threshold: float) -> Verdict:
    """Read a file and judge it; whatever is wrong with it becomes the reason of an undecided verdict.

    Args:
        path: a video or an image.
        session: of the exported graph.
        card: of the same graph.
        threshold: a higher probability is called fake, [0, 1].
    """
    name = printable(str(path))
    try:
        judged = list(_judge_windows(read_windows(path, card.clip), session))
    except ClipError as error:
        return Verdict(name, "undecided", reason=str(error))
    except Exception as error:
        # Whatever a damaged file makes a library raise costs that file; it is told by name.
        return Verdict(name, "undecided", reason=f"cannot be read: {type(error).__name__}: {error}")
    segments = tuple(segment for _, segment in judged)
    found = np.concatenate([np.isfinite(window.found[:, 0]) for window, _ in judged])
    looked = card.clip.region == "face"
    return replace(
        conclude(segments, threshold),
        file=name,
        faces_found=float(found.mean()) if looked else None,
        has_sound=any(window.has_sound for window, _ in judged),
    )


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


def _judge_windows(
    windows: Iterator[JudgedWindow], session: ort.InferenceSession
) -> Iterator[tuple[JudgedWindow, Segment]]:
    """Each window, without its pictures, and what is said of it."""
    while batch := list(itertools.islice(windows, _BATCH)):
        usable = [window for window in batch if window.frames is not None]
        answers = iter(_probabilities(usable, session) if usable else ())
        for window in batch:
            probability = None if window.frames is None else next(answers)
            reason = window.reason
            if probability is not None and not math.isfinite(probability):
                probability, reason = None, "the model's answer is not a number"
            segment = Segment(round(window.start_s, 3), round(window.end_s, 3), probability, reason)
            yield replace(window, frames=None), segment


def _probabilities(windows: Sequence[JudgedWindow], session: ort.InferenceSession) -> list[float]:
    """Probability of fake of windows that have pictures."""
    frames = np.stack([window.frames for window in windows if window.frames is not None])
    # In half precision, as stores keep it: the network was trained on such numbers.
    mfcc = np.stack([window.mfcc for window in windows]).astype(np.float16).astype(np.float32)
    modalities = np.array([[1, window.has_sound] for window in windows], dtype=np.float32)
    offered = {"frames": normalise_frames(frames).numpy(), "mfcc": mfcc, "modalities": modalities}
    feeds = {entry.name: offered[entry.name] for entry in session.get_inputs()}
    (logits,) = session.run(["logits"], feeds)
    return [float(p) for p in probabilities(logits)]
