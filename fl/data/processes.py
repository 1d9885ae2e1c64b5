"""Processes that open files which nobody has vetted: apart, watched, replaced when one hangs or dies.

A process is asked by lines of JSON on its standard input, and answers on its standard output; it ends when
its parent does, however that ended. `fl.data.readers` gives many clips to several of them; a `Worker` gives
one file after another to one, which answers with as many messages as it likes, arrays among them.
"""

import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from fl.errors import ClipError

START_TIMEOUT_S = 120.0
"""A process that has not started after this time never will."""

Message = tuple[dict[str, Any], bytes]
Send = Callable[..., None]
"""``send(record, data=b"")``: one message to the parent."""


def start_process(code: str) -> "subprocess.Popen[bytes]":
    """Start Python on ``code``, which finds this process's ``sys.path`` in ``sys.argv[1:]``, with pipes."""
    # A group of its own: Ctrl-C reaches the parent alone.
    return subprocess.Popen(
        [sys.executable, "-c", code, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        process_group=0,
    )


def code_of(module: str) -> str:
    """What `start_process` is to be started on so that ``main`` of a module runs."""
    return f"import sys; sys.path[:] = sys.argv[1:]; from {module} import main; main()"


def ending(exit_code: int) -> str:
    """How a process ended: "exit code 1", or the name of the signal."""
    return f"exit code {exit_code}" if exit_code >= 0 else signal.Signals(-exit_code).name


def open_pipes() -> "tuple[BinaryIO, queue.Queue[bytes]]":
    """In such a process: where answers go, and the lines that come in. It ends with its standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to decide on
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not stand among the replies
    lines: queue.Queue[bytes] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    return replies, lines


def serve(handle: Callable[[dict[str, Any], Send], None]) -> None:
    """In a `Worker`'s process: answer requests until the parent is gone.

    Args:
        handle: does what a request asks for; whatever it raises costs that request only.
    """
    replies, lines = open_pipes()

    def send(record: dict[str, Any], data: bytes = b"") -> None:
        message = json.dumps({**record, "num_bytes": len(data)}).encode() + b"\n" + data
        try:
            while message:
                message = message[replies.write(message) or 0 :]
        except BrokenPipeError:
            os._exit(0)  # the parent is gone

    send({"ready": True})
    while True:
        request = json.loads(lines.get())
        try:
            handle(request, send)
        except ClipError as error:
            send({"error": str(error)})
        except Exception as error:  # whatever a damaged file makes a library raise
            send({"error": f"cannot be read: {type(error).__name__}: {error}"})
        else:
            send({"done": True})


class Worker:
    """One process at a time that works on one file after another; a context manager.

    Args:
        module: its ``main`` calls `serve`.
        timeout_s: between two messages; a process that takes longer is ended.
    """

    def __init__(self, module: str, timeout_s: float) -> None:
        self._code = code_of(module)
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def ask(self, request: dict[str, Any]) -> Iterator[Message]:
        """Send a request, and yield what comes back until it is done.

        Raises:
            ClipError: the file cannot be used, or the process hung or died at it.
        """
        finished = False
        try:
            if self._process is None:
                self._process = start_process(self._code)
                self._receive(START_TIMEOUT_S)  # that it is ready
            with suppress(BrokenPipeError):  # it is dead: its standard output tells so next
                self._part("stdin").write(json.dumps(request).encode() + b"\n")
            while True:
                record, data = self._receive(self._timeout_s)
                finished = "done" in record or "error" in record
                if "error" in record:
                    raise ClipError(record["error"])
                if finished:
                    return
                yield record, data
        finally:
            if not finished:  # it is stuck, dead, or in the midst of what nobody wants any more
                self._stop()

    def _receive(self, timeout_s: float) -> Message:
        deadline = time.monotonic() + timeout_s
        while (end := self._buffer.find(b"\n")) < 0:
            self._read(deadline, timeout_s)
        record = json.loads(self._buffer[:end])
        size = end + 1 + record.pop("num_bytes")
        while len(self._buffer) < size:
            self._read(deadline, timeout_s)
        data = bytes(self._buffer[end + 1 : size])
        del self._buffer[:size]
        return record, data

    def _read(self, deadline: float, timeout_s: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._part("stdout"), selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise ClipError(f"cut off: not read within {timeout_s:g} s")
        chunk = os.read(self._part("stdout").fileno(), 1 << 20)
        if not chunk:
            raise ClipError(f"its reader died ({ending(self._part('wait')())})")
        self._buffer += chunk

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._part("stdin").close()
            self._part("stdout").close()
        self._process, self._buffer = None, bytearray()

    def _part(self, name: str) -> Any:
        return getattr(self._process, name)
