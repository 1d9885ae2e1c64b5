import collections
import json
from pathlib import Path

import av
import numpy as np
import pytest

from fl.data.corpora.folders import build_corpus
from fl.data.corpora.lavdf import read
from fl.data.corpora.listing import compile_pattern, read_identity
from fl.data.corpora.performance import cast_person, perform
from fl.data.corpora.recording import Recording
from fl.data.corpora.writer import Encoding, write_mp4
from fl.data.media import read_all
from fl.data.splits import assign_splits
from fl.errors import DataError, RequestError
from fl.settings import FolderSettings, SplitSettings

TALKING_HEADS = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "talking_heads"
SETTINGS = FolderSettings(window_s=0.8, fakes_per_real=2)


def ignore(count: int) -> None:
    pass


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Twelve good files of ten people, and five that cannot be used."""
    root = tmp_path_factory.mktemp("videos")
    (root / "more").mkdir()
    rng = np.random.default_rng(0)
    for index in range(10):
        person = cast_person(rng, 128)
        for take in range(2 if index < 2 else 1):
            name = f"{'more/' if index % 2 else ''}p{index}_{take}.mp4"
            write_mp4(root / name, perform(person, 1.0, rng), Encoding(20, 48_000))
    whole = (root / "p0_0.mp4").read_bytes()
    (root / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "empty.mp4").write_bytes(b"")
    (root / "text.mp4").write_text("not a video " * 50)
    wall = np.full((25, 128, 128, 3), 90, dtype=np.uint8)
    sound = np.zeros(16_000, dtype=np.float32)
    write_mp4(root / "faceless.mp4", Recording(wall, np.zeros((25, 4)), sound, 25.0), Encoding(20, 48_000))
    with av.open(str(root / "silent.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 128
        for frame in read_all(root / "p0_0.mp4").frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        container.mux(stream.encode(None))
    (root / "notes.txt").write_text("who said what")
    (root / ".hidden.mp4").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def corpus(videos, tmp_path_factory) -> Path:
    settings = FolderSettings(**{**SETTINGS.__dict__, "identity_pattern": r"(p\d)_"})
    # A pattern leaves out the bad files by name; here they must be found bad by being read.
    settings = FolderSettings(**{**settings.__dict__, "identity_pattern": r"(p\d)_|(\w+)\.mp4"})
    return build_corpus(videos, settings, tmp_path_factory.mktemp("cache"), ignore, 1, 0.35)


def test_bad_files_are_skipped_with_reasons(corpus):
    skipped = {item["file"]: item["reason"] for item in json.loads((corpus / "skipped.json").read_text())}
    assert set(skipped) == {
        "truncated.mp4",
        "empty.mp4",
        "text.mp4",
        "faceless.mp4",
        "silent.mp4",
        "notes.txt",
    }
    assert "empty" in skipped["empty.mp4"]
    assert "not a video" in skipped["text.mp4"]
    assert "no face" in skipped["faceless.mp4"]
    assert "audio" in skipped["silent.mp4"]
    assert "by its name" in skipped["notes.txt"]


def test_too_many_bad_files_end_the_work(videos, tmp_path):
    with pytest.raises(
        DataError, match=r"data\.max_bad_share allows 20%.*5 of 17.*raise data\.max_bad_share"
    ):
        build_corpus(videos, SETTINGS, tmp_path, ignore, 1, 0.2)
    assert [path for path in (tmp_path / "corpora").iterdir() if path.is_dir()] == []


def test_every_split_has_real_and_fake_clips_of_its_own_people(corpus):
    clips = assign_splits(read(corpus), SplitSettings(), 0.4, 0)
    assert len(clips) == 12 * 3
    labels = collections.defaultdict(collections.Counter)
    owners = collections.defaultdict(set)
    for clip in clips:
        labels[clip.split][clip.label] += 1
        owners[clip.identity].add(clip.split)
        assert clip.duration_s == pytest.approx(0.8)
    assert set(labels) == {"public", "clients", "validation", "test"}
    assert all(counter[1] == 2 * counter[0] > 0 for counter in labels.values())
    assert len(owners) == 10
    assert all(len(splits) == 1 for splits in owners.values())


def test_real_and_forged_clips_are_written_alike(corpus):
    kinds = collections.defaultdict(set)
    for clip in read(corpus):
        with av.open(str(clip.path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            kinds[clip.label].add((video.codec_context.name, video.width, video.average_rate, audio.rate))
    assert kinds[0] == kinds[1] == {("h264", 128, 25, 16_000)}


def test_too_few_people(videos, tmp_path):
    settings = FolderSettings(**{**SETTINGS.__dict__, "identity_pattern": r"(p)\d_"})
    with pytest.raises(DataError, match=r"data\.root must show at least 4 people.*got 1"):
        build_corpus(videos, settings, tmp_path, ignore, 1, 1.0)


def test_missing_and_empty_root(tmp_path):
    with pytest.raises(RequestError, match=r"data\.root must be a folder"):
        build_corpus(tmp_path / "nowhere", SETTINGS, tmp_path, ignore, 1)
    with pytest.raises(RequestError, match=r"data\.root must hold at least one video"):
        build_corpus(tmp_path, SETTINGS, tmp_path, ignore, 1)


def test_identity_patterns():
    assert read_identity(compile_pattern(""), Path("a/b.mpg")) == "a/b"
    assert read_identity(compile_pattern(r"id(\d+)"), Path("id07_3.mpg")) == "07"
    assert read_identity(compile_pattern(r"id(\d+)"), Path("x.mpg")) is None
    merge = compile_pattern(r"(?P<ann>clip3|clip7)|([^/]+)$")
    assert [read_identity(merge, Path(name)) for name in ("clip3.mp4", "clip7.mp4", "clip4.mp4")] == [
        "ann",
        "ann",
        "clip4.mp4",
    ]
    with pytest.raises(RequestError, match=r"data\.folders\.identity_pattern.*\(\["):
        compile_pattern("([")
    with pytest.raises(RequestError, match="parentheses"):
        compile_pattern("abc")


@pytest.mark.slow
@pytest.mark.skipif(not TALKING_HEADS.is_dir(), reason="the real clips are not here")
def test_real_videos(tmp_path):
    settings = FolderSettings(
        window_s=0.8, fakes_per_real=1, identity_pattern="(?P<one_speaker>id2_vcd_swwp2s|pwij3p)|(.+)"
    )
    root = build_corpus(TALKING_HEADS, settings, tmp_path, ignore, 1)
    assert json.loads((root / "skipped.json").read_text()) == []
    clips = assign_splits(read(root), SplitSettings(), 0.4, 0)
    assert len({clip.identity for clip in clips}) == 10
    labels = collections.Counter((clip.split, clip.label) for clip in clips)
    assert len(labels) == 8
    assert min(labels.values()) >= 2
