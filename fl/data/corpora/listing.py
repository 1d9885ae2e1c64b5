"""Which files of a folder are videos, and who is seen in each."""

import mimetypes
import re
from pathlib import Path

from fl.errors import DataError, RequestError


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
