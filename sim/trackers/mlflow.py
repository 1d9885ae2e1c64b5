"""Runs in an MLflow store or on its server."""

import os
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from fl.errors import RequestError
from fl.settings import TrackingSettings
from sim.record import ROUNDS_FILE, SUMMARY_FILE, replace_text
from sim.trackers.scalars import round_scalars, summary_scalars
from sim.trackers.tracking import first_cause

SQLITE = "sqlite:///"
MOST_PER_CALL = 100
"""MLflow takes no more parameters at once."""

ARTEFACTS = (".hydra/config.yaml", ROUNDS_FILE, SUMMARY_FILE, "student.onnx")
ID_FILE = "mlflow_run_id"
STATUSES = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # pages of SQL beside our one line
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is gone would hold a round up for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""What the user has set stays."""


class Mlflow:
    """One run of an MLflow experiment.

    Args:
        run_dir: the run folder.
        parameters: the settings, as `sim.trackers.scalars.hyperparameters` gives them.
        settings: the store, and the experiment, which is made where it is not there.

    Raises:
        RequestError: the store cannot be opened.
    """

    name = "MLflow"

    def __init__(self, run_dir: Path, parameters: Mapping[str, Any], settings: TrackingSettings) -> None:
        for variable, value in QUIET.items():
            os.environ.setdefault(variable, value)
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        self._run_dir = run_dir
        self._parameters = parameters
        self._last_round = 0
        self._run_id = ""
        try:
            folder = _folder_of(settings.uri)
            self._client = MlflowClient(tracking_uri=settings.uri)
            found = self._client.get_experiment_by_name(settings.experiment)
            place = None if folder is None else (folder / "artifacts").as_uri()
            self._experiment_id = (
                found.experiment_id
                if found
                else self._client.create_experiment(settings.experiment, artifact_location=place)
            )
        except (MlflowException, OSError, ImportError) as error:
            raise RequestError(
                f"tracking.uri must be a store that MLflow can open, e.g. {SQLITE}mlruns/mlflow.db or "
                f"http://HOST:PORT, with tracking.experiment={settings.experiment} in it, "
                f"got {settings.uri!r}: {first_cause(error)}"
            ) from error

    def start(self) -> None:
        """Make the run and tell its settings.

        One that a killed process left running is closed: all rounds are told again in the new one.
        """
        from mlflow.entities import Param

        made = self._client.create_run(self._experiment_id, run_name=self._run_dir.name)
        self._run_id, known = made.info.run_id, self._run_dir / ID_FILE
        if known.is_file():
            earlier = known.read_text().strip()
            self._client.set_tag(earlier, "resumed_as", self._run_id)
            self._client.set_terminated(earlier, STATUSES["stopped"])
        replace_text(known, f"{self._run_id}\n")
        params = [Param(key, "" if value is None else str(value)) for key, value in self._parameters.items()]
        for some in _parts(params):
            self._client.log_batch(self._run_id, params=some)

    def round_done(self, record: Mapping[str, Any]) -> None:
        """Tell one round."""
        self._last_round = int(record["round_index"])
        self._log(round_scalars(record))

    def finish(self, status: str, summary: Mapping[str, Any] | None) -> None:
        """Tell the summary's numbers, copy the artefacts, close the run."""
        if summary is not None:
            self._log(summary_scalars(summary))
            self._client.set_tag(self._run_id, "commit", str(summary.get("commit")))
        for name in ARTEFACTS:
            if (self._run_dir / name).is_file():
                self._client.log_artifact(self._run_id, str(self._run_dir / name))
        self._client.set_terminated(self._run_id, STATUSES[status])
        self._run_id = ""

    def close(self) -> None:
        """Close a run whose tracking broke; the run itself goes on."""
        run_id, self._run_id = self._run_id, ""
        if run_id:
            self._client.set_terminated(run_id, STATUSES["stopped"])

    def _log(self, scalars: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        metrics = [Metric(key, float(value), now_ms, self._last_round) for key, value in scalars.items()]
        for some in _parts(metrics):
            self._client.log_batch(self._run_id, metrics=some)


def _folder_of(uri: str) -> Path | None:
    """The folder of an SQLite file, which is made: artefacts go beside it. None for other stores."""
    if not uri.startswith(SQLITE):
        return None
    folder = Path(uri.removeprefix(SQLITE)).absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    left = iter(items)
    while some := list(islice(left, MOST_PER_CALL)):
        yield some
