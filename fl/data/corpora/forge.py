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

from fl.data.clips import REAL
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
        voice_share: share of its fakes in which the donor's voice comes with the donor's face.
    """

    video: VideoForgery | None
    audio: AudioForgery | None
    share: float
    min_period_s: float
    voice_share: float = 0.0


MANIPULATIONS: dict[str, Manipulation] = {
    "Deepfakes": Manipulation(decode_face, None, 0.23, 0.4, voice_share=0.5),
    "Face2Face": Manipulation(reenact_mouth, None, 0.22, 0.4),
    "FaceSwap": Manipulation(swap_face, None, 0.22, 0.4, voice_share=0.5),
    "NeuralTextures": Manipulation(render_texture, None, 0.22, 0.4),
    "AudioReplaced": Manipulation(None, exchange_audio, 0.08, 0.8),
    "AudioShifted": Manipulation(None, shift_audio, 0.03, 0.8),
}


def forge(
    name: str,
    target: Recording,
    donor: Recording,
    period: Period,
    rng: np.random.Generator,
    strength: float = 1.0,
    with_voice: bool = False,
) -> Recording:
    """Manipulate ``target``.

    Args:
        name: a key of ``MANIPULATIONS``.
        target: who is seen.
        donor: a recording of another person; may be shorter, its frames are then repeated.
        period: (start, end) in s of what to alter.
        rng: the forgery's own generator.
        strength: 1 forges fully, 0 returns the target unchanged; between, a mixture.
        with_voice: the donor's voice comes with the donor's face.

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
    alter = exchange_audio if with_voice else manipulation.audio
    if alter is not None:
        start, stop = (round(at * SAMPLE_RATE) for at in period)
        audio = alter(target, donor, slice(max(start, 0), min(stop, len(audio))), strength, rng)
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


@dataclass(frozen=True)
class Forgery:
    """A forged clip and what is to be written of it.

    Attributes:
        recording: pictures and sound.
        periods: (start, end) in s of what was altered; empty if nothing was.
        modify_video: the pictures were altered.
        modify_audio: the sound was altered.
    """

    recording: Recording
    periods: tuple[Period, ...]
    modify_video: bool
    modify_audio: bool


def forge_at_random(name: str, target: Recording, donor: Recording, rng: np.random.Generator) -> Forgery:
    """Manipulate ``target`` with a drawn period and, where the name allows it, the donor's voice or not.

    The name "real" returns the target itself.
    """
    if name == REAL:
        return Forgery(target, (), modify_video=False, modify_audio=False)
    period = draw_period(name, target.duration_s, rng)
    manipulation = MANIPULATIONS[name]
    with_voice = bool(rng.random() < manipulation.voice_share)
    return Forgery(
        forge(name, target, donor, period, rng, with_voice=with_voice),
        (period,),
        modify_video=manipulation.video is not None,
        modify_audio=with_voice or manipulation.audio is not None,
    )
