"""The composition root: builds every part of a run from its settings, and runs it."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Context, RecordDict

from clients.app import ClientSetup, make_client_app
from fl.compress.export import load_template, save_model
from fl.compress.model_card import ModelCard
from fl.compress.sessions import inputs_like
from fl.cores import usable_cores
from fl.data.shards import take
from fl.distill.teacher import outputs_folder
from fl.errors import FedpinError
from fl.metrics.cost import count_macs, count_parameters
from fl.metrics.detection import detection_metrics
from fl.metrics.scores import probabilities
from fl.poisoning.roster import malicious_clients
from fl.privacy.central_gaussian import CentralGaussian, central_mechanism
from fl.privacy.client_account import ClientAccounts, client_accounts
from fl.privacy.statement import spent_line
from fl.settings import Experiment
from server.app import make_server_app
from server.evaluate import Evaluation, Examiner, calibration_clips
from server.rounds import Record, Server
from server.strategy import DeterministicFedProx
from sim import checks
from sim.branch import read_origin
from sim.clip_ids import clip_ids
from sim.grids.messages import RUN_ID, SERVER_NODE_ID, LocalGrid
from sim.prepare import Prepared, ServerPart, prepare
from sim.progress import Progress
from sim.provenance import file_digests, versions
from sim.record import Prediction, append_round, read_rounds, summarise, write_predictions, write_summary
from sim.report.caveats import leak_caveats
from sim.report.figures import draw_figures
from sim.report.partition import draw_partition
from sim.report.table import print_table, rows_of_run
from sim.start import Scores, inputs_of, make_student, resume
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
    told = caveats(prepared)
    resumed = resume(run_dir, experiment, prepared, progress.line)
    with (
        trackers,
        open_grid(prepared, experiment, cache_dir) as grid,
    ):  # its workers start during what follows
        examiner = make_examiner(prepared, experiment, run_dir, cache_dir)
        teacher_row = describe_teacher(prepared, examiner.teacher_onnx)
        for record in read_rounds(run_dir):
            trackers.round_done(record)
        student = resumed.student if resumed else make_student(prepared, experiment, cache_dir, progress)
        declared = {client: len(rows) for client, rows in enumerate(prepared.rows)}
        strategy = DeterministicFedProx(
            experiment.strategy,
            experiment.seed,
            experiment.distill,
            declared,
            privacy=privacy,
            accounts=client_accounts(experiment, declared),
        )
        if strategy.account and resumed and resumed.privacy:
            strategy.account.restore(resumed.privacy)
        last = [resumed.scores] if resumed else []
        num_rounds, first_round = experiment.strategy.num_rounds, student.rounds_done + 1
        with progress.rounds(num_rounds, len(prepared.rows), first_round) as display:

            def on_round(record: Record, evaluation: Evaluation) -> None:
                trackers.round_done(append_round(run_dir, record))
                last[:] = [Scores(evaluation.scores, evaluation.scores_int8)]
                display.round_done(record)

            grid.client_done = display.client_done
            public = take(prepared.stores["public"])
            server = Server(experiment, strategy, examiner, public, inputs_of(prepared), on_round)
            context = Context(RUN_ID, SERVER_NODE_ID, {}, RecordDict(), {})
            try:
                make_server_app(server, student)(grid, context)
            finally:
                if last:
                    finish(run_dir, experiment, prepared, teacher_row, last[0], overrides, told)
    draw_figures(run_dir)
    draw_partition(run_dir)
    print_table(rows_of_run(read_rounds(run_dir), teacher_row))
    tell_spent(strategy.account, progress, student.rounds_done, num_rounds)
    for caveat in told:
        progress.line(caveat)
    return run_dir


def tell_spent(
    account: CentralGaussian | ClientAccounts | None, progress: Progress, rounds_done: int, num_rounds: int
) -> None:
    """What a private run has spent, and why it ended early if it did."""
    if account is None:
        return
    spent = account.epsilon
    if rounds_done < num_rounds:
        progress.line(
            f"Ended after round {rounds_done} of {num_rounds}: one more would spend epsilon "
            f"{account.epsilon_after_next:.4g}, above the budget of {account.budget:.4g}"
        )
    progress.line(spent_line(account.unit, spent, account.settings.delta))


def make_examiner(prepared: ServerPart, experiment: Experiment, run_dir: Path, cache_dir: Path) -> Examiner:
    """Evaluation on the test split, with the teacher's graph and public calibration clips."""
    public, num_clips = take(prepared.stores["public"]), experiment.compress.calibration_clips
    return Examiner(
        test=take(prepared.stores["test"]),
        outputs=prepared.outputs["test"],
        calibration=calibration_clips(public, num_clips, experiment.seed),
        teacher_onnx=export_teacher(prepared, cache_dir),
        compress=experiment.compress,
        latency=experiment.latency,
        run_dir=run_dir,
        cache_dir=cache_dir,
        card=ModelCard(experiment.data.clip, run_dir.name, versions()["fedpin"] or ""),
        seed=experiment.seed,
    )


def export_teacher(prepared: ServerPart, cache_dir: Path) -> Path:
    """The teacher's float graph, beside its weights in the cache."""
    path = prepared.teacher.folder / "teacher.onnx"
    if not path.exists():
        network = prepared.teacher.load()
        inputs = inputs_like(take(prepared.stores["test"]))
        template = load_template(prepared.teacher.architecture, network, inputs, cache_dir)
        save_model(template.with_weights(network.state_dict()), path)
    return path


def describe_teacher(prepared: ServerPart, teacher_onnx: Path) -> Record:
    """The teacher's own row of the summary: sizes (of the ONNX file), and metrics on the test split."""
    test = take(prepared.stores["test"])
    network = prepared.teacher.load()
    metrics = detection_metrics(
        test.labels,
        probabilities(prepared.outputs["test"].logits),
        [clip.category for clip in test.clips],
    )
    return {
        "digest": prepared.teacher.digest,
        "num_epochs": prepared.teacher.num_epochs,
        "validation_auc": prepared.teacher.validation_auc,
        "num_parameters": count_parameters(network),
        "macs": count_macs(network, *inputs_like(test)).total,
        "size_bytes": teacher_onnx.stat().st_size,
        **asdict(metrics),
    }


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


def caveats(prepared: ServerPart) -> list[str]:
    """What must be said beside every figure of this run."""
    splits = [split for split in ("public", "clients") if split in prepared.stores]
    training = [clip for split in splits for clip in prepared.stores[split].clips]
    return leak_caveats(training, prepared.stores["test"].clips)


def verdict(error: BaseException | None) -> str:
    """How a run ended, in words."""
    if error is None:
        return "done"
    return f"failed: {error}" if isinstance(error, FedpinError) else f"ended by {type(error).__name__}"


def finish(
    run_dir: Path,
    experiment: Experiment,
    prepared: ServerPart,
    teacher_row: Record,
    scores: Scores,
    overrides: Sequence[str],
    told: Sequence[str],
    **extra: Any,
) -> None:
    """Write the summary, with ``extra`` keys, and the predictions of the last recorded round.

    The summary's verdict is of the exception that is on its way up, if there is one.
    """
    origin = read_origin(run_dir)
    summary = summarise(
        run_dir,
        teacher_row,
        asdict(experiment),
        overrides=list(overrides),
        partition={**asdict(experiment.partition), **prepared.skew}
        if isinstance(prepared, Prepared)
        else None,
        caveats=list(told),
        verdict=verdict(sys.exception()),
        sha256=file_digests(sorted(run_dir.glob("student*.onnx"))),
        clips={split: len(store) for split, store in prepared.stores.items()},
        skipped={split: [asdict(s) for s in store.skipped] for split, store in prepared.stores.items()},
        **({} if origin is None else {"branched_from": asdict(origin)}),
        **extra,
    )
    for key in ("latency_ms_p50", "latency_ms_p95"):
        teacher_row[key] = summary["teacher"][key] = summary["last_round"]["onnx"][f"teacher_{key}"]
    write_summary(run_dir, summary)
    test = take(prepared.stores["test"])
    teacher_scores = probabilities(np.asarray(prepared.outputs["test"].logits))
    columns = (scores.student, scores.int8, teacher_scores)
    write_predictions(
        run_dir,
        [
            Prediction(name, clip.label, clip.category, float(a), float(b), float(c), video=video)
            for clip, (name, video), a, b, c in zip(test.clips, clip_ids(test.clips), *columns, strict=True)
        ],
    )
