"""Reading Celeb-DF v2: ``Celeb-real``, ``YouTube-real``, ``Celeb-synthesis`` and its list of testing videos.

Its list says 1 = real; a clip's label says 1 = fake. Li et al., CVPR 2020.
"""

import re
from pathlib import Path

from fl.data.clips import REAL, Clip, Split
from fl.data.corpora.listing import CorpusFolder
from fl.errors import DataError, RequestError

LIST_NAME = "List_of_testing_videos.txt"
CATEGORY = "Celeb-synthesis"
FILES = {
    "Celeb-real": re.compile(r"id(?P<target>\d+)_(?P<take>\d+)\.mp4"),
    "YouTube-real": re.compile(r"(?P<take>\d+)\.mp4"),
    CATEGORY: re.compile(r"id(?P<target>\d+)_id(?P<donor>\d+)_(?P<take>\d+)\.mp4"),
}
_LINE = re.compile(r"(?P<is_real>[01])\s+(?P<file>\S+)")


def read(root: Path) -> list[Clip]:
    """The videos on disk and those of the list, sorted by folder and name.

    Those of the list are the official test, also if they are not on disk; all others are for training.
    Without the list no clip has an official split. Each YouTube video counts as a person of its own.

    Raises:
        RequestError: no video and no list.
        DataError: the list is malformed, contradicts the folders or names a file outside ``root``.
    """
    folder = CorpusFolder(root)
    testing = read_list(folder) if (root / LIST_NAME).is_file() else None
    files = {file for place, pattern in FILES.items() for file, _ in folder.names(place, pattern)}
    files |= testing or set()
    if not files:
        raise RequestError(
            f"data.root must hold {', '.join(FILES)}, got {str(root)!r}: give the folder of Celeb-DF v2"
        )
    clips = []
    for file in sorted(files):
        split: Split = "" if testing is None else "test" if file in testing else "train"
        clips.append(make_clip(folder, file, split))
    return clips


def make_clip(folder: CorpusFolder, file: str, split: Split) -> Clip:
    """One video, known by its name: ``id<target>_id<donor>_<take of the target>`` is a fake."""
    place, _, name = file.partition("/")
    match = FILES[place].fullmatch(name)
    if match is None:
        raise DataError(f"data.root: {file!r} is not named as Celeb-DF's videos are: mend {LIST_NAME}")
    parts = match.groupdict()
    identity = f"id{parts['target']}" if "target" in parts else f"YouTube-{parts['take']}"
    fake = place == CATEGORY
    return Clip(
        path=folder.file(file),
        label=int(fake),
        category=CATEGORY if fake else REAL,
        identity=identity,
        source=f"{identity}_{parts['take']}",
        group="",
        split=split,
        modify_video=fake,
        donor=f"id{parts['donor']}" if fake else "",
    )


def read_list(folder: CorpusFolder) -> set[str]:
    """The official test videos, 518 in the published list: 178 real and 340 fake.

    Raises:
        DataError: a line is malformed or contradicts the folders, or there is none.
    """
    files = set()
    for number, line in enumerate(folder.read_text(LIST_NAME).splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        place = match["file"].partition("/")[0] if match else ""
        if match is None or place not in FILES:
            raise DataError(
                f"data.root: line {number} of {LIST_NAME} must be '1 FOLDER/FILE' (real) or '0 FOLDER/FILE' "
                f"(fake) with a folder of {', '.join(FILES)}, got {line!r}: fetch it again"
            )
        if (match["is_real"] == "1") != (place != CATEGORY):
            raise DataError(
                f"data.root: line {number} of {LIST_NAME} contradicts the folder, got {line!r}: "
                f"1 = real, and only {CATEGORY} is fake; fetch it again"
            )
        files.add(match["file"])
    if not files:
        raise DataError(f"data.root: {LIST_NAME} names no video: fetch it again, or remove it")
    return files
