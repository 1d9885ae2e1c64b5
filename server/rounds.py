"""The federated rounds, top to bottom: send, gate, aggregate, prune, evaluate, record."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from flwr.serverapp import Grid
from torch import nn

from fl.compress.importance import prunable_groups
from fl.compress.prune import apply_plan, reestimate_batchnorm
from fl.data.shards import ShardView
from fl.devices import profile_of, round_seconds
from fl.distill.batches import shuffled_batches
from fl.metrics.cost import count_macs
from fl.seeds import generator
from fl.settings import Experiment
from fl.state import flatten, load_flat, schema_digest
from fl.task import RoundTask
from fl.wire import read_array, task_records
from models.architecture import Architecture
from server.checkpoint import save_checkpoint
from server.evaluate import Evaluation, Examiner, evaluate_student, inputs_of
from server.gate import Expectation
from server.pruning import choose_plan, clients_vote, decide, scheduled_ratio
from server.strategy import DeterministicFedProx, Ledger

Record = dict[str, Any]


@dataclass
class GlobalStudent:
    """The student that the server holds between rounds.

    Attributes:
        architecture: changes when the student is pruned.
        network: its weights are the last aggregate.
    """

    architecture: Architecture
    network: nn.Module


@dataclass(frozen=True)
class Server:
    """What the rounds need.

    Attributes:
        experiment: all settings.
        strategy: sampling and aggregation.
        examiner: evaluation.
        public: the server's own clips: BatchNorm re-estimation.
        on_round: called with each round's record and evaluation.
    """

    experiment: Experiment
    strategy: DeterministicFedProx
    examiner: Examiner
    public: ShardView
    on_round: Callable[[Record, Evaluation], None]


def run_rounds(server: Server, student: GlobalStudent, grid: Grid) -> None:
    """All rounds of a run; each is recorded before the next begins.

    Raises:
        RunError: a round without a valid reply.
    """
    for round_index in range(1, server.experiment.strategy.num_rounds + 1):
        record, evaluation = run_round(server, student, grid, round_index)
        save_checkpoint(
            server.examiner.run_dir, round_index, student.architecture, student.network, {"record": record}
        )
        server.on_round(record, evaluation)


def run_round(
    server: Server, student: GlobalStudent, grid: Grid, round_index: int
) -> tuple[Record, Evaluation]:
    """One round: the student is changed in place; returns its record and evaluation."""
    started = time.perf_counter()
    prunes = round_index in server.experiment.compress.prune_rounds
    task = make_task(server.experiment, student, round_index, prunes)
    expect(server, student, task)

    arrays, config = task_records(task)
    messages = list(server.strategy.configure_train(round_index, arrays, config, grid))
    replies = grid.send_and_receive(messages, timeout=server.experiment.strategy.round_timeout_s)
    aggregate, losses = server.strategy.aggregate_train(round_index, replies)
    if aggregate is None or losses is None:
        raise RuntimeError("the strategy returned nothing, though it raises when no reply is valid")
    load_flat(student.network, read_array(aggregate, "state"))
    trained = time.perf_counter()

    macs = count_macs(student.network, *inputs_of(student.architecture, server.examiner.test)).total
    pruned = prune_student(server, student, round_index) if prunes else None
    evaluation = evaluate_student(student.architecture, student.network, server.examiner, round_index)
    finished = time.perf_counter()

    ledger = server.strategy.ledger
    record: Record = {
        "round_index": round_index,
        "seconds": {
            "train": trained - started,
            "evaluate": finished - trained,
            "wall": finished - started,
        },
        "clients": _clients_part(ledger),
        "train": dict(losses),
        **evaluation.parts,
        "bytes": {"down": ledger.down_bytes, "up": ledger.up_bytes},
        "simulated": simulate_devices(server.strategy, task, macs),
        "prune": pruned,
    }
    agreement = client_agreement(server.strategy)
    if agreement is not None:
        record["onnx"]["client_agreement"] = agreement
    return record, evaluation


def make_task(experiment: Experiment, student: GlobalStudent, round_index: int, prunes: bool) -> RoundTask:
    """What all clients are asked to do this round; the learning rate falls by a cosine over the rounds."""
    last = experiment.strategy.num_rounds
    progress = (round_index - 1) / max(last - 1, 1)
    floor = experiment.distill.final_rate_share
    rate = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    return RoundTask(
        round_index=round_index,
        architecture=student.architecture,
        state=flatten(student.network),
        schema=schema_digest(student.network),
        learning_rate=experiment.distill.learning_rate * rate,
        measure_importance=prunes and clients_vote(experiment.compress),
        quantize=round_index == last,
    )


def expect(server: Server, student: GlobalStudent, task: RoundTask) -> None:
    """Tell the strategy's gate what a valid reply to this task looks like."""
    num_importances = 0
    if task.measure_importance:
        targets = server.experiment.compress.targets
        groups = prunable_groups(student.network, targets, server.experiment.data.clip.image_size)
        num_importances = sum(group.num_channels for group in groups)
    server.strategy.expected = Expectation(
        num_values=task.state.size,
        schema=task.schema,
        num_importances=num_importances,
        declared_examples=server.strategy.declared_examples,
    )


def prune_student(server: Server, student: GlobalStudent, round_index: int) -> Record:
    """Turn this round's votes into one plan, shrink the student, and re-estimate its BatchNorm.

    Clients make their optimisers anew each round, so no state of theirs has to follow the slicing.
    """
    settings = server.experiment.compress
    image_size = server.experiment.data.clip.image_size
    ratio = scheduled_ratio(settings, round_index)
    groups = prunable_groups(student.network, settings.targets, image_size)
    rng = generator(server.experiment.seed, round_index, -1, "votes")
    decision = decide(settings, groups, student.network, server.strategy.reports, rng, image_size)
    plan = choose_plan(
        settings,
        student.architecture,
        student.network,
        decision.votes,
        ratio,
        inputs_of(student.architecture, server.examiner.test),
        server.examiner.cache_dir,
    )
    apply_plan(student.network, plan, image_size)
    student.architecture = student.architecture.with_widths_of(student.network)
    rng = generator(server.experiment.seed, round_index, -1, "batchnorm")
    size = server.experiment.distill.batch_size
    batches = shuffled_batches(server.public, None, size, settings.batchnorm_batches, rng, augment=None)
    reestimate_batchnorm(student.network, (batch.inputs for batch in batches))
    sizes = {group.name: group.unit_size for group in groups}
    return {
        "ratio": ratio,
        "ratio_of": settings.ratio_of,
        "removed_channels": sum(len(indices) * sizes[name] for name, indices in plan.items()),
        "voters": decision.voters,
        "clipped": decision.clipped,
        "optimizer_state": "reset",
    }


def simulate_devices(strategy: DeterministicFedProx, task: RoundTask, macs: int) -> Record:
    """Simulated time of the round: each device class's slowest client, and the slowest of all."""
    size = 4 * task.state.size
    by_device: dict[str, float] = {}
    for report in strategy.reports:
        device = profile_of(report.client_id)
        seconds = round_seconds(
            device,
            macs=macs,
            num_examples=report.num_steps * strategy.batch_size,
            down_bytes=size,
            up_bytes=size + 4 * report.importance.size,
        )
        by_device[device.name] = max(by_device.get(device.name, 0.0), seconds)
    return {"round_s": max(by_device.values()), "by_device": dict(sorted(by_device.items()))}


def client_agreement(strategy: DeterministicFedProx) -> float | None:
    """Mean agreement of the clients' own INT8 copies with their float ones, by examples."""
    told = [r for r in strategy.reports if r.int8_agreement is not None]
    if not told:
        return None
    total = sum(report.num_examples for report in told)
    return sum((r.int8_agreement or 0.0) * r.num_examples for r in told) / total


def _clients_part(ledger: Ledger) -> Record:
    part = asdict(ledger)
    return {key: part[key] for key in ("sampled", "replied", "failed", "missing", "stragglers")}
