"""What a builder of a store has read so far, so that the next one goes on where it was killed."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from fl.data.reader import ReadClip
from fl.data.rows import row_crc

JOURNAL_FILE = "journal.jsonl"


class Journal:
    """One line of JSON for each clip that was read, appended as it is done.

    A line is believed only if the row in the files has the checksum that it names: whatever was not yet
    on the disk when the machine stopped is read again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / JOURNAL_FILE

    def entries(self, sizes: dict[str, int]) -> list[ReadClip]:
        """The clips that need not be read again, in the order of their rows; a torn last line is cut off.

        Args:
            sizes: the files of a row and its bytes in each.
        """
        if not self._path.exists():
            return []
        whole, _, torn = self._path.read_bytes().rpartition(b"\n")
        if torn:
            with self._path.open("r+b") as file:
                file.truncate(len(whole) + 1 if whole else 0)
        known = {clip.row: clip for clip in self._parsed(whole)}
        return [
            clip
            for _, clip in sorted(known.items())
            if clip.reason or row_crc(self._folder, clip.row, sizes) == clip.crc
        ]

    def append(self, clip: ReadClip) -> None:
        """Note a clip that is done."""
        with self._path.open("ab", buffering=0) as file:
            file.write(json.dumps(asdict(clip)).encode() + b"\n")

    def remove(self) -> None:
        """Forget everything."""
        self._path.unlink(missing_ok=True)

    def _parsed(self, lines: bytes) -> Iterator[ReadClip]:
        for line in lines.splitlines():
            try:
                yield ReadClip.from_record(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue  # a damaged line: its clip is read again
