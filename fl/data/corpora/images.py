"""Reading folders of pictures: ``{train,val,test}/{real,fake}/...``, in the variants that are about.

Real and fake may be called ``0_real`` and ``1_fake``, validation ``validation`` or ``dev``; splits may be
absent; folders of manipulations may lie above real and fake or below, folders of videos' frames below.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fl.data.clips import REAL, Clip, Split
from fl.data.corpora.listing import FAKE, IMAGE_SUFFIXES, CorpusFolder
from fl.errors import RequestError
from fl.settings import ImagesSettings

LABELS = {"real": 0, "0_real": 0, "fake": 1, "1_fake": 1}
SPLITS: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


def read(root: Path, settings: ImagesSettings) -> list[Clip]:
    """The pictures below folders named real and fake, in upper or lower case, sorted by path.

    The manipulation is the folder above real and fake, if there is one that names no split; else the first
    one below. Pictures in a video's folder have that folder as identity and source, others their own path.

    Raises:
        RequestError: there is no such picture.
        DataError: a link leads out of ``root``.
    """
    folder = CorpusFolder(root)
    files = [file for file in list_images(root) if find_label(file) is not None]
    if not files:
        raise RequestError(
            f"data.root must hold pictures ({', '.join(IMAGE_SUFFIXES)}) in folders real and fake, or 0_real "
            f"and 1_fake, got {str(root)!r}: give the folder above them or above train, val and test"
        )
    return [make_clip(folder, file, settings) for file in files]


def list_images(root: Path) -> Iterator[PurePosixPath]:
    """The pictures below ``root`` that are not hidden, relative to it, sorted within their folder."""
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES):
                yield PurePosixPath(Path(place, name).relative_to(root).as_posix())


def find_label(file: PurePosixPath) -> int | None:
    """Where in its path the picture's deepest folder for real or fake is; None: nowhere."""
    folders = [part.lower() for part in file.parts[:-1]]
    return max((place for place, name in enumerate(folders) if name in LABELS), default=None)


def make_clip(folder: CorpusFolder, file: PurePosixPath, settings: ImagesSettings) -> Clip:
    """One picture, as a clip of one frame."""
    place = find_label(file) or 0
    label = LABELS[file.parts[place].lower()]
    above, below = file.parts[:place], file.parts[place + 1 : -1]
    splits = [SPLITS[name.lower()] for name in above if name.lower() in SPLITS]
    methods = [name for name in above if name.lower() not in SPLITS]
    has_video = len(below) > 1 or (len(below) == 1 and settings.subfolders == "videos")
    if len(below) > 1 or not has_video:
        methods += below[:1]
    source = str(file.parent if has_video else file)
    return Clip(
        path=folder.file(str(file)),
        label=label,
        category=(methods[0] if methods else FAKE) if label else REAL,
        identity=source,
        source=source,
        group="",
        split=splits[0] if splits else "",
        modify_video=bool(label),
        num_frames=1,
    )
