"""What the user sees while a run goes on, on standard error: bars on a terminal, plain lines elsewhere.

Both kinds leave the same lines behind, one per finished stage and one per round; the bars vanish.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

MAX_COLUMNS = 100
BAR_COLUMNS = 16
ONE_LINE = Column(no_wrap=True)

Advance = Callable[..., None]
"""``advance(step: int = 1, note: str = "")``: so much more is done; the note is shown beside the bar."""


class Progress:
    """The display of one run.

    Args:
        console: where it goes; by default standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._bars: Bars | None = None
        self._users = 0

    def line(self, text: str) -> None:
        """Print one line above the bars; what is longer than 100 columns is cut."""
        self.console.print(Text(fit(text)), soft_wrap=True)

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """Show one stage of the work; leaves one line, also when it fails.

        Args:
            title: what is being done, e.g. "Rendering the corpus".
            total: how many things there are to do; None if unknown.

        Yields:
            ``advance(step=1, note="")``, which may be called from any thread.
        """
        start = time.monotonic()
        done = 0
        lock = threading.Lock()
        with self._bar(title, total) as update:

            def advance(step: int = 1, note: str = "") -> None:
                nonlocal done
                with lock:
                    done += step
                    update(done, note)

            try:
                yield advance
            except BaseException:
                of = "" if total is None else f" of {total}"
                self.line(f"{title}: stopped after {done}{of}, {duration(time.monotonic() - start)}")
                raise
        count = f"{done}, " if done else ""
        self.line(f"{title}: {count}{duration(time.monotonic() - start)}")

    @contextmanager
    def rounds(self, num_rounds: int, clients_per_round: int, first_round: int = 1) -> Iterator["Rounds"]:
        """Show the rounds of a run; leaves one line per round.

        Args:
            num_rounds: the number of the last round.
            clients_per_round: clients sampled each round.
            first_round: above 1 when a run is resumed.
        """
        title = f"Round {first_round}/{num_rounds}"
        with self._bar(title, clients_per_round) as update:
            yield Rounds(self.line, update, num_rounds, first_round)

    @contextmanager
    def _bar(self, title: str, total: int | None) -> Iterator["Update"]:
        """A bar that lives as long as the context; nothing where there is no terminal."""
        if not self.console.is_terminal:
            yield lambda _done, _note="", _title=None: None
            return
        if self._bars is None:
            self._bars = Bars(
                TextColumn("{task.description}", markup=False, table_column=ONE_LINE),
                BarColumn(bar_width=BAR_COLUMNS),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=ONE_LINE),
                console=self.console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bars.start()
        bars = self._bars
        self._users += 1
        task = bars.add_task(clean(title), total=total, note="")
        try:
            yield _updater(bars, task)
        finally:
            bars.refresh()
            bars.remove_task(task)
            self._users -= 1
            if self._users == 0:
                bars.stop()
                self._bars = None


Update = Callable[..., None]
"""``update(done, note="", title=None)`` of a bar."""


class Rounds:
    """The rounds of one run, as the user sees them; made by `Progress.rounds`."""

    def __init__(
        self, line: Callable[[str], None], update: Update, num_rounds: int, first_round: int
    ) -> None:
        self._line = line
        self._update = update
        self._num_rounds = num_rounds
        self._first_round = first_round
        self._lock = threading.Lock()
        self._clients_done = 0
        self._last = ""
        self._start = time.monotonic()

    def client_done(self, client_id: int) -> None:
        """One more client has answered or failed; may be called from any thread."""
        with self._lock:
            self._clients_done += 1
            self._update(self._clients_done, self._last or f"client {client_id}")

    def round_done(self, record: Mapping[str, Any]) -> None:
        """A round is over; ``record`` is its line of ``rounds.jsonl``."""
        index = int(record["round_index"])
        rounds_left = self._num_rounds - index
        done = index - self._first_round + 1
        eta_s = (time.monotonic() - self._start) / max(done, 1) * rounds_left
        self._line(round_line(record, self._num_rounds, eta_s))
        with self._lock:
            self._clients_done = 0
            self._last = f"ETA {duration(eta_s)}  {metrics_text(record)}"
            if rounds_left > 0:
                self._update(0, self._last, f"Round {index + 1}/{self._num_rounds}")


def round_line(record: Mapping[str, Any], num_rounds: int, eta_s: float) -> str:
    """One round in one line of at most 100 columns."""
    parts = [f"Round {record['round_index']}/{num_rounds}"]
    clients = record.get("clients")
    if clients:
        parts.append(f"clients {_count(clients.get('replied'))}/{_count(clients.get('sampled'))}")
    parts.append(metrics_text(record))
    shuffled = (record.get("eps") or {}).get("shuffled")
    if shuffled is not None and not record.get("weak"):  # no room for both
        parts[-1] += f" (shuffled {shuffled:.2f})"
    if record.get("prune"):
        parts.append("pruned")
    if clients and clients.get("aggregated") is False:
        parts.append("too few replies")
    wall_s = (record.get("seconds") or {}).get("wall")
    if wall_s is not None:
        parts.append(duration(wall_s))
    if record["round_index"] < num_rounds:
        parts.append(f"ETA {duration(eta_s)}")
    return fit("  ".join(parts))


def metrics_text(record: Mapping[str, Any]) -> str:
    """Loss, AUC and EPS of a round, and the narrow student's AUC if there is one; "-" where undefined."""
    loss = _number((record.get("train") or {}).get("loss"), ".3f")
    auc = _number((record.get("global") or {}).get("auc"), ".3f")
    eps = _number((record.get("eps") or {}).get("mean"), ".2f")
    weak = record.get("weak")
    if weak:
        auc += f" (weak {_number((weak.get('global') or {}).get('auc'), '.3f')})"
    return f"loss {loss}  AUC {auc}  EPS {eps}"


def duration(seconds: float) -> str:
    """A time as people read it: "0.4 s", "75 s", "12 min", "3 h 05 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def clean(text: str) -> str:
    """``text`` on one line, without control characters (a file name may hold any)."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def fit(text: str) -> str:
    """``text`` on one line of at most 100 columns, without control characters."""
    text = clean(text)
    return text if len(text) <= MAX_COLUMNS else text[: MAX_COLUMNS - 3] + "..."


def _updater(bars: Bars, task: TaskID) -> Update:
    def update(done: int, note: str = "", title: str | None = None) -> None:
        bars.update(task, completed=done)
        if title is not None:
            bars.update(task, description=clean(title), refresh=True)
        if note:
            taken = len(bars.tasks[bars.task_ids.index(task)].description) + BAR_COLUMNS + 24
            bars.update(task, note=clean(note)[: max(0, bars.console.width - taken)])

    return update


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _count(value: object) -> str:
    return str(len(value)) if isinstance(value, (list, tuple)) else "-" if value is None else str(value)
