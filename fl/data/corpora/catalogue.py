"""Every corpus that is read from a folder, by name, to the one table of clips with its splits."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from fl.data.clips import Clip
from fl.data.corpora import celebdf, dfdc, faceforensics, images, lavdf, table
from fl.data.splits import assign_splits
from fl.errors import RequestError
from fl.settings import DataSettings, SplitSettings

READERS: Mapping[str, Callable[[Path, DataSettings], list[Clip]]] = MappingProxyType(
    {
        "lavdf": lambda root, _: lavdf.read(root),
        "faceforensics": lambda root, data: faceforensics.read(root, data.faceforensics),
        "celebdf": lambda root, _: celebdf.read(root),
        "dfdc": lambda root, _: dfdc.read(root),
        "images": lambda root, data: images.read(root, data.images),
        "table": lambda root, data: table.read(root, data.table),
    }
)
"""Name -> reader of ``data.root``; what is made, and not read, is made in LAV-DF's layout."""


def read_corpus(data: DataSettings, split: SplitSettings, public_seed: int) -> list[Clip]:
    """Read ``data.corpus`` at ``data.root`` and assign its splits.

    Args:
        data: corpus, root, the corpus's own settings and the server's share.
        split: validation and test.
        public_seed: of the choice of the server's clips.

    Returns:
        Clips with splits "public", "clients", "validation" and "test"; their files need not be there.

    Raises:
        RequestError: no corpus of that name is read, or ``data.root`` does not hold it.
        DataError: its metadata cannot be used, or leaves a split without a clip.
    """
    if data.corpus not in READERS:
        raise RequestError(f"data.corpus must be one of {', '.join(READERS)} to be read, got {data.corpus!r}")
    clips = READERS[data.corpus](Path(data.root).expanduser(), data)
    return assign_splits(clips, split, data.public_share, public_seed)
