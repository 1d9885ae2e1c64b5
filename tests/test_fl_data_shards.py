import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_files import draw_face, flat_frames, tone, write_clip

from fl.data import reading, writing
from fl.data.clips import Clip
from fl.data.features import mfcc
from fl.data.media import read_window
from fl.data.reading import read_clip
from fl.data.shards import Shard, build_shard, open_shard, take
from fl.data.tables import table_digest, to_record
from fl.errors import ClipError, DataError, RequestError
from fl.settings import ClipSettings

SETTINGS = ClipSettings(num_frames=3, image_size=32, num_mfcc=5, window_s=0.8)


def clip_of(path: Path, index: int = 0) -> Clip:
    label = index % 2
    return Clip(
        path=path,
        label=label,
        category="Deepfakes" if label else "real",
        identity=f"id{index}",
        source=path.name,
        group=f"id{index}",
        split="clients",
        fake_periods=((0.1, 0.5),) if label else (),
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, ...]:
    """Six good clips of 0.8 s, told apart by their tone and the place of the face."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "sub").mkdir()
    clips = []
    for i in range(6):
        path = root / ("sub" if i % 2 else "") / f"{i}.mp4"
        write_clip(path, np.stack([draw_face(128, 20 + 2 * i, 30, 70)] * 20), tone(0.8, hz=300 + 100 * i))
        clips.append(clip_of(path, i))
    return tuple(clips)


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, ...]:
    root = tmp_path_factory.mktemp("bad")
    face = np.stack([draw_face(128, 20, 30, 70)] * 20)
    (root / "empty.mp4").write_bytes(b"")
    (root / "text.mp4").write_text("not a video")
    write_clip(root / "mute.mp4", face, None)
    write_clip(root / "faceless.mp4", flat_frames([90] * 20, (128, 128)), tone(0.8))
    write_clip(root / "whole.mp4", face, tone(0.8))
    data = (root / "whole.mp4").read_bytes()
    (root / "cut.mp4").write_bytes(data[: len(data) // 2])
    names = ("empty", "text", "mute", "faceless", "cut", "missing")
    return tuple(clip_of(root / f"{name}.mp4", 1) for name in names)


REASONS = (
    "the file is empty",
    "not a video file",
    "no audio track",
    "no face in any frame",
    "cannot be decoded",
    "no such file",
)


def never(*args: object, **kwargs: object) -> None:
    raise AssertionError("a clip was decoded")


def contents(shard: Shard) -> list[bytes]:
    return [shard.frames.tobytes(), shard.mfcc.tobytes(), shard.labels.tobytes(), shard.valid_steps.tobytes()]


def test_rows_are_the_clips_in_order(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    seen: list[int] = []
    shard = build_shard(corpus, SETTINGS, tmp_path, advance=seen.append)
    assert sum(seen) == 6
    assert shard.clips == corpus
    assert shard.frames.shape == (6, 3, 32, 32, 3)
    assert shard.mfcc.shape == (6, 40, 5)
    assert shard.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert shard.valid_steps.tolist() == [40] * 6
    assert shard.skipped == ()
    for row, clip in enumerate(corpus):
        window = read_window(clip.path, num_frames=3, window_s=0.8)
        np.testing.assert_array_equal(shard.mfcc[row], mfcc(window.audio, 5).astype(np.float16))
        np.testing.assert_array_equal(shard.frames[row], read_clip(clip.path, SETTINGS).frames)


def test_files_are_laid_out_as_promised(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    shard = build_shard(corpus, SETTINGS, tmp_path)
    assert shard.path == tmp_path / "shards" / shard.digest
    sizes = {file.name: file.stat().st_size for file in shard.path.iterdir()}
    assert sizes.pop("shard.json") > 0
    assert sizes.pop("clips.json") > 0
    assert sizes == {
        "frames.u8": 6 * 3 * 32 * 32 * 3,
        "mfcc.f16": 6 * 40 * 5 * 2,
        "labels.u8": 6,
        "valid_steps.i32": 24,
    }
    assert {path.name for path in shard.path.parent.iterdir()} == {shard.digest, f"{shard.digest}.lock"}


def test_short_clip_is_padded_and_its_length_kept(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    shard = build_shard(corpus[:1], replace(SETTINGS, window_s=2.0), tmp_path)
    assert shard.mfcc.shape == (1, 100, 5)
    assert shard.valid_steps.tolist() == [40]
    assert np.all(shard.mfcc[0, 40:] == 0)
    assert np.all(shard.mfcc[0, :40, 0] != 0)


def test_second_time_nothing_is_decoded(
    corpus: tuple[Clip, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_shard(corpus, SETTINGS, tmp_path)
    monkeypatch.setattr(reading, "read_window", never)
    second = build_shard(corpus, SETTINGS, tmp_path)
    assert contents(second) == contents(first)
    opened = open_shard(first.path)
    assert (opened.digest, opened.clips, contents(opened)) == (first.digest, corpus, contents(first))


def test_digest_follows_what_matters(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    def digest(clips: Sequence[Clip] = corpus, settings: ClipSettings = SETTINGS) -> str:
        return table_digest(clips, settings, 1)

    assert digest() == digest()
    assert digest(settings=replace(SETTINGS, image_size=48)) != digest()
    assert digest(corpus[:5]) != digest()
    assert digest((replace(corpus[0], category="other"), *corpus[1:])) != digest()
    moved = tmp_path / "elsewhere"
    copies = []
    for clip in corpus:  # moved with the times kept: the same
        copy = moved / clip.path.relative_to(corpus[0].path.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(clip.path.read_bytes())
        status = clip.path.stat()
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
        copies.append(replace(clip, path=copy))
    assert digest(copies) == digest()
    os.utime(copies[0].path)
    assert digest(copies) != digest()


def test_moved_corpus_is_known_and_its_clips_point_to_the_new_place(
    corpus: tuple[Clip, ...], tmp_path: Path
) -> None:
    build_shard(corpus, SETTINGS, tmp_path)
    copies = []
    for clip in corpus:
        copy = tmp_path / "moved" / clip.path.relative_to(corpus[0].path.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(clip.path.read_bytes())
        os.utime(copy, ns=(0, clip.path.stat().st_mtime_ns))
        copies.append(replace(clip, path=copy))
    assert build_shard(copies, SETTINGS, tmp_path).clips == tuple(copies)
    assert len(list((tmp_path / "shards").glob("*/shard.json"))) == 1


def test_bad_clips_are_skipped_counted_and_logged(
    corpus: tuple[Clip, ...], bad: tuple[Clip, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mixed = [clip for pair in zip(bad, corpus, strict=True) for clip in pair]
    with caplog.at_level(logging.WARNING, logger="fedpin.data"):
        shard = build_shard(mixed, SETTINGS, tmp_path, max_bad_share=0.5)
    assert shard.clips == corpus
    for skip, reason, clip in zip(shard.skipped, REASONS, bad, strict=True):
        assert reason in skip.reason
        assert skip.file.endswith(clip.path.name)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 6
    assert all(reason in line for reason, line in zip(REASONS, lines, strict=True))
    assert contents(shard) == contents(build_shard(corpus, SETTINGS, tmp_path / "clean"))
    assert open_shard(shard.path).skipped == shard.skipped


def test_too_many_bad_clips_end_with_the_key_and_leave_nothing(
    corpus: tuple[Clip, ...], bad: tuple[Clip, ...], tmp_path: Path
) -> None:
    with pytest.raises(
        DataError, match=r"data\.max_bad_share is 0\.2, but at least 2 of 9 .*empty\.mp4.*raise data"
    ):
        build_shard([*corpus, *bad[:3]], SETTINGS, tmp_path, max_bad_share=0.2)
    assert not list((tmp_path / "shards").glob("*/"))


def test_stricter_limit_holds_for_a_store_that_exists(
    corpus: tuple[Clip, ...], bad: tuple[Clip, ...], tmp_path: Path
) -> None:
    build_shard([*corpus, bad[0]], SETTINGS, tmp_path, max_bad_share=0.2)
    with pytest.raises(DataError, match=r"max_bad_share is 0\.1"):
        build_shard([*corpus, bad[0]], SETTINGS, tmp_path, max_bad_share=0.1)


def test_nothing_usable_and_nothing_at_all(bad: tuple[Clip, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the 6 clips can be used"):
        build_shard(bad, SETTINGS, tmp_path, max_bad_share=1.0)
    with pytest.raises(DataError, match="no clips"):
        build_shard([], SETTINGS, tmp_path)


@pytest.mark.parametrize("place", ["under_a_file", "proc"])
def test_cache_that_cannot_be_written_is_named_before_decoding(
    corpus: tuple[Clip, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(reading, "read_window", never)
    (tmp_path / "file").write_text("")
    cache_dir = tmp_path / "file" / "cache" if place == "under_a_file" else Path("/proc/fedpin")
    with pytest.raises(RequestError, match=r"cache_dir .*cannot be written.*cache_dir="):
        build_shard(corpus, SETTINGS, cache_dir)


def test_read_only_cache_with_the_store_in_it_is_enough(
    corpus: tuple[Clip, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_shard(corpus, SETTINGS, tmp_path)

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("mkdir", "rename", "write_text"):
        monkeypatch.setattr(Path, name, refuse)
    assert contents(build_shard(corpus, SETTINGS, tmp_path)) == contents(first)


def test_full_disk_is_named_before_decoding(
    corpus: tuple[Clip, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "read_window", never)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(RequestError, match=r"cache_dir .*bytes are needed and 1000 are free"):
        build_shard(corpus, SETTINGS, tmp_path)


@pytest.mark.parametrize("harm", ["short", "gone", "json"])
def test_damaged_store_is_an_error_with_its_folder(
    corpus: tuple[Clip, ...], tmp_path: Path, harm: str
) -> None:
    path = build_shard(corpus, SETTINGS, tmp_path).path
    if harm == "short":
        os.truncate(path / "frames.u8", 100)
    elif harm == "gone":
        (path / "mfcc.f16").unlink()
    else:
        (path / "clips.json").write_text("{")
    with pytest.raises(DataError, match="delete that folder"):
        open_shard(path)


def test_view_copies_batches_of_its_rows(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    shard = build_shard(corpus, SETTINGS, tmp_path)
    view = take(shard, np.array([5, 0, 3]))
    assert len(view) == 3
    assert view.labels.tolist() == [1, 0, 1]
    assert [clip.identity for clip in view.clips] == ["id5", "id0", "id3"]
    frames, coefficients, labels = view.batch([2, 0])
    np.testing.assert_array_equal(frames, shard.frames[[3, 5]])
    np.testing.assert_array_equal(coefficients, shard.mfcc[[3, 5]].astype(np.float32))
    assert labels.tolist() == [1.0, 1.0]
    assert (frames.dtype, coefficients.dtype, labels.dtype) == (np.uint8, np.float32, np.float32)
    frames[:] = 0  # a copy: the store is read-only
    assert shard.frames[[3, 5]].any()
    assert not shard.frames.flags.writeable
    assert len(take(shard)) == 6


def test_store_does_not_depend_on_the_number_of_workers(
    corpus: tuple[Clip, ...], bad: tuple[Clip, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MIN_CLIPS_PER_WORKER", 4)
    monkeypatch.setattr(reading, "_CHUNK", 2)
    mixed = [bad[1], *corpus, bad[2]]
    alone = build_shard(mixed, SETTINGS, tmp_path / "1", max_bad_share=0.5, num_workers=1)
    together = build_shard(mixed, SETTINGS, tmp_path / "2", max_bad_share=0.5, num_workers=2)
    assert contents(alone) == contents(together)
    assert alone.skipped == together.skipped
    assert not multiprocessing.active_children()


def test_dead_worker_is_an_error_and_not_a_hang(
    corpus: tuple[Clip, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MIN_CLIPS_PER_WORKER", 3)
    monkeypatch.setattr(reading, "_read_chunk", kill_self)
    with pytest.raises(DataError, match="a process that reads clips died"):
        build_shard(corpus, SETTINGS, tmp_path, num_workers=2)
    assert not list((tmp_path / "shards").glob("*/"))


def kill_self(*args: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


BUILDER = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from fl.data import reading
from fl.data.shards import build_shard
from fl.data.tables import from_record
from fl.settings import ClipSettings

slow_s, cache, table, workers = float(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])

def main():
    clips = [from_record(record, Path("/")) for record in json.loads(table.read_text())]
    reading._MIN_CLIPS_PER_WORKER = reading._CHUNK = 1
    decoded = []
    read_window = reading.read_window
    def slowly(path, **settings):
        time.sleep(slow_s)
        decoded.append(path)
        print("decoded", flush=True)
        return read_window(path, **settings)
    reading.read_window = slowly
    settings = ClipSettings(num_frames=3, image_size=32, num_mfcc=5, window_s=0.8)
    done = lambda n: print("done", flush=True)
    shard = build_shard(clips, settings, cache, num_workers=workers, advance=done)
    print("built", len(shard), len(decoded), flush=True)

if __name__ == "__main__":
    main()
"""


def start_builder(
    folder: Path, clips: Sequence[Clip], slow_s: float, workers: int = 1
) -> "subprocess.Popen[str]":
    table, script = folder / "table.json", folder / "builder.py"
    table.write_text(json.dumps([to_record(clip, Path("/")) for clip in clips]))
    script.write_text(BUILDER.format(tests=str(Path(__file__).parents[1])))
    arguments = [sys.executable, str(script), str(slow_s), str(folder / "cache"), str(table), str(workers)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_two_builders_at_once_build_once(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    builders = [start_builder(tmp_path, corpus, 0.1) for _ in range(2)]
    last_lines = []
    for builder in builders:
        output, _ = builder.communicate(timeout=60)
        assert builder.returncode == 0
        last_lines.append(output.splitlines()[-1])
    assert sorted(last_lines) == ["built 6 0", "built 6 6"]


def test_killed_builder_leaves_nothing_that_is_read(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    builder = start_builder(tmp_path, corpus, 0.2)
    assert builder.stdout is not None
    assert [builder.stdout.readline().strip() for _ in range(4)] == ["decoded", "done"] * 2
    builder.kill()
    builder.wait()
    builder.stdout.close()
    shards = tmp_path / "cache" / "shards"
    assert [path for path in shards.iterdir() if ".partial-" in path.name]
    assert not list(shards.glob("*/shard.json"))
    shard = build_shard(corpus, SETTINGS, tmp_path / "cache")
    assert contents(shard) == contents(build_shard(corpus, SETTINGS, tmp_path / "other"))
    assert {path.name for path in shards.iterdir()} == {shard.digest, f"{shard.digest}.lock"}


def test_workers_end_when_their_parent_is_killed(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    builder = start_builder(tmp_path, corpus * 8, 0.0, workers=2)
    assert builder.stdout is not None
    assert builder.stdout.readline() == "done\n"  # the workers run
    children = Path(f"/proc/{builder.pid}/task/{builder.pid}/children")
    if not children.exists():
        builder.kill()
        pytest.skip("this kernel does not list children")
    workers = [int(pid) for pid in children.read_text().split()]
    assert len(workers) >= 2
    builder.kill()
    builder.wait()
    builder.stdout.close()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in workers if alive(pid)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_read_clip_gives_a_reason(bad: tuple[Clip, ...]) -> None:
    for clip, reason in zip(bad, REASONS, strict=True):
        with pytest.raises(ClipError, match=reason):
            read_clip(clip.path, SETTINGS)
