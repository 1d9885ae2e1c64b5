"""Which files of a corpus may be opened, which are videos or images, and who is seen in each."""

import json
import mimetypes
import os
import re
import stat
from pathlib import Path
from typing import Any

from fl.errors import DataError, RequestError

FAKE = "Fake"
"""The category of a fake whose manipulation the corpus does not name."""

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


class CorpusFolder:
    """The folder of a corpus, out of which no file that a corpus names may lead.

    Args:
        root: the folder.

    Raises:
        RequestError: it is no folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise RequestError(
                f"data.root must be a folder that exists, got {str(root)!r}: give the corpus's folder"
            )
        self.root = root
        self._resolved = root.resolve()
        self._folders_inside: dict[str, bool] = {}

    def file(self, name: str) -> Path:
        """The path of a file that need not exist.

        Args:
            name: below the root, with "/" between folders.

        Raises:
            DataError: it is absolute, has ".." or "//", follows a link out of the root, or is no file's name.
        """
        path = self.root / name
        *places, last = name.split("/")
        inside = not {"", ".."} & set(places) and last not in ("", ".", "..")
        try:
            inside = inside and self._holds_folder("/".join(places)) and self._holds_link(path)
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(
                f"data.root: {name!r} cannot be a file's name ({error}): mend that entry"
            ) from error
        if not inside:
            raise DataError(
                f"data.root: {name!r} lies outside {str(self.root)!r}: "
                "entries and links must lead to files below data.root"
            )
        return path

    def _holds_link(self, path: Path) -> bool:
        """Whether the file is no link, or one that stays below the root."""
        try:
            is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return True
        return not is_link or path.resolve().is_relative_to(self._resolved)

    def _holds_folder(self, place: str) -> bool:
        """Whether a folder, links followed, is below the root; looked up once for all its files."""
        if place not in self._folders_inside:
            self._folders_inside[place] = (self.root / place).resolve().is_relative_to(self._resolved)
        return self._folders_inside[place]

    def names(self, folder: str, pattern: re.Pattern[str]) -> list[tuple[str, re.Match[str]]]:
        """The files of one folder whose whole names match, sorted; none if the folder is not there.

        Returns:
            (path below the root, match of the name).
        """
        place = self.root / folder
        matches = ((name, pattern.fullmatch(name)) for name in (os.listdir(place) if place.is_dir() else ()))
        return sorted((f"{folder}/{name}", match) for name, match in matches if match)

    def read_text(self, name: str) -> str:
        """A text file of the corpus, UTF-8.

        Raises:
            DataError: it cannot be read.
        """
        path = self.file(name)
        try:
            return path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise DataError(f"data.root: {str(path)!r} cannot be read ({error}): fetch it again") from error

    def read_json(self, name: str) -> Any:
        """A JSON file of the corpus.

        Raises:
            DataError: it cannot be read or is not JSON.
        """
        text = self.read_text(name)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"data.root: {str(self.root / name)!r} is not valid JSON ({error}): fetch it again"
            ) from error


def list_files(root: Path) -> list[Path]:
    """All files below ``root`` that are not hidden, relative to it, sorted."""
    remedy = "set data.root to a folder with videos of people talking"
    if not root.is_dir():
        raise RequestError(f"data.root must be a folder that exists, got {str(root)!r}: {remedy}")
    files = [
        path.relative_to(root)
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    if not any(may_be_video(path) for path in files):
        raise RequestError(f"data.root must hold at least one video, got {str(root)!r}: {remedy}")
    return files


def may_be_video(path: Path) -> bool:
    """Whether the file's name leaves room for a video: a video's suffix or one that tells nothing."""
    if path.suffix.lower() in (".ts", ".mts"):
        return True
    kind = mimetypes.guess_type(path.name)[0]
    return kind is None or kind.startswith(("video/", "application/mp4", "application/ogg"))


def compile_pattern(pattern: str) -> re.Pattern[str] | None:
    """The pattern of identities, None if there is none."""
    if not pattern:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise RequestError(
            f"data.folders.identity_pattern must be a regular expression, got {pattern!r} ({error})"
        ) from error
    if compiled.groups < 1:
        raise RequestError(
            f"data.folders.identity_pattern must have a group that names the person, got {pattern!r}: "
            "put the person's part in parentheses"
        )
    return compiled


def read_identity(pattern: re.Pattern[str] | None, file: Path) -> str | None:
    """Who is seen in ``file``, None if the pattern is not found in its path.

    Without a pattern the path is the person. A named group that took part names the person itself, so that
    ``(?P<ann>clip3|clip7)|([^/]+)$`` says that clip3 and clip7 show one; otherwise the first group's text
    does.
    """
    if pattern is None:
        return file.with_suffix("").as_posix()
    match = pattern.search(file.as_posix())
    if match is None:
        return None
    named = [name for name, text in match.groupdict().items() if text is not None]
    texts = [text for text in match.groups() if text]
    return (named or texts or [None])[0]


def check_bad_share(
    root: Path, files: list[Path], skipped: list[dict[str, str]], max_bad_share: float
) -> None:
    """Refuse a folder with too many bad videos."""
    videos = {file.as_posix() for file in files if may_be_video(file)}
    bad = [item for item in skipped if item["file"] in videos]
    if len(bad) > max_bad_share * len(videos) or len(bad) == len(videos):
        examples = "; ".join(f"{item['file']}: {item['reason']}" for item in bad[:3])
        raise DataError(
            f"data.max_bad_share allows {max_bad_share:.0%} of the videos in {str(root)!r} to be unusable, "
            f"got {len(bad)} of {len(videos)} ({examples}): mend or remove them, or raise data.max_bad_share"
        )
