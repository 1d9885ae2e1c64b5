"""Reading a CSV of the user's own: one row for each video or picture.

Columns ``path`` (relative to the root) and ``label`` (1 or fake, 0 or real) are needed; ``category``,
``identity``, ``source``, ``donor``, ``split`` and ``quality`` may be given; others are passed over.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fl.data.clips import REAL, Clip, Split
from fl.data.corpora.listing import FAKE, IMAGE_SUFFIXES, CorpusFolder
from fl.errors import DataError, RequestError
from fl.settings import TableSettings

NEEDED = ("path", "label")
OPTIONAL = ("category", "identity", "source", "donor", "split", "quality")
LABELS = {"1": 1, "fake": 1, "0": 0, "real": 0}
SPLITS: dict[str, Split] = {
    "": "",
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


def read(root: Path, settings: TableSettings) -> list[Clip]:
    """The table's clips, in its order.

    Without an identity a clip belongs to its source, without a source it is its own.

    Raises:
        RequestError: there is no such table.
        DataError: with line and column: a value that is missing or unknown, a file named twice or outside
            ``root``.
    """
    folder = CorpusFolder(root)
    if not (root / settings.file).is_file():
        raise RequestError(
            f"data.table.file must be a CSV file below data.root, but there is no {settings.file!r} in "
            f"{str(root)!r}: give its name relative to data.root"
        )
    clips = []
    lines: dict[Path, int] = {}
    for line, row in read_rows(folder, settings.file):
        clip = read_row(folder, row, f"line {line} of {settings.file}")
        if lines.setdefault(clip.path, line) != line:
            raise DataError(
                f"data.root: line {line} of {settings.file}, column path: {row['path']!r} is in line "
                f"{lines[clip.path]} already: remove one"
            )
        clips.append(clip)
    if not clips:
        raise DataError(f"data.root: {settings.file} must have at least one row below its header")
    return clips


def read_rows(folder: CorpusFolder, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows with something in them, stripped, and the numbers of their last lines."""
    reader = csv.DictReader(io.StringIO(folder.read_text(name), newline=""), strict=True)
    try:
        header = [column.strip().lower() for column in reader.fieldnames or ()]
        for column in (*NEEDED, *OPTIONAL):
            if header.count(column) > 1 or (column in NEEDED and column not in header):
                raise DataError(
                    f"data.root: {name} must have one column {column!r} in its first line, "
                    f"got {', '.join(header)!r}"
                )
        reader.fieldnames = header
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"data.root: line {reader.line_num} of {name} must have {len(header)} columns, "
                    "as the first line has: mend it, with quotes round values that have a comma"
                )
            yield reader.line_num, {column: value.strip() for column, value in row.items()}
    except csv.Error as error:
        raise DataError(
            f"data.root: line {reader.reader.line_num} of {name} is not valid CSV ({error}): mend it"
        ) from error


def read_row(folder: CorpusFolder, row: dict[str, str], place: str) -> Clip:
    """One clip; ``place`` is for the error's message."""
    label = LABELS.get(row["label"].lower())
    if label is None:
        raise DataError(
            f"data.root: {place}, column label: must be 1 or fake, 0 or real, got {row['label']!r}"
        )
    split = SPLITS.get(row.get("split", "").lower())
    if split is None:
        raise DataError(
            f"data.root: {place}, column split: must be train, validation, test or empty, "
            f"got {row['split']!r}"
        )
    if label and row.get("category") == REAL:
        raise DataError(
            f"data.root: {place}, column category: a fake cannot be {REAL!r}; name its manipulation"
        )
    if not row["path"]:
        raise DataError(f"data.root: {place}, column path: must name a file, got ''")
    source = row.get("source") or str(PurePosixPath(row["path"]))
    try:
        path = folder.file(row["path"])
    except DataError as error:
        raise DataError(f"{error} ({place}, column path)") from error
    return Clip(
        path=path,
        label=label,
        category=(row.get("category") or FAKE) if label else REAL,
        identity=row.get("identity") or source,
        source=source,
        group="",
        split=split,
        modify_video=bool(label),
        num_frames=int(path.suffix.lower() in IMAGE_SUFFIXES),
        donor=row.get("donor", "") if label else "",
        quality=row.get("quality", ""),
    )
