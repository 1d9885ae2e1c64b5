import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl.data.features import NUM_MEL, dct_basis, mel_filters, mfcc, mfcc_scale, normalise_frames, num_steps

RATE = 16_000


def speechlike(seed: int, samples: int = 16_000) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def slow_mfcc(audio: np.ndarray, num_mfcc: int) -> np.ndarray:
    """The same definition, one step, one bin, one filter at a time, with a direct Fourier sum."""
    emphasised = [float(audio[0])] + [
        float(audio[n]) - 0.97 * float(audio[n - 1]) for n in range(1, len(audio))
    ]
    edges = [2595 * math.log10(1 + hz / 700) for hz in (20.0, 8000.0)]
    corners = [700 * (10 ** ((edges[0] + (edges[1] - edges[0]) * i / 41) / 2595) - 1) for i in range(42)]
    rows = []
    for step in range(round(len(audio) / 320)):
        begin = step * 320 - 40  # 400 samples around the step's 320
        segment = [emphasised[n] if 0 <= n < len(emphasised) else 0.0 for n in range(begin, begin + 400)]
        weighted = np.array(
            [s * (0.54 - 0.46 * math.cos(2 * math.pi * n / 399)) for n, s in enumerate(segment)]
        )
        power = [
            abs(np.sum(weighted * np.exp(-2j * np.pi * k * np.arange(400) / 512))) ** 2 / 512
            for k in range(257)
        ]
        logs = []
        for m in range(40):
            left, peak, right = corners[m : m + 3]
            energy = 0.0
            for k in range(257):
                hz = k * RATE / 512
                if left < hz <= peak:
                    energy += power[k] * (hz - left) / (peak - left)
                elif peak < hz < right:
                    energy += power[k] * (right - hz) / (right - peak)
            logs.append(math.log(max(energy, 1e-8)))
        cepstrum = scipy.fft.dct(np.array(logs), norm="ortho")
        scaled = [(cepstrum[0] + 75) / 25] + [cepstrum[k] * k**0.75 / 8 for k in range(1, num_mfcc)]
        rows.append(scaled)
    return np.array(rows)


def test_equals_a_slow_independent_computation() -> None:
    audio = speechlike(0, 1_600) + 0.2 * np.sin(np.arange(1_600) * 0.3).astype(np.float32)
    np.testing.assert_allclose(mfcc(audio, 13), slow_mfcc(audio, 13), atol=1e-5)


def test_dct_is_scipys() -> None:
    values = np.random.default_rng(0).standard_normal((5, NUM_MEL))
    np.testing.assert_allclose(
        values @ dct_basis().T, scipy.fft.dct(values, norm="ortho", axis=1), atol=1e-12
    )


def test_filters_cover_the_band_evenly() -> None:
    filters = mel_filters()
    assert filters.shape == (NUM_MEL, 257)
    assert (filters.sum(axis=1) > 1).all()  # none is empty
    # neighbouring triangles add up to 1 between the first and the last peak
    inside = slice(int(filters[0].argmax()) + 1, int(filters[-1].argmax()))
    np.testing.assert_allclose(filters.sum(axis=0)[inside], 1, atol=1e-12)


@pytest.mark.parametrize("hz", [200, 1000, 4000])
def test_pure_tone_is_loudest_in_its_mel_band(hz: int) -> None:
    audio = (0.5 * np.sin(2 * np.pi * hz * np.arange(RATE) / RATE)).astype(np.float32)
    shift, scale = mfcc_scale(NUM_MEL)
    log_mel = (mfcc(audio, NUM_MEL)[25] * scale + shift) @ dct_basis()
    position = (
        41
        * (math.log(1 + hz / 700) - math.log(1 + 20 / 700))
        / (math.log(1 + 8000 / 700) - math.log(1 + 20 / 700))
    )
    assert abs(int(log_mel.argmax()) - (position - 1)) <= 1


@given(gain=st.floats(0.3, 8.0), seed=st.integers(0, 100))
def test_gain_moves_only_the_energy(gain: float, seed: int) -> None:
    audio = speechlike(seed, 3_200)
    change = mfcc((audio * np.float32(gain)).astype(np.float32), 13) - mfcc(audio, 13)
    # log power rises by 2 ln gain in all 40 bands: c0 by sqrt(40) times that, over its scale of 25
    np.testing.assert_allclose(change[:, 0], 2 * math.log(gain) * math.sqrt(40) / 25, atol=1e-3)
    np.testing.assert_allclose(change[:, 1:], 0, atol=1e-3)


def test_silence_is_one_constant() -> None:
    out = mfcc(np.zeros(RATE, np.float32), 13)
    np.testing.assert_allclose(out[:, 0], (math.log(1e-8) * math.sqrt(40) + 75) / 25, rtol=1e-6)
    np.testing.assert_allclose(out[:, 1:], 0, atol=1e-6)


def test_a_click_is_heard_at_its_own_step() -> None:
    audio = np.zeros(RATE, np.float32)
    audio[20 * 320 + 160] = 1.0  # the middle of step 20
    changed = np.flatnonzero(
        np.abs(mfcc(audio, 13) - mfcc(np.zeros(RATE, np.float32), 13)).max(axis=1) > 1e-6
    )
    assert changed.tolist() == [20]


@given(samples=st.integers(400, 40_000), steps=st.integers(1, 120), num_mfcc=st.integers(1, 40))
def test_length_is_what_was_asked_for_and_the_rest_is_zero(samples: int, steps: int, num_mfcc: int) -> None:
    audio = speechlike(1, samples)
    out = mfcc(audio, num_mfcc, steps=steps)
    assert out.shape == (steps, num_mfcc)
    assert out.dtype == np.float32
    valid = num_steps(samples / RATE)
    assert not out[valid:].any()
    whole = mfcc(audio, num_mfcc)
    assert whole.shape == (valid, num_mfcc)
    np.testing.assert_array_equal(out[:valid], whole[:steps])


@pytest.mark.parametrize(("window_s", "steps"), [(1.6, 80), (0.4, 20), (8.0, 400), (30.0, 1500)])
def test_steps_of_a_window(window_s: float, steps: int) -> None:
    assert num_steps(window_s) == steps


def test_frames_are_normalised_channel_by_channel() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7, 3), dtype=np.uint8)
    out = normalise_frames(frames)
    assert out.shape == (2, 3, 3, 5, 7)
    assert out.dtype == torch.float32
    assert out.is_contiguous()
    for channel, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)):
        np.testing.assert_allclose(out[:, :, channel], (frames[..., channel] / 255 - mean) / std, atol=1e-6)
    assert torch.equal(normalise_frames(torch.from_numpy(frames)), out)


def test_readers_of_clips_start_without_torch() -> None:
    code = (
        "import sys, fl.data.reading, fl.data.shards; sys.exit(bool({'torch', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
