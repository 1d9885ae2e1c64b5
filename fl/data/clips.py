"""The one table of clips to which every corpus is turned."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Split = Literal["", "train", "public", "clients", "validation", "test"]
"""A corpus's reader gives "train", "validation", "test", or "" where the set has no official split;
`fl.data.splits` then decides, and cuts the training part into ``public``, which belongs to the server
(teacher training, calibration), and ``clients``, which is partitioned."""

MODALITIES = ("video", "audio")
"""Order of the columns wherever a mask tells which of a clip's modalities are there."""

REAL = "real"
"""The category of a clip that nobody manipulated."""


@dataclass(frozen=True)
class Clip:
    """One video or image file and what is known of it.

    Attributes:
        path: the file.
        label: 1 = fake, 0 = real.
        category: the manipulation ("Deepfakes", "FaceSwap", ...), or "real".
        identity: who is seen; the unit of partitions.
        source: the recording it was made from (a real clip is its own source).
        donor: identity whose face or voice was put in; empty if none, or unknown.
        group: clips of one group must never be split: the connected component of all
            identities and sources that forgery has mixed.
        split: whose it is.
        fake_periods: (start, end) in s of what was altered; empty for real clips.
        modify_video: the pictures were altered.
        modify_audio: the sound was altered.
        duration_s: length in s; 0.0 if unknown.
        num_frames: number of video frames; 0 if unknown.
        quality: compression, as the corpus names it ("c23"); empty if it does not: a store then fills
            in the codec.
        crop: which of ``num_crops`` disjoint samples of the file's frames this clip is
            (`split=random_crops_leaky` only).
        num_crops: see ``crop``.
    """

    path: Path
    label: int
    category: str
    identity: str
    source: str
    group: str
    split: Split
    fake_periods: tuple[tuple[float, float], ...] = ()
    modify_video: bool = False
    modify_audio: bool = False
    duration_s: float = 0.0
    num_frames: int = 0
    donor: str = ""
    quality: str = ""
    crop: int = 0
    num_crops: int = 1


def without_sound(clip: Clip) -> Clip:
    """The clip as a network sees it that is deaf: a fake of the sound alone is real."""
    if not clip.label or label_without(clip, "audio"):
        return clip
    return replace(clip, label=0, category=REAL, fake_periods=(), modify_audio=False)


def label_without(clip: Clip, lacks: str) -> int:
    """The label of what is left of a clip: 1 if something that can still be seen or heard was altered.

    Args:
        clip: a fake that names no altered modality stays one.
        lacks: the modality that its holder cannot record, one of `MODALITIES`; "" for none.
    """
    hidden = (lacks == "audio" and clip.modify_audio and not clip.modify_video) or (
        lacks == "video" and clip.modify_video and not clip.modify_audio
    )
    return 0 if hidden else clip.label
