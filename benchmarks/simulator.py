"""The simulator's time over that of the same training in one plain PyTorch loop, in one process.

The floor trains every client's shard one after the other: same batches, same cached teacher
outputs, same losses, optimiser and proximal term, one thread, no Flower, no gate, no aggregation.
Floor, in-process grid and Ray grid take turns, so that a noisy machine disturbs them alike.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch

from clients.app import make_client_app
from fl.data.shards import take
from fl.distill.batches import num_batches, shuffled_batches
from fl.distill.losses import batch_loss
from fl.seeds import generator
from fl.settings import Experiment
from fl.state import flatten, schema_digest
from fl.task import RoundTask
from fl.wire import task_records
from server.gate import Expectation
from server.strategy import DeterministicFedProx
from sim import checks
from sim.config import build, compose
from sim.grids.inprocess import InProcessGrid
from sim.grids.ray import RayGrid
from sim.prepare import Prepared, prepare
from sim.progress import Progress
from sim.run import make_setup

NUM_WORKERS = 2


@dataclass(frozen=True)
class Ratios:
    """Seconds of a round, the medians, and their ratios to the floor.

    Attributes:
        floor_s: the plain loop.
        inprocess_s: the in-process grid.
        ray_s: the Ray grid with two workers.
        inprocess_ratio: median of the ratios pass by pass.
        ray_ratio: the same for Ray.
        ray_start_s: from nothing to the workers' first answer.
        num_passes: how often each was run.
    """

    floor_s: float
    inprocess_s: float
    ray_s: float
    inprocess_ratio: float
    ray_ratio: float
    ray_start_s: float
    num_passes: int


def measure(num_passes: int = 5) -> Ratios:
    """Measure on the default experiment, whose corpus and teacher are made first if they are not cached."""
    experiment = build(compose(["strategy.straggler_share=0", "strategy.dropout_share=0"]))
    cache_dir = checks.cache_dir(experiment)
    prepared = prepare(experiment, cache_dir, Progress())
    torch.set_num_threads(1)
    setup = make_setup(prepared, experiment, cache_dir)
    task = make_task(experiment, prepared)
    inprocess = InProcessGrid(make_client_app(setup), len(prepared.rows))
    started = time.perf_counter()
    with RayGrid(setup, replace(experiment.grid, num_workers=NUM_WORKERS)) as ray_grid:
        ray_grid.worker_pids()
        ray_start_s = time.perf_counter() - started
        runs: dict[str, Callable[[], None]] = {
            "floor": lambda: plain_round(experiment, prepared, task),
            "inprocess": lambda: grid_round(experiment, prepared, task, inprocess),
            "ray": lambda: grid_round(experiment, prepared, task, ray_grid),
        }
        for run in runs.values():
            run()
        seconds = {name: [0.0] * num_passes for name in runs}
        for index in range(num_passes):
            for name, run in runs.items():
                before = time.perf_counter()
                run()
                seconds[name][index] = time.perf_counter() - before
    ratios = {
        name: median(own / floor for own, floor in zip(seconds[name], seconds["floor"], strict=True))
        for name in ("inprocess", "ray")
    }
    return Ratios(
        median(seconds["floor"]),
        median(seconds["inprocess"]),
        median(seconds["ray"]),
        ratios["inprocess"],
        ratios["ray"],
        ray_start_s,
        num_passes,
    )


def make_task(experiment: Experiment, prepared: Prepared) -> RoundTask:
    """The first round's task, with random weights."""
    network = prepared.student.build(1)
    rate = experiment.distill.learning_rate
    return RoundTask(1, prepared.student, flatten(network), schema_digest(network), rate)


def grid_round(
    experiment: Experiment, prepared: Prepared, task: RoundTask, grid: InProcessGrid | RayGrid
) -> None:
    """Messages out, clients' work, replies in, gate, aggregate."""
    declared = {client: len(rows) for client, rows in enumerate(prepared.rows)}
    strategy = DeterministicFedProx(experiment.strategy, experiment.seed, experiment.distill, declared)
    strategy.expected = Expectation(task.state.size, task.schema, 0, declared)
    messages = list(strategy.configure_train(1, *task_records(task), grid))
    strategy.aggregate_train(1, grid.send_and_receive(messages))


def plain_round(experiment: Experiment, prepared: Prepared, task: RoundTask) -> None:
    """The floor: every client's local training, written as one would without a framework."""
    settings = experiment.distill
    start = prepared.student.build(1).to(memory_format=torch.channels_last)
    for client, rows in enumerate(prepared.rows):
        network = copy.deepcopy(start).train()
        parameters = list(network.parameters())
        anchor = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(
            parameters, lr=task.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        view = take(prepared.stores["clients"], np.asarray(rows))
        steps = settings.epochs * num_batches(len(view), settings.batch_size)
        rng = generator(experiment.seed, 1, client, "batches")
        for batch in shuffled_batches(
            view, prepared.outputs["clients"], settings.batch_size, steps, rng, augment=experiment.augment
        ):
            optimizer.zero_grad()
            output = network(*batch.inputs)
            terms = batch_loss(output.logits, output.explanation, batch, settings)
            terms.total.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for p, a in zip(parameters, anchor, strict=True):
                    if p.grad is not None:
                        p.grad.add_(p - a, alpha=settings.proximal_mu)
            torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
            optimizer.step()
