"""Reader processes, watched by their parent: one that hangs or dies is replaced, its clip given up."""

import json
import os
import selectors
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from fl.data.processes import START_TIMEOUT_S, code_of, ending, start_process
from fl.data.reader import ReadClip, Setup, Task
from fl.errors import DataError, RequestError

MAX_TRIES = 2
"""A clip at which its reader died this often is given up; it need not be the clip's fault."""

_MIN_CLIPS_PER_READER = 16  # below this, starting a process costs more than it saves
_QUEUED = 2  # tasks that a reader holds: it need not wait for the parent between two
_CODE = code_of("fl.data.reader")


def read_clips(tasks: Sequence[Task], setup: Setup, *, num_workers: int) -> Iterator[ReadClip]:
    """Read clips in other processes, each into its row of the files in ``setup.folder``.

    The files must exist; their bytes do not depend on the number of processes. Memory does not grow
    with the number of clips. A clip that is not read within ``setup.limits.timeout_s``, or at which a
    reader dies twice, cannot be used.

    Args:
        tasks: the clips.
        setup: how they are read, and where they go.
        num_workers: processes; a few clips only: one.

    Yields:
        what became of each clip, in the order in which they are done.

    Raises:
        RequestError: the cache cannot be written.
        DataError: no reader could be started.
    """
    if not tasks:
        return
    waiting = deque(tasks)
    tries: Counter[int] = Counter()
    selector = selectors.DefaultSelector()
    num_readers = min(max(1, num_workers), max(1, len(tasks) // _MIN_CLIPS_PER_READER))
    readers: list[_Reader] = []
    try:
        while len(readers) < num_readers:
            readers.append(_Reader(setup, selector))
        while waiting or any(reader.tasks for reader in readers):
            for reader in readers:
                reader.fill(waiting)
            soonest = min(reader.deadline for reader in readers)
            for key, _ in selector.select(max(0.0, soonest - time.monotonic())):
                yield from key.data.replies()
            for index, reader in enumerate(readers):
                reason = reader.failure()
                if reason:
                    lost = reader.stop()
                    readers[index] = _Reader(setup, selector)
                    yield from _give_up_or_retry(lost, reason, reader.timed_out, tries, waiting)
    finally:
        for reader in readers:
            reader.stop()
        selector.close()


def _give_up_or_retry(
    lost: list[Task], reason: str, timed_out: bool, tries: Counter[int], waiting: deque[Task]
) -> Iterator[ReadClip]:
    """Only the clip that was being read is to blame; those behind it go back in front of the queue."""
    waiting.extendleft(reversed(lost[1:]))
    for task in lost[:1]:
        tries[task.row] += 1
        if timed_out or tries[task.row] >= MAX_TRIES:
            yield ReadClip(task.row, reason)
        else:
            waiting.appendleft(task)


class _Reader:
    """A reader process, the tasks that it holds (the first is being read), and when it must answer."""

    def __init__(self, setup: Setup, selector: selectors.BaseSelector) -> None:
        self.tasks: deque[Task] = deque()
        self.timed_out = False
        self._timeout_s = setup.limits.timeout_s
        self._selector = selector
        self._started = self._ended = False
        self._buffer = b""
        self._process = start_process(_CODE)
        self.deadline = time.monotonic() + START_TIMEOUT_S
        selector.register(self._pipe("stdout"), selectors.EVENT_READ, self)
        self._send(asdict(setup))

    def fill(self, waiting: deque[Task]) -> None:
        """Take tasks until it has enough of them."""
        while self._started and not self._ended and waiting and len(self.tasks) < _QUEUED:
            if not self.tasks:
                self.deadline = time.monotonic() + self._timeout_s
            self.tasks.append(waiting.popleft())
            self._send(asdict(self.tasks[-1]))

    def replies(self) -> Iterator[ReadClip]:
        """What it has answered by now.

        Raises:
            RequestError: it could not write to the cache.
        """
        received = os.read(self._pipe("stdout").fileno(), 1 << 16)
        self._ended = not received
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        for line in lines:
            record = json.loads(line)
            if "error" in record:
                raise RequestError(record["error"])
            self._started = True
            # Not before the next task is begun does its time run.
            self.deadline = time.monotonic() + self._timeout_s
            if record:
                self.tasks.popleft()
                yield ReadClip.from_record(record)
        if not self.tasks and self._started:
            self.deadline = float("inf")

    def failure(self) -> str:
        """Why it has to be replaced; empty if it works.

        Raises:
            DataError: it did not even start.
        """
        self.timed_out = not self._ended and time.monotonic() >= self.deadline
        if not (self._ended or self.timed_out):
            return ""
        how = "no answer" if self.timed_out else ending(self._process.wait())
        if not self._started:
            raise DataError(f"a process that reads clips could not start ({how}): see its message above")
        if self.timed_out:
            return f"cut off: not read within {self._timeout_s:g} s (data.media.timeout_s)"
        return f"its reader died {MAX_TRIES} times ({how})"

    def stop(self) -> list[Task]:
        """End it at once; the tasks that it held."""
        self._process.kill()
        self._process.wait()
        if not self._pipe("stdout").closed:
            self._selector.unregister(self._pipe("stdout"))
        self._pipe("stdin").close()
        self._pipe("stdout").close()
        lost, self.tasks = list(self.tasks), deque()
        return lost

    def _send(self, record: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # it is dead: its standard output tells so next
            self._pipe("stdin").write(json.dumps(record).encode() + b"\n")

    def _pipe(self, name: str) -> Any:
        return getattr(self._process, name)
