"""A device's own folder: nothing of it is kept for validation or test, and nothing marked so is read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nodes import EXPERIMENT, write_videos

from fl.data.corpora.performance import cast_person, perform
from fl.data.corpora.writer import Encoding, write_mp4
from fl.data.own_clips import build_own_store, read_own_clips
from fl.errors import DataError, RequestError
from fl.settings import FolderSettings

DATA = EXPERIMENT.data


def test_fakes_are_forged_on_the_device_from_its_own_people(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "videos").mkdir()
    for index in range(4):
        write_mp4(
            tmp_path / "videos" / f"p{index}.mp4",
            perform(cast_person(rng, 128), 1.0, rng),
            Encoding(20, 48_000),
        )
    data = replace(DATA, folders=FolderSettings(window_s=0.8, fakes_per_real=2))
    cache = tmp_path / "cache"
    store = build_own_store(tmp_path / "videos", "folders", data, cache, hears=True, workers=1)
    assert len({clip.identity for clip in store.clips}) == 4
    assert [clip.label for clip in store.clips].count(0) == 4
    assert [clip.label for clip in store.clips].count(1) == 8
    assert {clip.split for clip in store.clips} == {"clients"}
    again = build_own_store(tmp_path / "videos", "folders", data, cache, hears=True, workers=1)
    assert again.digest == store.digest
    # to a network that is deaf, a fake of the sound alone is real
    deaf = build_own_store(tmp_path / "videos", "folders", data, cache, hears=False, workers=1)
    of_sound = [clip.modify_audio and not clip.modify_video for clip in store.clips]
    assert any(of_sound)
    assert [int(label) for label in deaf.labels] == [
        0 if sound else clip.label for sound, clip in zip(of_sound, store.clips, strict=True)
    ]


def test_clips_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write_videos(tmp_path, (0, 1, 1))
    table = (tmp_path / "clips.csv").read_text().splitlines()
    (tmp_path / "clips.csv").write_text("\n".join([table[0], *reversed(table[1:])]))
    clips = read_own_clips(tmp_path, "table", DATA, tmp_path / "cache", 1)
    assert [(clip.path.name, clip.label) for clip in clips] == [
        ("any0.mp4", 0),
        ("any1.mp4", 1),
        ("any2.mp4", 1),
    ]


def test_a_folder_of_test_clips_is_refused(tmp_path: Path) -> None:
    write_videos(tmp_path, (0, 1), "test")
    with pytest.raises(DataError, match="no clip for training: all are marked validation or test"):
        read_own_clips(tmp_path, "table", DATA, tmp_path / "cache", 1)
    with pytest.raises(RequestError, match=r"data-layout must be one of lavdf, .*, folders, got 'synthetic'"):
        read_own_clips(tmp_path, "synthetic", DATA, tmp_path / "cache", 1)
