"""The runs of a study, each in a process of its own, so many at a time as there are cores."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from sim.config import build, compose, validate
from sim.progress import Progress, duration
from sim.provenance import digest, hardware
from sim.record import SUMMARY_FILE
from sim.round_record import plain
from sim.studies.measuring import commit_of
from sim.studies.study import Job

LOG_FILE = "run.log"


@dataclass(frozen=True)
class JobResult:
    """How a run went.

    Attributes:
        job: the run.
        folder: what it left.
        seconds: that it took, in this call or in an earlier one.
        failure: the reason, or "".
        kept: an earlier call had finished it.
    """

    job: Job
    folder: Path
    seconds: float
    failure: str = ""
    kept: bool = False


@dataclass(frozen=True)
class Plan:
    """A run, composed and checked.

    Attributes:
        job: the run.
        overrides: all of them, with its name and folder.
        folder: where it goes.
        config_digest: of its settings.
        num_rounds: of its settings: Hydra composes in one thread only.
    """

    job: Job
    overrides: tuple[str, ...]
    folder: Path
    config_digest: str
    num_rounds: int


def plan_jobs(jobs: Sequence[Job], experiment: str, extra: Sequence[str], folder: Path) -> list[Plan]:
    """Compose and check every run before the first one starts.

    Args:
        jobs: the runs.
        experiment: name of the study's experiment.
        extra: overrides of the user, for all of them.
        folder: theirs go below it.

    Raises:
        RequestError: a run that cannot be.
    """
    plans = []
    for job in jobs:
        overrides = [f"experiment={experiment}", *job.overrides, *extra]
        placed = [*overrides, f"runs_dir={_quoted(folder)}", f"name={job.name}"]
        settings = build(compose(placed))
        validate(settings)
        config_digest, num_rounds = digest(plain(asdict(settings), "config")), settings.strategy.num_rounds
        plans.append(Plan(job, tuple(placed), folder / job.name, config_digest, num_rounds))
    return plans


def run_jobs(plans: Sequence[Plan], num_jobs: int, done: Callable[[JobResult], None]) -> list[JobResult]:
    """Do the runs: the first one alone on all cores, since it trains what the others find in the cache.

    A run that an earlier call finished with the same settings is kept. One that fails ends nothing else.

    Args:
        plans: of `plan_jobs`.
        num_jobs: at a time, each with its share of the cores.
        done: called with each result, from any thread.

    Returns:
        In the order of the plans.
    """
    results = [_do(plans[0], None)]
    done(results[0])
    shares: SimpleQueue[set[int]] = SimpleQueue()
    cores = sorted(os.sched_getaffinity(0))
    for index in range(num_jobs):
        shares.put(set(cores[index::num_jobs]) or set(cores))

    def do(plan: Plan) -> JobResult:
        share = shares.get()
        try:
            result = _do(plan, share)
        finally:
            shares.put(share)
        done(result)
        return result

    with ThreadPoolExecutor(num_jobs) as pool:
        return results + list(pool.map(do, plans[1:]))


def do_jobs(title: str, plans: Sequence[Plan], num_jobs: int) -> list[JobResult]:
    """`run_jobs`, with a line on the screen for each."""
    progress = Progress()
    with progress.stage(f"Runs of {title}", total=len(plans)) as advance:

        def done(result: JobResult) -> None:
            took = f"failed: {result.failure}" if result.failure else duration(result.seconds)
            progress.line(f"{result.job.name}: {'done before' if result.kept else took}")
            advance(1, result.job.name)

        return run_jobs(plans, num_jobs, done)


def told_of_runs(
    command: Sequence[str], results: Sequence[JobResult], wall_s: float, num_jobs: int
) -> dict[str, Any]:
    """Command, date, commit, hardware, number and time of a study's runs, for its page.

    Args:
        command: as typed, after `python -m sim reproduce`.
        results: of the runs.
        wall_s: that they took together, s.
        num_jobs: done at a time.
    """
    machine = hardware()
    commits = sorted({commit_of(result.folder) for result in results if not result.failure})
    spent = sum(result.seconds for result in results)
    again = sum(result.kept for result in results)
    return {
        "command": f"`{shlex.join(['python', '-m', 'sim', 'reproduce', *command])}`",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": ", ".join(commits),
        "hardware": f"{machine['num_usable_cores']} cores of {machine['cpu']}",
        "runs": f"{len(results)}, {again} of them done before" if again else f"{len(results)}",
        "time": f"{duration(wall_s)}; the runs take {duration(spent)} one after the other, "
        f"{num_jobs} are done at a time",
    }


def _do(plan: Plan, cores: set[int] | None) -> JobResult:
    log = plan.folder.parent / f"{plan.job.name}.{LOG_FILE}"
    if _is_finished(plan):
        return JobResult(plan.job, plan.folder, _seconds_taken(plan.folder), kept=True)
    shutil.rmtree(plan.folder, ignore_errors=True)
    plan.folder.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "sim", "run", *plan.overrides], stdout=file, stderr=subprocess.STDOUT
        )
        try:
            if cores is not None:
                os.sched_setaffinity(process.pid, cores)
            code = process.wait()
        finally:
            process.kill()
    seconds = time.monotonic() - started
    if code == 0:
        return JobResult(plan.job, plan.folder, seconds)
    lines = log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
    reason = next((line for line in lines if line.startswith("fedpin: ")), lines[-1])
    return JobResult(plan.job, plan.folder, seconds, reason.removeprefix("fedpin: "))


def _is_finished(plan: Plan) -> bool:
    """Whether a run of these very settings lies there, whole."""
    summary = plan.folder / SUMMARY_FILE
    if not summary.is_file():
        return False
    told = json.loads(summary.read_text())
    return bool(told["config_digest"] == plan.config_digest and told["num_rounds"] == plan.num_rounds)


def _seconds_taken(folder: Path) -> float:
    """From the first file of a finished run, its configuration, to the last, its figures."""
    written = [path.stat().st_mtime for path in (*folder.glob(".hydra/*"), *folder.glob("figures/*"))]
    return max(written) - min(written)


def _quoted(folder: Path) -> str:
    return "'" + str(folder).replace("'", "\\'") + "'"
