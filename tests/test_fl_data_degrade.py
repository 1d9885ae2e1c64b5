"""Degradations: level none is the identity, worse is worse, and H.264 is a real re-encode of the file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_files import draw_face, flat_frames, tone, write_clip
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fl.data.containers import read_header
from fl.data.degrade import H264, LEVELS, UNITS, add_noise, degrade_crops, reencode, reencoded_crops, soften
from fl.data.media import read_window
from fl.data.reading import read_clip
from fl.errors import ClipError
from fl.settings import ClipSettings

SETTINGS = ClipSettings(num_frames=4, image_size=48, num_mfcc=5, window_s=0.8)
FACES = np.stack([draw_face(96, 10 + i, 12, 60) for i in range(3)])


def error(worse: np.ndarray, frames: np.ndarray) -> float:
    """Mean squared difference of pixels."""
    return float(((worse.astype(float) - frames) ** 2).mean())


@pytest.mark.parametrize("kind", [kind for kind in LEVELS if kind != H264])
def test_each_level_is_worse_than_the_one_before(kind: str) -> None:
    before = FACES.copy()
    errors = [
        error(degrade_crops(FACES, kind, level, np.random.default_rng(0)), FACES) for level in LEVELS[kind]
    ]
    assert errors[0] > 0
    assert errors == sorted(errors)
    assert errors[-1] > 1.5 * errors[0]
    np.testing.assert_array_equal(FACES, before)
    assert LEVELS.keys() == UNITS.keys()


@hypothesis_settings(max_examples=15)
@given(st.floats(0, 20), st.integers(0, 9))
def test_noise_has_the_deviation_it_says_and_zero_is_the_identity(sigma: float, seed: int) -> None:
    grey = flat_frames([128, 128])
    noisy = add_noise(grey, sigma, np.random.default_rng(seed)).astype(float) - 128
    # Rounding adds 1/12 where the noise is not far below one grey level.
    assert noisy.std() == pytest.approx(np.sqrt(sigma**2 + (1 / 12 if sigma > 1 else 0)), rel=0.05, abs=0.55)
    np.testing.assert_array_equal(add_noise(grey, 0, np.random.default_rng(0)), grey)
    np.testing.assert_array_equal(soften(FACES, 0), FACES)


def test_blur_keeps_the_mean_and_spreads_a_point_as_a_gaussian() -> None:
    point = np.zeros((1, 41, 41, 3), np.uint8)
    point[0, 20, 20] = 255
    spread = soften(point, 1.5)[0, :, :, 0].astype(float)
    assert spread[20, 20] == pytest.approx(255 / (2 * np.pi * 1.5**2), rel=0.1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("degrade") / "a.mp4"
    write_clip(path, np.stack([draw_face(161, 20 + i, 30, 80) for i in range(20)])[:, :160, :160], tone(0.8))
    return path


def test_h264_changes_the_pictures_more_with_its_rate_factor(clip: Path) -> None:
    read = read_clip(clip, SETTINGS)
    errors = [
        error(reencoded_crops(clip, crf, read.boxes, SETTINGS), read.frames) for crf in (0, *LEVELS[H264])
    ]
    assert errors[0] < 3  # lossless but for the rounding of colours
    assert errors == sorted(errors)
    assert errors[-1] > 10 * errors[0]


def test_reencoding_keeps_times_and_length_and_takes_odd_sides(tmp_path: Path) -> None:
    frames = flat_frames([20, 200] * 10, (61, 83))
    write_clip(tmp_path / "a.mkv", frames[:, :60, :82], None, container="matroska")
    reencode(tmp_path / "a.mkv", tmp_path / "b.mp4", 10)
    old, new = read_header(tmp_path / "a.mkv"), read_header(tmp_path / "b.mp4")
    assert (new.codec, new.num_frames, new.width, new.height) == ("h264", 20, 82, 60)
    assert new.duration_s == pytest.approx(old.duration_s, abs=0.01)
    windows = [read_window(tmp_path / name, num_frames=4, window_s=0.8) for name in ("a.mkv", "b.mp4")]
    np.testing.assert_allclose(windows[0].times_s, windows[1].times_s, atol=2e-3)
    np.testing.assert_allclose(windows[0].frames.mean((1, 2, 3)), windows[1].frames.mean((1, 2, 3)), atol=3)


def test_whole_pictures_are_degraded_whole(clip: Path) -> None:
    settings = replace(SETTINGS, region="full_frame")
    read = read_clip(clip, settings)
    assert error(reencoded_crops(clip, 0, read.boxes, settings), read.frames) < 3


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="no such file"):
        reencoded_crops(tmp_path / "none.mp4", 23, np.zeros((4, 4), np.float32), SETTINGS)
