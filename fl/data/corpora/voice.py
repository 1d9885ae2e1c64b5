"""A synthetic voice: syllables, a source and a filter, and the mouth that goes with them.

Source-filter model of speech production (Fant, Acoustic Theory of Speech Production, 1960): a glottal pulse
train and breath noise, shaped by three formants that follow each syllable's vowel. One plan of syllables
drives sound and lips, so that the two move together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

SAMPLE_RATE = 16_000
CONTROL_HZ = 100
FFT_SIZE = 512
HOP = 128
HISS = 0.15
"""Peak of consonants beside that of vowels."""

VOWELS = np.array(
    [
        # F1 Hz, F2 Hz, mouth opening, lip rounding
        [750, 1250, 1.00, 0.0],
        [570, 1850, 0.70, 0.0],
        [300, 2250, 0.35, 0.0],
        [520, 880, 0.75, 0.8],
        [330, 900, 0.40, 1.0],
        [480, 1450, 0.55, 0.2],
    ]
)


@dataclass(frozen=True)
class Voice:
    """What tells one speaker's sound from another's.

    Attributes:
        pitch_hz: mean fundamental frequency.
        tract: scale of all formants (1 = an average tract; smaller speakers above 1).
        breath: amplitude of breath noise beside the pulses.
        rate_hz: syllables per second.
        tilt: spectral slope of the source, exponent of 1/f.
    """

    pitch_hz: float
    tract: float
    breath: float
    rate_hz: float
    tilt: float


@dataclass(frozen=True)
class Speech:
    """A spoken stretch.

    Attributes:
        audio: (samples,) float32 at 16 kHz in [-1, 1], without room noise.
        opening: (controls,) mouth opening in [0, 1] at 100 Hz.
        roundness: (controls,) lip rounding in [0, 1] at 100 Hz.
    """

    audio: Field
    opening: Field
    roundness: Field


def draw_voice(rng: np.random.Generator, size: float) -> Voice:
    """Choose a voice; ``size`` in [0, 1] is the visible size of jaw and brows: larger is lower."""
    return Voice(
        pitch_hz=float(225 - 120 * size + rng.normal(0, 10)),
        tract=float(1.16 - 0.20 * size + rng.normal(0, 0.02)),
        breath=float(rng.uniform(0.02, 0.08)),
        rate_hz=float(rng.uniform(3.0, 4.2)),
        tilt=float(rng.uniform(1.0, 1.5)),
    )


def speak(voice: Voice, duration_s: float, rng: np.random.Generator) -> Speech:
    """Utter random syllables for ``duration_s`` seconds."""
    controls = plan_syllables(voice, duration_s, rng)
    audio = synthesise(voice, controls, round(duration_s * SAMPLE_RATE), rng)
    return Speech(audio=audio, opening=controls["opening"], roundness=controls["roundness"])


def plan_syllables(voice: Voice, duration_s: float, rng: np.random.Generator) -> dict[str, Field]:
    """Tracks at 100 Hz: f1, f2, opening, roundness, loudness, hiss and pitch, each (controls,)."""
    num_controls = int(np.ceil(duration_s * CONTROL_HZ)) + 1
    tracks = {
        key: np.zeros(num_controls, dtype=np.float32) for key in ("opening", "roundness", "loudness", "hiss")
    }
    tracks["f1"] = np.full(num_controls, 500, dtype=np.float32)
    tracks["f2"] = np.full(num_controls, 1450, dtype=np.float32)
    at = -int(rng.integers(0, 25))
    while at < num_controls:
        length = int(CONTROL_HZ / voice.rate_hz * rng.uniform(0.75, 1.3))
        if rng.random() < 0.17:
            at += int(length * rng.uniform(0.7, 1.3))
            continue
        lay_syllable(tracks, at, length, rng)
        at += length
    for key in ("f1", "f2", "roundness"):
        tracks[key] = smooth(tracks[key], 7)
    tracks["opening"] = smooth(tracks["opening"], 5)
    drift = np.interp(np.arange(num_controls), np.linspace(0, num_controls, 5), rng.normal(0, 0.06, 5))
    tracks["pitch"] = (voice.pitch_hz * np.exp(drift)).astype(np.float32)
    return tracks


def lay_syllable(tracks: dict[str, Field], at: int, length: int, rng: np.random.Generator) -> None:
    """Write one consonant and vowel into the tracks, in place, clipped to their ends."""
    f1, f2, opening, roundness = VOWELS[rng.integers(len(VOWELS))]
    stress = rng.uniform(0.6, 1.0)
    shape = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 0.8
    hiss = np.zeros(length)
    onset = max(length // 5, 2)
    hiss[:onset] = rng.choice([0.0, 0.3, 1.0]) * np.hanning(onset + 2)[1:-1]
    start, stop = max(at, 0), min(at + length, len(tracks["opening"]))
    if start >= stop:
        return
    inner = slice(start - at, stop - at)
    tracks["opening"][start:stop] = (opening * stress * shape)[inner]
    tracks["loudness"][start:stop] = (stress * (0.25 + 0.75 * opening) * shape)[inner]
    tracks["hiss"][start:stop] = hiss[inner]
    tracks["f1"][start:stop] = f1
    tracks["f2"][start:stop] = f2
    tracks["roundness"][start:stop] = roundness


def smooth(track: Field, width: int) -> Field:
    """Moving average with edges repeated; same length."""
    padded = np.pad(track, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width, dtype=np.float32) / width, mode="valid")[: len(track)].astype(
        np.float32
    )


def synthesise(voice: Voice, tracks: dict[str, Field], num_samples: int, rng: np.random.Generator) -> Field:
    """Sound from control tracks: pulses and noise, filtered frame by frame, overlapped and added."""
    times = np.arange(num_samples) * (CONTROL_HZ / SAMPLE_RATE)
    control = np.arange(len(tracks["pitch"]))
    phase = np.cumsum(np.interp(times, control, tracks["pitch"])) / SAMPLE_RATE + rng.random()
    cycle = phase - np.floor(phase)
    pulses = np.where(cycle < 0.6, 3 * (cycle / 0.6) ** 2 - 2 * (cycle / 0.6) ** 3, 0.0) - 0.3
    pulses[1:] -= 0.95 * pulses[:-1].copy()
    loudness = np.interp(times, control, tracks["loudness"])
    hiss = np.interp(times, control, tracks["hiss"])
    noise = rng.standard_normal(num_samples)
    frames_at = np.arange(0, num_samples + FFT_SIZE, HOP)
    centre = np.clip(frames_at * (CONTROL_HZ / SAMPLE_RATE), 0, control[-1])
    tract = voice.tract
    formants = np.stack(
        [
            np.interp(centre, control, tracks["f1"]) * tract,
            np.interp(centre, control, tracks["f2"]) * tract,
            np.full(len(centre), 2650.0 * tract),
            np.full(len(centre), 3600.0 * tract),
        ],
        axis=1,
    )
    voiced = filter_frames(
        (pulses + voice.breath * noise) * loudness, frames_at, resonances(formants, voice.tilt)
    )
    bright = np.fft.rfftfreq(FFT_SIZE, 1 / SAMPLE_RATE)
    sharp = np.exp(-(((bright - 4600 * tract) / 1500) ** 2))[None]
    hissed = filter_frames(noise * hiss, frames_at, np.repeat(sharp, len(frames_at), axis=0))
    sound = (level(voiced) + np.float32(HISS) * level(hissed))[:num_samples]
    return np.float32(0.35) * level(sound)


def level(sound: NDArray[np.floating]) -> Field:
    """``sound`` with its peak at 1; silence stays silent."""
    return np.asarray(sound / max(float(np.abs(sound).max()), 1e-6), dtype=np.float32)


def resonances(formants: NDArray[np.float64], tilt: float) -> NDArray[np.float64]:
    """Magnitude responses (frames, bins) of formants (frames, 4) in Hz."""
    frequency = np.fft.rfftfreq(FFT_SIZE, 1 / SAMPLE_RATE)[None, None]
    bandwidth = np.array([80.0, 110.0, 160.0, 240.0])[None, :, None]
    gain = np.array([1.0, 0.7, 0.35, 0.2])[None, :, None]
    distance = (frequency - formants[:, :, None]) / bandwidth
    response = (gain / np.sqrt(1 + distance**2)).sum(axis=1)
    return np.asarray(response / (1 + frequency[0] / 800.0) ** (tilt - 1))


def filter_frames(
    sound: NDArray[np.float64], frames_at: NDArray[np.int_], response: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Short-time filtering by weighted overlap-add; the result is as long as the last frame's end."""
    window = np.hanning(FFT_SIZE + 1)[:-1]
    half = FFT_SIZE // 2
    padded = np.pad(sound, (half, FFT_SIZE * 2))
    frames = padded[frames_at[:, None] + np.arange(FFT_SIZE)] * window
    filtered = np.fft.irfft(np.fft.rfft(frames, axis=1) * response, n=FFT_SIZE, axis=1)
    out = np.zeros(frames_at[-1] + FFT_SIZE)
    for start, frame in zip(frames_at, filtered, strict=True):
        out[start : start + FFT_SIZE] += frame
    return out[half:] * (2 * HOP / FFT_SIZE)


def room_noise(num_samples: int, level: float, rng: np.random.Generator) -> Field:
    """Noise with a falling spectrum and standard deviation ``level``, (num_samples,) float32."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    frequency = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum / np.sqrt(1 + frequency / 300.0), n=num_samples)
    return (level * noise / max(float(noise.std()), 1e-9)).astype(np.float32)
