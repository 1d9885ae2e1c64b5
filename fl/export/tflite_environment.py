"""The environment of its own in which networks become TFLite: litert-torch needs an older torch than ours.

It lies in ``<cache>/tools/tflite-<digest>``, where the digest is of the exact versions in ``tflite.lock`` and
of the Python that made it. Nothing is downloaded unless `prepare` is called.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from fl.data.cache import atomic_folder, writing_to
from fl.errors import RequestError, RunError
from fl.export.job import run_logged

LOCK_FILE = Path(__file__).with_name("tflite.lock")

NEEDED_BYTES = 8_000_000_000
"""Free space that is asked for: the environment takes 5.6 GB with torch's CUDA build, 1.8 with the CPU's."""

TIME_LIMIT_S = 3600.0

_BUILDS: tuple[Mapping[str, str], ...] = ({"UV_TORCH_BACKEND": "cpu"}, {})
_PROBE = "import ai_edge_litert.interpreter, litert_torch, timm, safetensors.torch"


def environment_folder(cache_dir: Path) -> Path:
    """Where the environment for this Python and these versions lies, or would lie."""
    key = LOCK_FILE.read_bytes() + sys.version.encode()
    return cache_dir / "tools" / f"tflite-{hashlib.sha256(key).hexdigest()[:16]}"


def environment_python(cache_dir: Path) -> Path | None:
    """The environment's Python; None if it is not prepared."""
    python = environment_folder(cache_dir) / "bin" / "python"
    return python if python.is_file() else None


def prepare(cache_dir: Path) -> Path:
    """Make the environment, by download, unless it is there; it appears whole or not at all.

    uv's own variables hold: UV_TORCH_BACKEND chooses torch's build, UV_INDEX_URL and the like the registry.
    Without the former the CPU build is tried first, from PyTorch's own index, then the registry's.

    Returns:
        Its Python.

    Raises:
        RequestError: uv is missing, or too little space is free.
        RunError: the packages cannot be had, or do not work; the log is kept.
    """
    folder = environment_folder(cache_dir)
    with writing_to(cache_dir):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if (python := environment_python(cache_dir)) is not None:
            return python
        free = shutil.disk_usage(folder.parent).free
        if free < NEEDED_BYTES:
            raise RequestError(
                f"the TFLite environment needs {NEEDED_BYTES / 1e9:g} GB of free space, {folder.parent} has "
                f"{free / 1e9:.1f} GB: name another cache by --cache-dir"
            )
        with atomic_folder(folder) as building:
            _install(building, folder.with_suffix(".log"))
    return folder / "bin" / "python"


def _install(building: Path, log: Path) -> None:
    uv, what = _find_uv(), "preparing the TFLite environment"
    python = str(building / "bin" / "python")
    make = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(building)]
    run_logged(make, building, log, TIME_LIMIT_S, what)
    install = [uv, "pip", "install", "--quiet", "--python", python, "--requirements", str(LOCK_FILE)]
    builds = ({},) if "UV_TORCH_BACKEND" in os.environ else _BUILDS
    for build in builds:
        try:
            run_logged(install, building, log, TIME_LIMIT_S, what, build)
            break
        except RunError:
            if build is builds[-1]:
                raise
    run_logged([python, "-c", _PROBE], building, log, TIME_LIMIT_S, what)


def _find_uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise RequestError("--prepare-tflite needs uv, which is not installed: pip install uv")
    return found
