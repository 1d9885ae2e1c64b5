import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.data.clips import REAL
from fl.data.corpora.forge import (
    MANIPULATIONS,
    deal_categories,
    draw_period,
    forge,
    forge_at_random,
    frames_within,
)
from fl.data.corpora.forge_audio import vocode
from fl.data.corpora.forge_video import region
from fl.data.corpora.recording import Recording
from fl.errors import DataError

FPS = 25.0
PERIOD = (0.4, 1.2)
VIDEO = sorted(name for name, manipulation in MANIPULATIONS.items() if manipulation.video)
AUDIO = sorted(name for name, manipulation in MANIPULATIONS.items() if manipulation.audio)


def make_recording(seed: int, num_frames: int = 40, size: tuple[int, int] = (96, 112)) -> Recording:
    """Textured pictures with a box that wanders, and noise whose loudness changes."""
    rng = np.random.default_rng(seed)
    samples = round(num_frames / FPS * 16_000)
    drift = np.linspace(0, 6, num_frames)
    box = np.array([28.0, 20.0, 54.0, 54.0])
    loudness = 0.2 * (1.2 + np.sin(np.arange(samples) / 900.0 + seed))
    return Recording(
        frames=rng.integers(0, 256, (num_frames, *size, 3), dtype=np.uint8),
        boxes=box + drift[:, None] * np.array([1, 0.5, 0, 0]),
        audio=np.clip(loudness * rng.standard_normal(samples), -1, 1).astype(np.float32),
        fps=FPS,
    )


def mean_log_spectrum(sound: np.ndarray) -> float:
    windows = np.lib.stride_tricks.sliding_window_view(sound, 512)[::128] * np.hanning(512)
    return float(np.log(np.abs(np.fft.rfft(windows)) + 1e-4).mean())


def outside_mask(target: Recording, period: tuple[float, float]) -> np.ndarray:
    """(T, H, W): what a video manipulation of ``period`` must not touch."""
    outside = np.ones(target.frames.shape[:3], dtype=bool)
    for index in frames_within(period, target.fps, len(target.frames)):
        outside[index][region(target.boxes[index], *target.frames.shape[1:3])] = False
    return outside


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_strength_zero_is_the_identity(name):
    target = make_recording(0)
    forged = forge(name, target, make_recording(1), PERIOD, np.random.default_rng(0), strength=0.0)
    np.testing.assert_array_equal(forged.frames, target.frames)
    np.testing.assert_allclose(forged.audio, target.audio, atol=1e-7)


@pytest.mark.parametrize("name", VIDEO)
def test_video_changes_only_the_face_within_the_period(name):
    target = make_recording(0)
    before = target.frames.copy()
    forged = forge(name, target, make_recording(1), PERIOD, np.random.default_rng(0))
    outside = outside_mask(target, PERIOD)
    np.testing.assert_array_equal(forged.frames[outside], before[outside])
    np.testing.assert_array_equal(target.frames, before)
    np.testing.assert_array_equal(forged.audio, target.audio)
    changed = (forged.frames != before).any(axis=(1, 2, 3))
    assert changed.nonzero()[0].tolist() == list(range(10, 30))


@pytest.mark.parametrize("name", AUDIO)
def test_audio_changes_only_the_period(name):
    target = make_recording(0)
    forged = forge(name, target, make_recording(1), PERIOD, np.random.default_rng(0))
    start, stop = 6400, 19200
    np.testing.assert_array_equal(forged.audio[:start], target.audio[:start])
    np.testing.assert_array_equal(forged.audio[stop:], target.audio[stop:])
    assert np.mean(forged.audio[start:stop] != target.audio[start:stop]) > 0.9
    np.testing.assert_array_equal(forged.frames, target.frames)
    own, new = target.audio[start:stop], forged.audio[start:stop]
    assert abs(mean_log_spectrum(own) - mean_log_spectrum(new)) < 0.3


def test_the_voice_may_come_with_the_face():
    target, donor = make_recording(0), make_recording(1)
    forged = forge("FaceSwap", target, donor, PERIOD, np.random.default_rng(0), with_voice=True)
    replaced = forge("AudioReplaced", target, donor, PERIOD, np.random.default_rng(0))
    np.testing.assert_array_equal(forged.audio, replaced.audio)
    assert (forged.frames != target.frames).any()


def test_drawn_forgeries_say_what_they_altered():
    target, donor = make_recording(0), make_recording(1)
    for name in [REAL, *MANIPULATIONS]:
        for seed in range(4):
            made = forge_at_random(name, target, donor, np.random.default_rng(seed))
            assert made.modify_video == bool((made.recording.frames != target.frames).any())
            assert made.modify_audio == bool((made.recording.audio != target.audio).any())
            assert len(made.periods) == (name != REAL)


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_donor_may_be_shorter_and_of_another_size(name):
    target = make_recording(0)
    donor = make_recording(1, num_frames=7, size=(80, 90))
    forged = forge(name, target, donor, (0.0, 1.6), np.random.default_rng(0))
    assert forged.frames.shape == target.frames.shape
    assert forged.frames.dtype == np.uint8
    assert forged.audio.shape == target.audio.shape
    assert forged.audio.dtype == np.float32


@pytest.mark.parametrize("name", VIDEO)
def test_a_face_that_leaves_the_picture_is_no_error(name):
    target = make_recording(0)
    off = Recording(target.frames, target.boxes + np.array([70.0, -30.0, 0, 0]), target.audio, FPS)
    forged = forge(name, off, make_recording(1), PERIOD, np.random.default_rng(0))
    outside = outside_mask(off, PERIOD)
    np.testing.assert_array_equal(forged.frames[outside], off.frames[outside])


@pytest.mark.parametrize("seed", range(6))
def test_shift_is_at_least_a_quarter_of_a_second(seed):
    target = make_recording(seed)
    forged = forge("AudioShifted", target, target, (0.0, 1.6), np.random.default_rng(seed))
    own, new = np.fft.rfft(target.audio), np.fft.rfft(forged.audio)
    lag = int(np.argmax(np.fft.irfft(new * own.conj(), n=len(target.audio))))
    distance_s = min(lag, len(target.audio) - lag) / 16_000
    assert 0.25 <= distance_s <= 0.5


def test_swapped_face_comes_from_the_donor():
    target, donor = make_recording(0), make_recording(1)
    donor.frames[:] = 128
    donor.frames[:, :, ::4] = 20
    forged = forge("FaceSwap", target, donor, (0.0, 1.6), np.random.default_rng(0))
    x, y, w, h = target.boxes[0].astype(int)
    inner = (slice(y + int(0.5 * h), y + int(0.7 * h)), slice(x + int(0.4 * w), x + int(0.6 * w)))
    columns = forged.frames[0][inner].astype(float).mean(axis=2)
    assert columns.std(axis=0).mean() < 0.2 * target.frames[0][inner].astype(float).std()


def test_vocoder_keeps_the_mean_log_spectrum_and_flutters():
    rng = np.random.default_rng(0)
    audio = (0.1 * rng.standard_normal(32_000)).astype(np.float32)
    own, new = (
        np.log(np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(sound, 512)[::128])) + 1e-4)
        for sound in (audio, vocode(audio))
    )
    assert abs(own.mean() - new.mean()) < 0.25
    assert new.mean(axis=1).std() > 5 * own.mean(axis=1).std()


def test_unknown_manipulation_lists_the_choices():
    target = make_recording(0)
    with pytest.raises(DataError, match=r"FaceSwap.*got 'FaceShifter'"):
        forge("FaceShifter", target, target, PERIOD, np.random.default_rng(0))


def test_shares_sum_to_one_and_shifts_are_rare():
    assert sum(manipulation.share for manipulation in MANIPULATIONS.values()) == pytest.approx(1.0)
    assert MANIPULATIONS["AudioShifted"].share <= 0.06


@given(count=st.integers(0, 300), seed=st.integers(0, 2**32 - 1))
def test_dealt_categories_keep_the_shares(count, seed):
    names = deal_categories(count, np.random.default_rng(seed))
    assert len(names) == count
    for name, manipulation in MANIPULATIONS.items():
        assert abs(names.count(name) - manipulation.share * count) <= 1 + 1e-9


@given(
    name=st.sampled_from(sorted(MANIPULATIONS)),
    duration_s=st.floats(0.8, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_periods_lie_within_the_clip(name, duration_s, seed):
    start, end = draw_period(name, duration_s, np.random.default_rng(seed))
    assert 0 <= start < end <= duration_s + 1e-3
    assert end - start >= min(MANIPULATIONS[name].min_period_s, duration_s) - 2e-3
    num_frames = round(duration_s * FPS)
    assert len(frames_within((start, end), FPS, num_frames)) >= 9
