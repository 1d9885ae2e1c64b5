"""The trackers of one run: told each line of its record, never able to end it."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from fl.errors import RequestError
from fl.settings import Experiment, TrackingSettings

MLFLOW_VERSION = "3.17.2"


class Tracker(Protocol):
    """What shows a run. Any of these may fail; ``close`` comes after a failure."""

    name: str

    def start(self) -> None:
        """The run begins."""

    def round_done(self, record: Mapping[str, Any]) -> None:
        """One more line of ``rounds.jsonl``."""

    def finish(self, status: str, summary: Mapping[str, Any] | None) -> None:
        """The run is over: "finished", "failed" or "stopped"; its ``summary.json``, if there is one."""

    def close(self) -> None:
        """Let go of files and connections."""


class Trackers:
    """Trackers as a context: entered when the rounds begin, left when their summary is written.

    A tracker that fails is dropped with one line; the run goes on.

    Args:
        trackers: each told the same.
        run_dir: the run folder, whose ``summary.json`` is read at the end.
        line: prints a warning.
    """

    def __init__(self, trackers: list[Tracker], run_dir: Path, line: Callable[[str], None]) -> None:
        self._trackers = trackers
        self._run_dir = run_dir
        self._line = line

    def __enter__(self) -> Self:
        self._tell(lambda tracker: tracker.start())
        return self

    def round_done(self, record: Mapping[str, Any]) -> None:
        """Tell one line of ``rounds.jsonl``."""
        self._tell(lambda tracker: tracker.round_done(record))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = "finished" if kind is None else "failed" if issubclass(kind, Exception) else "stopped"
        path = self._run_dir / "summary.json"
        summary = json.loads(path.read_text()) if path.is_file() else None
        self._tell(lambda tracker: tracker.finish(status, summary))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                what(tracker)
            except Exception as error:  # a library's, a disk's or a server's: none is worth a run
                self._trackers.remove(tracker)
                with suppress(Exception):
                    tracker.close()
                self._line(f"{tracker.name} stopped, the run goes on: {first_cause(error)}")


def first_cause(error: BaseException) -> str:
    """What a chain of exceptions began with, on one line."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return " ".join(str(error).split()) or type(error).__name__


def open_trackers(experiment: Experiment, run_dir: Path, line: Callable[[str], None]) -> Trackers:
    """TensorBoard, and what ``tracking`` asks for besides.

    Raises:
        RequestError: MLflow's store cannot be opened.
    """
    from sim.trackers.scalars import hyperparameters
    from sim.trackers.tensorboard import TensorBoard

    parameters = hyperparameters(experiment)
    trackers: list[Tracker] = [TensorBoard(run_dir, parameters)]
    if experiment.tracking.kind == "mlflow":
        from sim.trackers.mlflow import Mlflow

        trackers.append(Mlflow(run_dir, parameters, experiment.tracking))
    return Trackers(trackers, run_dir, line)


def check_tracking(tracking: TrackingSettings) -> None:
    """Whether the tracker that is asked for is installed; imports nothing.

    Raises:
        RequestError: with the command that installs it.
    """
    if tracking.kind == "mlflow" and importlib.util.find_spec("mlflow") is None:
        raise RequestError(
            "tracking.kind=mlflow needs MLflow, which is not installed: pip install "
            f"'mlflow-skinny=={MLFLOW_VERSION}', or pip install -e '.[mlflow]' in the checkout"
        )
    for key in ("uri", "experiment"):
        if tracking.kind == "mlflow" and not getattr(tracking, key).strip():
            raise RequestError(
                f"tracking.{key} must not be empty, got ''; leave it out for "
                f"{getattr(TrackingSettings(), key)}"
            )
