"""What an exported detector says of whole files, which another process reads."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort

from fl.compress.model_card import ModelCard
from fl.data.features import normalise_frames
from fl.data.processes import Worker
from fl.data.tables import printable
from fl.data.window_reader import windows_of
from fl.data.windows import JudgedWindow
from fl.errors import ClipError
from fl.metrics.scores import probabilities
from sim.judgement import Segment, Verdict, conclude

_BATCH = 16


def judge_file(
    path: Path, session: ort.InferenceSession, card: ModelCard, threshold: float, worker: Worker
) -> Verdict:
    """Read a file and judge it; whatever is wrong with it becomes the reason of an undecided verdict.

    Args:
        path: a video or an image.
        session: of the exported graph.
        card: of the same graph.
        threshold: a higher probability is called fake, [0, 1].
        worker: of `fl.data.window_reader.MODULE`: it alone opens the file.
    """
    name = printable(str(path))
    try:
        judged = list(_judge_windows(windows_of(path, card.clip, worker), session))
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
