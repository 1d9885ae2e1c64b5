"""Opens video files that nobody vouches for, and reads their headers.

The container is told from the file's first bytes and its demuxer is forced, so that a playlist
named ``.mp4`` cannot make the reader open other files. Size and length are checked in the header
before anything is decoded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import av
import av.error
import av.logging
from av.stream import Disposition

from fl.data.headers import DEFAULT_LIMITS, Header, check_duration, check_size, open_file
from fl.data.images import is_image, read_image_header
from fl.errors import ClipError
from fl.settings import MediaSettings

HEAD_BYTES = 189
"""How much of a file's start tells its format."""

_QUICKTIME_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_MAGIC = (
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"OggS", "ogg"),
    (b"FLV\x01", "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
)

av.logging.set_level(None)


def read_header(path: Path, limits: MediaSettings = DEFAULT_LIMITS) -> Header:
    """Read the header of a video or image file and check it against the limits.

    Raises:
        ClipError: neither a video nor an image, no video stream, or above a limit.
    """
    with open_file(path) as file:
        if is_image(file.read(HEAD_BYTES)):
            return read_image_header(path, limits)
    with opened(path, limits) as container:
        return check_header(container, video_stream(container, limits), limits)


def _sniff(head: bytes) -> str:
    """The demuxer's name for a file that starts with ``head`` (``HEAD_BYTES``)."""
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
def opened(path: Path, limits: MediaSettings = DEFAULT_LIMITS) -> Iterator[Any]:
    """An open container; whatever the file or libav holds against it becomes a ClipError."""
    with open_file(path) as file:
        format_name = _sniff(file.read(HEAD_BYTES))
        file.seek(0)
        try:
            # libav decodes some pictures to learn of the streams: the limit must hold there already.
            with av.open(
                file,
                "r",
                format=format_name,
                metadata_errors="replace",
                options=_codec_options(limits),
                io_open=_refuse_other_file,
            ) as container:
                yield container
        except av.error.FFmpegError as error:
            raise ClipError(f"cannot be decoded: {error.strerror}") from error


def video_stream(container: Any, limits: MediaSettings = DEFAULT_LIMITS) -> Any:
    """The first video stream, as OpenCV takes it (not libav's "best"); cover pictures do not count."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            stream.codec_context.thread_count = 1  # clips are read in parallel instead
            stream.codec_context.options = _codec_options(limits)
            return stream
    raise ClipError("no video stream")


def check_header(container: Any, video: Any, limits: MediaSettings = DEFAULT_LIMITS) -> Header:
    """The header of an open container, after a check against the limits (ClipError)."""
    codec = video.codec_context
    check_size(codec.width, codec.height, limits)
    fps = float(video.average_rate or video.guessed_rate or 25)
    if video.duration:
        duration_s = float(video.duration * video.time_base)
    elif container.duration:
        duration_s = container.duration / av.time_base
    else:
        duration_s = _scanned_duration(container, video)
    check_duration(duration_s, limits)
    entries = video.index_entries
    if len(entries) and entries[-1].pos + entries[-1].size > container.size:
        raise ClipError("truncated: the file ends before its last picture")
    num_frames = video.frames or max(1, round(duration_s * fps))
    has_audio = bool(container.streams.audio)
    return Header(duration_s, fps, codec.width, codec.height, has_audio, codec.name, num_frames)


def _codec_options(limits: MediaSettings) -> dict[str, str]:
    return {"max_pixels": str(limits.max_side**2)}


def _scanned_duration(container: Any, video: Any) -> float:
    """The length of a file whose header does not say it (recorded live): packets read, not decoded."""
    ends = [p.pts + (p.duration or 0) for p in container.demux(video) if p.pts is not None]
    container.seek(0)
    return float((max(ends) - (video.start_time or 0)) * video.time_base) if ends else 0.0
