"""Opens video files that nobody vouches for, and reads their headers.

The container is told from the file's first bytes and its demuxer is forced, so that a playlist
named ``.mp4`` cannot make the reader open other files. Size and length are checked in the header
before anything is decoded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import av
import av.error
import av.logging
from av.stream import Disposition

from fl.errors import ClipError

MAX_SIDE = 4096
"""Largest width or height that is decoded, pixels."""
MAX_DURATION_S = 3600.0
"""Longest file that is decoded, s."""

_QUICKTIME_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_MAGIC = (
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"OggS", "ogg"),
    (b"FLV\x01", "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
)

av.logging.set_level(None)


@dataclass(frozen=True)
class Header:
    """What a file says of itself, before any decoding.

    Attributes:
        duration_s: length of the pictures, s.
        fps: mean frame rate, 1/s.
        width: pixels, before rotation.
        height: pixels, before rotation.
        has_audio: there is a sound track.
    """

    duration_s: float
    fps: float
    width: int
    height: int
    has_audio: bool


def read_header(path: Path) -> Header:
    """Read a file's header and check it against the limits.

    Raises:
        ClipError: not a video, no video stream, or above ``MAX_SIDE`` or ``MAX_DURATION_S``.
    """
    with opened(path) as container:
        return check_header(container, video_stream(container))


def _sniff(head: bytes) -> str:
    """The demuxer's name for a file that starts with ``head`` (189 bytes)."""
    if not head:
        raise ClipError("the file is empty")
    if head[4:8] in _QUICKTIME_ATOMS:
        return "mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if len(head) > 188 and head[0] == head[188] == 0x47:
        return "mpegts"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    raise ClipError("not a video file (MP4, MOV, Matroska, WebM, AVI, MPEG, Ogg, FLV or ASF)")


def _refuse_other_file(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError(f"the file refers to another one: {url}")


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An open container; whatever the file or libav holds against it becomes a ClipError."""
    try:
        if not path.is_file():
            raise ClipError("no such file" if not path.exists() else "not a regular file")
        with path.open("rb") as file:
            format_name = _sniff(file.read(189))
            file.seek(0)
            # Opened as a file object: a name is never parsed as a protocol and need not be UTF-8.
            with av.open(
                file, "r", format=format_name, metadata_errors="replace", io_open=_refuse_other_file
            ) as container:
                yield container
    except av.error.FFmpegError as error:
        raise ClipError(f"cannot be decoded: {error.strerror}") from error
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror or error}") from error


def video_stream(container: Any) -> Any:
    """The first video stream, as OpenCV takes it (not libav's "best"); cover pictures do not count."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            stream.codec_context.thread_count = 1  # clips are read in parallel instead
            stream.codec_context.options = {"max_pixels": str(MAX_SIDE * MAX_SIDE)}
            return stream
    raise ClipError("no video stream")


def check_header(container: Any, video: Any) -> Header:
    """The header of an open container, after a check against the limits (ClipError)."""
    width, height = video.codec_context.width, video.codec_context.height
    if not 0 < width <= MAX_SIDE or not 0 < height <= MAX_SIDE:
        raise ClipError(f"{width}x{height} pixels, the limit is {MAX_SIDE} a side")
    fps = float(video.average_rate or video.guessed_rate or 25)
    if video.duration:
        duration_s = float(video.duration * video.time_base)
    elif container.duration:
        duration_s = container.duration / av.time_base
    else:
        duration_s = _scanned_duration(container, video)
    if not 0 < duration_s <= MAX_DURATION_S:
        raise ClipError(f"{duration_s:.0f} s long, the limit is {MAX_DURATION_S:.0f} s")
    entries = video.index_entries
    if len(entries) and entries[-1].pos + entries[-1].size > container.size:
        raise ClipError("truncated: the file ends before its last picture")
    return Header(duration_s, fps, width, height, bool(container.streams.audio))


def _scanned_duration(container: Any, video: Any) -> float:
    """The length of a file whose header does not say it (recorded live): packets read, not decoded."""
    ends = [p.pts + (p.duration or 0) for p in container.demux(video) if p.pts is not None]
    container.seek(0)
    return float((max(ends) - (video.start_time or 0)) * video.time_base) if ends else 0.0
