"""All rounds of a run, once its clients can be reached: examined, recorded, shown, summed up.

A simulation (`sim.run`) and a deployment (`sim.deploy.app`) differ in who the clients are; what is done with
their rounds is here, for both.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid

from fl.compress.export import load_template, save_model
from fl.compress.model_card import ModelCard
from fl.compress.sessions import inputs_like
from fl.data.shards import take
from fl.errors import FedpinError
from fl.metrics.cost import count_macs, count_parameters
from fl.metrics.detection import detection_metrics
from fl.metrics.scores import probabilities
from fl.privacy.central_gaussian import CentralGaussian
from fl.privacy.client_account import client_accounts
from fl.settings import Experiment
from server.app import make_server_app
from server.enrolment import EnrolledFleet
from server.evaluate import Evaluation, Examiner, calibration_clips
from server.parts import Record, Server
from server.strategy import DeterministicFedProx
from sim import checks
from sim.branch import read_origin
from sim.clip_ids import clip_ids
from sim.grids.messages import LocalGrid
from sim.prepare import Prepared, ServerPart
from sim.progress import Progress
from sim.provenance import file_digests, versions
from sim.record import Prediction, append_round, read_rounds, summarise, write_predictions, write_summary
from sim.report.caveats import leak_caveats
from sim.report.figures import draw_figures
from sim.report.table import print_table, rows_of_run
from sim.spending import go_on, open_releases, tell_spent
from sim.start import Resumed, Scores, inputs_of, make_student
from sim.trackers.tracking import Trackers


@dataclass(frozen=True)
class RunPlan:
    """What is done, with what, and where it is written.

    Attributes:
        experiment: all settings, checked.
        run_dir: an existing folder, of no other process.
        prepared: corpus, stores and teacher.
        overrides: the request as typed, for the summary.
        trackers: told of each round; open.
        progress: the display.
    """

    experiment: Experiment
    run_dir: Path
    prepared: ServerPart
    overrides: Sequence[str]
    trackers: Trackers
    progress: Progress


def conduct(
    plan: RunPlan,
    grid: Grid,
    context: Context,
    declared: Mapping[int, int],
    privacy: CentralGaussian | None,
    resumed: Resumed | None = None,
    fleet: EnrolledFleet | None = None,
    extra: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """All rounds that are left, with whatever clients the grid reaches, from first weights to the table.

    Args:
        plan: see there.
        grid: reaches the clients.
        context: of the server app.
        declared: clips of each client, by its number: 0, 1, ...
        privacy: the server's mechanism, if the run has one.
        resumed: where a run that was ended goes on.
        fleet: nodes that enrolled; None where all clients are in processes of our own.
        extra: further keys of the summary, asked for when it is written.

    Raises:
        FedpinError: with the cause; what was recorded is kept.
    """
    experiment, run_dir, prepared, progress = plan.experiment, plan.run_dir, plan.prepared, plan.progress
    cache_dir, told = checks.cache_dir(experiment), caveats(prepared)
    examiner = make_examiner(prepared, experiment, run_dir, cache_dir)
    teacher_row = describe_teacher(prepared, examiner.teacher_onnx)
    for record in read_rounds(run_dir):
        plan.trackers.round_done(record)
    student = resumed.student if resumed else make_student(prepared, experiment, cache_dir, progress)
    strategy = DeterministicFedProx(
        experiment.strategy,
        experiment.seed,
        experiment.distill,
        declared,
        fleet,
        privacy,
        client_accounts(experiment, declared),
        open_releases(run_dir, experiment.privacy),
    )
    go_on(strategy, resumed, progress)
    last = [resumed.scores] if resumed else []
    num_rounds, first_round = experiment.strategy.num_rounds, student.rounds_done + 1
    with progress.rounds(num_rounds, len(declared), first_round) as display:

        def on_round(record: Record, evaluation: Evaluation) -> None:
            plan.trackers.round_done(append_round(run_dir, record))
            last[:] = [Scores(evaluation.scores, evaluation.scores_int8)]
            display.round_done(record)

        if isinstance(grid, LocalGrid):
            grid.client_done = display.client_done
        public = take(prepared.stores["public"])
        server = Server(experiment, strategy, examiner, public, inputs_of(prepared), on_round)
        try:
            make_server_app(server, student)(grid, context)
        finally:
            if last:
                finish(plan, teacher_row, last[0], told, **extra())
    draw_figures(run_dir)
    print_table(rows_of_run(read_rounds(run_dir), teacher_row))
    tell_spent(strategy.account, progress, student.rounds_done, num_rounds)
    for caveat in told:
        progress.line(caveat)


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


def finish(plan: RunPlan, teacher_row: Record, scores: Scores, told: Sequence[str], **extra: Any) -> None:
    """Write the summary, with ``extra`` keys, and the predictions of the last recorded round.

    The summary's verdict is of the exception that is on its way up, if there is one.
    """
    experiment, run_dir, prepared = plan.experiment, plan.run_dir, plan.prepared
    origin = read_origin(run_dir)
    summary = summarise(
        run_dir,
        teacher_row,
        asdict(experiment),
        overrides=list(plan.overrides),
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
