import json
from collections import Counter
from pathlib import Path

import pytest

from fl.data.corpora.dfdc import read
from fl.data.splits import assign_splits
from fl.errors import DataError, RequestError
from fl.settings import SplitSettings

EXCERPTS = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "metadata" / "dfdc"
needs_excerpts = pytest.mark.skipif(
    not EXCERPTS.is_dir(), reason="the excerpts of DFDC's metadata are not here"
)


def write(root: Path, part: str, entries: object) -> Path:
    (root / part).mkdir(parents=True, exist_ok=True)
    (root / part / "metadata.json").write_text(json.dumps(entries))
    return root


@needs_excerpts
def test_originals_that_are_in_no_metadata_are_still_the_fakes_sources(tmp_path):
    for part in ("0", "1", "10"):
        text = (EXCERPTS / f"dfdc_train_part_{part}_metadata.json").read_text()
        write(tmp_path, f"dfdc_train_part_{part}", json.loads(text))
    clips = read(tmp_path)
    assert [clip.label for clip in clips] == [1] * 6
    names = {clip.path.name for clip in clips}
    assert {clip.source for clip in clips}.isdisjoint(names)
    first = next(clip for clip in clips if clip.path.name == "awnfpubqmo.mp4")
    assert first.path == tmp_path / "dfdc_train_part_0/awnfpubqmo.mp4"
    assert first.source == first.identity == "lnhkjhyhvw.mp4"


@needs_excerpts
def test_a_real_clip_with_null_for_an_original(tmp_path):
    write(tmp_path, "", json.loads((EXCERPTS / "train_sample_videos_metadata_5.json").read_text()))
    clips = {clip.path.name: clip for clip in read(tmp_path)}
    assert Counter(clip.label for clip in clips.values()) == {0: 1, 1: 4}
    real = clips["abarnvbtwb.mp4"]
    assert (real.category, real.identity, real.source) == ("real", "abarnvbtwb.mp4", "abarnvbtwb.mp4")


def test_an_original_in_another_part_comes_to_the_same_split(tmp_path):
    for part in range(40):
        fakes = {f"f{part}.mp4": {"label": "FAKE", "split": "train", "original": f"r{(part + 1) % 40}.mp4"}}
        write(
            tmp_path, f"dfdc_train_part_{part}", fakes | {f"r{part}.mp4": {"label": "REAL", "split": "train"}}
        )
    clips = assign_splits(read(tmp_path), SplitSettings(), public_share=0.35, public_seed=0)
    assert len(clips) == 80
    splits: dict[str, set[str]] = {}
    for clip in clips:
        splits.setdefault(clip.source, set()).add(clip.split)
    assert {len(names) for names in splits.values()} == {1}
    sizes = Counter(clip.split for clip in clips)
    assert sizes["validation"] == sizes["test"] == 12


def test_official_splits_where_the_metadata_has_them(tmp_path):
    entries = {
        f"{name}.mp4": {"label": "REAL", "split": name} for name in ("train", "validate", "test", "other")
    }
    assert [clip.split for clip in read(write(tmp_path, "", entries))] == ["train", "validation", "test", ""]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "at least one video"),
        ([], "at least one video"),
        ({"a.mp4": {"label": "fake"}}, "'a.mp4' in .*REAL or FAKE, got 'fake'"),
        ({"a.mp4": {}}, "REAL or FAKE, got None"),
        ({"a.mp4": None}, "REAL or FAKE, got None"),
        ({"a.mp4": {"label": ["REAL"]}}, "REAL or FAKE"),
        ({"../../a.mp4": {"label": "REAL"}}, "outside"),
        ({"/etc/passwd": {"label": "REAL"}}, "outside"),
    ],
)
def test_malformed_metadata(tmp_path, entries, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "root", "dfdc_train_part_0", entries))


def test_metadata_that_is_a_link_out_of_the_root_is_not_opened(tmp_path):
    write(tmp_path, "elsewhere", {"a.mp4": {"label": "REAL"}})
    (tmp_path / "root").mkdir()
    (tmp_path / "root/part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="outside"):
        read(tmp_path / "root")


def test_no_metadata(tmp_path):
    with pytest.raises(RequestError, match=r"must hold metadata\.json or parts with it"):
        read(tmp_path)
