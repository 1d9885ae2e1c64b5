from dataclasses import replace
from pathlib import Path

from fl.data.clips import Clip
from fl.data.splits import cut_crops
from sim.clip_ids import clip_ids, shortest_tails


def clip(path: str, label: int = 0, category: str = "real", source: str = "", num_frames: int = 100) -> Clip:
    return Clip(Path(path), label, category, "who", source or path, "", "test", num_frames=num_frames)


def test_a_video_is_its_file_name() -> None:
    assert clip_ids([clip("/d/a.mp4"), clip("/d/b.mp4")]) == [("a.mp4", "a.mp4"), ("b.mp4", "b.mp4")]


def test_files_of_one_name_are_told_apart_by_their_folders_and_no_more() -> None:
    clips = [
        clip("/home/me/Deepfakes/c23/000.mp4"),
        clip("/home/me/FaceSwap/c23/000.mp4"),
        clip("/home/me/x.mp4"),
    ]
    found = [name for name, _ in clip_ids(clips)]
    assert found == ["Deepfakes/c23/000.mp4", "FaceSwap/c23/000.mp4", "x.mp4"]


def test_crops_of_one_video_share_it() -> None:
    crops = cut_crops([clip("/d/a.mp4"), clip("/d/b.mp4")], 2)
    assert clip_ids(crops) == [
        ("a.mp4#0", "a.mp4"),
        ("a.mp4#1", "a.mp4"),
        ("b.mp4#0", "b.mp4"),
        ("b.mp4#1", "b.mp4"),
    ]


def test_pictures_of_one_source_are_a_video_unless_their_labels_differ() -> None:
    real = [clip(f"/d/real/v/{n}.png", source="real/v", num_frames=1) for n in range(2)]
    fake = [replace(c, path=Path(f"/d/fake/v/{c.path.name}"), label=1, category="Dub") for c in real]
    alone = clip("/d/real/z.png", num_frames=1)
    found = clip_ids([*real, *fake, alone])
    assert [name for name, _ in found] == [
        "real/v/0.png",
        "real/v/1.png",
        "fake/v/0.png",
        "fake/v/1.png",
        "z.png",
    ]
    videos = [video for _, video in found]
    assert videos == ["real/real/v", "real/real/v", "Dub/real/v", "Dub/real/v", "z.png"]


def test_a_path_that_ends_like_a_longer_one_keeps_its_whole_length() -> None:
    assert shortest_tails([("a",), ("b", "a"), ("c", "b", "a")]) == ["a", "b/a", "c/b/a"]
    assert shortest_tails([("a", "b")] * 2) == ["b", "b"]
