"""Whole runs on a tiny rendered corpus: real files, real messages, real actors, real ONNX sessions."""

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import psutil
import pytest
from event_files import read_events
from flwr.app import Message, MessageType, RecordDict
from omegaconf import OmegaConf
from rich.console import Console
from sklearn import metrics

from clients.app import ClientSetup, make_client_app
from clients.round import EdgeClient, run_round
from fl.compress.model_card import load_model
from fl.compress.nesting import nest
from fl.compress.sessions import session_feeds
from fl.data.shards import take
from fl.distill.teacher import obtain_teacher
from fl.errors import TeacherError
from fl.metrics.detection import equal_error_rate
from fl.settings import Experiment
from fl.state import flatten, schema_digest, weights_sha256
from fl.task import RoundTask
from fl.wire import client_record, read_array, task_records
from models.architecture import Architecture
from server.checkpoint import load_checkpoint
from server.gate import Expectation
from server.strategy import DeterministicFedProx
from sim.commands.metrics import levels_text
from sim.config import build, compose
from sim.grids.inprocess import InProcessGrid
from sim.grids.messages import node_of
from sim.grids.ray import RayGrid
from sim.prepare import Prepared, prepare
from sim.progress import Progress
from sim.record import read_rounds
from sim.run import make_setup, run_experiment

TINY = ["experiment=smoke"]
# Ray's own child processes are ended by Ray, but not waited for by its Popen objects
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Tiny:
    """A prepared experiment and its cache."""

    experiment: Experiment
    prepared: Prepared
    cache_dir: Path

    def setup(self) -> ClientSetup:
        return make_setup(self.prepared, self.experiment, self.cache_dir)


@pytest.fixture(scope="module")
def tiny(session_cache: Path) -> Tiny:
    experiment = replace(build(compose(TINY)), cache_dir=str(session_cache))
    progress = Progress(Console(file=io.StringIO()))
    return Tiny(experiment, prepare(experiment, session_cache, progress), session_cache)


@pytest.fixture(scope="module")
def inprocess_run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    experiment = replace(tiny.experiment, grid=replace(tiny.experiment.grid, kind="inprocess"))
    return run_experiment(experiment, tmp_path_factory.mktemp("inprocess"), TINY)


@pytest.mark.slow
def test_a_run_leaves_what_the_architecture_promises(tiny: Tiny, inprocess_run: Path) -> None:
    rounds = read_rounds(inprocess_run)
    assert [r["round_index"] for r in rounds] == [1, 2]
    first, last = rounds
    assert first["prune"]["removed_channels"] > 0
    dense = 1_694_508 + (tiny.experiment.data.clip.num_frames - 30) * 128
    assert first["student"]["num_parameters"] == last["student"]["num_parameters"] < 0.8 * dense
    assert last["onnx"]["max_difference"] < 1e-3
    assert 0 <= last["onnx"]["client_agreement"] <= 1
    assert last["onnx"]["int8"]["size_bytes"] < last["onnx"]["fp32"]["size_bytes"]
    assert last["onnx"]["speedup_int8"] > 1
    assert last["clients"]["replied"] == [0, 1, 2]
    assert last["eps"]["shuffled"] is not None

    test = take(tiny.prepared.stores["test"])
    with (inprocess_run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["clip"] for row in rows] == [clip.path.name for clip in test.clips]
    assert [row["video"] for row in rows] == [row["clip"] for row in rows]
    labels, scores = [int(row["label"]) for row in rows], np.array([float(row["score"]) for row in rows])
    assert last["global"]["accuracy"] == pytest.approx(
        metrics.accuracy_score(labels, scores > 0.5), abs=1e-12
    )
    assert last["global"]["auc"] == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    assert last["global"]["eer"] == equal_error_rate(labels, scores)

    session = onnxruntime.InferenceSession(inprocess_run / "student.int8.onnx")
    feeds = session_feeds(test, np.array([0]))
    assert session.run(["logits"], feeds)[0].shape == (1,)

    summary = json.loads((inprocess_run / "summary.json").read_text())
    assert summary["last_round"] == last
    for name in ("student.onnx", "student.int8.onnx"):
        _, card = load_model(inprocess_run / name)
        assert summary["sha256"][name] == hashlib.sha256((inprocess_run / name).read_bytes()).hexdigest()
        assert card.clip == tiny.experiment.data.clip
        assert card.architecture_sha256 == last["student"]["architecture_sha256"]
        assert card.run == inprocess_run.name
    assert {path.name for path in (inprocess_run / "figures").iterdir()} >= {"rounds.png"}
    scalars, _ = read_events(inprocess_run / "tensorboard")
    assert scalars["global/auc"] == {r["round_index"]: pytest.approx(r["global"]["auc"]) for r in rounds}
    assert scalars["summary/teacher/auc"] == {2: pytest.approx(summary["teacher"]["auc"])}
    assert (inprocess_run / "checkpoints/round-002/weights.safetensors").exists()


@pytest.fixture(scope="module")
def mixed_run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    experiment = replace(tiny.experiment, fleet=replace(tiny.experiment.fleet, kind="mixed"))
    return run_experiment(experiment, tmp_path_factory.mktemp("mixed"), TINY)


@pytest.mark.slow
def test_a_mixed_fleet_trains_and_measures_both_widths(inprocess_run: Path, mixed_run: Path) -> None:
    first, last = read_rounds(mixed_run)
    uniform = read_rounds(inprocess_run)
    assert all(record["weak"] is None for record in uniform)
    assert (first["weak"]["replied"], last["weak"]["replied"]) == (
        [0],
        [0],
    )  # the one camera
    assert first["prune"]["voters"] == [1, 2]
    assert (first["weak"]["since_round"], first["weak"]["ranked_by"]) == (1, "clients")
    assert last["weak"]["student"]["num_parameters"] < last["student"]["num_parameters"]
    assert last["weak"]["student"]["macs"] < last["student"]["macs"]
    assert last["weak"]["onnx"]["max_difference"] < 1e-3
    assert 0 <= last["weak"]["global"]["accuracy"] <= 1
    assert last["bytes"]["down"] < uniform[-1]["bytes"]["down"]
    for now, then in zip((first, last), uniform, strict=True):
        camera, other = now["simulated"]["by_device"], then["simulated"]["by_device"]
        assert camera["camera"] < other["camera"]
    architecture, network, state = load_checkpoint(mixed_run / "checkpoints/round-002")
    nested = nest(architecture, network, state["weak_plan"])
    assert nested.architecture.sha256 == last["weak"]["student"]["architecture_sha256"]
    for name in ("student.weak.onnx", "student.weak.int8.onnx"):
        _, card = load_model(mixed_run / name)
        assert card.architecture_sha256 == last["weak"]["student"]["architecture_sha256"]
        assert name in json.loads((mixed_run / "summary.json").read_text())["sha256"]


@pytest.mark.slow
def test_a_network_of_pictures_runs_like_any_other(tiny: Tiny, tmp_path: Path) -> None:
    request = [*TINY, "system=mobilenet", "strategy.num_rounds=1", f"cache_dir={tiny.cache_dir}"]
    experiment = build(compose(request))
    run_experiment(experiment, tmp_path, request)
    (record,) = read_rounds(tmp_path)
    assert record["student"]["num_parameters"] < 1_518_881
    assert record["onnx"]["max_difference"] < 1e-3
    assert -0.5 <= record["eps"]["mean"] <= 1
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    heard = {row["category"] for row in rows if row["label"] == "0"}
    assert heard == {"real"}
    assert not any(row["category"].startswith("Audio") for row in rows)

    (tmp_path / ".hydra").mkdir()
    OmegaConf.save(compose(request), tmp_path / ".hydra/config.yaml")
    levels = json.loads(levels_text(tmp_path, None, as_json=True))["levels"]
    num_frames = experiment.data.clip.num_frames
    assert levels["frame"]["num_frames"] == num_frames * levels["clip"]["num_clips"] == num_frames * len(rows)
    assert levels["video"].pop("num_videos") == levels["clip"].pop("num_clips") == len(rows)
    assert levels["video"] == levels["clip"]
    for name in ("accuracy", "precision", "recall", "f1", "auc", "eer"):
        assert levels["clip"][name] == record["global"][name], name
    assert levels["frame"]["auc"] != levels["clip"]["auc"]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("fleet", ["uniform", "mixed"])
def test_ray_and_one_process_give_the_same_weights(
    fleet: str, tiny: Tiny, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    done: Path = request.getfixturevalue("inprocess_run" if fleet == "uniform" else "mixed_run")
    experiment = replace(
        tiny.experiment,
        grid=replace(tiny.experiment.grid, kind="ray"),
        fleet=replace(tiny.experiment.fleet, kind=fleet),
    )
    run_experiment(experiment, tmp_path, TINY)
    ours, rays = read_rounds(done), read_rounds(tmp_path)
    assert [weights_of(record) for record in rays] == [weights_of(record) for record in ours]
    assert len({weights_of(record) for record in ours}) == 2


def weights_of(record: Any) -> tuple[str, ...]:
    """Digests of a round's students, one for each width."""
    widths = [record, record["weak"]] if record["weak"] else [record]
    return tuple(width["student"]["weights_sha256"] for width in widths)


@pytest.mark.slow
def test_a_client_app_keeps_the_two_widths_of_a_round_and_no_more(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide, built = first_task(tiny), []
    network = tiny.prepared.student.build(1)
    narrow = []
    for count in (8, 16):
        nested = nest(tiny.prepared.student, network, {"blocks.0.expand": list(range(count))})
        state = wide.state[nested.positions]
        narrow.append(replace(wide, architecture=nested.architecture, state=state, schema=nested.schema))
    build = Architecture.build

    def counted(self: Architecture, *args: Any) -> Any:
        built.append(self.sha256)
        return build(self, *args)

    monkeypatch.setattr(Architecture, "build", counted)
    grid = InProcessGrid(make_client_app(tiny.setup()), 3)
    for task in (wide, narrow[0], wide, narrow[0], narrow[1], narrow[0], wide):
        arrays, config = task_records(task)
        content = RecordDict({"arrays": arrays, "config": config, "client": client_record(0.01)})
        message = Message(content, dst_node_id=node_of(0), message_type=MessageType.TRAIN)
        assert not next(iter(grid.send_and_receive([message]))).has_error()
    digests = [task.architecture.sha256 for task in (wide, *narrow)]
    assert built == [*digests, digests[0]]  # only the one that was longest unused had to be built again


def first_task(tiny: Tiny) -> RoundTask:
    network = tiny.prepared.student.build(1)
    return RoundTask(1, tiny.prepared.student, flatten(network), schema_digest(network), 1e-3)


def first_round(tiny: Tiny, grid: InProcessGrid | RayGrid) -> tuple[DeterministicFedProx, str]:
    """One round of training in a grid; the strategy and the digest of the aggregate."""
    task = first_task(tiny)
    declared = {client: len(rows) for client, rows in enumerate(tiny.prepared.rows)}
    settings = replace(tiny.experiment.strategy, straggler_share=0.0, dropout_share=0.0)
    strategy = DeterministicFedProx(settings, 0, tiny.experiment.distill, declared)
    strategy.expected = Expectation(task.state.size, task.schema, 0, declared)
    messages = list(strategy.configure_train(1, *task_records(task), grid))
    arrays, _ = strategy.aggregate_train(1, grid.send_and_receive(messages, timeout=300))
    assert arrays is not None
    return strategy, weights_sha256(read_array(arrays, "state"))


def listening_addresses() -> set[str]:
    """Where this process and all that it started listen."""
    me = psutil.Process()
    sockets = [s for process in (me, *me.children(recursive=True)) for s in process.net_connections("inet")]
    return {s.laddr.ip.removeprefix("::ffff:") for s in sockets if s.status == psutil.CONN_LISTEN}


@pytest.mark.slow
@pytest.mark.ray
def test_a_worker_killed_in_mid_round_costs_nothing_but_time(tiny: Tiny) -> None:
    done: list[int] = []
    calm = InProcessGrid(make_client_app(tiny.setup()), 3)
    calm.client_done = done.append
    _, expected = first_round(tiny, calm)
    settings = replace(tiny.experiment.grid, num_workers=2)
    with RayGrid(tiny.setup(), settings) as grid:
        victim = grid.worker_pids()[0]
        killer = threading.Timer(0.3, os.kill, (victim, signal.SIGKILL))
        killer.start()
        strategy, state = first_round(tiny, grid)
        killer.join()
        assert victim not in grid.worker_pids()
        assert listening_addresses() == {"127.0.0.1"}
        assert strategy.ledger.replied == [0, 1, 2]
        assert state == expected
        again, _ = first_round(tiny, grid)
        assert again.ledger.replied == [0, 1, 2]


@pytest.mark.slow
def test_a_shard_of_one_class_trains_like_any_other(tiny: Tiny) -> None:
    client_app_view = take(
        tiny.prepared.stores["clients"], np.flatnonzero(tiny.prepared.stores["clients"].labels == 0)[:10]
    )
    task = first_task(tiny)
    client = EdgeClient(
        0,
        client_app_view,
        tiny.prepared.outputs["clients"],
        tiny.experiment.augment,
        tiny.experiment.distill,
        tiny.experiment.compress,
        0,
        tiny.cache_dir,
    )
    report = run_round(
        replace(task, measure_importance=True, quantize=True), client, task.architecture.build()
    )
    assert report.num_examples == 10
    assert np.isfinite(report.state).all()
    assert (report.importance >= 0).all()
    assert report.int8_agreement is not None


@pytest.mark.slow
def test_a_weak_teacher_stops_the_run_with_its_sentence(tiny: Tiny) -> None:
    stores = tiny.prepared.stores
    settings = replace(tiny.experiment.teacher, min_auc=1.0)
    with pytest.raises(TeacherError, match=r"validation AUC is 0\.\d+, below teacher\.min_auc 1"):
        obtain_teacher(
            tiny.prepared.teacher.architecture,
            stores["public"],
            stores["validation"],
            settings,
            tiny.experiment.augment,
            tiny.cache_dir,
            lambda step, note: pytest.fail("the cached teacher must be used: min_auc is only its gate"),
        )


@pytest.mark.slow
@pytest.mark.ray
def test_interrupted_it_ends_in_time_keeps_its_record_and_leaves_no_process(
    tiny: Tiny, tmp_path: Path, hear_interrupts: Callable[[], None]
) -> None:
    command = [sys.executable, "-m", "sim", "run", *TINY, "strategy.num_rounds=50", "grid=ray"]
    command += [f"cache_dir={tiny.cache_dir}", f"runs_dir={tmp_path}", "name=cut"]
    process = subprocess.Popen(
        preexec_fn=hear_interrupts,
        args=command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Round 1/"):
            break
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    process.communicate(timeout=60)
    # 5 s on cores that nothing else uses; other work beside the tests stretches that
    assert time.monotonic() - started < 15
    assert process.returncode == 130
    assert read_rounds(tmp_path / "cut")
    assert (tmp_path / "cut" / "summary.json").exists()
    assert not processes_of(process.pid)


def processes_of(session: int) -> list[str]:
    """Command lines of the processes in a session that still live."""
    alive = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(entry.name)) == session:
                alive.append((entry / "cmdline").read_text().replace("\0", " "))
        except (OSError, ProcessLookupError):
            continue
    return [line for line in alive if line]
