"""Manipulations of recordings, named as FaceForensics++ and LAV-DF name theirs.

Pure functions on arrays: every manipulation takes the target, a donor of another identity, the period to
alter, and returns a new recording. What lies outside the face's region or outside the period is untouched.
The names follow Roessler et al., FaceForensics++, ICCV 2019 and Cai et al., LAV-DF, DICTA 2022; the
algorithms are small stand-ins that leave the same kinds of traces.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fl.data.corpora.forge_audio import exchange_audio, shift_audio
from fl.data.corpora.forge_video import decode_face, reenact_mouth, render_texture, swap_face
from fl.data.corpora.recording import Recording
from fl.errors import DataError

Period = tuple[float, float]
VideoForgery = Callable[
    [Recording, Recording, NDArray[np.int_], float, np.random.Generator], NDArray[np.uint8]
]
AudioForgery = Callable[[Recording, Recording, slice, float, np.random.Generator], NDArray[np.float32]]
SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Manipulation:
    """One way to forge.

    Attributes:
        video: alters frames, or None.
        audio: alters the track, or None.
        share: share of the fakes of a corpus that are made this way.
        min_period_s: shortest period that it may alter.
    """

    video: VideoForgery | None
    audio: AudioForgery | None
    share: float
    min_period_s: float


MANIPULATIONS: dict[str, Manipulation] = {
    "Deepfakes": Manipulation(decode_face, None, 0.24, 0.4),
    "Face2Face": Manipulation(reenact_mouth, None, 0.22, 0.4),
    "FaceSwap": Manipulation(swap_face, None, 0.22, 0.4),
    "NeuralTextures": Manipulation(render_texture, None, 0.22, 0.4),
    "AudioReplaced": Manipulation(None, exchange_audio, 0.07, 0.8),
    "AudioShifted": Manipulation(None, shift_audio, 0.03, 0.8),
}


def forge(
    name: str,
    target: Recording,
    donor: Recording,
    period: Period,
    rng: np.random.Generator,
    strength: float = 1.0,
) -> Recording:
    """Manipulate ``target``.

    Args:
        name: a key of ``MANIPULATIONS``.
        target: who is seen.
        donor: a recording of another person; may be shorter, its frames are then repeated.
        period: (start, end) in s of what to alter.
        rng: the forgery's own generator.
        strength: 1 forges fully, 0 returns the target unchanged; between, a mixture.

    Raises:
        DataError: an unknown name.
    """
    if name not in MANIPULATIONS:
        raise DataError(f"manipulation must be one of {', '.join(MANIPULATIONS)}, got {name!r}")
    manipulation = MANIPULATIONS[name]
    frames, audio = target.frames, target.audio
    if manipulation.video is not None:
        indices = frames_within(period, target.fps, len(target.frames))
        frames = manipulation.video(target, donor, indices, strength, rng)
    if manipulation.audio is not None:
        start, stop = (round(at * SAMPLE_RATE) for at in period)
        audio = manipulation.audio(target, donor, slice(max(start, 0), min(stop, len(audio))), strength, rng)
    return replace(target, frames=frames, audio=audio)


def frames_within(period: Period, fps: float, num_frames: int) -> NDArray[np.int_]:
    """Indices of the frames whose time of display starts within ``period``."""
    times = np.arange(num_frames) / fps
    return np.flatnonzero((times >= period[0] - 1e-6) & (times < period[1] - 1e-6))


def draw_period(
    name: str, duration_s: float, rng: np.random.Generator, partial_share: float = 0.35
) -> Period:
    """The whole clip, or with probability ``partial_share`` a half to four fifths of it."""
    shortest = min(MANIPULATIONS[name].min_period_s, duration_s)
    if rng.random() >= partial_share:
        return (0.0, round(duration_s, 3))
    length = min(max(duration_s * rng.uniform(0.5, 0.8), shortest), duration_s)
    start = rng.uniform(0, duration_s - length)
    return (round(float(start), 3), round(float(start + length), 3))


def deal_categories(count: int, rng: np.random.Generator) -> list[str]:
    """``count`` manipulations, sorted by name, in the shares of ``MANIPULATIONS`` as nearly as can be."""
    names = list(MANIPULATIONS)
    edges = np.cumsum([MANIPULATIONS[name].share for name in names])
    places = (np.arange(count) + rng.random()) / max(count, 1) * edges[-1]
    return [names[min(int(np.searchsorted(edges, place, side="right")), len(names) - 1)] for place in places]
