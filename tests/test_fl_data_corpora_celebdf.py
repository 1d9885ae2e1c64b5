from collections import Counter
from pathlib import Path

import pytest

from fl.data.corpora.celebdf import LIST_NAME, read
from fl.data.splits import assign_splits
from fl.errors import DataError, RequestError
from fl.settings import SplitSettings

LIST = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "metadata" / "celebdf" / LIST_NAME
needs_list = pytest.mark.skipif(not LIST.is_file(), reason="the official list of testing videos is not here")


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


@needs_list
def test_the_official_list_has_178_real_and_340_fake_videos(tmp_path):
    (tmp_path / LIST_NAME).write_bytes(LIST.read_bytes())
    clips = read(tmp_path)
    assert Counter(clip.label for clip in clips) == {0: 178, 1: 340}
    assert {clip.split for clip in clips} == {"test"}
    assert Counter(clip.path.parent.name for clip in clips) == {
        "Celeb-real": 108,
        "YouTube-real": 70,
        "Celeb-synthesis": 340,
    }


@needs_list
def test_validation_is_cut_from_what_the_list_leaves_and_nobody_is_in_two_parts_of_it(tmp_path):
    (tmp_path / LIST_NAME).write_bytes(LIST.read_bytes())
    people = range(30)
    touch(tmp_path, *(f"Celeb-real/id{i}_{take:04d}.mp4" for i in people for take in range(20, 26)))
    touch(tmp_path, *(f"YouTube-real/{i:05d}.mp4" for i in range(300, 360)))
    touch(tmp_path, *(f"Celeb-synthesis/id{i}_id{j}_0020.mp4" for i in people for j in people if i != j))
    clips = assign_splits(read(tmp_path), SplitSettings(), public_share=0.35, public_seed=0)
    assert sum(clip.split == "test" for clip in clips) == 518
    seen: dict[str, set[str]] = {"public": set(), "clients": set(), "validation": set()}
    for clip in clips:
        if clip.split != "test":
            seen[clip.split] |= {clip.identity, clip.donor} - {""}
    assert not seen["public"] & seen["clients"]
    assert not seen["validation"] & (seen["public"] | seen["clients"])
    sizes = Counter((clip.split, clip.label) for clip in clips)
    for label in (0, 1):
        assert min(sizes[split, label] for split in ("public", "clients", "validation")) >= 10


def test_names_tell_who_is_seen(tmp_path):
    touch(
        tmp_path,
        "Celeb-real/id3_0007.mp4",
        "Celeb-synthesis/id3_id16_0007.mp4",
        "Celeb-synthesis/copy of id3.mp4",
        "YouTube-real/00170.mp4",
    )
    real, fake, youtube = read(tmp_path)
    assert (real.label, real.category, real.identity, real.donor) == (0, "real", "id3", "")
    assert (fake.label, fake.category, fake.identity, fake.donor) == (1, "Celeb-synthesis", "id3", "id16")
    assert fake.source == real.source
    assert (youtube.label, youtube.identity) == (0, "YouTube-00170")
    assert {clip.split for clip in (real, fake, youtube)} == {""}


def test_the_lists_1_is_real_and_what_it_does_not_name_is_for_training(tmp_path):
    touch(tmp_path, "Celeb-real/id1_0000.mp4", "Celeb-real/id1_0001.mp4")
    (tmp_path / LIST_NAME).write_text("1 Celeb-real/id1_0001.mp4\n0 Celeb-synthesis/id1_id2_0001.mp4\n\n")
    clips = read(tmp_path)
    assert [(clip.path.name, clip.label, clip.split) for clip in clips] == [
        ("id1_0000.mp4", 0, "train"),
        ("id1_0001.mp4", 0, "test"),
        ("id1_id2_0001.mp4", 1, "test"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 Celeb-real/id1_0001.mp4\n1 Celeb-synthesis/id1_id2_0001.mp4", "line 2 .* contradicts"),
        ("0 Celeb-real/id1_0001.mp4", "line 1 .* contradicts"),
        ("Celeb-real/id1_0001.mp4", "line 1 .* must be"),
        ("1 ../id1_0001.mp4", "line 1 .* must be"),
        ("1 Celeb-real/../../id1_0001.mp4", "not named as"),
        ("\n", "names no video"),
    ],
)
def test_malformed_lists(tmp_path, text, message):
    (tmp_path / LIST_NAME).write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_an_empty_folder(tmp_path):
    with pytest.raises(RequestError, match="Celeb-real, YouTube-real, Celeb-synthesis"):
        read(tmp_path)
