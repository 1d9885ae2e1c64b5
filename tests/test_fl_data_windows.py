"""A whole file as a row of windows: they cover it, and each is what the reader of stores would give."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from clip_files import FPS, draw_face, flat_frames, tone, write_clip
from hypothesis import given
from hypothesis import strategies as st

from fl.data.reading import read_clip
from fl.data.windows import MIN_REST_S, read_windows, window_spans
from fl.errors import ClipError
from fl.settings import ClipSettings

SETTINGS = ClipSettings(num_frames=4, image_size=48, num_mfcc=5, window_s=0.8)


@given(st.floats(0.04, 500), st.floats(0.4, 30))
def test_windows_cover_the_video_and_are_of_one_length(duration_s: float, window_s: float) -> None:
    spans = window_spans(duration_s, window_s)
    assert spans[0][0] == 0
    assert duration_s - MIN_REST_S <= spans[-1][1] <= duration_s + 1e-9
    assert all(b <= end + 1e-9 for (_, end), (b, _) in pairwise(spans))
    if len(spans) > 1:
        assert all(end - start == pytest.approx(window_s) for start, end in spans)
    assert len(spans) <= duration_s / window_s + 2


def test_a_clip_of_one_window_is_read_as_for_a_store(tmp_path: Path) -> None:
    frames = np.stack([draw_face(160, 20 + i, 30, 80) for i in range(20)])
    write_clip(tmp_path / "a.mp4", frames, tone(0.8))
    clip = read_clip(tmp_path / "a.mp4", SETTINGS)
    [window] = read_windows(tmp_path / "a.mp4", SETTINGS)
    assert window.frames is not None
    np.testing.assert_array_equal(window.frames, clip.frames)
    np.testing.assert_array_equal(window.mfcc, clip.mfcc)
    np.testing.assert_allclose(window.times_s, clip.times_s, atol=1e-6)
    assert window.has_sound
    assert (window.start_s, window.end_s, window.reason) == (0.0, 0.8, "")


def test_each_window_has_its_own_pictures_and_its_own_sound(tmp_path: Path) -> None:
    """The face moves right all the time; only the second window is loud; the last one overlaps it."""
    frames = np.stack([draw_face(200, 4 * i // 2, 50, 80) for i in range(50)])
    sound = np.concatenate([tone(0.8, amplitude=0.001), tone(0.8), tone(0.4, amplitude=0.001)])
    write_clip(tmp_path / "a.mp4", frames, sound)
    windows = list(read_windows(tmp_path / "a.mp4", SETTINGS))
    assert [(w.start_s, w.end_s) for w in windows] == [(0.0, 0.8), (0.8, 1.6), (pytest.approx(1.2), 2.0)]
    lefts = [float(w.found[:, 0].mean()) for w in windows]
    assert lefts[1] - lefts[0] == pytest.approx(2 * 20, abs=6)
    assert lefts[2] - lefts[1] == pytest.approx(2 * 10, abs=6)
    energy = [w.mfcc[:, 0] for w in windows]
    assert energy[1][4:-4].min() > energy[0][4:-4].max() + 0.5
    assert energy[2][4:16].min() > energy[2][26:].max() + 0.5  # 0.4 s loud, 0.4 s quiet
    for window in windows:
        inside = (window.times_s >= window.start_s - 1e-6) & (window.times_s < window.end_s)
        assert inside.all()
        assert np.diff(window.times_s).min() > 0.1


def test_windows_without_a_face_say_so_and_the_others_stay(tmp_path: Path) -> None:
    frames = np.concatenate([[draw_face(160, 30, 30, 80)] * 20, flat_frames([90] * 20, (160, 160))])
    write_clip(tmp_path / "a.mp4", frames, None)
    with_face, without = read_windows(tmp_path / "a.mp4", SETTINGS)
    assert with_face.reason == ""
    assert without.frames is None
    assert without.reason == "no face in any frame"
    assert np.isnan(without.found).all()
    assert not with_face.has_sound
    assert not with_face.mfcc.any()


def test_a_model_that_needs_sound_gets_none_of_a_silent_file(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", np.stack([draw_face(160, 30, 30, 80)] * 20), None)
    [window] = read_windows(tmp_path / "a.mp4", replace(SETTINGS, require_audio=True))
    assert (window.frames, window.reason) == (None, "no audio track")


@pytest.mark.parametrize("sampling", ["every_k", "random"])
def test_a_video_sampled_as_a_whole_is_one_window(sampling: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", np.stack([draw_face(160, 30, 30, 80)] * 50), tone(2.0))
    settings = replace(SETTINGS, sampling=sampling, every_k=10)
    [window] = read_windows(tmp_path / "a.mp4", settings)
    assert window.frames is not None
    np.testing.assert_array_equal(window.frames, read_clip(tmp_path / "a.mp4", settings).frames)
    assert window.end_s == pytest.approx(50 / FPS)


def test_an_image_is_one_window(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), draw_face(160, 30, 30, 80)[..., ::-1])
    [window] = read_windows(tmp_path / "a.png", SETTINGS)
    assert window.frames is not None
    assert window.frames.shape == (4, 48, 48, 3)
    assert not window.has_sound


def test_a_truncated_file_is_refused_as_a_whole(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", np.stack([draw_face(160, 30, 30, 80)] * 50), tone(2.0), faststart=True)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ClipError, match="truncated"):
        list(read_windows(tmp_path / "b.mp4", SETTINGS))
