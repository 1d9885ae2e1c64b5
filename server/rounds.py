"""The federated rounds, top to bottom: send, gate, aggregate, prune, evaluate, record."""

import time
from collections.abc import Sequence
from dataclasses import asdict

from flwr.serverapp import Grid

from fl.compress.importance import prunable_groups
from fl.compress.units import ChannelGroup
from fl.distill.optimizer import rate_share
from fl.errors import FailedRoundError
from fl.settings import Experiment
from fl.state import flatten, learnt_values, load_flat, schema_digest, value_mask
from fl.task import RoundTask
from fl.wire import read_array, task_records
from server.checkpoint import save_checkpoint
from server.evaluate import Evaluation, evaluate_student, macs_of
from server.fleet import (
    first_width,
    weak_part,
)
from server.gate import Expectation
from server.parts import GlobalStudent, Record, Server
from server.poisoning import adversary_part, aggregation_part
from server.pruning import clients_vote
from server.replies import gather
from server.reports import client_agreement, simulate_devices
from server.shrinking import evaluate_weak, prune_student, settle_batchnorm
from server.strategy import Ledger


def run_rounds(server: Server, student: GlobalStudent, grid: Grid) -> None:
    """All rounds that are left of a run; each is saved, then recorded, before the next begins.

    A private run ends early, before the round that would exceed its budget. Nothing but the student, its
    narrow width and the account of privacy goes from round to round: clients and strategy draw anew
    from (seed, round, client, purpose), and clients make their optimisers anew.

    Raises:
        FailedRoundError: too few valid replies, in more rounds in a row than the strategy allows.
    """
    experiment = server.experiment
    if not student.rounds_done:
        num_clients = len(server.strategy.declared_examples)
        student.weak = first_width(
            experiment, student.architecture, student.network, num_clients, server.strategy.device_of
        )
    account = server.strategy.account
    for round_index in range(student.rounds_done + 1, experiment.strategy.num_rounds + 1):
        if account is not None and account.is_exhausted:
            return
        record, evaluation = run_round(server, student, grid, round_index)
        save_checkpoint(
            server.examiner.run_dir,
            round_index,
            student.architecture,
            student.network,
            {
                "record": record,
                "weak_plan": student.weak.plan if student.weak else None,
                "failed_in_a_row": student.failed_in_a_row,
                "inputs": dict(server.inputs),
                "privacy": account.state() if account else None,
                "releases": len(server.strategy.releases.shares) if server.strategy.releases else 0,
            },
            {"student": evaluation.scores, "int8": evaluation.scores_int8},
        )
        student.rounds_done = round_index
        server.on_round(record, evaluation)


def run_round(
    server: Server, student: GlobalStudent, grid: Grid, round_index: int
) -> tuple[Record, Evaluation]:
    """One round: the student is changed in place; returns its record and evaluation."""
    started = time.perf_counter()
    compress = server.experiment.compress
    groups: Sequence[ChannelGroup] = ()
    if round_index in compress.prune_rounds:
        groups = prunable_groups(student.network, compress.targets, server.experiment.data.clip.image_size)
    task = make_task(server.experiment, student, round_index, prunes=bool(groups))
    expect(server, student, task, groups)

    losses = train_student(server, student, grid, task, must_not_fail=bool(groups))
    trained = time.perf_counter()

    pruned = prune_student(server, student, groups, round_index) if groups else None
    evaluation = evaluate_student(student.architecture, student.network, server.examiner, round_index)
    weak = evaluate_weak(server, student, round_index)
    finished = time.perf_counter()

    ledger, privacy = server.strategy.ledger, server.strategy.privacy
    account = server.strategy.account
    record: Record = {
        "round_index": round_index,
        "seconds": {
            "train": trained - started,
            "evaluate": finished - trained,
            "wall": finished - started,
        },
        "clients": {**_clients_part(ledger), "aggregated": losses is not None},
        "train": losses or None,
        **evaluation.parts,
        "bytes": {"down": ledger.down_bytes, "up": ledger.up_bytes},
        "simulated": None if privacy else simulate(server, task),
        "privacy": account.record() if account else None,
        "prune": pruned,
        "weak": weak,
        "aggregation": aggregation_part(server.strategy),
        "adversary": adversary_part(
            server.experiment, server.strategy, student.network, server.examiner.test
        ),
    }
    agreement = client_agreement(server.strategy.reports)
    if agreement is not None:
        record["onnx"]["client_agreement"] = agreement
    return record, evaluation


def train_student(
    server: Server, student: GlobalStudent, grid: Grid, task: RoundTask, must_not_fail: bool
) -> Record | None:
    """The clients' part of a round; their mean losses, or None if the round failed and the student stays.

    Raises:
        FailedRoundError: it failed, and ``must_not_fail``, or as many before it have as are allowed.
    """
    strategy, settings = server.strategy, server.experiment.strategy
    messages = strategy.configure_train(task.round_index, *task_records(task), grid)
    replies = gather(grid, messages, settings.round_timeout_s, strategy.closing, strategy.hear)
    try:
        aggregate, losses = strategy.aggregate_train(task.round_index, replies)
    except FailedRoundError as error:
        student.failed_in_a_row += 1
        if must_not_fail or student.failed_in_a_row > settings.max_failed_rounds:
            raise FailedRoundError(_why_it_ends(server, error, must_not_fail)) from error
        return None
    if aggregate is None or losses is None:
        raise RuntimeError("the strategy returned nothing, though it raises when no reply is valid")
    student.failed_in_a_row = 0
    student.network = student.architecture.build()  # so that nothing but these values goes on
    load_flat(student.network, read_array(aggregate, "state"))
    if strategy.privacy and strategy.privacy.clips:
        settle_batchnorm(server, student.network, task.round_index, "private-batchnorm")
    return dict(losses)


def make_task(experiment: Experiment, student: GlobalStudent, round_index: int, prunes: bool) -> RoundTask:
    """What all clients are asked to do this round, at the schedule's learning rate."""
    distill, last = experiment.distill, experiment.strategy.num_rounds
    told = experiment.privacy.mechanism == "none" and experiment.compress.client_int8
    progress = (round_index - 1) / max(last - 1, 1)
    rise = min(distill.rise_rounds, last - 1) / max(last - 1, 1)
    rate = rate_share(progress, distill.schedule, rise, distill.final_rate_share)
    return RoundTask(
        round_index=round_index,
        architecture=student.architecture,
        state=flatten(student.network),
        schema=schema_digest(student.network),
        learning_rate=distill.learning_rate * rate,
        measure_importance=prunes and clients_vote(experiment.compress),
        quantize=round_index == last and told,
    )


def expect(server: Server, student: GlobalStudent, task: RoundTask, groups: Sequence[ChannelGroup]) -> None:
    """Tell the strategy what a valid reply to this task looks like, and of the weak devices' task."""
    num_importances = sum(group.num_channels for group in groups) if task.measure_importance else 0
    expected = Expectation(
        num_values=task.state.size,
        schema=task.schema,
        num_importances=num_importances,
        declared_examples=server.strategy.declared_examples,
        sent=task.state,
        variances=value_mask(student.network, ("running_var",)),
        mechanism=server.experiment.privacy.mechanism,
    )
    server.strategy.expected = expected
    if server.strategy.privacy:
        server.strategy.learnt = learnt_values(student.network)
    server.strategy.weak = weak_part(student.weak, task, expected) if student.weak else None


def simulate(server: Server, task: RoundTask) -> Record | None:
    """The "simulated" part of a record: each client with the student that it trained."""
    strategy, weak = server.strategy, server.strategy.weak
    macs = dict.fromkeys(strategy.ledger.replied, macs_of(task.architecture, server.examiner))
    if weak:
        weak_macs = macs_of(weak.task.architecture, server.examiner)
        macs.update(dict.fromkeys(weak.clients, weak_macs))
    return simulate_devices(strategy.reports, macs, strategy.batch_size, strategy.device_of)


def _why_it_ends(server: Server, error: FailedRoundError, must_not_fail: bool) -> str:
    allowed = server.experiment.strategy.max_failed_rounds
    pruning = "; it was to prune, by the clients' votes" if must_not_fail and allowed else ""
    go_on = "submit the run again"  # whose clients are devices
    if server.strategy.fleet is None:
        go_on = f"go on: python -m sim run resume={server.examiner.run_dir}"
    return f"{error}{pruning}. Mend the cause, then {go_on}"


def _clients_part(ledger: Ledger) -> Record:
    part = asdict(ledger)
    return {
        key: part[key]
        for key in ("sampled", "replied", "failed", "missing", "stragglers", "spares", "unused")
    }
