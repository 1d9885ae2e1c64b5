"""What writers to the cache share: errors that name ``cache_dir``, and data that is really on the disk."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fl.errors import RequestError


def cache_root(given: str) -> Path:
    """The cache of corpora, shards, teachers: the folder given, else $FEDPIN_CACHE, else ~/.cache/fedpin."""
    chosen = given or os.environ.get("FEDPIN_CACHE", "")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "fedpin"


@contextmanager
def writing_to(cache_dir: Path) -> Iterator[None]:
    """Turn what the file system holds against writing into a RequestError that names ``cache_dir``."""
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"cache_dir {str(cache_dir)!r} cannot be written ({error.strerror or error}): "
            "name a writable folder with enough space by cache_dir= or $FEDPIN_CACHE"
        ) from error


def flush(path: Path) -> None:
    """Wait until a file's or folder's contents are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its name only when all went well."""
    building = Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
    try:
        yield building
        os.replace(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
