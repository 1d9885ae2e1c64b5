"""Whole runs on Flower's own programs: real processes, real messages, real videos."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from flower_processes import BIN, environment, free_port, running, wait_for_text

from fl.settings import Experiment
from fl.settings.building import to_json
from sim.config import build, compose
from sim.record import read_rounds
from sim.run import run_experiment

ROOT = Path(__file__).resolve().parents[1]
REQUEST = ["experiment=smoke", "partition.num_clients=2", "strategy.straggler_share=0"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    cache = tmp_path_factory.mktemp("cache")
    return replace(build(compose(REQUEST)), cache_dir=str(cache), runs_dir=str(cache / "runs"))


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
