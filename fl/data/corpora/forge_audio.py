"""Manipulations of the sound: another person's voice, or the same voice at the wrong time."""

import numpy as np
from numpy.typing import NDArray

from fl.data.corpora.recording import Recording

SAMPLE_RATE = 16_000
FFT_SIZE = 512
HOP = 128
HELD_HOPS = 8
FLUTTER = 1.0
FADE = 160


def exchange_audio(
    target: Recording, donor: Recording, period: slice, strength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Put the donor's voice, re-synthesised by ``vocode``, in place of the target's within ``period``.

    Returns:
        (samples,) float32; the donor as loud as what it replaces, faded over 10 ms inside the period.
    """
    audio = target.audio.copy()
    own = audio[period]
    if len(own) < 2 * FADE:
        return audio
    other = np.resize(donor.audio, len(own))
    gain = np.sqrt(np.mean(own**2) + 1e-8) / np.sqrt(np.mean(other**2) + 1e-8)
    forged = vocode((gain * other).astype(np.float32))
    audio[period] = own + np.float32(strength) * fades(len(own)) * (forged - own)
    return np.clip(audio, -1, 1)


def shift_audio(
    target: Recording, donor: Recording, period: slice, strength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Shift the target's own voice within ``period`` by 0.25 to 0.5 s either way, around its ends.

    Returns:
        (samples,) float32. ``strength`` scales nothing but the mixture with the unshifted track.
    """
    audio = target.audio.copy()
    own = audio[period]
    offset = int(rng.uniform(0.25, 0.5) * SAMPLE_RATE) * int(rng.choice([-1, 1]))
    audio[period] = own + np.float32(strength) * (np.roll(own, offset) - own)
    return audio


def fades(length: int) -> NDArray[np.float32]:
    """1 with ramps of ``FADE`` samples at both ends."""
    ramp = np.minimum(np.arange(length), np.arange(length)[::-1]) / FADE
    return np.clip(ramp, 0, 1).astype(np.float32)


def vocode(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Speech as a coarse vocoder gives it: each bin's log magnitude is held for ``HELD_HOPS`` hops (64 ms).

    Held blocks are in turn louder and softer by ``FLUTTER`` nepers, the flutter of badly joined frames.
    Phases are kept. The mean of the log spectrum over time is about that of the input: only its movement
    changes.
    """
    window = np.sqrt(np.hanning(FFT_SIZE + 1)[:-1])
    padded = np.pad(audio.astype(np.float64), (FFT_SIZE, 2 * FFT_SIZE))
    frames_at = np.arange(0, len(padded) - FFT_SIZE, HOP)
    spectrum = np.fft.rfft(padded[frames_at[:, None] + np.arange(FFT_SIZE)] * window, axis=1)
    magnitude = np.log(np.abs(spectrum) + 1e-5)
    for number, start in enumerate(range(0, len(magnitude), HELD_HOPS)):
        block = magnitude[start : start + HELD_HOPS]
        block[:] = block.mean(axis=0) + FLUTTER * (-1) ** number
    held = np.exp(magnitude) * spectrum / (np.abs(spectrum) + 1e-9)
    frames = np.fft.irfft(held, n=FFT_SIZE, axis=1) * window
    out = np.zeros(len(padded))
    for at, frame in zip(frames_at.tolist(), frames, strict=True):
        out[at : at + FFT_SIZE] += frame
    return (out[FFT_SIZE : FFT_SIZE + len(audio)] * (2 * HOP / FFT_SIZE)).astype(np.float32)
