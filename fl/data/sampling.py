"""Which frames of a file stand for it."""

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fl.data.headers import Header
from fl.errors import ClipError


@dataclass(frozen=True)
class Sampling:
    """How frames are chosen.

    Attributes:
        kind: "spread", "every_k" or "random", see `sample_times`.
        every_k: step of "every_k", frames.
        seed: of "random".
        crop: which of ``num_crops`` disjoint samples is wanted.
        num_crops: see ``crop``.
    """

    kind: str = "spread"
    every_k: int = 1
    seed: int = 0
    crop: int = 0
    num_crops: int = 1


SPREAD = Sampling()


def file_seed(path: Path) -> int:
    """A seed from a file's name alone: rebuilt or moved, it gives the same frames."""
    return int.from_bytes(hashlib.sha256(os.fsencode(path.name)).digest()[:8], "little")


def sample_times(
    header: Header, num_frames: int, window: tuple[float, float], sampling: Sampling
) -> list[float]:
    """The middles of the frames that are wanted, at a constant frame rate.

    "spread" takes frames at the centres of as many equal parts of the window. "every_k" takes those of
    the whole file's frames 0, k, 2k, ..., evenly spread over them where there are more than wanted;
    "random" draws without replacement from the whole file. With several crops, crop i takes its frames
    from every ``num_crops``-th candidate: no frame is in two crops. Where there are fewer frames than
    wanted, some are repeated.

    Args:
        header: of the file.
        num_frames: how many are wanted.
        window: (start, end) in s, for "spread".
        sampling: how.

    Returns:
        ``num_frames`` times in s from the clip's first frame, ascending.

    Raises:
        ClipError: fewer frames than crops.
    """
    start_s, end_s = window
    if sampling.kind == "spread" and sampling.num_crops == 1:
        return [start_s + (end_s - start_s) * (i + 0.5) / num_frames for i in range(num_frames)]
    own = _candidates(header, window, sampling)[sampling.crop :: sampling.num_crops]
    if not len(own):
        raise ClipError(f"too few frames for {sampling.num_crops} disjoint crops of it")
    if sampling.kind == "random":
        own = sorted(own[:num_frames])
    chosen = [own[int((i + 0.5) * len(own) / num_frames)] for i in range(num_frames)]
    return [(index + 0.5) / header.fps for index in chosen]


def _candidates(header: Header, window: tuple[float, float], sampling: Sampling) -> Sequence[int]:
    # From the length, not from the number that the header states: an edit list may hide frames.
    total = max(1, round(header.duration_s * header.fps))
    if sampling.kind == "random":
        return [int(index) for index in np.random.default_rng(sampling.seed).permutation(total)]
    if sampling.kind == "every_k":
        return range(0, total, sampling.every_k)
    first, last = (math.ceil(edge_s * header.fps - 0.5 - 1e-6) for edge_s in window)
    return range(max(0, first), max(first + 1, min(last, total)))
