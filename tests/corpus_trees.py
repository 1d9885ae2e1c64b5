"""Trees in the published layout of every corpus, of real MP4 files: those of a small rendered corpus.

``TREES[name](root, rendered_corpus())`` writes one; ``data.corpus=name data.root=root`` reads it.
"""

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2

from fl.data.clips import Clip
from fl.data.corpora import lavdf
from fl.data.corpora.synthetic import build_corpus
from fl.settings import SyntheticSettings

RENDERED = SyntheticSettings(
    num_identities=24, clips_per_identity=2, dev_share=1 / 6, test_share=1 / 6, frame_size=128, duration_s=0.8
)


def rendered_corpus() -> Path:
    """24 people, one real clip and one fake of each; rendered once a session."""
    return build_corpus(RENDERED, Path(os.environ["FEDPIN_CACHE"]), lambda count: None, os.cpu_count() or 1)


def pairs(corpus: Path) -> Iterator[tuple[int, int, list[Clip]]]:
    """Everybody's number, the partner's (groups are of four, so of two pairs), and the clips of each."""
    groups: dict[str, dict[str, list[Clip]]] = {}
    for clip in lavdf.read(corpus):
        groups.setdefault(clip.group, {}).setdefault(clip.identity, []).append(clip)
    first = 0
    for people in groups.values():
        for position, clips in enumerate(people.values()):
            partner = position + 1 if position % 2 == 0 else position - 1
            yield first + position, first + partner, clips
        first += len(people)


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)


def write_lavdf(root: Path, corpus: Path) -> None:
    """As published: without fedpin's own keys."""
    entries = json.loads((corpus / "metadata.min.json").read_text())
    for entry in entries:
        link(corpus / entry["file"], root / entry["file"])
        for key in ("category", "identity", "source", "group"):
            del entry[key]
    (root / "metadata.json").write_text(json.dumps(entries))


def write_faceforensics(root: Path, corpus: Path) -> None:
    """Pairs that are swapped in both directions, every fake under each of two manipulations, in c23."""
    lists: dict[str, list[list[str]]] = {"train": [], "validation": [], "test": []}
    for number, partner, clips in pairs(corpus):
        name = f"{number:03d}"
        for clip in clips:
            if not clip.label:
                link(clip.path, root / f"original_sequences/youtube/c23/videos/{name}.mp4")
                continue
            for method in ("Deepfakes", "FaceShifter"):
                file = f"manipulated_sequences/{method}/c23/videos/{name}_{partner:03d}.mp4"
                link(clip.path, root / file)
        if number < partner:
            lists[clips[0].split].append([name, f"{partner:03d}"])
    (root / "splits").mkdir()
    for split, file in (("train", "train"), ("validation", "val"), ("test", "test")):
        (root / f"splits/{file}.json").write_text(json.dumps(lists[split]))


def write_celebdf(root: Path, corpus: Path) -> None:
    """Every sixth person is one of YouTube-real's, of whom there are no fakes; everybody else is swapped."""
    lines = []
    for number, partner, clips in pairs(corpus):
        for clip in clips:
            file = f"Celeb-synthesis/id{number}_id{partner}_0000.mp4"
            if not clip.label:
                file = (
                    f"YouTube-real/{number:05d}.mp4" if number % 6 == 5 else f"Celeb-real/id{number}_0000.mp4"
                )
            elif number % 6 == 5:
                continue
            link(clip.path, root / file)
            if clip.split == "test":
                lines.append(f"{1 - clip.label} {file}\n")
    (root / "List_of_testing_videos.txt").write_text("".join(lines))


def write_dfdc(root: Path, corpus: Path) -> None:
    """Two parts; a fake's original is beside it, but for every sixth, whose original is nowhere."""
    parts: list[dict[str, dict[str, str | None]]] = [{}, {}]
    for number, _, clips in pairs(corpus):
        part = number % 2
        for clip in clips:
            name = f"{'fake' if clip.label else 'real'}{number:04d}.mp4"
            if not clip.label and number % 6 == 5:
                continue
            link(clip.path, root / f"dfdc_train_part_{part}" / name)
            entry: dict[str, str | None] = {"label": "FAKE" if clip.label else "REAL", "split": "train"}
            if clip.label or number % 4:
                entry["original"] = f"real{number:04d}.mp4" if clip.label else None
            parts[part][name] = entry
    for part, entries in enumerate(parts):
        (root / f"dfdc_train_part_{part}/metadata.json").write_text(json.dumps(entries))


def write_images(root: Path, corpus: Path) -> None:
    """The first picture of every clip, fakes in a folder of their manipulation."""
    splits = {"train": "train", "validation": "val", "test": "test"}
    for number, _, clips in pairs(corpus):
        for clip in clips:
            place = root / splits[clip.split] / (f"fake/{clip.category}" if clip.label else "real")
            place.mkdir(parents=True, exist_ok=True)
            with av.open(str(clip.path)) as container:
                picture = next(container.decode(video=0)).to_ndarray(format="bgr24")
            cv2.imwrite(str(place / f"{number:05d}.png"), picture)


def write_table(root: Path, corpus: Path) -> None:
    """A CSV with every column."""
    with (root / "clips.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "category", "identity", "source", "donor", "split", "quality"])
        for number, partner, clips in pairs(corpus):
            for clip in clips:
                path = f"videos/{number:02d}{'b' if clip.label else 'a'}.mp4"
                link(clip.path, root / path)
                donor = f"p{partner}" if clip.label else ""
                label = "fake" if clip.label else "real"
                table.writerow(
                    [path, label, clip.category, f"p{number}", f"s{number}", donor, clip.split, "h264"]
                )


TREES: dict[str, Callable[[Path, Path], None]] = {
    "lavdf": write_lavdf,
    "faceforensics": write_faceforensics,
    "celebdf": write_celebdf,
    "dfdc": write_dfdc,
    "images": write_images,
    "table": write_table,
}
