"""What the files of a corpus are: headers, and a fingerprint of a few pictures; read in parallel.

Worker processes import this module: it and what it imports must stay free of torch.
"""

import multiprocessing
import queue
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from fl.data.containers import read_header
from fl.data.corpora.building import prepare_worker
from fl.data.fingerprints import NUM_PICTURES, fingerprint
from fl.data.headers import Header
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
        size_bytes: of the file; 0 if it is missing, or ended its reader.
        header: of a file that can be used; None otherwise.
        reason: why it cannot be used; empty if it can be.
        missing: there is no such file.
        fingerprint: of what it shows, see `fl.data.fingerprints`; empty if that was not asked for, or it
            shows nothing.
    """

    path: Path
    size_bytes: int = 0
    header: Header | None = None
    reason: str = ""
    missing: bool = False
    fingerprint: bytes = b""


def inspect_files(
    paths: Sequence[Path], limits: MediaSettings, *, look: bool, num_workers: int
) -> Iterator[FileFacts]:
    """Inspect video and image files in parallel.

    Args:
        paths: the files, each once.
        limits: what a file may claim of itself.
        look: decode some pictures too: finds more damage, and gives the fingerprint.
        num_workers: processes; a few files only: one.

    Yields:
        the facts of each file, in the order in which they are done. A file that makes the decoder crash,
        or that is not read within ``limits.timeout_s``, cannot be used; the others go on.
    """
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    num_processes = max(1, min(num_workers, len(paths) // _MIN_FILES_PER_PROCESS))
    idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
    for _ in range(num_processes):
        idle.put(_Process())
    threads = ThreadPoolExecutor(num_processes)
    try:
        for done in as_completed([threads.submit(_hand_over, chunk, limits, look, idle) for chunk in chunks]):
            yield from done.result()
    finally:
        threads.shutdown(cancel_futures=True)
        for _ in range(num_processes):
            idle.get().end()


def inspect_file(path: Path, limits: MediaSettings, *, look: bool) -> FileFacts:
    """The facts of one file; what is wrong with it is its ``reason``."""
    try:
        size_bytes = path.stat().st_size
    except OSError:
        return FileFacts(path, reason="no such file", missing=True)
    try:
        if not look:
            return FileFacts(path, size_bytes, read_header(path, limits))
        window = read_window(path, num_frames=NUM_PICTURES, window_s=LOOK_S, limits=limits)
    except ClipError as error:
        return FileFacts(path, size_bytes, reason=str(error))
    except Exception as error:
        # Whatever a damaged file makes a library raise costs that file; it is told by name.
        return FileFacts(path, size_bytes, reason=f"cannot be read: {type(error).__name__}: {error}")
    return FileFacts(path, size_bytes, window.header, fingerprint=fingerprint(list(window.frames)))


class _Process:
    """One process that inspects; started when it is first needed, and again after it died."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def inspect(self, paths: Sequence[Path], limits: MediaSettings, look: bool) -> list[FileFacts]:
        """The facts of some files.

        Raises:
            BrokenProcessPool: the process died over one of them.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), prepare_worker)
        try:
            return self._pool.submit(_inspect_chunk, paths, limits, look).result()
        except BrokenProcessPool:
            self.end()
            raise

    def end(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _hand_over(
    paths: Sequence[Path], limits: MediaSettings, look: bool, idle: "queue.SimpleQueue[_Process]"
) -> list[FileFacts]:
    """Have an idle process inspect some files; if it dies, another goes through them one by one."""
    process = idle.get()
    try:
        return process.inspect(paths, limits, look)
    except BrokenProcessPool:
        return [_inspect_suspect(path, limits, look, process) for path in paths]
    finally:
        idle.put(process)


def _inspect_suspect(path: Path, limits: MediaSettings, look: bool, process: _Process) -> FileFacts:
    try:
        return process.inspect([path], limits, look)[0]
    except BrokenProcessPool:
        reason = f"its reader died, or did not end within {limits.timeout_s:g} s (data.media.timeout_s)"
        return FileFacts(path, reason=reason)


def _inspect_chunk(paths: Sequence[Path], limits: MediaSettings, look: bool) -> list[FileFacts]:
    """In a process of its own, which the alarm ends: a decoder that hangs would not let an exception in."""
    facts = []
    for path in paths:
        signal.setitimer(signal.ITIMER_REAL, limits.timeout_s)
        facts.append(inspect_file(path, limits, look=look))
        signal.setitimer(signal.ITIMER_REAL, 0)
    return facts
