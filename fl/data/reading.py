"""From one media file to a detector's tensors.

Reader processes import this module: it and what it imports must stay free of torch.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.data.faces import crop_faces, detect_faces, fill_track, shrink_frames
from fl.data.features import mfcc, num_steps
from fl.data.headers import DEFAULT_LIMITS, Header
from fl.data.media import Window, read_window
from fl.data.sampling import Sampling, file_seed
from fl.errors import ClipError
from fl.settings import ClipSettings, MediaSettings

READER_VERSION = 2
"""Part of every shard's digest: raise it when the same file would give other tensors."""


@dataclass(frozen=True, eq=False)
class ClipTensors:
    """One clip as a detector sees it.

    Attributes:
        frames: (num_frames, image_size, image_size, 3) uint8 RGB, the face or the whole picture.
        mfcc: (steps, num_mfcc) float32; zero from ``valid_steps`` on, and everywhere without sound.
        boxes: (num_frames, 4) float32: left, top, width, height of the face's track in pixels of the
            upright picture, or all of the picture.
        times_s: (num_frames,) float32, when each frame is shown, from the clip's first frame.
        valid_steps: MFCC steps that lie in the clip, with or without sound: fewer than ``steps`` if it is
            shorter than the window.
        has_audio: the clip has sound in its window.
        header: what the file says of itself.
    """

    frames: NDArray[np.uint8]
    mfcc: NDArray[np.float32]
    boxes: NDArray[np.float32]
    times_s: NDArray[np.float32]
    valid_steps: int
    has_audio: bool
    header: Header


def read_clip(
    path: Path,
    settings: ClipSettings,
    *,
    crop: int = 0,
    num_crops: int = 1,
    limits: MediaSettings = DEFAULT_LIMITS,
) -> ClipTensors:
    """Decode, find the face, crop, and compute the MFCC.

    Args:
        path: a video or an image.
        settings: how it is read.
        crop: which of ``num_crops`` disjoint samples of its frames.
        num_crops: see ``crop``.
        limits: what the file may claim of itself.

    Raises:
        ClipError: the clip cannot be used; the message is the reason.
    """
    window = read_frames(path, settings, crop=crop, num_crops=num_crops, limits=limits)
    has_audio = len(window.audio) > 0
    if settings.require_audio and not has_audio:
        raise ClipError("no sound in the window" if window.header.has_audio else "no audio track")
    frames, boxes = crop_window(window.frames, find_boxes(window.frames, window.times_s, settings), settings)
    steps = num_steps(settings.window_s)
    return ClipTensors(
        frames=frames,
        mfcc=window_mfcc(window.audio, settings),
        boxes=boxes,
        times_s=window.times_s.astype(np.float32),
        valid_steps=min(steps, num_steps(window.valid_s)),
        has_audio=has_audio,
        header=window.header,
    )


def window_mfcc(audio: NDArray[np.float32], settings: ClipSettings) -> NDArray[np.float32]:
    """The MFCC of a window's sound, (steps, num_mfcc); zero where it has none."""
    steps = num_steps(settings.window_s)
    if not len(audio):
        return np.zeros((steps, settings.num_mfcc), dtype=np.float32)
    return mfcc(audio, settings.num_mfcc, steps=steps)


def crop_window(
    pictures: NDArray[np.uint8], found: NDArray[np.float32], settings: ClipSettings
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """What the network sees of some pictures, and the boxes that were cut out.

    Args:
        pictures: (T, H, W, 3) uint8.
        found: (T, 4) from `find_boxes`.
        settings: how they are cut.

    Raises:
        ClipError: no face, or in too few frames.
    """
    boxes = found
    if settings.region != "full_frame":
        boxes = fill_track(found, smoothing=settings.face.smoothing)
    return cut_boxes(pictures, boxes, settings), boxes


def cut_boxes(
    pictures: NDArray[np.uint8], boxes: NDArray[np.float32], settings: ClipSettings
) -> NDArray[np.uint8]:
    """What lies in the boxes of a face's track, (T, image_size, image_size, 3); or the whole pictures.

    Args:
        pictures: (T, H, W, 3) uint8.
        boxes: (T, 4) of `crop_window`; not looked at where whole pictures are wanted.
        settings: how they are cut.
    """
    if settings.region == "full_frame":
        return shrink_frames(pictures, size=settings.image_size)
    return crop_faces(pictures, boxes, margin=settings.face.margin, size=settings.image_size)


def find_boxes(
    pictures: NDArray[np.uint8], times_s: NDArray[np.float64], settings: ClipSettings
) -> NDArray[np.float32]:
    """(T, 4) left, top, width, height: the face of each picture, NaN where none; or all of each picture."""
    if settings.region == "full_frame":
        height, width = pictures.shape[1:3]
        return np.tile(np.array([0, 0, width, height], dtype=np.float32), (len(pictures), 1))
    # A frame that is repeated, as an image's, is looked at once.
    _, first, place = np.unique(times_s, return_index=True, return_inverse=True)
    single = len(first) == 1
    found = detect_faces(
        pictures[:1] if single else pictures,
        min_face=settings.face.min_side,
        scale_factor=settings.face.scale_factor,
        min_neighbors=settings.face.min_neighbors,
    )
    return found[place] if single else found


def read_frames(
    path: Path,
    settings: ClipSettings,
    *,
    crop: int = 0,
    num_crops: int = 1,
    limits: MediaSettings = DEFAULT_LIMITS,
) -> Window:
    """The whole pictures and the sound that `read_clip` starts from; arguments and errors as there."""
    sampling = Sampling(settings.sampling, settings.every_k, file_seed(path), crop, num_crops)
    return read_window(
        path,
        num_frames=settings.num_frames,
        window_s=settings.window_s,
        sampling=sampling,
        limits=limits,
    )
