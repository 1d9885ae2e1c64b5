from pathlib import Path

import numpy as np
import pytest
from clip_files import add_face, draw_face

from fl.data.faces import crop_faces, detect_faces, fill_track, shrink_frames
from fl.data.media import read_window
from fl.errors import ClipError

TALKING_HEADS = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "talking_heads"
NOTHING = [np.nan] * 4


def overlap(box: np.ndarray, other: tuple[float, float, float, float]) -> float:
    """Intersection over union of two (left, top, width, height)."""
    left, top = max(box[0], other[0]), max(box[1], other[1])
    right, bottom = min(box[0] + box[2], other[0] + other[2]), min(box[1] + box[3], other[1] + other[3])
    shared = max(0.0, right - left) * max(0.0, bottom - top)
    return float(shared / (box[2] * box[3] + other[2] * other[3] - shared))


def haar_square(left: int, top: int, side: int) -> tuple[float, float, float, float]:
    """Where the cascade sees the cartoon: about 1.25 of its square, around the same centre."""
    return left - 0.125 * side, top - 0.125 * side, 1.25 * side, 1.25 * side


@pytest.mark.parametrize(
    ("size", "left", "top", "side"), [(160, 40, 40, 80), (360, 100, 90, 150), (96, 20, 15, 55)]
)
def test_face_is_found_where_it_was_drawn(size: int, left: int, top: int, side: int) -> None:
    boxes = detect_faces(np.stack([draw_face(size, left, top, side)] * 3))
    assert boxes.shape == (3, 4)
    assert boxes.dtype == np.float32
    for box in boxes:
        assert overlap(box, haar_square(left, top, side)) > 0.7


def test_largest_of_two_faces() -> None:
    picture = draw_face(320, 20, 20, 90)
    add_face(picture, 150, 110, 150)
    (box,) = detect_faces(picture[None])
    assert overlap(box, haar_square(150, 110, 150)) > 0.7


def test_face_that_is_small_in_a_large_picture_needs_the_second_look() -> None:
    box = detect_faces(draw_face(900, 700, 100, 60)[None])[0]  # 8 % of the picture's side
    assert overlap(box, haar_square(700, 100, 60)) > 0.6
    assert np.isnan(detect_faces(draw_face(900, 700, 100, 60)[None], min_face=200)).all()


def test_face_that_jumps_is_not_interpolated() -> None:
    places = [(10, 30), (70, 30), (70, 30)]
    boxes = detect_faces(np.stack([draw_face(160, *place, 80) for place in places]))
    for box, place in zip(boxes, places, strict=True):
        assert overlap(box, haar_square(*place, 80)) > 0.7


def test_nan_where_there_is_no_face() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    face = draw_face(160, 40, 40, 80)
    found = np.isfinite(detect_faces(np.stack([face, noise, face, face, noise]))).all(axis=1)
    assert found.tolist() == [True, False, True, True, False] or found.tolist() == [
        True,
        True,
        True,
        True,
        False,
    ]
    assert np.isnan(detect_faces(noise[None])).all()


def test_track_fills_gaps_linearly_and_keeps_one_size() -> None:
    boxes = np.array(
        [[0, 10, 40, 40], [10, 10, 40, 40], NOTHING, [30, 10, 40, 40], [40, 10, 44, 44]], dtype=np.float32
    )
    track = fill_track(boxes)
    assert (track[:, 2:] == 40).all()
    # centres 20, 30, (40), 50, 62; the running median of five with repeated ends
    np.testing.assert_allclose(track[:, 0] + 20, [20, 30, 40, 50, 62])


def test_track_drops_a_false_find() -> None:
    boxes = np.tile(np.array([[50, 50, 40, 40]], dtype=np.float32), (7, 1))
    boxes[3] = [0, 0, 60, 60]
    np.testing.assert_array_equal(fill_track(boxes), np.tile([[50, 50, 40, 40]], (7, 1)))


def test_track_without_smoothing_goes_where_the_boxes_go() -> None:
    boxes = np.tile(np.array([[50, 50, 40, 40]], dtype=np.float32), (7, 1))
    boxes[3] = [0, 0, 40, 40]
    np.testing.assert_array_equal(fill_track(boxes, smoothing=1), boxes)
    np.testing.assert_array_equal(fill_track(boxes, smoothing=3), np.tile([[50, 50, 40, 40]], (7, 1)))
    np.testing.assert_array_equal(fill_track(boxes[:1], smoothing=99), boxes[:1])


def test_stricter_cascade_finds_less() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    picture = (0.45 * draw_face(160, 40, 40, 80) + 0.55 * noise).astype(np.uint8)[None]
    loose = detect_faces(picture, scale_factor=1.05, min_neighbors=1)
    assert np.isfinite(loose).all()
    assert np.isnan(detect_faces(picture, scale_factor=1.9, min_neighbors=20)).all()


def test_whole_pictures_are_squeezed_by_averaging() -> None:
    frame = np.zeros((32, 64, 3), dtype=np.uint8)
    frame[::2, ::2] = 200
    np.testing.assert_array_equal(shrink_frames(frame[None], size=16), np.full((1, 16, 16, 3), 50))
    assert shrink_frames(frame[None], size=100).shape == (1, 100, 100, 3)


def test_too_few_faces_are_a_clip_error() -> None:
    boxes = np.full((8, 4), np.nan, dtype=np.float32)
    with pytest.raises(ClipError, match="no face in any frame"):
        fill_track(boxes)
    boxes[:3] = [50, 50, 40, 40]
    with pytest.raises(ClipError, match="a face in only 3 of 8 frames"):
        fill_track(boxes)
    boxes[3] = [50, 50, 40, 40]
    assert fill_track(boxes).shape == (8, 4)


def test_crop_takes_the_box_and_its_margin() -> None:
    columns = np.arange(100, dtype=np.uint8)
    frame = np.stack([np.tile(columns, (100, 1)), np.tile(columns[:, None], (1, 100))], axis=-1)
    frame = np.concatenate([frame, np.zeros((100, 100, 1), np.uint8)], axis=-1)
    crop = crop_faces(frame[None], np.array([[40, 20, 20, 20]], np.float32), margin=0.5, size=40)[0]
    np.testing.assert_array_equal(crop[..., 0], np.tile(np.arange(30, 70), (40, 1)))  # 40 - 10 to 60 + 10
    np.testing.assert_array_equal(crop[..., 1], np.tile(np.arange(10, 50)[:, None], (1, 40)))


def test_crop_shrinks_by_averaging() -> None:
    frame = np.zeros((64, 64, 3), dtype=np.uint8)
    frame[::2, ::2] = 200  # a quarter of the pixels: point sampling would give 0 or 200
    crop = crop_faces(frame[None], np.array([[0, 0, 64, 64]], np.float32), margin=0.0, size=16)
    np.testing.assert_array_equal(crop, np.full((1, 16, 16, 3), 50))


def test_crop_repeats_the_border() -> None:
    frame = np.zeros((50, 50, 3), dtype=np.uint8)
    frame[:, :] = np.arange(50, dtype=np.uint8)[None, :, None]
    crop = crop_faces(frame[None], np.array([[-10, 20, 20, 20]], np.float32), margin=0.0, size=20)[0]
    np.testing.assert_array_equal(crop[0, :, 0], [0] * 10 + list(range(10)))
    corner = crop_faces(frame[None], np.array([[40, 40, 20, 20]], np.float32), margin=0.0, size=20)[0]
    np.testing.assert_array_equal(corner[-1, :, 0], [*range(40, 50), *[49] * 10])


@pytest.mark.skipif(not TALKING_HEADS.is_dir(), reason="real clips are not here")
def test_real_heads_are_found_in_every_frame() -> None:
    for path in sorted(TALKING_HEADS.glob("*.mpg")):
        window = read_window(path, num_frames=8, window_s=1.6)
        boxes = detect_faces(window.frames)
        assert np.isfinite(boxes).all(), path.name
        track = fill_track(boxes)
        assert 110 < track[0, 2] < 190  # heads of GRID fill about half of 288 pixels
        assert np.abs(np.diff(track[:, :2], axis=0)).max() < 10
