"""Reading FaceForensics++: ``original_sequences``, ``manipulated_sequences`` and its official ``splits``.

A manipulated video is named ``<target>_<source>.mp4``: who is seen, and whose face or expression was
put in; the same names occur under every manipulation. Roessler et al., ICCV 2019.
"""

import re
from pathlib import Path
from typing import Any

from fl.data.clips import REAL, Clip, Split
from fl.data.corpora.listing import CorpusFolder
from fl.errors import DataError, RequestError
from fl.settings import FaceforensicsSettings

MANIPULATIONS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
SPLIT_FILES: dict[str, Split] = {
    "splits/train.json": "train",
    "splits/val.json": "validation",
    "splits/test.json": "test",
}
FOLDERS = {"c0": ("c0", "raw"), "c23": ("c23",), "c40": ("c40",)}
"""Compression -> the names of its folders, of older and newer downloads."""
_ORIGINAL = re.compile(r"(?P<target>\d+)\.mp4")
_MANIPULATED = re.compile(r"(?P<target>\d+)_(?P<donor>\d+)\.mp4")
_ACTOR = re.compile(r"(?P<target>\d+)__(?P<scene>.+)\.mp4")
_ACTOR_SWAPPED = re.compile(r"(?P<target>\d+)_(?P<donor>\d+)__(?P<scene>.+)__\w+\.mp4")


def read(root: Path, settings: FaceforensicsSettings) -> list[Clip]:
    """The videos on disk in one compression, sorted by category and name.

    Identity and source are the target's number, the donor is the source's. With ``actors`` those of
    DeepFakeDetection come too, their identities as ``actor-NN``; the official split does not know them.

    Raises:
        RequestError: no video in this compression.
        DataError: the split lists are incomplete or malformed, or part a target from its donor.
    """
    folder = CorpusFolder(root)
    splits = read_splits(folder)
    sequences = {REAL: "original_sequences/youtube"}
    sequences |= {name: f"manipulated_sequences/{name}" for name in MANIPULATIONS}
    clips = []
    for category, place in sequences.items():
        pattern = _ORIGINAL if category == REAL else _MANIPULATED
        for file, match in list_videos(folder, place, settings, pattern):
            target, donor = match["target"], match.groupdict().get("donor", "")
            if splits and donor and splits.get(target) != splits.get(donor):
                raise DataError(
                    f"data.root: {file!r} mixes {target} and {donor}, which the lists in splits hold apart: "
                    "remove the video, or the folder splits to split by identity"
                )
            clips.append(
                make_clip(folder, file, category, settings, target, target, donor, splits.get(target, ""))
            )
    if settings.actors:
        clips += read_actors(folder, settings)
    if not clips:
        raise RequestError(
            f"data.root must hold original_sequences/youtube/{settings.compression}/videos and "
            f"manipulated_sequences/*/{settings.compression}/videos, got {str(root)!r}: "
            "give FaceForensics++'s folder, or the compression it has by data.faceforensics.compression"
        )
    return clips


def read_actors(folder: CorpusFolder, settings: FaceforensicsSettings) -> list[Clip]:
    """The clips of DeepFakeDetection: actors in scenes; a fake's source is the target's scene."""
    kinds = {
        REAL: ("original_sequences/actors", _ACTOR),
        "DeepFakeDetection": ("manipulated_sequences/DeepFakeDetection", _ACTOR_SWAPPED),
    }
    clips = []
    for category, (place, pattern) in kinds.items():
        for file, match in list_videos(folder, place, settings, pattern):
            target, donor = match["target"], match.groupdict().get("donor", "")
            source = f"{target}__{match['scene']}"
            names = (f"actor-{target}", source, f"actor-{donor}" if donor else "")
            clips.append(make_clip(folder, file, category, settings, *names, ""))
    return clips


def list_videos(
    folder: CorpusFolder, place: str, settings: FaceforensicsSettings, pattern: re.Pattern[str]
) -> list[tuple[str, re.Match[str]]]:
    """The videos of one category in the compression asked for, and how their names match."""
    names = FOLDERS[settings.compression]
    return [found for name in names for found in folder.names(f"{place}/{name}/videos", pattern)]


def make_clip(
    folder: CorpusFolder,
    file: str,
    category: str,
    settings: FaceforensicsSettings,
    identity: str,
    source: str,
    donor: str,
    split: Split,
) -> Clip:
    """One video; only pictures are altered, and c23 and c40 have no sound."""
    return Clip(
        path=folder.file(file),
        label=int(category != REAL),
        category=category,
        identity=identity,
        source=source,
        group="",
        split=split,
        modify_video=category != REAL,
        donor=donor,
        quality=settings.compression,
    )


def read_splits(folder: CorpusFolder) -> dict[str, Split]:
    """The official split of each number: 720 for training, 140 for validation, 140 for the test.

    The lists hold pairs, of which both numbers and the swaps in both directions belong to that split.

    Returns:
        number -> split; empty if there are no lists.

    Raises:
        DataError: one of the three lists is missing or malformed, or a number is in two of them.
    """
    present = [name for name in SPLIT_FILES if (folder.root / name).is_file()]
    if present and len(present) < len(SPLIT_FILES):
        raise DataError(
            f"data.root must hold all of {', '.join(SPLIT_FILES)}, or none to split by identity, "
            f"got {', '.join(present)}"
        )
    splits: dict[str, Split] = {}
    for name in present:
        for number in read_pairs(name, folder.read_json(name)):
            if splits.setdefault(number, SPLIT_FILES[name]) != SPLIT_FILES[name]:
                raise DataError(
                    f"data.root: {number} is in two of {', '.join(SPLIT_FILES)}: fetch them again"
                )
    return splits


def read_pairs(name: str, pairs: Any) -> list[str]:
    """All numbers of one list of pairs."""
    if not isinstance(pairs, list) or not pairs:
        raise DataError(f"data.root: {name} must be a list of pairs, e.g. [['071', '054']]: fetch it again")
    for position, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(item, str) for item in pair):
            raise DataError(
                f"data.root: entry {position} of {name} must be a pair of numbers as text, got {pair!r}: "
                "fetch it again"
            )
    return [number for pair in pairs for number in pair]
