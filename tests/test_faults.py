"""Faults that belong to no single module: full and read-only file systems, hanging clients, failed rounds."""

import ast
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from fault_table import FAULTS
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import clients.app
from clients.app import ClientSetup
from fl.errors import RunError
from fl.settings import DistillSettings, GridSettings, StrategySettings
from fl.task import LOSS_KEYS, ClientReport, RoundTask
from fl.wire import read_task, report_records, task_records
from models.architecture import Architecture
from server.checkpoint import FILES, SUMS_FILE, newest_checkpoint, save_checkpoint
from server.gate import Expectation
from server.replies import gather
from server.strategy import DeterministicFedProx, Ledger
from sim.__main__ import main
from sim.grids import ray as ray_grid
from sim.record import read_rounds

TESTS = Path(__file__).resolve().parent
TINY = Architecture("tiny_ladeda")
SMALL = [
    "experiment=smoke",
    "data.synthetic.num_identities=12",
    "strategy.num_rounds=3",
    "strategy.straggler_share=0",
    "latency.num_runs=5",
    "name=run",
]
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ray's children


def test_every_fault_has_tests_and_they_exist() -> None:
    for fault, tests in FAULTS.items():
        assert tests, fault
        for test in tests:
            module, _, name = test.partition("::")
            tree = ast.parse((TESTS / f"{module}.py").read_text())
            names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert not name or name in names, test


@contextmanager
def file_system(place: Path, options: str) -> Iterator[Path]:
    """A file system of its own, in memory."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system of its own cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def save(run_dir: Path, index: int) -> Path:
    return save_checkpoint(run_dir, index, TINY, TINY.build(index), {}, {"student": np.array([0.5])})


def test_on_a_full_disk_the_old_checkpoint_stays_and_room_is_all_it_needs(tmp_path: Path) -> None:
    with file_system(tmp_path / "disk", "size=64k") as disk:
        save(disk, 1)
        (disk / "others").write_bytes(b"0" * 24_000)  # in pages of 4 kB, the next one does not fit
        with pytest.raises(RunError, match=r"round 2 cannot be written .*No space left.*make room.*resume="):
            save(disk, 2)
        found = newest_checkpoint(disk, pytest.fail)
        assert found is not None
        assert found.round_index == 1
        assert [path.name for path in (disk / "checkpoints").iterdir()] == ["round-001"]
        (disk / "others").unlink()
        save(disk, 2)


def test_a_full_cache_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with file_system(tmp_path / "disk", "size=256k") as disk:
        request = ["run", *SMALL, f"cache_dir={disk}", f"runs_dir={tmp_path}"]
        assert main(request) == 2
        error = capsys.readouterr().err
    assert f"cache_dir '{disk}' cannot be written (No space left on device)" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("key", ["cache_dir", "runs_dir"])
def test_a_read_only_file_system_is_refused_before_any_work(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with file_system(tmp_path / "disk", "ro") as disk:
        started = time.monotonic()
        folders = {"cache_dir": tmp_path / "cache", "runs_dir": tmp_path / "runs", key: disk / "new"}
        assert main(["run", *SMALL, *(f"{name}={folder}" for name, folder in folders.items())]) == 2
        assert time.monotonic() - started < 10
    told = capsys.readouterr().err
    assert f"{key} must be a folder that can be written, but '{disk}' is read-only; choose another" in told
    assert not (tmp_path / "cache").exists()


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["weights.safetensors", "scores.safetensors", "state.json"])
def test_a_pickle_in_a_checkpoint_is_never_opened(name: str, tmp_path: Path) -> None:
    save(tmp_path, 1)
    folder = save(tmp_path, 2)
    (folder / name).write_bytes(pickle.dumps(Touch(tmp_path / "opened")))
    sums = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in FILES}
    (folder / SUMS_FILE).write_text("".join(f"{digest}  {file}\n" for file, digest in sums.items()))
    lines: list[str] = []
    found = newest_checkpoint(tmp_path, lines.append)
    assert found is not None
    assert found.round_index == 1
    assert "round-002 is damaged" in lines[0]
    assert "none of ours" in lines[0]
    assert not (tmp_path / "opened").exists()


@pytest.mark.slow
def test_a_round_in_which_every_client_fails_ends_the_run_or_leaves_the_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = clients.app.act

    def fail_in_round_2(task: RoundTask, *rest: Any) -> ClientReport:
        if task.round_index == 2:
            raise OSError("the battery is empty")
        return work(task, *rest)

    monkeypatch.setattr(clients.app, "act", fail_in_round_2)

    def run(*request: str) -> int:
        with redirect_stdout(io.StringIO()):
            return main(["run", *request])

    assert run(*SMALL, f"runs_dir={tmp_path}") == 1
    error = capsys.readouterr().err
    assert "round 2 has no valid reply: 3 failed, 0 missing of 3 sampled" in error
    assert "the battery is empty" in error
    assert f"resume={tmp_path}/run" in error
    assert verdict(tmp_path / "run").startswith("failed: round 2 has no valid reply")

    allowed = [*SMALL, "strategy.max_failed_rounds=1", f"runs_dir={tmp_path}/more"]
    assert run(*allowed) == 0
    assert "too few replies" in capsys.readouterr().err
    first, failed, last = read_rounds(tmp_path / "more/run")
    assert failed["clients"] is not None
    assert (failed["clients"]["aggregated"], failed["clients"]["replied"]) == (False, [])
    assert failed["train"] is failed["simulated"] is None
    assert failed["student"] == first["student"] != last["student"]
    assert failed["global"] == first["global"]
    assert verdict(tmp_path / "more/run") == "done"

    monkeypatch.setattr(clients.app, "act", work)
    assert run(f"resume={tmp_path}/run") == 0
    assert [len((r["clients"] or {"replied": []})["replied"]) for r in read_rounds(tmp_path / "run")] == [
        3
    ] * 3
    assert verdict(tmp_path / "run") == "done"


def verdict(run_dir: Path) -> str:
    return str(json.loads((run_dir / "summary.json").read_text())["verdict"])


EXAMPLES = dict.fromkeys(range(6), 4)


class SlowWorker(ray_grid.Worker):
    """One client hangs in round 1; the others answer at once."""

    def __init__(self, setup: ClientSetup) -> None:
        self.num_clients = len(setup.rows)
        self.app = ClientApp()

        @self.app.train()
        def train(message: Message, context: Context) -> Message:
            client, task = int(context.node_config["partition-id"]), read_task(message.content)
            if (client, task.round_index) == (HANGING, 1):
                time.sleep(3600)
            return Message(report_records(report_of(client, task)), reply_to=message)


HANGING = 1


def report_of(client: int, task: RoundTask) -> ClientReport:
    losses, vote = dict.fromkeys(LOSS_KEYS, 1.0), np.empty(0, np.float32)
    return ClientReport(client, 4, 1, task.state + np.float32(client), task.schema, losses, 0.0, vote)


@pytest.mark.slow
@pytest.mark.ray
def test_a_client_that_hangs_costs_its_own_reply_and_the_next_round_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(ray_grid, "Worker", SlowWorker)
    settings = StrategySettings(
        fraction=0.5, over_sampling=0.4, grace_s=0.5, straggler_share=0, dropout_share=0
    )
    setup = type("Setup", (), {"rows": [[0]] * len(EXAMPLES)})()
    strategy = DeterministicFedProx(settings, 0, DistillSettings(), EXAMPLES)
    strategy.expected = Expectation(4, "s", 0, EXAMPLES)
    with ray_grid.RayGrid(setup, GridSettings(num_workers=2)) as grid:
        grid.worker_pids()
        seen = []
        for index in (1, 2):
            started = time.monotonic()
            task = RoundTask(index, TINY, np.zeros(4, np.float32), "s", 1e-3)
            messages = list(strategy.configure_train(index, *task_records(task), grid))
            replies = gather(grid, messages, 300, strategy.closing, strategy.hear)
            strategy.aggregate_train(index, replies)
            seen.append(strategy.ledger)
            assert time.monotonic() - started < 60
    first, second = seen
    assert HANGING in first.sampled
    assert HANGING not in first.spares
    assert first.missing == [HANGING]
    assert len(first.replied) == len(second.replied) == 3
    assert set(first.spares) & set(first.replied)
    assert second.missing == []
    assert all(accounted(ledger) for ledger in seen)


def accounted(ledger: Ledger) -> bool:
    """Every client that was sampled is in one list."""
    failed = [failure.client_id for failure in ledger.failed]
    return sorted([*ledger.replied, *failed, *ledger.missing, *ledger.unused]) == ledger.sampled


@pytest.mark.slow
@pytest.mark.ray
def test_a_ray_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    """Ray's own process is replaced by one that ends at once, as when memory is short; and Ray, whose own
    patience is 30 s, has 3."""
    code = """
import time, types
from ray._private import node, services
services.RAYLET_EXECUTABLE = "/bin/false"
node.time = types.SimpleNamespace(**{**vars(time), "monotonic": lambda: 10 * time.monotonic()})
from fl.errors import RunError
from sim.grids.ray import start_ray
try:
    start_ray("local", 1, __import__("sys").argv[1])
except RunError as error:
    print(error)
"""
    (folder := Path(f"/tmp/fedpin-{os.getpid()}")).mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            capture_output=True,
            text=True,
            cwd=TESTS.parent,
            env={**os.environ, "RAY_raylet_start_wait_time_s": "3"},
            timeout=300,
            check=False,
        )
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)
    assert done.stdout.startswith("Ray did not start on this machine: "), done.stderr
    assert "grid=inprocess" in done.stdout
