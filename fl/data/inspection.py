"""What the files of a corpus are: headers, and a fingerprint of a few pictures; read in parallel.

Worker processes import this module: it and what it imports must stay free of torch.
"""

import multiprocessing
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from fl.data.containers import check_header, opened, video_stream
from fl.data.corpora.building import prepare_worker
from fl.data.corpora.listing import IMAGE_SUFFIXES
from fl.data.fingerprints import NUM_PICTURES, fingerprint
from fl.data.media import read_window
from fl.errors import ClipError
from fl.settings import MediaSettings

LOOK_S = 3.0
"""The fingerprint's pictures are taken from the middle of a video, from a window of this length."""

_CHUNK = 8  # files handed to a process at a time
_MIN_FILES_PER_PROCESS = 32  # below this, starting a process costs more than it saves


@dataclass(frozen=True)
class FileFacts:
    """What one file says of itself, and what it shows.

    Attributes:
        path: the file.
        reason: why it cannot be used; empty if it can be. Nothing below it is known then.
        missing: there is no such file.
        size_bytes: of the file; 0 if missing.
        codec: of the pictures, as libav names it ("h264"), or the format of a picture ("jpeg").
        audio_codec: of the sound; empty if there is no sound track.
        width: pixels, before rotation.
        height: pixels, before rotation.
        fps: mean frame rate, 1/s; 0 for a picture.
        duration_s: length of the pictures, s; 0 for a picture.
        num_frames: as the header says, else rate times length; 1 for a picture.
        fingerprint: of what it shows, see `fl.data.fingerprints`; empty if that was not asked for, or it
            shows nothing.
    """

    path: Path
    reason: str = ""
    missing: bool = False
    size_bytes: int = 0
    codec: str = ""
    audio_codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    duration_s: float = 0.0
    num_frames: int = 0
    fingerprint: bytes = b""


def inspect_files(
    paths: Sequence[Path], media: MediaSettings, *, look: bool, num_workers: int
) -> Iterator[FileFacts]:
    """Inspect files in parallel.

    Args:
        paths: the files, each once.
        media: what a file may claim of itself.
        look: decode some pictures too, for the fingerprint.
        num_workers: processes; 1, or a few files only: this one.

    Yields:
        the facts of each file, in the order in which they are done.

    Raises:
        DataError: a process died.
    """
    num_processes = min(num_workers, len(paths) // _MIN_FILES_PER_PROCESS)
    if num_processes <= 1:
        for path in paths:
            yield inspect_file(path, media, look=look)
        return
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    pool = ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn"), prepare_worker)
    try:
        for done in as_completed([pool.submit(_inspect_chunk, chunk, media, look) for chunk in chunks]):
            yield from done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def inspect_file(path: Path, media: MediaSettings, *, look: bool) -> FileFacts:
    """The facts of one file; what is wrong with it is its ``reason``."""
    try:
        size_bytes = path.stat().st_size
    except OSError:
        return FileFacts(path, reason="no such file", missing=True)
    try:
        facts = _image_facts(path, media, look) if is_image(path) else _video_facts(path, look)
    except ClipError as error:
        return FileFacts(path, reason=str(error), size_bytes=size_bytes)
    return replace(facts, size_bytes=size_bytes)


def is_image(path: Path) -> bool:
    """Whether the file's name is that of a picture."""
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def _inspect_chunk(paths: Sequence[Path], media: MediaSettings, look: bool) -> list[FileFacts]:
    return [inspect_file(path, media, look=look) for path in paths]


def _video_facts(path: Path, look: bool) -> FileFacts:
    with opened(path) as container:
        video = video_stream(container)
        header = check_header(container, video)
        sound = container.streams.audio
        facts = FileFacts(
            path,
            codec=video.codec_context.name,
            audio_codec=sound[0].codec_context.name if sound and sound[0].codec_context else "",
            width=header.width,
            height=header.height,
            fps=header.fps,
            duration_s=header.duration_s,
            num_frames=video.frames or round(header.duration_s * header.fps),
        )
    if not look:
        return facts
    window = read_window(path, num_frames=NUM_PICTURES, window_s=LOOK_S)
    return replace(facts, fingerprint=fingerprint(list(window.frames)))


def _image_facts(path: Path, media: MediaSettings, look: bool) -> FileFacts:
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # of sizes, which have a limit of ours
            width, height = image.size
            if max(width, height) > media.max_side:
                raise ClipError(f"{width}x{height} pixels, the limit is {media.max_side} a side")
            codec = (image.format or "").lower()
            picture = np.asarray(image.convert("RGB")) if look else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ClipError(f"cannot be decoded: {error}") from error
    shown = b"" if picture is None else fingerprint([picture] * NUM_PICTURES)
    return FileFacts(path, codec=codec, width=width, height=height, num_frames=1, fingerprint=shown)
