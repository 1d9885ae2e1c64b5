"""Reading LAV-DF's layout: ``{train,dev,test}/*.mp4`` and ``metadata.min.json`` or ``metadata.json``.

The same reader serves the genuine data set and the corpora that fedpin writes, whose entries carry the
extra keys category, identity, source and group. Cai et al., DICTA 2022.
"""

from pathlib import Path
from typing import Any

from fl.data.clips import REAL, Clip, Split
from fl.data.corpora.building import METADATA_NAME
from fl.data.corpora.listing import FAKE, CorpusFolder
from fl.errors import DataError, RequestError

METADATA_NAMES = (METADATA_NAME, "metadata.json")
SPLITS: dict[str, Split] = {"train": "train", "dev": "validation", "test": "test"}
LABEL_KEYS = ("modify_video", "modify_audio", "fake_periods", "n_fakes")


def read(root: Path) -> list[Clip]:
    """The clips of a corpus in LAV-DF's layout, in the order of the metadata.

    An entry needs its file and one of the keys that tell whether it is fake; without a split it is in that
    of its first folder. Without the extra keys a fake belongs to its original.

    Raises:
        RequestError: ``root`` is not a folder or has no metadata.
        DataError: the metadata is malformed, empty, or names a file outside ``root``.
    """
    folder = CorpusFolder(root)
    remedy = f"set data.root to a folder that holds {METADATA_NAME} beside train, dev and test"
    name = next((name for name in METADATA_NAMES if (root / name).is_file()), None)
    if name is None:
        raise RequestError(f"data.root must hold {' or '.join(METADATA_NAMES)}, got {str(root)!r}: {remedy}")
    entries = folder.read_json(name)
    if not isinstance(entries, list) or not entries:
        raise DataError(f"data.root: {str(root / name)!r} must be a list with at least one clip: {remedy}")
    return [read_entry(entry, position, folder, name) for position, entry in enumerate(entries)]


def read_entry(entry: Any, position: int, folder: CorpusFolder, metadata: str) -> Clip:
    """One clip; ``position`` and ``metadata`` are for the error's message."""
    try:
        file = str(entry["file"])
        if all(entry.get(key) is None for key in LABEL_KEYS):
            raise KeyError(" or ".join(LABEL_KEYS))
        periods = tuple((float(start), float(end)) for start, end in entry.get("fake_periods") or ())
        video, audio = bool(entry.get("modify_video")), bool(entry.get("modify_audio"))
        fake = video or audio or bool(periods) or int(entry.get("n_fakes") or 0) > 0
        duration, frames = float(entry.get("duration") or 0.0), int(entry.get("video_frames") or 0)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            f"data.root: entry {position} of {metadata} is malformed ({type(error).__name__}: {error}): "
            f"it needs file and one of {', '.join(LABEL_KEYS)}"
        ) from error
    source = str(entry.get("source") or entry.get("original") or file)
    identity = str(entry.get("identity") or source)
    return Clip(
        path=folder.file(file),
        label=int(fake),
        category=str(entry.get("category") or name_category(video, audio, fake)),
        identity=identity,
        source=source,
        group=str(entry.get("group") or ""),
        split=read_split(entry, file),
        fake_periods=periods,
        modify_video=video,
        modify_audio=audio,
        duration_s=duration,
        num_frames=frames,
    )


def read_split(entry: dict[str, Any], file: str) -> Split:
    """The entry's split, else that of the file's first folder, else none."""
    named = entry.get("split")
    if named is None:
        return SPLITS.get(file.split("/")[0], "")
    if str(named) not in SPLITS:
        raise DataError(f"data.root: split of {file!r} must be train, dev or test, got {named!r}")
    return SPLITS[str(named)]


def name_category(modify_video: bool, modify_audio: bool, fake: bool) -> str:
    """LAV-DF's four kinds, for entries without a category of their own."""
    if modify_video and modify_audio:
        return "VideoAudio"
    if modify_video:
        return "Video"
    if modify_audio:
        return "Audio"
    return FAKE if fake else REAL
