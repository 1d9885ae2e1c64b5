from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_files import FPS, draw_face, flat_frames, tone, write_clip

from fl.data.faces import crop_faces
from fl.data.reading import find_boxes, read_clip, read_frames
from fl.errors import ClipError
from fl.settings import ClipSettings, FaceSettings

SETTINGS = ClipSettings(num_frames=4, image_size=48, num_mfcc=5, window_s=0.8)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 s: a face that moves by half a pixel a frame to the right, with a tone."""
    path = tmp_path_factory.mktemp("moving") / "a.mp4"
    write_clip(path, np.stack([draw_face(192, 10 + i // 2, 50, 80) for i in range(100)]), tone(4.0))
    return path


def test_box_follows_the_face_at_the_times_that_are_told(moving: Path) -> None:
    clip = read_clip(moving, SETTINGS)
    centres = clip.boxes[:, 0] + clip.boxes[:, 2] / 2
    np.testing.assert_allclose(clip.times_s, (40 + np.array([2, 7, 12, 17])) / FPS, atol=1e-5)
    np.testing.assert_allclose(centres, 10 + clip.times_s * FPS / 2 + 40, atol=6)
    assert (clip.boxes[:, 2] == clip.boxes[:, 3]).all()


@pytest.mark.parametrize("sampling", ["every_k", "random"])
def test_frames_of_the_whole_file(moving: Path, sampling: str) -> None:
    settings = replace(SETTINGS, sampling=sampling, every_k=10, face=FaceSettings(smoothing=1))
    clip = read_clip(moving, settings)
    assert clip.times_s[-1] - clip.times_s[0] > 0.8
    centres = clip.boxes[:, 0] + clip.boxes[:, 2] / 2
    np.testing.assert_allclose(centres, 10 + clip.times_s * FPS / 2 + 40, atol=8)
    np.testing.assert_array_equal(clip.mfcc, read_clip(moving, SETTINGS).mfcc)  # the middle's sound
    np.testing.assert_array_equal(clip.frames, read_clip(moving, settings).frames)


def test_crops_of_one_file_share_no_frame(moving: Path) -> None:
    settings = replace(SETTINGS, sampling="random")
    times = [read_clip(moving, settings, crop=i, num_crops=4).times_s for i in range(4)]
    assert len(np.unique(np.concatenate(times))) == 16


def test_one_frame(moving: Path) -> None:
    clip = read_clip(moving, replace(SETTINGS, num_frames=1))
    assert clip.frames.shape == (1, 48, 48, 3)
    assert clip.boxes.shape == (1, 4)


def test_full_frame_needs_no_face_and_cuts_nothing_off(tmp_path: Path) -> None:
    picture = np.full((120, 200, 3), 30, dtype=np.uint8)
    picture[:, :100] = 200
    write_clip(tmp_path / "a.mp4", np.stack([picture] * 20), tone(0.8))
    with pytest.raises(ClipError, match="no face"):
        read_clip(tmp_path / "a.mp4", SETTINGS)
    clip = read_clip(tmp_path / "a.mp4", replace(SETTINGS, region="full_frame"))
    assert clip.frames.shape == (4, 48, 48, 3)
    np.testing.assert_allclose(clip.frames[:, :, :22].mean(), 200, atol=4)
    np.testing.assert_allclose(clip.frames[:, :, 26:].mean(), 30, atol=4)
    assert clip.boxes.tolist() == [[0, 0, 200, 120]] * 4


@pytest.mark.parametrize(
    ("face", "found"),
    [
        (FaceSettings(), True),
        (FaceSettings(min_side=150), False),
        (FaceSettings(scale_factor=1.05, min_neighbors=3), True),
    ],
)
def test_settings_of_the_cascade_reach_it(moving: Path, face: FaceSettings, found: bool) -> None:
    window = read_frames(moving, SETTINGS)
    boxes = find_boxes(window.frames, window.times_s, replace(SETTINGS, face=face))
    assert np.isfinite(boxes).all() == found
    assert not found or 70 < boxes[0, 2] < 130


def test_margin_widens_the_crop(moving: Path) -> None:
    wide = read_clip(moving, replace(SETTINGS, face=FaceSettings(margin=0.5)))
    window = read_frames(moving, SETTINGS)
    np.testing.assert_array_equal(wide.frames, crop_faces(window.frames, wide.boxes, margin=0.5, size=48))
    narrow = read_clip(moving, SETTINGS)
    np.testing.assert_array_equal(wide.boxes, narrow.boxes)  # the face's box, before the margin
    assert not np.array_equal(wide.frames, narrow.frames)


def test_smoothing_reaches_the_track(tmp_path: Path) -> None:
    still, jump = draw_face(192, 20, 50, 80), draw_face(192, 80, 50, 80)
    write_clip(tmp_path / "a.mp4", np.stack([still] * 9 + [jump] * 2 + [still] * 9), tone(0.8))
    settings = replace(SETTINGS, num_frames=5)  # frames 2, 6, 10, 14, 18: the third has jumped
    rough = read_clip(tmp_path / "a.mp4", replace(settings, face=FaceSettings(smoothing=1)))
    steady = read_clip(tmp_path / "a.mp4", settings)
    assert rough.boxes[2, 0] - rough.boxes[0, 0] > 40
    assert np.ptp(steady.boxes[:, 0]) < 5


def test_clip_without_sound(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", np.stack([draw_face(128, 20, 30, 70)] * 20), None)
    clip = read_clip(tmp_path / "a.mp4", SETTINGS)
    assert not clip.has_audio
    assert clip.mfcc.shape == (40, 5)
    assert not clip.mfcc.any()
    assert clip.valid_steps == 40
    with pytest.raises(ClipError, match="no audio track"):
        read_clip(tmp_path / "a.mp4", replace(SETTINGS, require_audio=True))


def test_clip_without_a_face_is_an_error_even_without_sound(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", flat_frames([90] * 20, (128, 128)), None)
    with pytest.raises(ClipError, match="no face in any frame"):
        read_clip(tmp_path / "a.mp4", SETTINGS)
