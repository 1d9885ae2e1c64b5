"""Flower's own programs: on free ports, with a home of their own, and ended with a block."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

BIN = Path(sys.executable).parent


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of this process, quiet, offline, and with a home for Flower."""
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "FLWR_HOME": str(home),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        **more,
    }


@contextmanager
def running(
    command: list[str], env: Mapping[str, str], log: Path, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program and its children, ended with the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=env, cwd=cwd, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a program to end, and after 15 s end its whole group."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_text(log: Path, text: str, timeout_s: float, process: subprocess.Popen[bytes]) -> None:
    """Until a log holds a text; fails with the log when time is up or the program ended."""
    deadline = time.monotonic() + timeout_s
    while text not in (told := log.read_text(errors="replace")):
        assert time.monotonic() < deadline, f"no {text!r} in {timeout_s:g} s:\n{told}"
        assert process.poll() is None, f"ended with {process.returncode} before {text!r}:\n{told}"
        time.sleep(0.2)
