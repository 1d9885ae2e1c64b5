"""Augmentation of training clips: pictures, sound, and the loss of a whole modality.

Everything is drawn from the batch's numpy generator; a step that is off draws nothing. One draw holds
for all frames of a clip: a face turns or fades as a whole, it does not flicker. Pictures stay uint8,
as a camera and a codec leave them. Evaluation never passes here.

What a clip is called must stay true: no step hides all that was altered in a fake.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fl.data.clips import Clip
from fl.settings import AugmentSettings

Frames = NDArray[np.uint8]

_GREY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in a grey value (ITU-R BT.601)."""


def augment_frames(frames: Frames, settings: AugmentSettings, rng: np.random.Generator) -> Frames:
    """Mirror, turn, colour, shrink and compress, in this order: first the scene, then the camera.

    Args:
        frames: (clips, num_frames, height, width, 3) RGB; left as they are.
        settings: which steps, and how far they go.
        rng: draws for each clip apart.

    Returns:
        The same shape.
    """
    num_clips = len(frames)
    if settings.flip:
        mirrored = rng.random(num_clips) < 0.5
        frames = frames.copy()
        frames[mirrored] = frames[mirrored, :, :, ::-1]
    if settings.rotation_deg:
        angles = rng.uniform(-settings.rotation_deg, settings.rotation_deg, num_clips)
        frames = np.stack([rotate(clip, angle) for clip, angle in zip(frames, angles, strict=True)])
    if settings.jitter:
        factors = rng.uniform(1 - settings.jitter, 1 + settings.jitter, (num_clips, 3))
        frames = np.stack([recolour(clip, *row) for clip, row in zip(frames, factors, strict=True)])
    if settings.resize < 1:
        shares = rng.uniform(settings.resize, 1, num_clips)
        frames = np.stack([blur(clip, share) for clip, share in zip(frames, shares, strict=True)])
    if settings.jpeg_quality < 100:
        qualities = rng.integers(settings.jpeg_quality, 101, num_clips)
        frames = np.stack([compress(clip, int(q)) for clip, q in zip(frames, qualities, strict=True)])
    return frames


def rotate(clip: Frames, angle_deg: float) -> Frames:
    """Turn every frame about its centre, counter-clockwise; mirrored edges fill the corners.

    Args:
        clip: (num_frames, height, width, 3).
        angle_deg: degrees; 0 changes nothing.
    """
    height, width = clip.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1.0)
    turned = [
        cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101) for frame in clip
    ]
    return np.asarray(turned, dtype=np.uint8)


def recolour(clip: Frames, brightness: float, contrast: float, saturation: float) -> Frames:
    """Scale the light, then the distance from the clip's mean grey, then that from each pixel's grey.

    torchvision's ColorJitter without hue, in a fixed order and rounded once, at the end; the mean is of
    the whole clip.

    Args:
        clip: (num_frames, height, width, 3) RGB.
        brightness: >= 0; 1 changes nothing.
        contrast: >= 0; 1 changes nothing, 0 leaves one grey.
        saturation: >= 0; 1 changes nothing, 0 leaves grey pictures.
    """
    mean_grey = float(_GREY @ clip.reshape(-1, 3).mean(axis=0))
    mixing = saturation * np.eye(3) + (1 - saturation) * np.outer(np.ones(3), _GREY)
    offset = np.full((3, 1), (1 - contrast) * brightness * mean_grey)
    matrix = np.hstack([contrast * brightness * mixing, offset])
    return np.asarray([cv2.transform(frame, matrix) for frame in clip], dtype=np.uint8)


def blur(clip: Frames, share: float) -> Frames:
    """Shrink every frame to a share of its side and enlarge it again, as a low resolution leaves it.

    Args:
        clip: (num_frames, height, width, 3).
        share: in (0, 1]; 1 changes nothing.
    """
    height, width = clip.shape[1:3]
    small = (max(1, round(share * width)), max(1, round(share * height)))
    shrunk = [cv2.resize(frame, small, interpolation=cv2.INTER_AREA) for frame in clip]
    enlarged = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR) for frame in shrunk]
    return np.asarray(enlarged, dtype=np.uint8)


def compress(clip: Frames, quality: int) -> Frames:
    """Every frame through JPEG.

    Args:
        clip: (num_frames, height, width, 3) RGB.
        quality: of libjpeg, [1, 100].
    """
    option = [cv2.IMWRITE_JPEG_QUALITY, quality]
    written = [cv2.imencode(".jpg", frame[..., ::-1], option)[1] for frame in clip]
    read = np.asarray([cv2.imdecode(data, cv2.IMREAD_COLOR) for data in written], dtype=np.uint8)
    return read[..., ::-1]


def mask_time(
    mfcc: NDArray[np.float32], altered: NDArray[np.bool_], share: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Set a stretch of each clip's MFCC to zero, their mean and what padding holds.

    Time masking after Park et al. 2019 (SpecAugment), section 2. A mask that would hide all of a
    clip's altered steps is left out.

    Args:
        mfcc: (clips, steps, num_mfcc); left as they are.
        altered: (clips, steps), where the sound was altered.
        share: of the steps that a mask covers at most, [0, 1); lengths are uniform from 0 on.
        rng: draws for each clip apart.
    """
    num_clips, num_steps = altered.shape
    lengths = rng.integers(0, int(share * num_steps) + 1, num_clips)
    starts = rng.integers(0, num_steps - lengths + 1)
    steps = np.arange(num_steps)
    masked = (steps >= starts[:, None]) & (steps < (starts + lengths)[:, None])
    hides_all = altered.any(axis=1) & ~(altered & ~masked).any(axis=1)
    masked[hides_all] = False
    return np.where(masked[:, :, None], np.float32(0), mfcc)


def drop_modalities(
    modalities: NDArray[np.float32],
    droppable: NDArray[np.bool_],
    share: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Let some clips lose their pictures or their sound, each as likely where both may go; never both.

    A fake of which one modality was altered can only lose the other, so over such fakes what is
    missing tells something of what was altered; it never contradicts the label.

    Args:
        modalities: (clips, 2), columns video and audio, 1 = present; left as they are.
        droppable: (clips, 2), see `droppable_modalities`.
        share: probability that a clip with both loses one, [0, 1].
        rng: draws for each clip apart.
    """
    clips = np.arange(len(modalities))
    struck = rng.random(len(clips)) < share
    column = rng.integers(0, 2, len(clips))
    allowed = droppable & (modalities > 0).all(axis=1, keepdims=True)
    column = np.where(allowed[clips, column], column, 1 - column)
    struck &= allowed[clips, column]
    left = modalities.copy()
    left[clips[struck], column[struck]] = 0
    return left


def droppable_modalities(clips: Sequence[Clip]) -> NDArray[np.bool_]:
    """Which modalities each clip can lose without its label becoming untrue.

    Returns:
        (clips, 2), columns video and audio: all of a real clip, of a fake those whose loss leaves
        something altered; nothing of a fake whose corpus does not tell what was altered.
    """
    may = [(c.label == 0 or c.modify_audio, c.label == 0 or c.modify_video) for c in clips]
    return np.array(may, dtype=np.bool_).reshape(-1, 2)
