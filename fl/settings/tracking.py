"""Settings of the trackers that are told what a run measures."""

from dataclasses import dataclass

from fl.settings.limits import Limit, setting


@dataclass(frozen=True)
class TrackingSettings:
    """Where a run's record is shown besides TensorBoard, which always has it."""

    kind: str = setting("none", Limit(choices=("none", "mlflow")), doc="a tracker besides TensorBoard")
    uri: str = setting(
        "sqlite:///mlruns/mlflow.db", doc="mlflow: its store; http://HOST:PORT for a tracking server"
    )
    experiment: str = setting("fedpin", doc="mlflow: the experiment that holds the run")
