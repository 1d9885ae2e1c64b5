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
from sim.report.contact_sheet import choose_clips, draw_contact_sheet, read_example, strip_frames

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
    frames = np.full((2, 80, 120, 3), 200, dtype=np.uint8)
    strip, starts = strip_frames(frames, np.array([[20, 10, 40, 40], [60, 30, 40, 40]], dtype=np.float32))
    assert strip.shape == (160, 2 * 240 + 6, 3)
    assert starts == [0, 246]
    box = (255, 210, 0)
    for x, y in ((40, 40), (60, 20), (120, 60), (246 + 120, 100), (246 + 200, 80)):
        assert tuple(strip[y, x]) == box
    assert tuple(strip[60, 60]) == (200, 200, 200)


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
    assert read.window is not None
    gone = read_example(replace(clip("ann", "real"), path=tmp_path / "gone.mp4"), DATA)
    assert (gone.reason, gone.window) == ("no such file", None)
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
