import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from event_files import packed_settings, read_events

from fl.errors import RequestError
from fl.settings import Experiment, TrackingSettings
from sim.config import build, compose, validate
from sim.round_record import complete_round
from sim.trackers.scalars import hyperparameters, round_scalars, summary_scalars
from sim.trackers.tracking import MLFLOW_VERSION, Trackers, check_tracking, open_trackers


def record(index: int) -> dict[str, Any]:
    """A round with something of every kind."""
    return dict(
        complete_round(
            {
                "round_index": index,
                "clients": {"sampled": [4, 2, 7], "replied": [4], "failed": [], "missing": [2, 7]},
                "global": {
                    "accuracy": 0.5,
                    "auc": 0.1 * index,
                    "eer": None,
                    "by_category": {"Face Swap/ü?": {"num_clips": 3, "accuracy": 1.0, "auc": None}},
                },
                "eps": {"mean": 0.75, "ci95": [0.5, 1.0]},
                "onnx": {"int8": {"latency_ms_p50": 1.5, "size_bytes": 1234}, "int8_recipe": "dynamic"},
            }
        )
    )


SCALARS = {
    "round_index": 2,
    "clients/sampled": 3,
    "clients/replied": 1,
    "clients/failed": 0,
    "clients/missing": 2,
    "global/accuracy": 0.5,
    "global/auc": 0.2,
    "global/by_category/Face Swap_ü_/num_clips": 3,
    "global/by_category/Face Swap_ü_/accuracy": 1.0,
    "eps/mean": 0.75,
    "eps/ci95/0": 0.5,
    "eps/ci95/1": 1.0,
    "onnx/int8/latency_ms_p50": 1.5,
    "onnx/int8/size_bytes": 1234,
}
SUMMARY = {"last_round": {"global": {"auc": 0.2}}, "teacher": {"auc": 0.9}, "commit": "abc", "name": "one"}


def test_every_number_of_a_round_has_its_path() -> None:
    assert round_scalars(record(2)) == SCALARS


def test_a_path_cannot_climb_and_truth_is_no_number() -> None:
    assert round_scalars({"a": {"..": 1, "": 2.5}, "b": True, "c": "x", "d": ["x"]}) == {
        "a/__": 1,
        "a/_": 2.5,
    }


def test_the_summary_does_not_repeat_the_rounds() -> None:
    assert summary_scalars(SUMMARY) == {"summary/teacher/auc": 0.9}


def test_settings_are_told_by_the_name_that_sets_them() -> None:
    told = hyperparameters(build(compose(["distill.soft_weight=0.25", "compress.prune_rounds=[2,3]"])))
    assert told["distill.soft_weight"] == 0.25
    assert told["compress.prune_rounds"] == "[2,3]"
    assert told["tracking.kind"] == "none"


class Lines(list[str]):
    """Where warnings go."""


def run_of(run_dir: Path, lines: Lines, experiment: Experiment | None = None, rounds: int = 2) -> None:
    """The rounds of a run, as `sim.run` tells them."""
    run_dir.mkdir(exist_ok=True)
    with open_trackers(experiment or Experiment(), run_dir, lines.append) as trackers:
        for index in range(1, rounds + 1):
            trackers.round_done(record(index))
        (run_dir / "summary.json").write_text(json.dumps(SUMMARY))


def test_a_resumed_run_has_one_event_file_with_every_round_once(tmp_path: Path) -> None:
    lines = Lines()
    run_of(tmp_path, lines, rounds=3)  # its third round is lost with the checkpoint, say
    run_of(tmp_path, lines)
    assert lines == []
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert file.name.startswith("events")
    assert sorted(read_events(tmp_path / "tensorboard")[0]["global/auc"]) == [1, 2]


def test_tensorboard_reads_back_every_number_at_its_round(tmp_path: Path) -> None:
    lines = Lines()
    run_of(tmp_path, lines)
    scalars, hparams = read_events(tmp_path / "tensorboard")
    assert scalars.pop("summary/teacher/auc") == {2: pytest.approx(0.9)}
    expected = {
        name: {index: pytest.approx(round_scalars(record(index))[name], rel=1e-7) for index in (1, 2)}
        for name in SCALARS
    }
    assert scalars == expected
    assert packed_settings(hparams)["distill.soft_weight"] == Experiment().distill.soft_weight
    assert "_hparams_/session_end_info" in hparams
    assert lines == []
    open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    assert not [path for path in open_files if str(tmp_path) in path]


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_a_killed_run_can_be_read_up_to_its_last_round(tmp_path: Path, project_dir: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from test_sim_trackers import *\n"
        "trackers = open_trackers(Experiment(), Path(sys.argv[1]), print).__enter__()\n"
        "for index in (1, 2, 3): trackers.round_done(record(index))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join([str(project_dir), str(project_dir / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=os.environ | {"PYTHONPATH": path}, check=False
    )
    assert done.returncode == -9
    scalars, hparams = read_events(tmp_path / "tensorboard")
    assert sorted(scalars["global/auc"]) == [1, 2, 3]
    assert "_hparams_/session_end_info" not in hparams


def test_a_tracker_that_cannot_start_costs_one_line(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file in the way")
    lines = Lines()
    run_of(tmp_path, lines)
    assert len(lines) == 1
    assert lines[0].startswith("TensorBoard stopped, the run goes on: [Errno 17] File exists")


class Breaking:
    """Breaks at its second round, and again when it is closed."""

    name = "Breaking"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def start(self) -> None:
        self.heard.append("start")

    def round_done(self, record: Mapping[str, Any]) -> None:
        self.heard.append(f"round {record['round_index']}")
        if record["round_index"] == 2:
            raise ConnectionResetError("gone\nand more")

    def finish(self, status: str, summary: Mapping[str, Any] | None) -> None:
        self.heard.append(status)

    def close(self) -> None:
        self.heard.append("close")
        raise OSError("twice")


def test_a_tracker_that_breaks_is_dropped_and_the_others_go_on(tmp_path: Path) -> None:
    breaking, lines = Breaking(), Lines()
    trackers = open_trackers(Experiment(), tmp_path, lines.append)
    trackers._trackers.insert(0, breaking)
    with trackers:
        for index in range(1, 5):
            trackers.round_done(record(index))
    assert breaking.heard == ["start", "round 1", "round 2", "close"]
    assert lines == ["Breaking stopped, the run goes on: gone and more"]
    assert sorted(read_events(tmp_path / "tensorboard")[0]["global/auc"]) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError, "failed"), (KeyboardInterrupt, "stopped"), (SystemExit, "stopped")]
)
def test_trackers_hear_how_a_run_ended(tmp_path: Path, error: type[BaseException], status: str) -> None:
    listener = Breaking()
    with pytest.raises(error), Trackers([listener], tmp_path, print):
        raise error
    assert listener.heard == ["start", status]


def test_no_tracker_is_loaded_before_a_run_starts(project_dir: Path) -> None:
    heavy = "{'tensorboardX', 'tensorboard', 'tensorflow', 'mlflow', 'torch'}"
    code = (
        f"import sys; from pathlib import Path; import sim.commands.run\n"
        f"from sim.trackers.tracking import open_trackers; from fl.settings import Experiment\n"
        f"trackers = open_trackers(Experiment(), Path('.'), print)\nprint(*({heavy} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=project_dir, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == ""


def test_a_run_loads_no_tensorflow_to_write_for_tensorboard(tmp_path: Path, project_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fl.settings import Experiment\n"
        "from sim.trackers.tracking import open_trackers\n"
        "with open_trackers(Experiment(), Path(sys.argv[1]), print): pass\n"
        "print(*({'tensorflow', 'tensorboard', 'boto3'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=project_dir,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == ""


def test_mlflow_that_is_not_installed_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    says = rf"needs MLflow, which is not installed: pip install 'mlflow-skinny=={MLFLOW_VERSION}'"
    with pytest.raises(RequestError, match=says):
        validate(build(compose(["tracking=mlflow"])))
    validate(build(compose([])))


def test_the_command_that_installs_mlflow_is_that_of_the_extra(project_dir: Path) -> None:
    assert f'mlflow = ["mlflow-skinny=={MLFLOW_VERSION}"]' in (project_dir / "pyproject.toml").read_text()


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(RequestError, match="tracking must be one of mlflow, none, got 'wandb'"):
        compose(["tracking=wandb"])
    with pytest.raises(RequestError, match=r"tracking.kind must be one of none, mlflow"):
        validate(build(compose(["tracking.kind=wandb"])))


@pytest.fixture
def mlflow(tmp_path: Path) -> Callable[[], Any]:
    """A client of the store in ``tmp_path``."""
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow.tracking import MlflowClient

    return lambda: MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/store/mlflow.db")


def with_mlflow(tmp_path: Path) -> Experiment:
    settings = TrackingSettings("mlflow", f"sqlite:///{tmp_path}/store/mlflow.db", "a test")
    return replace(Experiment(), tracking=settings)


# MLflow's own use of SQLAlchemy, and connections that SQLAlchemy's pool keeps
quiet_mlflow = pytest.mark.filterwarnings("ignore")


@quiet_mlflow
@pytest.mark.slow
def test_mlflow_holds_settings_rounds_summary_and_artefacts(
    tmp_path: Path, mlflow: Callable[[], Any]
) -> None:
    run_dir, lines = tmp_path / "one", Lines()
    (run_dir / ".hydra").mkdir(parents=True)
    for name in (".hydra/config.yaml", "rounds.jsonl", "student.onnx"):
        (run_dir / name).write_text(name)
    run_of(run_dir, lines, with_mlflow(tmp_path))
    run_of(tmp_path / "two", lines, with_mlflow(tmp_path), rounds=1)
    assert lines == []
    client = mlflow()
    found = client.search_runs([client.get_experiment_by_name("a test").experiment_id])
    runs = {run.info.run_name: run for run in found}
    assert set(runs) == {"one", "two"}
    one = runs["one"]
    assert one.info.status == "FINISHED"
    assert one.data.metrics == {**SCALARS, "summary/teacher/auc": 0.9}
    history = client.get_metric_history(one.info.run_id, "global/auc")
    assert [(item.step, item.value) for item in history] == [(1, 0.1), (2, 0.2)]
    assert one.data.params == {
        key: str(value) for key, value in hyperparameters(with_mlflow(tmp_path)).items()
    }
    assert one.data.tags["commit"] == "abc"
    names = {item.path for item in client.list_artifacts(one.info.run_id)}
    assert names == {"config.yaml", "rounds.jsonl", "summary.json", "student.onnx"}
    stored = list((tmp_path / "store/artifacts").glob("*/artifacts/student.onnx"))
    assert [path.read_text() for path in stored] == ["student.onnx"]


@quiet_mlflow
@pytest.mark.slow
def test_a_killed_run_is_closed_when_it_is_resumed(tmp_path: Path, mlflow: Callable[[], Any]) -> None:
    lines, experiment = Lines(), with_mlflow(tmp_path)
    killed = open_trackers(experiment, tmp_path, lines.append)
    killed.__enter__()
    killed.round_done(record(1))  # and no more of it
    run_of(tmp_path, lines, experiment)
    assert lines == []
    runs = mlflow().search_runs([mlflow().get_experiment_by_name("a test").experiment_id])
    by_status = {run.info.status: run for run in runs}
    assert sorted(by_status) == ["FINISHED", "KILLED"]
    assert by_status["KILLED"].data.tags["resumed_as"] == by_status["FINISHED"].info.run_id
    history = mlflow().get_metric_history(by_status["FINISHED"].info.run_id, "global/auc")
    assert [(item.step, item.value) for item in history] == [(1, 0.1), (2, 0.2)]


@quiet_mlflow
@pytest.mark.slow
def test_a_store_lost_in_mid_run_does_not_end_it(tmp_path: Path, mlflow: Callable[[], Any]) -> None:
    lines = Lines()
    with open_trackers(with_mlflow(tmp_path), tmp_path, lines.append) as trackers:
        trackers.round_done(record(1))
        with sqlite3.connect(tmp_path / "store/mlflow.db") as database:
            database.execute("DROP TABLE metrics")
        database.close()
        trackers.round_done(record(2))
        trackers.round_done(record(3))
    assert lines == ["MLflow stopped, the run goes on: no such table: metrics"]
    assert sorted(read_events(tmp_path / "tensorboard")[0]["global/auc"]) == [1, 2, 3]
    (run,) = mlflow().search_runs([mlflow().get_experiment_by_name("a test").experiment_id])
    assert run.info.status == "KILLED"


@quiet_mlflow
@pytest.mark.slow
@pytest.mark.parametrize(
    "uri", ["./mlruns", "sqlite:////proc/none/mlflow.db", "nosuch://x", "postgresql://h/d"]
)
def test_a_store_that_cannot_be_opened_is_a_wrong_request(
    tmp_path: Path, mlflow: Callable[[], Any], uri: str
) -> None:
    experiment = replace(Experiment(), tracking=TrackingSettings("mlflow", uri))
    with pytest.raises(RequestError, match=r"tracking.uri must be a store that MLflow can open") as caught:
        open_trackers(experiment, tmp_path, print)
    assert "\n" not in str(caught.value)
    assert repr(uri) in str(caught.value)


@pytest.mark.parametrize("key", ["uri", "experiment"])
def test_an_empty_setting_is_refused(key: str, mlflow: Callable[[], Any]) -> None:
    with pytest.raises(RequestError, match=f"tracking.{key} must not be empty"):
        check_tracking(replace(TrackingSettings("mlflow"), **{key: " "}))
