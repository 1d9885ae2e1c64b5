"""Windows that come from another process are those of this one, and the process outlives its files."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_files import draw_face, tone, write_clip

from fl.data import window_reader
from fl.data.processes import Worker, ending
from fl.data.window_reader import windows_of
from fl.data.windows import read_windows
from fl.errors import ClipError
from fl.settings import ClipSettings

CLIP = ClipSettings(num_frames=4, image_size=48, window_s=0.8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("windows") / "a b\udcff.mp4"  # a name that is not UTF-8
    face = draw_face(128, 20, 30, 70)
    write_clip(path, np.stack([face] * 40 + [np.full_like(face, 90)] * 20), tone(1.2))
    return path


def process_id(worker: Worker) -> int:
    assert worker._process is not None
    return worker._process.pid


def test_windows_are_those_of_this_process(clip: Path) -> None:
    with Worker(window_reader.MODULE, 60.0) as worker:
        found = list(windows_of(clip, CLIP, worker))
    expected = list(read_windows(clip, CLIP))
    assert len(found) == len(expected) == 3
    assert [window.frames is None for window in found] == [False, False, True]
    for window, other in zip(found, expected, strict=True):
        for name in ("start_s", "end_s", "has_sound", "reason"):
            assert getattr(window, name) == getattr(other, name)
        for name in ("frames", "mfcc", "times_s", "found"):
            array, wanted = getattr(window, name), getattr(other, name)
            assert (array is None) == (wanted is None)
            if wanted is not None:
                assert array.dtype == wanted.dtype
                np.testing.assert_array_equal(array, wanted)


def test_one_process_serves_until_it_is_left_in_the_midst(clip: Path, tmp_path: Path) -> None:
    with Worker(window_reader.MODULE, 60.0) as worker:
        list(windows_of(clip, CLIP, worker))
        first = process_id(worker)
        with pytest.raises(ClipError, match="no such file"):
            list(windows_of(tmp_path / "none.mp4", CLIP, worker))
        with pytest.raises(ClipError, match=r"cannot be read: \w+Error: "):
            list(windows_of(clip, replace(CLIP, num_frames=-1), worker))
        assert process_id(worker) == first
        some = windows_of(clip, CLIP, worker)
        next(some)
        some.close()  # type: ignore[attr-defined]
        assert len(list(windows_of(clip, CLIP, worker))) == 3  # none of the old answers are among the new
        last = process_id(worker)
        assert last != first
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


def test_a_process_that_cannot_start_is_told() -> None:
    with (
        Worker("fl.errors", 5.0) as worker,
        pytest.raises(ClipError, match=r"its reader died \(exit code 1\)"),
    ):
        list(worker.ask({}))
    assert ending(-11) == "SIGSEGV"
