import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from clip_files import draw_face, flat_frames, tone, write_clip

from fl.data import readers, writing
from fl.data.clips import Clip
from fl.data.features import mfcc
from fl.data.headers import Header
from fl.data.media import read_window
from fl.data.reader import ReadClip, Setup, Task
from fl.data.reading import read_clip
from fl.data.shards import Shard, build_shard, open_shard, take
from fl.data.tables import fill_in, table_digest, to_record
from fl.errors import ClipError, DataError, RequestError
from fl.settings import ClipSettings, FaceSettings, MediaSettings

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
    write_clip(root / "faceless.mp4", flat_frames([90] * 20, (128, 128)), tone(0.8))
    write_clip(root / "whole.mp4", face, tone(0.8))
    data = (root / "whole.mp4").read_bytes()
    (root / "cut.mp4").write_bytes(data[: len(data) // 2])
    names = ("empty", "text", "faceless", "cut", "missing")
    return tuple(clip_of(root / f"{name}.mp4", 1) for name in names)


REASONS = (
    "the file is empty",
    "not a video file",
    "no face in any frame",
    "cannot be decoded",
    "no such file",
)


def never(*args: object, **kwargs: object) -> None:
    raise AssertionError("readers were asked for clips")


def as_stored(clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """The clips of 20 frames with what their files tell of themselves."""
    header = Header(0.8, 25.0, 128, 128, True, "h264", 20)
    return tuple(fill_in(clip, header) for clip in clips)


def contents(shard: Shard) -> list[bytes]:
    arrays = (
        shard.frames,
        shard.mfcc,
        shard.labels,
        shard.valid_steps,
        shard.has_audio,
        shard.boxes,
        shard.times,
    )
    return [array.tobytes() for array in arrays]


def test_rows_are_the_clips_in_order(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    seen: list[int] = []
    shard = build_shard(corpus, SETTINGS, tmp_path, advance=seen.append)
    assert sum(seen) == 6
    assert shard.clips == as_stored(corpus)
    assert shard.clips[0].quality == "h264"
    assert (shard.clips[0].duration_s, shard.clips[0].num_frames) == (0.8, 20)
    assert shard.headers == (Header(0.8, 25.0, 128, 128, True, "h264", 20),) * 6
    assert shard.frames.shape == (6, 3, 32, 32, 3)
    assert shard.mfcc.shape == (6, 40, 5)
    assert shard.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert shard.valid_steps.tolist() == [40] * 6
    assert shard.has_audio.tolist() == [1] * 6
    assert shard.boxes.shape == (6, 3, 4)
    assert shard.times.shape == (6, 3)
    assert shard.skipped == ()
    for row, clip in enumerate(corpus):
        window = read_window(clip.path, num_frames=3, window_s=0.8)
        np.testing.assert_array_equal(shard.mfcc[row], mfcc(window.audio, 5).astype(np.float16))
        read = read_clip(clip.path, SETTINGS)
        np.testing.assert_array_equal(shard.frames[row], read.frames)
        np.testing.assert_array_equal(shard.boxes[row], read.boxes)
        np.testing.assert_array_equal(shard.times[row], read.times_s)
        # the cartoon of a face moves by 2 pixels from clip to clip, around (20 + 2 row + 35, 30 + 35)
        np.testing.assert_allclose(shard.boxes[row, :, 0] + shard.boxes[row, :, 2] / 2, 55 + 2 * row, atol=6)


def test_files_are_laid_out_as_promised(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    shard = build_shard(corpus, SETTINGS, tmp_path)
    assert shard.path == tmp_path / "shards" / shard.digest
    sizes = {file.name: file.stat().st_size for file in shard.path.iterdir()}
    assert sizes.pop("shard.json") > 0
    assert sizes.pop("clips.json") > 0
    assert sizes == {
        "frames.u8": 6 * 3 * 32 * 32 * 3,
        "mfcc.f16": 6 * 40 * 5 * 2,
        "boxes.f32": 6 * 3 * 4 * 4,
        "times.f32": 6 * 3 * 4,
        "has_audio.u8": 6,
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
    monkeypatch.setattr(writing, "read_clips", never)
    second = build_shard(corpus, SETTINGS, tmp_path)
    assert contents(second) == contents(first)
    opened = open_shard(first.path)
    assert (opened.digest, opened.clips, contents(opened)) == (
        first.digest,
        as_stored(corpus),
        contents(first),
    )


def test_digest_follows_what_matters(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    def digest(
        clips: Sequence[Clip] = corpus,
        settings: ClipSettings = SETTINGS,
        limits: MediaSettings = MediaSettings(),  # noqa: B008
    ) -> str:
        return table_digest(clips, settings, limits, 1)

    assert digest() == digest()
    assert table_digest(corpus, SETTINGS, MediaSettings(), 2) != digest()
    changed = [
        replace(SETTINGS, image_size=48),
        replace(SETTINGS, sampling="random"),
        replace(SETTINGS, every_k=3),
        replace(SETTINGS, region="full_frame"),
        replace(SETTINGS, require_audio=True),
        *(
            replace(SETTINGS, face=replace(FaceSettings(), **{key: value}))
            for key, value in asdict(FaceSettings(0.2, 64, 1.1, 3, 7)).items()
        ),
    ]
    assert len({digest(), *(digest(settings=settings) for settings in changed)}) == len(changed) + 1
    # what a store lacks hangs on the limits
    assert digest(limits=MediaSettings(max_side=512)) != digest()
    assert digest((replace(corpus[0], crop=1, num_crops=2), *corpus[1:])) != digest()
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
    assert build_shard(copies, SETTINGS, tmp_path).clips == as_stored(copies)
    assert len(list((tmp_path / "shards").glob("*/shard.json"))) == 1


def test_bad_clips_are_skipped_counted_and_logged(
    corpus: tuple[Clip, ...], bad: tuple[Clip, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mixed = [clip for pair in zip(bad, corpus[:5], strict=True) for clip in pair]
    with caplog.at_level(logging.WARNING, logger="fedpin.data"):
        shard = build_shard(mixed, SETTINGS, tmp_path, max_bad_share=0.5)
    assert shard.clips == as_stored(corpus[:5])
    for skip, reason, clip in zip(shard.skipped, REASONS, bad, strict=True):
        assert reason in skip.reason
        assert skip.file.endswith(clip.path.name)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 5
    assert all(reason in line for reason, line in zip(REASONS, lines, strict=True))
    assert contents(shard) == contents(build_shard(corpus[:5], SETTINGS, tmp_path / "clean"))
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
    with pytest.raises(DataError, match="none of the 5 clips can be used"):
        build_shard(bad, SETTINGS, tmp_path, max_bad_share=1.0)
    with pytest.raises(DataError, match="no clips"):
        build_shard([], SETTINGS, tmp_path)


@pytest.mark.parametrize("place", ["under_a_file", "proc"])
def test_cache_that_cannot_be_written_is_named_before_decoding(
    corpus: tuple[Clip, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(writing, "read_clips", never)
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
    monkeypatch.setattr(writing, "read_clips", never)
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
    frames, coefficients, labels, modalities = view.batch([2, 0])
    np.testing.assert_array_equal(frames, shard.frames[[3, 5]])
    np.testing.assert_array_equal(coefficients, shard.mfcc[[3, 5]].astype(np.float32))
    assert labels.tolist() == [1.0, 1.0]
    assert (frames.dtype, coefficients.dtype, labels.dtype) == (np.uint8, np.float32, np.float32)
    assert modalities.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    frames[:] = 0  # a copy: the store is read-only
    assert shard.frames[[3, 5]].any()
    assert not shard.frames.flags.writeable
    assert len(take(shard)) == 6


def test_store_does_not_depend_on_the_number_of_workers(
    corpus: tuple[Clip, ...], bad: tuple[Clip, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_MIN_CLIPS_PER_READER", 4)
    mixed = [bad[1], *corpus, bad[2]]
    alone = build_shard(mixed, SETTINGS, tmp_path / "1", max_bad_share=0.5, num_workers=1)
    together = build_shard(mixed, SETTINGS, tmp_path / "2", max_bad_share=0.5, num_workers=2)
    assert contents(alone) == contents(together)
    assert alone.skipped == together.skipped


BUILDER = """
import json, sys, time
from pathlib import Path
from fl.data.shards import build_shard
from fl.data.tables import from_record
from fl.settings import ClipSettings

cache, table, workers, pause_s = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
clips = [from_record(record, Path("/")) for record in json.loads(table.read_text())]

def done(num_clips):
    print("done", flush=True)
    time.sleep(pause_s)

shard = build_shard(
    clips, ClipSettings(num_frames=3, image_size=32, num_mfcc=5, window_s=0.8), cache,
    num_workers=workers, advance=done,
)
print("built", len(shard), flush=True)
"""


def start_builder(
    folder: Path, clips: Sequence[Clip], workers: int = 1, pause_s: float = 0.0
) -> "subprocess.Popen[str]":
    """A process that builds the store of the clips, and waits after each of them."""
    table = folder / "table.json"
    table.write_text(json.dumps([to_record(clip, Path("/")) for clip in clips]))
    arguments = [sys.executable, "-c", BUILDER, str(folder / "cache"), str(table), str(workers), str(pause_s)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_two_builders_at_once_build_once(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    builders = [start_builder(tmp_path, corpus) for _ in range(2)]
    outputs = []
    for builder in builders:
        output, _ = builder.communicate(timeout=60)
        assert builder.returncode == 0
        outputs.append(output.split("\n"))
    assert sorted(map(len, outputs)) == [2, 8]  # one read six clips, the other none
    assert {lines[-2] for lines in outputs} == {"built 6"}
    (store,) = (tmp_path / "cache" / "shards").glob("*/shard.json")
    assert contents(open_shard(store.parent)) == contents(build_shard(corpus, SETTINGS, tmp_path / "alone"))


def kill_after(builder: "subprocess.Popen[str]", num_clips: int) -> None:
    assert builder.stdout is not None
    assert [builder.stdout.readline().strip() for _ in range(num_clips)] == ["done"] * num_clips
    builder.kill()
    builder.wait()
    builder.stdout.close()


def test_killed_build_goes_on_where_it_was(
    corpus: tuple[Clip, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after(start_builder(tmp_path, corpus, pause_s=0.3), 3)
    (partial,) = (tmp_path / "cache" / "shards").glob("*.partial")
    assert not list((tmp_path / "cache" / "shards").glob("*/shard.json"))
    journal = partial / "journal.jsonl"
    noted = len(journal.read_text().splitlines())
    assert 3 <= noted < 6
    with journal.open("a") as file:
        file.write('{"row": 5, "rea')  # torn by the kill
    asked: list[list[int]] = []
    read_clips = writing.read_clips

    def watched(tasks: Sequence[Task], setup: Setup, *, num_workers: int) -> Iterator[ReadClip]:
        asked.append([task.row for task in tasks])
        return read_clips(tasks, setup, num_workers=num_workers)

    monkeypatch.setattr(writing, "read_clips", watched)
    told: list[int] = []
    shard = build_shard(corpus, SETTINGS, tmp_path / "cache", advance=told.append)
    assert asked == [list(range(noted, 6))]
    assert sum(told) == 6
    assert contents(shard) == contents(build_shard(corpus, SETTINGS, tmp_path / "other"))
    assert {path.name for path in shard.path.parent.iterdir()} == {shard.digest, f"{shard.digest}.lock"}
    assert not (shard.path / "journal.jsonl").exists()


def test_rows_that_did_not_reach_the_disk_are_read_again(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    kill_after(start_builder(tmp_path, corpus, pause_s=0.3), 3)
    (partial,) = (tmp_path / "cache" / "shards").glob("*.partial")
    with (partial / "frames.u8").open("r+b") as file:
        file.write(bytes(1000))  # of row 0
    with (partial / "journal.jsonl").open("ab") as file:
        file.write(b"\x00\x00\x00\n{}\n")  # what a file system leaves after a power cut
    shard = build_shard(corpus, SETTINGS, tmp_path / "cache")
    assert contents(shard) == contents(build_shard(corpus, SETTINGS, tmp_path / "other"))


def test_disk_that_fills_up_while_building_is_named(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    table.write_text(json.dumps([to_record(clip, Path("/")) for clip in corpus]))
    # Files may not grow beyond 20 kB: the same error as from a full disk, and at the same call.
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n" + BUILDER
    arguments = [sys.executable, "-c", limited, str(tmp_path / "cache"), str(table), "1", "0"]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "RequestError: cache_dir" in ended.stderr
    assert "cannot be written (File too large)" in ended.stderr


def test_readers_end_when_their_parent_is_killed(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    builder = start_builder(tmp_path, corpus * 8, workers=2, pause_s=0.5)
    assert builder.stdout is not None
    assert builder.stdout.readline() == "done\n"  # the readers run
    children = Path(f"/proc/{builder.pid}/task/{builder.pid}/children")
    if not children.exists():
        builder.kill()
        pytest.skip("this kernel does not list children")
    workers = [int(pid) for pid in children.read_text().split()]
    assert len(workers) == 2
    kill_after(builder, 0)
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in workers if alive(pid)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_name_that_is_not_utf8_is_read_and_one_that_cannot_be_read_is_told_in_plain_text(
    corpus: tuple[Clip, ...], tmp_path: Path
) -> None:
    names = [os.fsdecode(name) for name in (b"caf\xe9.mp4", b"\xff\xfe.mp4")]
    paths = [tmp_path / name for name in names]
    paths[0].write_bytes(corpus[0].path.read_bytes())
    paths[1].write_bytes(b"")
    clips = [replace(corpus[0], path=path) for path in paths]
    shard = build_shard(clips, SETTINGS, tmp_path / "cache", max_bad_share=0.5)
    assert shard.clips[0].path == paths[0]
    assert open_shard(shard.path).clips[0].path == paths[0]
    assert shard.skipped[0].file == "\\xff\\xfe.mp4"
    shard.skipped[0].file.encode("ascii")


@pytest.fixture(scope="module")
def mixed_store(corpus: tuple[Clip, ...], tmp_path_factory: pytest.TempPathFactory) -> Shard:
    """Rows 0 to 3: real, fake in its pictures, in its sound, in both; row 4: real, without sound."""
    root = tmp_path_factory.mktemp("mixed")
    write_clip(root / "mute.mp4", np.stack([draw_face(128, 20, 30, 70)] * 20), None)
    altered = [(False, False), (True, False), (False, True), (True, True)]
    clips = [
        replace(corpus[i], label=int(video or audio), modify_video=video, modify_audio=audio)
        for i, (video, audio) in enumerate(altered)
    ]
    return build_shard([*clips, clip_of(root / "mute.mp4")], SETTINGS, root / "cache")


def test_clip_without_sound_is_marked_and_its_mfcc_is_zero(mixed_store: Shard) -> None:
    assert mixed_store.has_audio.tolist() == [1, 1, 1, 1, 0]
    assert mixed_store.valid_steps.tolist() == [40] * 5
    batch = take(mixed_store).batch(slice(None))
    assert batch.modalities.tolist() == [[1, 1]] * 4 + [[1, 0]]
    assert not batch.mfcc[4].any()
    assert batch.mfcc[:4].any(axis=(1, 2)).all()
    assert batch.frames[4].any()


def test_clip_without_sound_is_skipped_where_sound_is_required(mixed_store: Shard, tmp_path: Path) -> None:
    strict = replace(SETTINGS, require_audio=True)
    shard = build_shard(mixed_store.clips, strict, tmp_path, max_bad_share=0.2)
    assert [(skip.row, skip.reason) for skip in shard.skipped] == [(4, "no audio track")]


@pytest.mark.parametrize(
    ("lacks", "modalities", "labels"),
    [
        ("", [[1, 1]] * 4 + [[1, 0]], [0, 1, 1, 1, 0]),
        ("audio", [[1, 0]] * 5, [0, 1, 0, 1, 0]),
        ("video", [[0, 1]] * 4 + [[0, 0]], [0, 0, 1, 1, 0]),
    ],
)
def test_view_of_a_holder_that_lacks_a_modality(
    mixed_store: Shard, lacks: str, modalities: list[list[int]], labels: list[int]
) -> None:
    view = take(mixed_store, lacks=lacks)
    assert view.modalities.tolist() == modalities
    assert view.labels.tolist() == labels
    assert view.labels.dtype == np.uint8
    order = [4, 2, 0, 1, 3]
    batch = view.batch(order)
    assert batch.labels.tolist() == [labels[i] for i in order]
    assert batch.modalities.tolist() == [modalities[i] for i in order]
    assert (batch.frames.dtype, batch.mfcc.dtype, batch.labels.dtype, batch.modalities.dtype) == (
        np.uint8,
        np.float32,
        np.float32,
        np.float32,
    )
    assert batch.frames.shape == (5, 3, 32, 32, 3)
    assert batch.mfcc.shape == (5, 40, 5)
    assert batch.frames.any(axis=(1, 2, 3, 4)).tolist() == [lacks != "video"] * 5
    assert batch.mfcc.any(axis=(1, 2)).tolist() == [present == 1 for _, present in batch.modalities]
    assert mixed_store.labels.tolist() == [0, 1, 1, 1, 0]  # the store itself is as it was


def test_view_of_nothing_and_of_an_unknown_modality(mixed_store: Shard) -> None:
    nobody = take(mixed_store, np.empty(0, np.int64), lacks="audio")
    assert nobody.labels.shape == (0,)
    assert nobody.modalities.shape == (0, 2)
    with pytest.raises(ValueError, match="lacks must be one of"):
        take(mixed_store, lacks="smell")


def test_even_smoothing_is_refused_with_its_key(corpus: tuple[Clip, ...], tmp_path: Path) -> None:
    settings = replace(SETTINGS, face=FaceSettings(smoothing=4))
    with pytest.raises(RequestError, match=r"data\.clip\.face\.smoothing must be odd, got 4: use 3 or 5"):
        build_shard(corpus, settings, tmp_path)


def test_read_clip_gives_a_reason(bad: tuple[Clip, ...]) -> None:
    for clip, reason in zip(bad, REASONS, strict=True):
        with pytest.raises(ClipError, match=reason):
            read_clip(clip.path, SETTINGS)
