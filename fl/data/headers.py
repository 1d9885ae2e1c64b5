"""What a media file says of itself, the limits to that, and how a file that nobody vouches for is opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fl.errors import ClipError
from fl.settings import MediaSettings

DEFAULT_LIMITS = MediaSettings()


@dataclass(frozen=True)
class Header:
    """What a file says of itself, before any decoding.

    Attributes:
        duration_s: length of the pictures, s; 0 for an image.
        fps: mean frame rate, 1/s; 0 for an image.
        width: pixels, before rotation.
        height: pixels, before rotation.
        has_audio: there is a sound track.
        codec: of the pictures, as libav names it ("h264", "hevc", "mpeg4"), or the image format ("png").
        num_frames: number of pictures; from length and rate where the file does not say.
    """

    duration_s: float
    fps: float
    width: int
    height: int
    has_audio: bool
    codec: str
    num_frames: int


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """A regular file, opened as bytes; what the file system holds against it becomes a ClipError.

    Opened here and never by a library: a name is then not parsed as a protocol and need not be UTF-8.
    """
    try:
        if not path.is_file():
            raise ClipError("no such file" if not path.exists() else "not a regular file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror or error}") from error


def check_size(width: int, height: int, limits: MediaSettings) -> None:
    """Refuse pictures without a size, or larger than ``data.media.max_side`` (ClipError)."""
    most = limits.max_side
    if width <= 0 or height <= 0:
        # libav reports no size when its own limit, the square of ours, was passed.
        raise ClipError(
            f"pictures of no size, or above the limit, {most}x{most} pixels (data.media.max_side)"
        )
    if max(width, height) > most:
        raise ClipError(f"{width}x{height} pixels, the limit is {most} a side (data.media.max_side)")


def check_duration(duration_s: float, limits: MediaSettings) -> None:
    """Refuse a file without a length, or longer than ``data.media.max_duration_s`` (ClipError)."""
    if not 0 < duration_s <= limits.max_duration_s:
        raise ClipError(
            f"{duration_s:.1f} s long, the limit is {limits.max_duration_s:g} s (data.media.max_duration_s)"
        )
