import json
from collections import Counter
from pathlib import Path

import pytest

from fl.data.corpora.faceforensics import MANIPULATIONS, read, read_splits
from fl.data.corpora.listing import CorpusFolder
from fl.data.splits import assign_splits
from fl.errors import DataError, RequestError
from fl.settings import FaceforensicsSettings, SplitSettings

LISTS = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "metadata" / "ffpp_splits"
needs_lists = pytest.mark.skipif(not LISTS.is_dir(), reason="the official split lists are not here")
C23 = FaceforensicsSettings()


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def fake(method: str, name: str, compression: str = "c23") -> str:
    return f"manipulated_sequences/{method}/{compression}/videos/{name}.mp4"


def real(name: str, compression: str = "c23") -> str:
    return f"original_sequences/youtube/{compression}/videos/{name}.mp4"


def write_splits(root: Path, train: object, val: object, test: object) -> None:
    (root / "splits").mkdir()
    for name, pairs in (("train", train), ("val", val), ("test", test)):
        (root / f"splits/{name}.json").write_text(json.dumps(pairs))


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """Every name of the published set, in both orders of every pair, as empty files, with the real lists."""
    root = tmp_path_factory.mktemp("ffpp")
    (root / "splits").mkdir()
    folders = [root / Path(real("000")).parent, *(root / Path(fake(m, "")).parent for m in MANIPULATIONS)]
    for folder in folders:
        folder.mkdir(parents=True)
    for split in ("train", "val", "test"):
        for one, other in json.loads((LISTS / f"{split}.json").read_text()):
            for target, donor in ((one, other), (other, one)):
                (folders[0] / f"{target}.mp4").touch()
                for folder in folders[1:]:
                    (folder / f"{target}_{donor}.mp4").touch()
        (root / f"splits/{split}.json").write_bytes((LISTS / f"{split}.json").read_bytes())
    return root


@needs_lists
def test_the_official_lists_have_720_140_and_140_numbers(published):
    splits = read_splits(CorpusFolder(published))
    assert Counter(splits.values()) == {"train": 720, "validation": 140, "test": 140}


@needs_lists
def test_the_published_set_is_split_as_its_lists_say(published):
    clips = read(published, C23)
    assert len(clips) == 6000 == len({clip.path for clip in clips})
    assert Counter(clip.category for clip in clips) == dict.fromkeys(("real", *MANIPULATIONS), 1000)
    sizes = Counter((clip.split, clip.label) for clip in clips)
    assert sizes["train", 0] == 720
    assert sizes["train", 1] == 5 * 720
    assert sizes["validation", 1] == sizes["test", 1] == 5 * 140
    made = assign_splits(clips, SplitSettings(), public_share=0.35, public_seed=0)
    assert len(made) == 6000
    assert sum(clip.split == "public" for clip in made) == round(360 * 0.35) * 12


@needs_lists
def test_by_identity_gives_each_category_its_shares(published):
    clips = assign_splits(read(published, C23), SplitSettings(scheme="by_identity"), 0.35, 0)
    assert len(clips) == 6000
    sizes = Counter((clip.split, clip.category) for clip in clips)
    for category in ("real", *MANIPULATIONS):
        assert sizes["validation", category] == pytest.approx(150, abs=2)
        assert sizes["test", category] == pytest.approx(150, abs=2)


def test_names_repeat_across_manipulations_and_are_told_apart(tmp_path):
    root = touch(
        tmp_path,
        real("000"),
        fake("Deepfakes", "000_003"),
        fake("FaceShifter", "000_003"),
        fake("Deepfakes", "003_000"),
        fake("Deepfakes", "notes"),
        fake("Deepfakes", "000_003", "c40"),
        fake("DeepFakeDetection", "01_02__walk__ABC"),
    )
    clips = read(root, C23)
    assert [clip.path.relative_to(root).as_posix() for clip in clips] == [
        real("000"),
        fake("Deepfakes", "000_003"),
        fake("Deepfakes", "003_000"),
        fake("FaceShifter", "000_003"),
    ]
    first, swapped, back, shifted = clips
    assert (first.label, first.category, first.identity, first.donor) == (0, "real", "000", "")
    assert (swapped.label, swapped.identity, swapped.source, swapped.donor) == (1, "000", "000", "003")
    assert (back.identity, back.donor) == ("003", "000")
    assert shifted.category == "FaceShifter"
    assert {clip.quality for clip in clips} == {"c23"}
    assert {clip.split for clip in clips} == {""}
    assert swapped.modify_video
    assert not first.modify_video


@pytest.mark.parametrize(("compression", "folder"), [("c0", "c0"), ("c0", "raw"), ("c40", "c40")])
def test_other_compressions(tmp_path, compression, folder):
    touch(tmp_path, real("000"), real("001", folder))
    clips = read(tmp_path, FaceforensicsSettings(compression=compression))
    assert [(clip.identity, clip.quality) for clip in clips] == [("001", compression)]


def test_actors_come_when_asked(tmp_path):
    touch(
        tmp_path,
        real("001"),
        "original_sequences/actors/c23/videos/01__exit_phone_room.mp4",
        fake("DeepFakeDetection", "01_02__exit_phone_room__YVGY8LOK"),
    )
    assert len(read(tmp_path, C23)) == 1
    _, actor, swapped = read(tmp_path, FaceforensicsSettings(actors=True))
    assert (actor.label, actor.identity) == (0, "actor-01")
    assert (swapped.category, swapped.identity, swapped.donor) == (
        "DeepFakeDetection",
        "actor-01",
        "actor-02",
    )
    assert actor.source == swapped.source == "01__exit_phone_room"


def test_pairs_hold_in_both_orders(tmp_path):
    touch(tmp_path, real("1"), fake("FaceSwap", "1_2"), fake("FaceSwap", "2_1"), fake("FaceSwap", "3_4"))
    write_splits(tmp_path, [["1", "2"]], [["5", "6"]], [["4", "3"]])
    assert [clip.split for clip in read(tmp_path, C23)] == ["train", "train", "train", "test"]


def test_a_fake_across_official_splits_is_refused(tmp_path):
    touch(tmp_path, fake("FaceSwap", "1_4"))
    write_splits(tmp_path, [["1", "2"]], [["5", "6"]], [["4", "3"]])
    with pytest.raises(DataError, match=r"1_4\.mp4' mixes 1 and 4"):
        read(tmp_path, C23)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([], "train.json must be a list of pairs"),
        ({"1": "2"}, "train.json must be a list of pairs"),
        ([["1", "2"], ["3"]], "entry 1 of splits/train.json must be a pair"),
        ([[1, 2]], "entry 0 of splits/train.json must be a pair"),
        ([["5", "7"]], "5 is in two of"),
    ],
)
def test_malformed_lists(tmp_path, train, message):
    touch(tmp_path, real("1"))
    write_splits(tmp_path, train, [["5", "6"]], [["4", "3"]])
    with pytest.raises(DataError, match=message):
        read(tmp_path, C23)


def test_incomplete_lists(tmp_path):
    touch(tmp_path, real("1"), "splits/train.json")
    with pytest.raises(DataError, match=r"all of splits/train\.json, .* got splits/train\.json"):
        read(tmp_path, C23)


def test_no_video_in_this_compression(tmp_path):
    touch(tmp_path, real("1", "c40"))
    with pytest.raises(RequestError, match=r"c23/videos.*data\.faceforensics\.compression"):
        read(tmp_path, C23)


def test_a_video_that_is_a_link_out_of_the_root_is_refused(tmp_path):
    root = touch(tmp_path / "root", real("1"))
    (root / real("2")).symlink_to(tmp_path / "elsewhere.mp4")
    with pytest.raises(DataError, match=r"2\.mp4' lies outside"):
        read(root, C23)
