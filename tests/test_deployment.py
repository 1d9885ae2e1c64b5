"""Whole runs on Flower's own programs: real processes, real messages, real videos; hosts of their own: see
`test_deployment_hosts`."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.deployed import Deployed, give_videos
from benchmarks.flower_processes import BIN, environment, running, wait_for_text
from fl.settings import Experiment
from fl.settings.building import to_json
from sim.config import build, compose
from sim.deploy.flower import free_port
from sim.record import read_rounds
from sim.run import run_experiment

ROOT = Path(__file__).resolve().parents[1]
REQUEST = ["experiment=smoke", "partition.num_clients=2", "strategy.straggler_share=0"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def experiment(session_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    runs_dir = str(tmp_path_factory.mktemp("runs"))
    return replace(build(compose(REQUEST)), cache_dir=str(session_cache), runs_dir=runs_dir)


@pytest.fixture(scope="module")
def inprocess_run(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_experiment(experiment, tmp_path_factory.mktemp("inprocess"), REQUEST)


def weights(run_dir: Path) -> list[str]:
    return [str(record["student"]["weights_sha256"]) for record in read_rounds(run_dir)]


def test_flowers_own_simulation_gives_the_same_weights(
    experiment: Experiment, inprocess_run: Path, tmp_path: Path
) -> None:
    port, home = free_port(), tmp_path / "home"
    home.mkdir()
    address = f'[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    (home / "config.toml").write_text(f'[superlink]\ndefault = "here"\n{address}')
    settings = to_json(replace(experiment, name="flower"))
    (tmp_path / "run.toml").write_text(f"experiment = {json.dumps(settings)}\n")
    superlink = [str(BIN / "flower-superlink"), "--insecure", "--simulation", "--host", "127.0.0.1"]
    log = tmp_path / "superlink.log"
    with running([*superlink, "--port", str(port)], environment(home), log) as process:
        wait_for_text(log, "Uvicorn running", 60, process)
        asked = [str(BIN / "flwr"), "run", str(ROOT), "here", "--stream", "-c", str(tmp_path / "run.toml")]
        nodes = ["--federation-config", "num-supernodes=2 client-resources-num-cpus=1"]
        done = subprocess.run(
            [*asked, *nodes], env=environment(home), capture_output=True, text=True, timeout=500, check=False
        )
    assert "Enrolled 2 of 2 clients" in done.stdout + done.stderr, done.stdout + done.stderr
    run_dir = Path(experiment.runs_dir) / "flower"
    assert len(weights(run_dir)) == 2
    assert weights(run_dir) == weights(inprocess_run)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert [node["client_id"] for node in summary["nodes"]] == [0, 1]


@pytest.fixture(scope="module")
def deployed(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    videos = tmp_path_factory.mktemp("videos")
    give_videos(experiment, videos)
    folder = tmp_path_factory.mktemp("deployed") / "dep"
    with ExitStack() as stack:
        made = Deployed(folder, videos, Path(experiment.cache_dir), stack)
        address = f"localhost:{free_port()}"
        assert made.ask("init", str(folder), "--server", address, "--nodes", "2").returncode == 0
        log = made.start("server", "server", str(folder), "--bind", "127.0.0.1")
        wait_for_text(log, "Server ready", 120, made.running["server"])
        for name in ("node-0", "node-1"):
            made.start_node(name, folder / "nodes" / name, "--device", "phone")
        yield made


def submit(deployed: Deployed, runs: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    request = [*REQUEST[:1], *REQUEST[2:], f"runs_dir={runs}", *overrides]
    return deployed.ask("submit", str(deployed.folder), *request, "--follow")


def test_a_run_over_tls_gives_the_same_weights(
    deployed: Deployed, inprocess_run: Path, tmp_path: Path
) -> None:
    done = submit(deployed, tmp_path, "name=tls")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "tls")
    assert weights(tmp_path / "tls") == weights(inprocess_run)
    summary = json.loads((tmp_path / "tls" / "summary.json").read_text())
    assert [(node["client_id"], node["device"]) for node in summary["nodes"]] == [(0, "phone"), (1, "phone")]
    assert summary["refused"] == []
    assert list(summary["last_round"]["simulated"]["by_device"]) == ["phone"]
    # what travels names no place, and each node has its own clips and no others
    sent = "".join(path.read_text() for path in (deployed.folder / "server" / "submissions").glob("*.toml"))
    assert str(tmp_path) not in sent
    assert str(deployed.cache) not in sent
    assert str(deployed.videos) not in (deployed.videos / "server.log").read_text() + done.stdout
    for name in ("node-0", "node-1"):
        stores = list((deployed.videos / f"cache-{name}" / "shards").glob("*/clips.json"))
        files = {clip["path"] for store in stores for clip in json.loads(store.read_text())["clips"]}
        own = {path.name for path in (deployed.videos / name / "train").iterdir()}
        assert {Path(file).name for file in files} == own


def test_a_run_that_fails_or_is_stopped_has_a_verdict(deployed: Deployed, tmp_path: Path) -> None:
    asked = [str(deployed.folder), "experiment=smoke", f"runs_dir={tmp_path}", "name=stopped"]
    run_id = deployed.ask("submit", *asked).stdout.splitlines()[0]
    assert deployed.ask("stop", str(deployed.folder), run_id).returncode == 0
    told = json.loads(deployed.ask("status", str(deployed.folder), "--json").stdout)["runs"]
    assert {run["run-id"]: run["status"] for run in told}[run_id] == "finished:stopped"
    # the round closes at its deadline, though nobody has failed: each message starts a process on the device
    late = submit(deployed, tmp_path, "name=late", "strategy.round_timeout_s=1")
    assert late.returncode == 1
    assert "finished:failed: ServerApp failed with exception: " in late.stderr
    assert "round 1 has no valid reply: 0 failed, 2 missing of 2 sampled" in late.stderr


def test_a_revoked_node_is_put_out(deployed: Deployed) -> None:
    assert deployed.ask("revoke", str(deployed.folder), "node-1").returncode == 0
    assert deployed.running["node-1"].wait(60) == 1
    assert deployed.status() == {"node-0": "online", "node-1": "revoked"}
    deployed.start_node("back", deployed.folder / "nodes" / "node-1")
    assert deployed.running["back"].wait(60) == 1
