import json
import time

import pytest

from fl.data.corpora.lavdf import read
from fl.errors import DataError, RequestError


def entry(file: str, original: str | None = None, **changes):
    """An entry as the genuine data set has it, without keys of our own."""
    fake = original is not None
    return {
        "file": file,
        "n_fakes": int(fake),
        "fake_periods": [[0.5, 1.25]] if fake else [],
        "duration": 4.224,
        "original": original,
        "modify_video": fake,
        "modify_audio": False,
        "split": file.split("/")[0],
        "video_frames": 103,
        "audio_channels": 1,
        "audio_frames": 65536,
        **changes,
    }


def write(root, entries, name="metadata.min.json"):
    (root / name).write_text(json.dumps(entries))
    return root


@pytest.mark.parametrize("name", ["metadata.min.json", "metadata.json"])
def test_genuine_entries(tmp_path, name):
    entries = [
        entry("train/000001.mp4"),
        entry("train/000002.mp4", "train/000001.mp4"),
        entry("train/000004.mp4", "train/000003.mp4", modify_audio=True),
        entry("dev/000005.mp4", "dev/000006.mp4", modify_video=False, modify_audio=True),
        entry("test/000007.mp4"),
    ]
    clips = read(write(tmp_path, entries, name))
    assert [clip.category for clip in clips] == ["real", "Video", "VideoAudio", "Audio", "real"]
    assert [clip.label for clip in clips] == [0, 1, 1, 1, 0]
    assert [clip.split for clip in clips] == ["train", "train", "train", "validation", "test"]
    assert clips[0].identity == clips[1].identity == clips[1].source == "train/000001.mp4"
    assert (clips[3].modify_video, clips[3].modify_audio) == (False, True)
    assert clips[1].fake_periods == ((0.5, 1.25),)
    assert (clips[0].duration_s, clips[0].num_frames) == (4.224, 103)
    assert clips[3].path == tmp_path / "dev/000005.mp4"


def test_minimal_entries(tmp_path):
    entries = [
        {"file": "train/1.mp4", "modify_video": False},
        {"file": "dev/2.mp4", "modify_audio": True},
        {"file": "test/3.mp4", "n_fakes": 1},
        {"file": "elsewhere/4.mp4", "fake_periods": [[0, 1]], "split": None, "duration": None},
    ]
    clips = read(write(tmp_path, entries))
    assert [clip.label for clip in clips] == [0, 1, 1, 1]
    assert [clip.category for clip in clips] == ["real", "Audio", "Fake", "Fake"]
    assert [clip.split for clip in clips] == ["train", "validation", "test", ""]


def test_a_corpus_as_large_as_the_published_one_is_read_in_seconds(tmp_path):
    entries = [entry(f"train/{index:06d}.mp4", f"train/{index // 4:06d}.mp4") for index in range(136_304)]
    write(tmp_path, entries)
    start_s = time.perf_counter()
    assert len(read(tmp_path)) == 136_304
    assert time.perf_counter() - start_s < 20  # about 2 s where nothing else runs


@pytest.mark.parametrize(
    "file", ["../x.mp4", "train/../../x.mp4", "/etc/passwd", "train/link.mp4", "out/1.mp4"]
)
def test_files_outside_the_root_are_refused(tmp_path, file):
    root = tmp_path / "root"
    (root / "train").mkdir(parents=True)
    (root / "train/link.mp4").symlink_to(tmp_path / "x.mp4")
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"data\.root.*outside"):
        read(write(root, [entry(file, split="train")]))


@pytest.mark.parametrize("file", ["train/\0.mp4", "train/\ud800.mp4", "train/loop/1.mp4"])
def test_names_that_no_file_can_have_are_refused(tmp_path, file):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/loop").symlink_to(tmp_path / "train/loop")
    with pytest.raises(DataError, match="cannot be a file's name"):
        read(write(tmp_path, [entry(file, split="train")]))


def test_links_within_the_root_are_followed(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/1.mp4").symlink_to(tmp_path / "x.mp4")
    assert read(write(tmp_path, [entry("train/1.mp4")]))[0].path == tmp_path / "train/1.mp4"


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "[1]",
        "nonsense",
        '[{"file": "train/1.mp4"}]',
        "[null]",
        "[" * 100_000,
        '[{"file": "train/1.mp4", "n_fakes": 0, "duration": "long"}]',
        '[{"file": "train/1.mp4", "fake_periods": [1]}]',
        '[{"file": "train/1.mp4", "n_fakes": 1e999}]',
    ],
)
def test_malformed_metadata(tmp_path, text):
    (tmp_path / "metadata.min.json").write_text(text)
    with pytest.raises(DataError, match=r"data\.root"):
        read(tmp_path)


def test_metadata_that_is_not_text(tmp_path):
    (tmp_path / "metadata.min.json").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=r"metadata\.min\.json.*cannot be read"):
        read(tmp_path)


def test_unknown_split(tmp_path):
    with pytest.raises(DataError, match="train, dev or test, got 'val'"):
        read(write(tmp_path, [entry("val/1.mp4")]))


def test_missing_root_and_missing_metadata(tmp_path):
    with pytest.raises(RequestError, match=r"data\.root.*nowhere"):
        read(tmp_path / "nowhere")
    with pytest.raises(RequestError, match=r"data\.root must hold metadata.*set data\.root"):
        read(tmp_path)
