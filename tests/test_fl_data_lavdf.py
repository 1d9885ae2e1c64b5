import json

import pytest

from fl.data.corpora.lavdf import read_corpus
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


def write(root, entries):
    (root / "metadata.min.json").write_text(json.dumps(entries))
    return root


def test_genuine_entries(tmp_path):
    entries = [
        entry("train/000001.mp4"),
        entry("train/000002.mp4", "train/000001.mp4"),
        entry("train/000003.mp4"),
        entry("train/000004.mp4", "train/000003.mp4", modify_audio=True),
        entry("dev/000005.mp4", "dev/000006.mp4", modify_video=False, modify_audio=True),
        entry("test/000007.mp4"),
    ]
    clips = read_corpus(write(tmp_path, entries), public_share=0.5, seed=0)
    assert [clip.category for clip in clips] == ["real", "Video", "real", "VideoAudio", "Audio", "real"]
    assert [clip.label for clip in clips] == [0, 1, 0, 1, 1, 0]
    assert [clip.split for clip in clips[4:]] == ["validation", "test"]
    assert clips[0].split == clips[1].split != clips[2].split == clips[3].split
    assert clips[0].group == clips[1].group
    assert clips[1].fake_periods == ((0.5, 1.25),)
    assert (clips[0].duration_s, clips[0].num_frames) == (4.224, 103)
    assert clips[4].path == tmp_path / "dev/000005.mp4"


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.9])
def test_public_share_counts_groups(tmp_path, share):
    root = write(tmp_path, [entry(f"train/{index:06d}.mp4") for index in range(40)])
    clips = read_corpus(root, public_share=share, seed=3)
    assert sum(clip.split == "public" for clip in clips) == round(40 * share)
    assert clips == read_corpus(root, public_share=share, seed=3)
    assert clips != read_corpus(root, public_share=share, seed=4)


@pytest.mark.parametrize("file", ["../x.mp4", "train/../../x.mp4", "/etc/passwd", "train/link.mp4"])
def test_files_outside_the_root_are_refused(tmp_path, file):
    root = tmp_path / "root"
    (root / "train").mkdir(parents=True)
    (root / "train/link.mp4").symlink_to(tmp_path / "x.mp4")
    with pytest.raises(DataError, match=r"data\.root.*outside"):
        read_corpus(write(root, [entry(file, split="train")]), public_share=0.4, seed=0)


@pytest.mark.parametrize("text", ["[]", "{}", "[1]", "nonsense", '[{"file": "train/1.mp4"}]', "[null]"])
def test_malformed_metadata(tmp_path, text):
    (tmp_path / "metadata.min.json").write_text(text)
    with pytest.raises(DataError, match=r"data\.root"):
        read_corpus(tmp_path, public_share=0.4, seed=0)


def test_unknown_split(tmp_path):
    with pytest.raises(DataError, match="train, dev or test, got 'val'"):
        read_corpus(write(tmp_path, [entry("val/1.mp4")]), public_share=0.4, seed=0)


def test_missing_root_and_missing_metadata(tmp_path):
    with pytest.raises(RequestError, match=r"data\.root.*nowhere.*set data\.root"):
        read_corpus(tmp_path / "nowhere", public_share=0.4, seed=0)
    with pytest.raises(RequestError, match=r"data\.root must hold metadata"):
        read_corpus(tmp_path, public_share=0.4, seed=0)
