from pathlib import Path

import pytest

from fl.data.corpora.images import read
from fl.errors import DataError, RequestError
from fl.settings.data import ImagesSettings

METHODS, VIDEOS = ImagesSettings(), ImagesSettings(subfolders="videos")


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


@pytest.mark.parametrize(
    ("file", "split", "label", "category", "source"),
    [
        ("train/real/a.png", "train", 0, "real", "train/real/a.png"),
        ("val/fake/a.JPG", "validation", 1, "Fake", "val/fake/a.JPG"),
        ("validation/1_fake/a.webp", "validation", 1, "Fake", "validation/1_fake/a.webp"),
        ("Test/0_real/a.bmp", "test", 0, "real", "Test/0_real/a.bmp"),
        ("Fake/a.jpeg", "", 1, "Fake", "Fake/a.jpeg"),
        ("fake/StyleGAN/a.png", "", 1, "StyleGAN", "fake/StyleGAN/a.png"),
        ("test/progan/airplane/1_fake/a.png", "test", 1, "progan", "test/progan/airplane/1_fake/a.png"),
        ("progan/test/0_real/a.png", "test", 0, "real", "progan/test/0_real/a.png"),
        ("fake/FaceSwap/000_003/1.png", "", 1, "FaceSwap", "fake/FaceSwap/000_003"),
        ("test/real/youtube/000/1.png", "test", 0, "real", "test/real/youtube/000"),
    ],
)
def test_layouts(tmp_path, file, split, label, category, source):
    (clip,) = read(touch(tmp_path, file), METHODS)
    assert clip.path == tmp_path / file
    assert (clip.split, clip.label, clip.category) == (split, label, category)
    assert clip.source == clip.identity == source
    assert clip.num_frames == 1
    assert clip.modify_video == bool(label)


def test_one_level_of_folders_may_be_videos(tmp_path):
    root = touch(tmp_path, "fake/000_003/1.png", "fake/000_003/2.png", "real/000/1.png", "fake/b.png")
    assert [(clip.category, clip.source) for clip in read(root, VIDEOS)] == [
        ("Fake", "fake/b.png"),
        ("Fake", "fake/000_003"),
        ("Fake", "fake/000_003"),
        ("real", "real/000"),
    ]
    assert {clip.category for clip in read(root, METHODS)} == {"Fake", "000_003", "real"}


def test_what_is_no_picture_hidden_or_unlabelled_is_passed_over(tmp_path):
    root = touch(
        tmp_path, "real/a.png", "real/notes.txt", "real/.b.png", ".cache/fake/c.png", "d.png", "masks/e.png"
    )
    assert [clip.path.name for clip in read(root, METHODS)] == ["a.png"]


def test_no_folders_for_real_and_fake(tmp_path):
    with pytest.raises(RequestError, match="in folders real and fake"):
        read(touch(tmp_path, "train/a.png"), METHODS)


def test_links_out_of_the_root_are_refused_or_not_entered(tmp_path):
    touch(tmp_path, "elsewhere/x.png")
    root = touch(tmp_path / "root", "real/a.png")
    (root / "fake").symlink_to(tmp_path / "elsewhere")
    assert len(read(root, METHODS)) == 1
    (root / "real/x.png").symlink_to(tmp_path / "elsewhere/x.png")
    with pytest.raises(DataError, match="outside"):
        read(root, METHODS)
