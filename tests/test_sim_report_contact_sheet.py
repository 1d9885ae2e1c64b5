from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_files import draw_face, flat_frames, tone, write_clip
from clip_tables import clip, tables
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fl.errors import RequestError
from fl.settings import ClipSettings, DataSettings
from sim.report.contact_sheet import draw_boxes, draw_contact_sheet
from sim.report.examples import choose_clips, read_example

DATA = DataSettings(clip=ClipSettings(num_frames=6, window_s=0.8))


def example(path: Path, frames: np.ndarray, audio: np.ndarray | None, **changes):
    write_clip(path, frames, audio)
    return read_example(replace(clip("ann", "FaceSwap"), path=path, **changes), DATA)


def talking(num_frames: int = 20) -> np.ndarray:
    return np.stack([draw_face(160, 30 + i // 4, 35, 90) for i in range(num_frames)])


@given(tables, st.integers(1, 30))
def test_clips_of_every_category_are_chosen_once_and_evenly(clips, num_clips):
    chosen = choose_clips(clips, num_clips)
    assert len(chosen) == min(num_clips, len(clips))
    assert len({id(one) for one in chosen}) == len(chosen)
    counts = [sum(one.category == name for one in chosen) for name in {one.category for one in clips}]
    totals = [sum(one.category == name for one in clips) for name in {one.category for one in clips}]
    assert all(
        count == total or count >= max(counts) - 1 for count, total in zip(counts, totals, strict=True)
    )


def test_a_box_is_drawn_where_the_face_is():
    frames = np.full((2, 160, 240, 3), 200, dtype=np.uint8)
    drawn = draw_boxes(frames, np.array([[40.0, 20, 80, 80], [120.0, 60, 80, 80]]))
    for index, x, y in ((0, 40, 40), (0, 60, 20), (0, 120, 60), (1, 120, 100), (1, 200, 80)):
        assert tuple(drawn[index, y, x]) == (255, 210, 0)
    assert (drawn[0, 40:80, 60:100] == 200).all()
    assert (frames == 200).all()
    assert (draw_boxes(frames, np.empty((0, 4))) == 200).all()


def test_an_example_keeps_a_few_small_pictures_with_the_box_around_the_face(tmp_path):
    large = np.stack([draw_face(640, 120, 140, 360)] * 20)
    read = example(tmp_path / "a.mp4", large, tone(0.8))
    assert read.tensors is not None
    assert read.pictures.shape == (4, 160, 160, 3)
    assert read.tensors.frames.shape == (4, 80, 80, 3)
    assert len(read.times_s) == len(read.boxes) == 4
    left, top, width, height = read.boxes[0]
    assert abs(left + width / 2 - 75) < 12
    assert abs(top + height / 2 - 80) < 12


def test_every_column_of_a_clip_with_face_and_sound_shows_something(tmp_path):
    read = example(tmp_path / "a.mp4", talking(), tone(0.8), fake_periods=((0.2, 0.5),))
    assert read.reason == ""
    draw_contact_sheet([read, read], tmp_path / "two.png", "two")
    draw_contact_sheet([read], tmp_path / "one.png", "one")
    one, two = (np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")) for name in ("one", "two"))
    assert two.shape[1] == one.shape[1]
    assert two.shape[0] - one.shape[0] == pytest.approx(1.35 * 110, abs=1)
    row = one[-140:]
    inked = (row < 230).any(axis=(0, 2))
    assert all(part.mean() > 0.3 for part in np.array_split(inked, 5))
    assert (np.abs(row.astype(int) - (179, 38, 30)).max(axis=2) < 12).sum() > 100  # the altered stretch


def test_a_clip_without_a_face_is_shown_with_the_reason(tmp_path):
    read = example(tmp_path / "a.mp4", flat_frames([90] * 20, (96, 96)), tone(0.8))
    assert read.reason == "no face in any frame"
    assert len(read.pictures) == 4
    gone = read_example(replace(clip("ann", "real"), path=tmp_path / "gone.mp4"), DATA)
    assert (gone.reason, len(gone.pictures)) == ("no such file", 0)
    draw_contact_sheet([read, gone], tmp_path / "sheet.png", "two that cannot be used")
    assert (np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))[-297:] < 200).any()


def test_a_clip_without_sound_and_with_a_strange_name_is_drawn(tmp_path):
    read = example(tmp_path / "a$_{\u65e5\u672c}\n.mp4", talking(), None, identity="\u65e5\u672c $x$")
    assert read.reason == ""
    assert read.tensors is not None
    assert not read.tensors.has_audio
    draw_contact_sheet([read], tmp_path / "sheet.png", "a \u65e5 $")
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_nothing_to_show_and_nowhere_to_write_are_wrong_requests(tmp_path):
    with pytest.raises(RequestError, match="no clip to show"):
        draw_contact_sheet([], tmp_path / "sheet.png", "none")
    gone = read_example(replace(clip("ann", "real"), path=tmp_path / "gone.mp4"), DATA)
    with pytest.raises(RequestError, match="--out must be a file that can be written"):
        draw_contact_sheet([gone], tmp_path, "a folder")
