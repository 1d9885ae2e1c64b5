"""Building a corpus once: under a lock, in other processes, all or nothing."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from fl.data.cache import writing_to
from fl.data.corpora.forge import Forgery
from fl.errors import RequestError

METADATA_NAME = "metadata.min.json"
SPLIT_NAMES = ("train", "dev", "test")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)

Record = dict[str, Any]
"""One entry of ``metadata.min.json``: LAV-DF's keys, and category, identity, source, group."""

Task = Any
Worker = Callable[[Task, Path], list[Record]]


def make_record(
    made: Forgery,
    *,
    file: str,
    split: str,
    category: str,
    identity: str,
    source: str,
    group: str,
    original: str | None,
) -> Record:
    """One clip's entry; ``duration`` in s, ``audio_frames`` in samples per channel, as LAV-DF has them."""
    num_frames = len(made.recording.frames)
    return {
        "file": file,
        "n_fakes": len(made.periods),
        "fake_periods": [list(period) for period in made.periods],
        "duration": round(num_frames / made.recording.fps, 3),
        "original": original,
        "modify_video": made.modify_video,
        "modify_audio": made.modify_audio,
        "split": split,
        "video_frames": num_frames,
        "audio_channels": 1,
        "audio_frames": len(made.recording.audio),
        "category": category,
        "identity": identity,
        "source": source,
        "group": group,
    }


@contextmanager
def building_place(cache_dir: Path, digest: str) -> Iterator[tuple[Path, Path | None]]:
    """Hold the lock of one corpus; yields its folder and the folder to build in (None: it is there already).

    On a clean exit the built folder takes its final name in one rename; otherwise it is removed.

    Raises:
        RequestError: the cache cannot be written, or has no room.
    """
    corpora = cache_dir / "corpora"
    final, rising = corpora / digest, corpora / f".rising-{digest}"
    if (final / METADATA_NAME).is_file():
        yield final, None
        return
    try:
        corpora.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(corpora / f".{digest}.lock")
        lock.acquire()
    except OSError as error:
        raise RequestError(
            f"cache_dir must be a folder that can be written, got {str(cache_dir)!r} ({error.strerror}): "
            "set cache_dir to another folder"
        ) from error
    try:
        if (final / METADATA_NAME).is_file():
            yield final, None
            return
        shutil.rmtree(rising, ignore_errors=True)
        for split in SPLIT_NAMES:
            (rising / split).mkdir(parents=True)
        yield final, rising
        os.replace(rising, final)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        with writing_to(cache_dir):
            raise
    finally:
        shutil.rmtree(rising, ignore_errors=True)
        lock.release()


def run_tasks(
    worker: Worker, tasks: Sequence[Task], folder: Path, advance: Callable[[int], None], num_workers: int
) -> list[Record]:
    """Run ``worker(task, folder)`` for every task; the records in the order of the tasks.

    Args:
        worker: a function of a module that a fresh process can import.
        tasks: picklable arguments.
        folder: where the clips go.
        advance: called with the number of clips of each finished task.
        num_workers: processes; 1 works in this one.
    """
    if num_workers <= 1 or len(tasks) <= 1:
        results = []
        for task in tasks:
            results.append(worker(task, folder))
            advance(len(results[-1]))
        return [record for records in results for record in records]
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(num_workers, len(tasks)), mp_context=context, initializer=prepare_worker)
    try:
        futures = [pool.submit(worker, task, folder) for task in tasks]
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                advance(len(future.result()))
        return [record for future in futures for record in future.result()]
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def prepare_worker() -> None:
    """In a fresh process: leave Ctrl-C to the parent, end with it, use one thread."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def end_with(parent: Any) -> None:
    """Wait for the parent process to end, however it does, and end this one."""
    parent.join()
    os._exit(1)


def write_metadata(folder: Path, records: Sequence[Record]) -> None:
    """Write ``metadata.min.json``, without spaces, one list."""
    text = json.dumps(list(records), separators=(",", ":"))
    (folder / METADATA_NAME).write_text(text, encoding="utf-8")
