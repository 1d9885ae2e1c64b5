"""The composition root: builds every part of a simulated run from its settings, and runs it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from flwr.app import Context, RecordDict

from clients.app import ClientSetup, make_client_app
from fl.cores import usable_cores
from fl.distill.teacher import outputs_folder
from fl.poisoning.roster import malicious_clients
from fl.privacy.central_gaussian import central_mechanism
from fl.settings import Experiment
from sim import checks
from sim.conduct import RunPlan, conduct
from sim.grids.messages import RUN_ID, SERVER_NODE_ID, LocalGrid
from sim.prepare import Prepared, prepare
from sim.progress import Progress
from sim.report.partition import draw_partition
from sim.start import resume
from sim.trackers.tracking import open_trackers


def run_experiment(experiment: Experiment, run_dir: Path, overrides: Sequence[str]) -> Path:
    """A federated run, from corpus to figures; where the folder holds checkpoints, what is left of it.

    Args:
        experiment: all settings, checked.
        run_dir: an existing folder for what the run leaves, or left by a run of these settings that was
            killed; no other process writes to it.
        overrides: the request as typed, for the summary.

    Returns:
        ``run_dir``.

    Raises:
        FedpinError: with the cause; what was recorded is kept.
    """
    progress = Progress()
    trackers = open_trackers(experiment, run_dir, progress.line)
    cache_dir, privacy = checks.cache_dir(experiment), central_mechanism(experiment)
    torch.set_num_threads(usable_cores())
    prepared = prepare(experiment, cache_dir, progress)
    torch.set_num_threads(1)
    resumed = resume(run_dir, experiment, prepared, progress.line)
    with (
        trackers,
        open_grid(prepared, experiment, cache_dir) as grid,
    ):  # its workers start while the student gets its first weights
        plan = RunPlan(experiment, run_dir, prepared, overrides, trackers, progress)
        context = Context(RUN_ID, SERVER_NODE_ID, {}, RecordDict(), {})
        declared = {client: len(rows) for client, rows in enumerate(prepared.rows)}
        conduct(plan, grid, context, declared, privacy, resumed)
    draw_partition(run_dir)
    return run_dir


def make_setup(prepared: Prepared, experiment: Experiment, cache_dir: Path) -> ClientSetup:
    """What the client apps know."""
    store, teacher = prepared.stores["clients"], prepared.teacher
    return ClientSetup(
        shard=store.path,
        teacher=teacher.folder,
        outputs={lack: outputs_folder(teacher.folder, store, lack) for lack in set(prepared.lacks)},
        rows=prepared.rows,
        lacks=prepared.lacks,
        augment=experiment.augment,
        precision=experiment.teacher.precision,
        distill=experiment.distill,
        compress=experiment.compress,
        seed=experiment.seed,
        cache_dir=cache_dir,
        privacy=experiment.privacy,
        adversary=experiment.adversary,
        malicious=malicious_clients(experiment.adversary, experiment.seed, len(prepared.rows)),
        num_rounds=experiment.strategy.num_rounds,
    )


@contextmanager
def open_grid(prepared: Prepared, experiment: Experiment, cache_dir: Path) -> Iterator[LocalGrid]:
    """The Grid that the settings name; its processes end with the block."""
    setup = make_setup(prepared, experiment, cache_dir)
    if experiment.grid.kind == "inprocess":
        from sim.grids.inprocess import InProcessGrid

        yield InProcessGrid(make_client_app(setup), len(prepared.rows))
        return
    from sim.grids.ray import RayGrid

    with RayGrid(setup, experiment.grid) as grid:
        yield grid
