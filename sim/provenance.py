"""Where a number comes from: versions, hardware, commit and configuration of a run."""

import hashlib
import json
import os
import platform
import subprocess
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from fl.cores import usable_cores

ROOT = Path(__file__).resolve().parents[1]
"""The checkout, if the program runs from one."""


def versions() -> dict[str, str | None]:
    """Versions of Python and of what computes; null for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("torch", "flwr", "ray", "onnxruntime", "fedpin"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    project = ROOT / "pyproject.toml"
    if found["fedpin"] is None and project.is_file():
        found["fedpin"] = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
    return found


def hardware() -> dict[str, Any]:
    """CPU model, cores (all, and those this process may use), memory in bytes, operating system."""
    num_cores = os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "num_cores": num_cores,
        "num_usable_cores": usable_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "os": platform.platform(),
    }


def commit(root: Path = ROOT) -> dict[str, Any]:
    """``commit`` of the checkout at ``root`` and whether it has ``uncommitted_changes``; null outside one."""
    top = _git(root, "rev-parse", "--show-toplevel")
    sha = _git(root, "rev-parse", "HEAD")
    if top is None or sha is None or Path(top).resolve() != root.resolve():
        return {"commit": None, "uncommitted_changes": None}
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"commit": sha, "uncommitted_changes": bool(changes)}


def digest(config: Any) -> str:
    """SHA-256 of a configuration in plain JSON types; the order of keys does not matter."""
    text = json.dumps(config, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digests(paths: Iterable[Path]) -> dict[str, str]:
    """Name of each file -> SHA-256 of its content, 64 hexadecimal digits."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str | None:
    """The answer of git, or None where there is no git or no checkout."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
