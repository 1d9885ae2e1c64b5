"""`python -m sim audit compression RUN`: a run's student pruned, quantised, and both, side by side."""

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from torch import nn

from clients.round import local_loss
from fl.compress.audit import Answers
from fl.compress.calibration import Calibration
from fl.compress.qat import fine_tune
from fl.compress.quantize import quantize_int8
from fl.compress.sessions import inputs_like, run_session, session_feeds
from fl.data.shards import Shard, ShardView, take
from fl.distill.batches import TeacherOutputs
from fl.distill.predict import valid_rows
from fl.errors import RequestError
from fl.metrics.cost import count_macs, count_parameters
from fl.metrics.detection import detection_metrics
from fl.metrics.explanation import EpsSummary, eps
from fl.metrics.latency import open_session, time_interleaved
from fl.seeds import derive, generator
from sim.audits.candidates import Candidate, Workshop, dense_student, make_candidates
from sim.audits.compression_aims import DENSE, FLOAT, TEACHER, TUNED, Compression, Row, judge
from sim.audits.variants import RECIPES, calibration_of, save_float
from sim.commands.arguments import Parser, run_parser
from sim.finished import FinishedRun, open_run
from sim.progress import Progress

RATIOS = (0.25, 0.35, 0.5, 0.65, 0.75)
VARIANTS = ("dynamic", "static", "mixed", "weight_only")
QAT = "qat"
MIN_TIMED_RUNS = 100
"""Passes that are timed. They steady a median; what the place of a session in memory does, they do not."""


def main(argv: Sequence[str]) -> int:
    """Prune, fine-tune, quantise, measure; draw the figure, and print the table or one JSON object.

    Returns:
        0.

    Raises:
        RequestError: the request is wrong, the run has no dense student, or something of it is not in
            the cache.
    """
    asked = _parser().parse_args(argv)
    _check(asked)
    from sim.report.compression import print_compression
    from sim.report.compression_figure import draw_compression

    run = open_run(asked.run, asked.cache_dir)
    told = audit_compression(run, run.stores(("public", "test")), asked)
    told = replace(told, figure=str(draw_compression(told, asked.run / "figures")))
    if asked.json:
        sys.stdout.write(json.dumps(asdict(told), indent=2, allow_nan=False) + "\n")
    else:
        print_compression(told)
    return 0


def audit_compression(run: FinishedRun, stores: Mapping[str, Shard], asked: Namespace) -> Compression:
    """Every network of the table, measured on the run's test split.

    Args:
        run: the run.
        stores: its clips, "public" and "test".
        asked: ``ratios``, ``epochs``, ``variants``, ``qat``, ``targets``, ``round_to`` and ``ratio_of``.
    """
    _, _, dense_round = dense_student(run)
    progress = Progress()
    teacher_onnx = run.teacher_folder / "teacher.onnx"
    if not teacher_onnx.is_file():
        raise RequestError(f"the cache must hold {teacher_onnx}, but it does not exist; repeat the run")
    public, test = stores["public"], take(stores["test"])
    compress = replace(
        run.experiment.compress,
        targets=asked.targets,
        round_to=asked.round_to or run.experiment.compress.round_to,
        ratio_of=asked.ratio_of,
    )
    workshop = Workshop(run, public, run.teacher_answers(public), compress, asked.epochs)
    total = asked.epochs * (1 + len(asked.ratios))
    with progress.stage("Pruning and fine-tuning, epochs", total=total or None) as advance:
        candidates = list(make_candidates(workshop, tuple(asked.ratios), advance))
    with tempfile.TemporaryDirectory() as folder:
        calibration = calibration_of(run, public)
        graphs: dict[tuple[str, str], Path] = {}
        with progress.stage("Graphs", total=len(candidates)) as advance:
            for candidate in candidates:
                qat = asked.qat if candidate is candidates[-1] else 0
                graphs.update(_export(workshop, candidate, calibration, asked.variants, qat, Path(folder)))
                advance(1, candidate.name)
        rows = _measure(run, candidates, teacher_onnx, graphs, test, run.teacher_outputs(stores["test"]))
    return Compression(
        run=str(run.folder),
        dense_round=dense_round,
        num_clips=len(test),
        targets=compress.targets,
        ratio_of=compress.ratio_of,
        round_to=compress.round_to,
        num_epochs=asked.epochs,
        rows=tuple(rows),
        aims=judge(rows),
    )


def _export(
    workshop: Workshop,
    candidate: Candidate,
    calibration: Calibration,
    variants: Sequence[str],
    qat_epochs: int,
    folder: Path,
) -> Iterator[tuple[tuple[str, str], Path]]:
    """(network, variant) -> file: float, and INT8 by each recipe; of the control only the float one."""
    name, stem = candidate.name, folder / f"{candidate.name}.onnx"

    def save(network: nn.Module, path: Path) -> Path:
        return save_float(workshop.run, candidate.architecture, network, workshop.view, path)

    float_onnx = save(candidate.network, stem.with_suffix(".float.onnx"))
    yield (name, FLOAT), float_onnx
    if name == TUNED:
        return
    for variant in variants:
        recipe, method = RECIPES[variant]
        destination = stem.with_suffix(f".{variant}.onnx")
        yield (name, variant), quantize_int8(float_onnx, destination, recipe, calibration, method)
    if qat_epochs:
        settings = workshop.run.experiment.distill
        network = fine_tune(
            candidate.network,
            workshop.view,
            workshop.answers,
            local_loss(settings, workshop.public.labels),
            settings,
            num_epochs=qat_epochs,
            seed=derive(workshop.run.experiment.seed, "compression"),
        )
        source = save(network, stem.with_suffix(".rounded.onnx"))
        yield (name, QAT), quantize_int8(source, stem.with_suffix(".qat.onnx"), "static", calibration)


def _measure(
    run: FinishedRun,
    candidates: Sequence[Candidate],
    teacher_onnx: Path,
    graphs: Mapping[tuple[str, str], Path],
    test: ShardView,
    teacher: TeacherOutputs,
) -> list[Row]:
    files = {(TEACHER, FLOAT): teacher_onnx, **graphs}
    sessions = {key: open_session(path) for key, path in files.items()}
    feeds, latency = session_feeds(test, np.arange(1)), run.experiment.latency
    timed = time_interleaved(
        {"/".join(key): (session, feeds) for key, session in sessions.items()},
        num_warmup=latency.num_warmup,
        num_runs=max(latency.num_runs, MIN_TIMED_RUNS),
        rng=generator(run.experiment.seed, 0, -1, "compression latency"),
    )
    timings = {key: timed["/".join(key)] for key in files}
    answers = {key: Answers(*run_session(session, test)) for key, session in sessions.items()}
    costs = {found.name: (found.ratio, *_cost(found, test)) for found in candidates}
    told = json.loads((run.folder / "summary.json").read_text())["teacher"]
    costs[TEACHER] = (0.0, int(told["num_parameters"]), int(told["macs"]))
    rows = []
    for (name, variant), path in files.items():
        said, own = answers[name, variant], timings[name, variant]
        metrics = detection_metrics(test.labels, said.scores)
        explained = _explain(run, test, teacher, said)
        flipped = (said.logits > 0) != (answers[name, FLOAT].logits > 0)
        rows.append(
            Row(
                network=name,
                variant=variant,
                ratio=costs[name][0],
                num_parameters=costs[name][1],
                macs=costs[name][2],
                size_bytes=path.stat().st_size,
                latency_ms_p50=own.p50_ms,
                latency_ms_p95=own.p95_ms,
                speedup_teacher=timings[TEACHER, FLOAT].p50_ms / own.p50_ms,
                speedup_dense=timings[DENSE, FLOAT].p50_ms / own.p50_ms,
                accuracy=metrics.accuracy,
                auc=metrics.auc,
                eps=explained.mean,
                eps_shuffled=explained.shuffled,
                num_flips=int(flipped.sum()),
            )
        )
    return rows


def _cost(found: Candidate, test: ShardView) -> tuple[int, int]:
    inputs = inputs_like(test)
    return count_parameters(found.network), count_macs(found.network, *inputs).total


def _explain(run: FinishedRun, test: ShardView, teacher: TeacherOutputs, answers: Answers) -> EpsSummary:
    """EPS against the teacher."""
    maps = teacher.maps[test.rows]
    rng = generator(run.experiment.seed, 0, -1, "compression eps")
    return eps(maps, answers.maps, valid_rows(test, maps), rng)


def _check(asked: Namespace) -> None:
    for ratio in asked.ratios:
        if not 0 < ratio < 1:
            raise RequestError(f"--ratios must be shares in (0, 1), got {ratio:g}; 35 % is 0.35")
    if len(set(asked.ratios)) != len(asked.ratios):
        raise RequestError(f"--ratios must differ, got {' '.join(f'{r:g}' for r in asked.ratios)}")
    for name, least in (("epochs", 0), ("qat", 0), ("round_to", 0)):
        if getattr(asked, name) < least:
            option = name.replace("_", "-")
            raise RequestError(f"--{option} must be at least {least}, got {getattr(asked, name)}")


def _parser() -> Parser:
    parser = run_parser(
        "compression",
        "A run's dense student, pruned to several shares, fine-tuned from the teacher on the server's public "
        "clips, and quantised: size, latency, accuracy and EPS of each on the test split.",
    )
    add = parser.add_argument
    add("--ratios", nargs="+", type=float, default=RATIOS, metavar="R", help=f"shares to prune {RATIOS}")
    add(
        "--ratio-of", choices=("channels", "parameters"), default="channels", help="shares of what (channels)"
    )
    add("--targets", choices=("backbone", "all"), default="all", help="what is pruned (all)")
    add("--round-to", type=int, default=0, help="widths are multiples of this (the run's compress.round_to)")
    add("--epochs", type=int, default=4, help="of fine-tuning, of the dense control too; 0: none (4)")
    add("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, help="INT8 of each (all)")
    add("--qat", type=int, default=2, metavar="EPOCHS", help="with rounding, of the last ratio; 0: none (2)")
    return parser
