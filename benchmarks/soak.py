"""A long run on Ray in which clients fail all the time: does memory grow, and is anything left behind?

`python -m benchmarks.soak` runs 100 rounds and prints what became of the clients, the memory of driver and
workers with its slope, and what was left; the picture and the samples go to docs/results/reliability/.
`python -m benchmarks.soak run OVERRIDE ...` is the run itself: in each round a client in twenty raises, and
at one in twenty its worker is killed by SIGKILL.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from flwr.app import Message

from fl.seeds import generator
from sim.grids import ray as ray_grid
from sim.grids.messages import client_of, error_reply

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs/results/reliability"
NUM_ROUNDS = 100
FAILING = 0.10
SETTLED = 10
"""Rounds after which the slope is taken: until then caches fill."""

SMALL = (
    "experiment=smoke",
    "data.synthetic.num_identities=12",
    "partition.num_clients=4",
    "grid=ray",
    "grid.num_workers=2",
    "grid.max_retries=0",
    "strategy.straggler_share=0",
    "latency.num_runs=5",
    "latency.num_warmup=1",
    "name=soak",
)


class FailingWorker(ray_grid.Worker):
    """A worker whose clients fail: half of `FAILING` raise, at the other half the process is killed."""

    def work(self, message: Message, arrays: Any) -> Message:
        """One client's round, unless it fails."""
        round_index = int(message.content.config_records["config"]["round-index"])
        client = client_of(message.metadata.dst_node_id)
        fate = generator(0, round_index, client, "soak").random()
        if fate < FAILING / 2:
            return error_reply(message, "soak: this client fails in this round")
        if fate < FAILING:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().work(message, arrays)


@dataclass(frozen=True)
class Sample:
    """Memory at one moment, in MB (10^6 bytes) of resident size.

    Attributes:
        round_index: the round at work.
        seconds: since the start.
        driver: of the process that holds server and grid.
        workers: of each actor, largest first.
    """

    round_index: int
    seconds: float
    driver: float
    workers: list[float]


def watch(process: subprocess.Popen[bytes], records: Path) -> list[Sample]:
    """Samples, one a second, until the run ends."""
    started, samples = time.monotonic(), []
    driver = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            workers = [_megabytes(child) for child in driver.children(recursive=True) if _is_worker(child)]
            done = records.read_bytes().count(b"\n") if records.exists() else 0
            seconds = time.monotonic() - started
            held = _megabytes(driver)
            if held:  # else it has just ended
                samples.append(
                    Sample(done + 1, seconds, held, sorted((w for w in workers if w), reverse=True))
                )
        except psutil.NoSuchProcess:
            break
        time.sleep(1)
    process.wait()
    return samples


def slope_kb(samples: Sequence[Sample], values: Sequence[float]) -> tuple[float, float]:
    """Growth in kB a round and its standard error: least squares over the medians after `SETTLED` rounds."""
    chosen = [i for i, sample in enumerate(samples) if sample.round_index > SETTLED]
    rounds = sorted({samples[i].round_index for i in chosen})
    sizes = [1000 * np.median([values[i] for i in chosen if samples[i].round_index == r]) for r in rounds]
    (slope, _), covariance = np.polyfit(rounds, sizes, 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0, 0]))


def left_behind(session: int, folder: Path) -> tuple[list[str], list[str]]:
    """Processes of the run's session that live, and files in its folder for temporary ones."""
    alive = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return alive, [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def fates(run_dir: Path) -> dict[str, int]:
    """How many tasks of clients ended how, and in how many rounds all did."""
    counts = dict.fromkeys(("asked", "replied", "raised", "killed", "missing", "rounds", "full_rounds"), 0)
    for line in (run_dir / "rounds.jsonl").read_text().splitlines():
        clients = json.loads(line)["clients"]
        reasons = [failure["stage"] for failure in clients["failed"]]
        counts["asked"] += len(clients["sampled"])
        counts["replied"] += len(clients["replied"])
        counts["raised"] += reasons.count("soak")
        counts["killed"] += reasons.count("worker")
        counts["missing"] += len(clients["missing"])
        counts["rounds"] += 1
        counts["full_rounds"] += clients["replied"] == clients["sampled"]
    return counts


def draw(samples: Sequence[Sample], path: Path, title: str) -> None:
    """Resident memory over the run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 3.6), layout="constrained")
    seconds = [sample.seconds for sample in samples]
    axes.plot(seconds, [sample.driver for sample in samples], color="#0072B2", label="driver", lw=1)
    for place, colour in enumerate(("#D55E00", "#009E73")):
        sizes = [s.workers[place] if len(s.workers) > place else np.nan for s in samples]
        axes.plot(seconds, sizes, color=colour, label=f"worker, {('larger', 'smaller')[place]}", lw=1)
    axes.set(xlabel="s since the start", ylabel="resident memory, MB", title=title)
    axes.set_ylim(0, 1.25 * max(sample.driver for sample in samples))
    axes.legend(loc="upper right", ncols=3, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def measure(num_rounds: int, results: Path) -> int:
    """The soak; 0 if it did all its rounds and left nothing."""
    with tempfile.TemporaryDirectory(prefix="soak", dir="/tmp") as name:
        folder = Path(name)
        temporary = folder / "t"
        temporary.mkdir()
        command = [sys.executable, "-m", "benchmarks.soak", "run", *SMALL, f"runs_dir={folder}"]
        command.append(f"strategy.num_rounds={num_rounds}")
        places = {"TMPDIR": str(temporary), "RAY_TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **places},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            samples = watch(process, folder / "soak/rounds.jsonl")
        time.sleep(5)
        alive, files = left_behind(process.pid, temporary)
        if process.returncode:
            print((folder / "log").read_text()[-2000:], file=sys.stderr)
        told = {
            "exit_code": process.returncode,
            "verdict": json.loads((folder / "soak/summary.json").read_text())["verdict"],
            "seconds": round(samples[-1].seconds),
            "clients": fates(folder / "soak"),
            "left_processes": alive,
            "left_files": files,
        }
    for name, values in (
        ("driver", [sample.driver for sample in samples]),
        ("larger_worker", [max(sample.workers, default=0.0) for sample in samples]),
    ):
        slope, error = slope_kb(samples, values)
        told[f"{name}_kb_per_round"] = [round(slope, 1), round(error, 1)]
        told[f"{name}_max_mb"] = round(max(values))
    results.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**told, "samples": [asdict(sample) for sample in samples[::5]]})
    (results / "soak.json").write_text(text + "\n")
    failing = f"{FAILING:.0%} of the clients failing at random"
    draw(samples, results / "soak.png", f"{told['clients']['rounds']} rounds, {failing}")
    print(json.dumps(told, indent=2))
    return int(bool(process.returncode or alive or files))


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "FailingWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _megabytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def main(arguments: Sequence[str]) -> int:
    """The soak, or the run in it."""
    from sim.__main__ import main as command
    from sim.__main__ import set_quiet

    set_quiet()
    if arguments[:1] == ["run"]:
        from benchmarks import soak  # this module by the name under which workers can import it

        ray_grid.Worker = soak.FailingWorker
        return command(arguments)
    num_rounds = int(arguments[0]) if arguments else NUM_ROUNDS
    return measure(num_rounds, Path(arguments[1]) if len(arguments) > 1 else RESULTS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
