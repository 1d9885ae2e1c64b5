"""Some clips of a corpus, read as for training, with their whole pictures too."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from fl.data.clips import Clip
from fl.data.reading import ClipTensors, read_clip, read_frames
from fl.errors import ClipError
from fl.settings import DataSettings

SHOWN_FRAMES = 4
"""Frames of a clip that are kept, spread over those that the network gets."""
PICTURE_HEIGHT = 160
"""Height to which whole pictures are brought, pixels."""
MAX_RATIO = 3
"""Largest ratio of width to height of a picture; a wider one is squeezed."""


@dataclass(frozen=True, eq=False)
class Example:
    """One clip and what becomes of it; of the network's frames at most ``SHOWN_FRAMES`` are kept.

    Attributes:
        clip: the clip.
        pictures: (n, 160, W, 3) uint8 RGB, whole and upright; n = 0 if none can be decoded.
        boxes: (n, 4) left, top, width, height of the face in ``pictures``, pixels; n = 0 without a face.
        times_s: (n,) when each picture is shown, s.
        start_s: where the window of the sound starts in the clip, s.
        tensors: what the network sees, of the same n frames, and hears; None if the clip cannot be used.
        reason: why it cannot be used; empty if it can.
    """

    clip: Clip
    pictures: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, PICTURE_HEIGHT, 1, 3), np.uint8))
    boxes: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    times_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    start_s: float = 0.0
    tensors: ClipTensors | None = None
    reason: str = ""


def choose_clips(clips: Sequence[Clip], num_clips: int) -> list[Clip]:
    """Some clips, as many of each category as can be, spread over the table; real ones first."""
    by_category: dict[tuple[int, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        by_category[clip.label, clip.category].append(clip)
    queues = [by_category[key] for key in sorted(by_category)]
    counts = [0] * len(queues)
    while sum(counts) < min(num_clips, len(clips)):
        for index, queue in enumerate(queues):
            if counts[index] < len(queue) and sum(counts) < num_clips:
                counts[index] += 1
    return [
        queue[place * len(queue) // count]
        for queue, count in zip(queues, counts, strict=True)
        for place in range(count)
    ]


def read_example(clip: Clip, data: DataSettings) -> Example:
    """Read a clip as a store is built from it, and its whole pictures too; it may turn out unusable."""
    example = Example(clip)
    try:
        window = read_frames(
            clip.path, data.clip, crop=clip.crop, num_crops=clip.num_crops, limits=data.media
        )
        count, height, width = window.frames.shape[:3]
        spread = [(2 * place + 1) * count // (2 * SHOWN_FRAMES) for place in range(SHOWN_FRAMES)]
        shown = list(dict.fromkeys(spread))
        pictures = np.stack([fit_picture(window.frames[index]) for index in shown])
        example = Example(clip, pictures, times_s=window.times_s[shown], start_s=window.start_s)
        tensors = read_clip(clip.path, data.clip, crop=clip.crop, num_crops=clip.num_crops, limits=data.media)
    except ClipError as error:
        return replace(example, reason=str(error))
    scale_x, scale_y = pictures.shape[2] / width, PICTURE_HEIGHT / height
    kept = replace(
        tensors,
        frames=tensors.frames[shown],
        boxes=tensors.boxes[shown],
        times_s=tensors.times_s[shown],
    )
    boxes = kept.boxes * np.array([scale_x, scale_y, scale_x, scale_y])
    return replace(example, boxes=boxes, tensors=kept)


def fit_picture(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) brought to ``PICTURE_HEIGHT``, no wider than ``MAX_RATIO`` times that."""
    height, width = picture.shape[:2]
    fitted = round(width * PICTURE_HEIGHT / height)
    size = max(1, min(MAX_RATIO * PICTURE_HEIGHT, fitted)), PICTURE_HEIGHT
    scaling = cv2.INTER_AREA if height > PICTURE_HEIGHT else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=scaling), dtype=np.uint8)
