"""Reading the Deepfake Detection Challenge's parts: ``dfdc_train_part_N/metadata.json`` beside the videos.

Who is seen is not published: a fake belongs to the original it was made from, which may be in another
part, or in none. Dolhansky et al., arXiv 2006.07397.
"""

from pathlib import Path
from typing import Any

from fl.data.clips import REAL, Clip, Split
from fl.data.corpora.listing import FAKE, CorpusFolder
from fl.errors import DataError, RequestError

METADATA_NAME = "metadata.json"
SPLITS: dict[str, Split] = {
    "train": "train",
    "validate": "validation",
    "validation": "validation",
    "test": "test",
}
PLACES = (METADATA_NAME, f"*/{METADATA_NAME}", f"*/*/{METADATA_NAME}")


def read(root: Path) -> list[Clip]:
    """The clips of every part, in the order of the parts' folders and their metadata.

    The parts for training all say "train"; they have no official validation and test.

    Raises:
        RequestError: there is no metadata.
        DataError: metadata is malformed or empty, or names a file outside ``root``.
    """
    folder = CorpusFolder(root)
    found = sorted(path.relative_to(root).as_posix() for place in PLACES for path in root.glob(place))
    if not found:
        raise RequestError(
            f"data.root must hold {METADATA_NAME} or parts with it, got {str(root)!r}: "
            "give the folder above dfdc_train_part_0, or one part"
        )
    return [clip for name in found for clip in read_part(folder, name)]


def read_part(folder: CorpusFolder, name: str) -> list[Clip]:
    """The clips of one part; ``name`` is that of its metadata."""
    entries = folder.read_json(name)
    if not isinstance(entries, dict) or not entries:
        raise DataError(
            f"data.root: {name} must map at least one video to its entry: fetch it again, or remove that part"
        )
    place = name.removesuffix(METADATA_NAME)
    return [read_entry(folder, place, file, entry, name) for file, entry in entries.items()]


def read_entry(folder: CorpusFolder, place: str, file: str, entry: Any, metadata: str) -> Clip:
    """One clip; ``metadata`` is for the error's message."""
    label = entry.get("label") if isinstance(entry, dict) else None
    if label not in ("REAL", "FAKE"):
        raise DataError(
            f"data.root: {file!r} in {metadata} must have the label REAL or FAKE, got {label!r}: "
            "fetch it again"
        )
    fake = label == "FAKE"
    original = str(entry.get("original") or file)
    return Clip(
        path=folder.file(place + file),
        label=int(fake),
        category=FAKE if fake else REAL,
        identity=original,
        source=original,
        group="",
        split=SPLITS.get(str(entry.get("split")), ""),
        modify_video=fake,
    )
