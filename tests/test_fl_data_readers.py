"""Readers that hang, crash or are killed: real processes, and real signals sent to them."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_files import draw_face, tone, write_clip
from PIL import Image

from fl.data import readers
from fl.data.reader import ReadClip, Setup, Task
from fl.data.readers import read_clips
from fl.data.rows import row_crc, row_sizes
from fl.errors import DataError, RequestError
from fl.settings import ClipSettings, FaceSettings, MediaSettings

SETTINGS = ClipSettings(num_frames=2, image_size=32, num_mfcc=5, window_s=0.8)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    write_clip(path, np.stack([draw_face(128, 20, 30, 70)] * 20), tone(0.8))
    return path


def setup_of(tmp_path: Path, num_clips: int, timeout_s: float = 60.0) -> Setup:
    folder = tmp_path / "cache" / "shards" / "x.partial"
    folder.mkdir(parents=True)
    for name, size_bytes in row_sizes(SETTINGS).items():
        (folder / name).write_bytes(bytes(size_bytes * num_clips))
    return Setup(SETTINGS, MediaSettings(timeout_s=timeout_s), os.fspath(folder))


def reader_of(results: Iterator[ReadClip]) -> int:
    """The process id of the only reader of a generator that is on its way."""
    return int(results.gi_frame.f_locals["readers"][0]._process.pid)  # type: ignore[attr-defined]


def test_rows_are_written_and_checked(clip: Path, tmp_path: Path) -> None:
    setup = setup_of(tmp_path, 3)
    tasks = [Task(row, os.fspath(clip)) for row in (2, 0)]
    done = {found.row: found for found in read_clips(tasks, setup, num_workers=4)}
    assert sorted(done) == [0, 2]
    for row, found in done.items():
        assert (found.reason, found.valid_steps, found.has_audio) == ("", 40, True)
        assert found.crc == row_crc(Path(setup.folder), row, row_sizes(SETTINGS))
        assert found.header is not None
        assert found.header.num_frames == 20
    assert done[0].crc == done[2].crc
    size_bytes = row_sizes(SETTINGS)["frames.u8"]
    assert not any((Path(setup.folder) / "frames.u8").read_bytes()[size_bytes : 2 * size_bytes])


def test_reader_that_hangs_costs_one_clip(clip: Path, tmp_path: Path) -> None:
    tasks = [Task(row, os.fspath(clip)) for row in range(6)]
    results = read_clips(tasks, setup_of(tmp_path, 6, timeout_s=1.5), num_workers=1)
    done = [next(results)]
    os.kill(reader_of(results), signal.SIGSTOP)  # hangs: it neither answers nor ends
    started = time.monotonic()
    done += results
    assert time.monotonic() - started < 30
    assert sorted(found.row for found in done) == list(range(6))
    lost = [found for found in done if found.reason]
    assert len(lost) <= 1  # none, if it had read all before it was stopped
    for found in lost:
        assert found.reason == "cut off: not read within 1.5 s (data.media.timeout_s)"


def test_slow_clip_is_cut_off_and_the_others_are_read(clip: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.bmp"  # the cascade takes many seconds over it
    noise = np.random.default_rng(0).integers(0, 256, (3600, 3600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(large)
    setup = setup_of(tmp_path, 3, timeout_s=2.0)
    thorough = replace(SETTINGS, face=FaceSettings(scale_factor=1.02, min_side=24))
    tasks = [Task(row, os.fspath(path)) for row, path in enumerate((clip, large, clip))]
    started = time.monotonic()
    results = read_clips(tasks, replace(setup, settings=thorough), num_workers=1)
    assert {found.row: found.reason for found in results} == {
        0: "",
        1: "cut off: not read within 2 s (data.media.timeout_s)",
        2: "",
    }
    assert time.monotonic() - started < 30


def test_reader_that_is_killed_costs_nothing_the_first_time(clip: Path, tmp_path: Path) -> None:
    tasks = [Task(row, os.fspath(clip)) for row in range(6)]
    results = read_clips(tasks, setup_of(tmp_path, 6), num_workers=1)
    done = [next(results)]
    os.kill(reader_of(results), signal.SIGKILL)
    done += results
    assert sorted(found.row for found in done) == list(range(6))
    assert {found.reason for found in done} == {""}


def test_clip_at_which_readers_die_is_given_up(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reader's own code, and one file that makes it crash as a fault in a decoder would.
    crash = (
        "import os, signal, sys; sys.path[:] = sys.argv[1:]\n"
        "from fl.data import reader\n"
        "read = reader.read_clip\n"
        "def read_clip(path, *args, **kwargs):\n"
        "    if path.name == 'crash.mp4': os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return read(path, *args, **kwargs)\n"
        "reader.read_clip = read_clip\n"
        "reader.main()\n"
    )
    monkeypatch.setattr(readers, "_CODE", crash)
    paths = [clip, tmp_path / "crash.mp4", clip, clip]
    tasks = [Task(row, os.fspath(path)) for row, path in enumerate(paths)]
    reasons = {found.row: found.reason for found in read_clips(tasks, setup_of(tmp_path, 4), num_workers=1)}
    assert reasons == {0: "", 1: "its reader died 2 times (SIGSEGV)", 2: "", 3: ""}


def test_whatever_a_library_raises_costs_one_clip(clip: Path, tmp_path: Path) -> None:
    tasks = [Task(0, "a\0b.mp4"), Task(1, os.fspath(clip))]
    reasons = {found.row: found.reason for found in read_clips(tasks, setup_of(tmp_path, 2), num_workers=1)}
    assert reasons[0]
    assert reasons[1] == ""


def test_reader_that_cannot_start_is_an_error(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_CODE", "raise SystemExit(3)")
    with pytest.raises(DataError, match=r"could not start \(exit code 3\)"):
        list(read_clips([Task(0, os.fspath(clip))], setup_of(tmp_path, 1), num_workers=1))


def test_cache_that_vanishes_is_an_error_of_the_cache(clip: Path, tmp_path: Path) -> None:
    setup = setup_of(tmp_path, 1)
    (Path(setup.folder) / "mfcc.f16").unlink()
    with pytest.raises(RequestError, match=r"cache_dir .*cache' cannot be written"):
        list(read_clips([Task(0, os.fspath(clip))], setup, num_workers=1))


def test_readers_end_when_nobody_wants_more(clip: Path, tmp_path: Path) -> None:
    tasks = [Task(row, os.fspath(clip)) for row in range(6)]
    results = read_clips(tasks, setup_of(tmp_path, 6), num_workers=1)
    next(results)
    pid = reader_of(results)
    results.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_nothing_to_read_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_CODE", "raise SystemExit(3)")
    assert list(read_clips([], setup_of(tmp_path, 1), num_workers=2)) == []
