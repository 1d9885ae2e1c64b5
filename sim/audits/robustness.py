"""A run's networks under compression, blur and noise: how well they rank, and what becomes of the threshold.

On the test split, worse and worse: the teacher, the dense student, the pruned one, and INT8. The threshold
is tuned on clean validation clips, and anew on validation clips that are as bad; test clips tune nothing.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.compress.sessions import run_session
from fl.cores import usable_cores
from fl.data.degrade import H264, LEVELS
from fl.data.shards import Shard, ShardView, take
from fl.distill.predict import predict
from fl.errors import RequestError
from fl.metrics.detection import detection_metrics
from fl.metrics.latency import open_session
from fl.metrics.scores import probabilities
from fl.metrics.threshold import Retuned, Scored, retune, tune_threshold
from fl.seeds import generator
from server.checkpoint import load_checkpoint
from server.evaluate import two_class_rows
from sim.audits.degraded import degraded_view
from sim.finished import FinishedRun
from sim.progress import Progress
from sim.record import read_rounds

CLEAN = "clean"

Scorer = Callable[[ShardView], NDArray[np.float32]]
"""Logits (clips,) of every clip of a view."""


@dataclass(frozen=True)
class Measurement:
    """One network at one quality, on the test split.

    Attributes:
        network: "teacher", "dense", "pruned" or "INT8".
        kind: of the degradation, a key of `fl.data.degrade.LEVELS`, or "clean".
        level: see `fl.data.degrade.UNITS`; None: clean.
        num_clips: that could be degraded.
        auc: None unless both classes are present.
        accuracy: at the threshold 0.5.
        mean_score: mean probability of fake.
        mean_score_change: that less the clean clips': whether the quality drives the answers to one side.
        threshold: at the threshold of clean validation clips, and of validation clips degraded alike.
    """

    network: str
    kind: str
    level: float | None
    num_clips: int
    auc: float | None
    accuracy: float | None
    mean_score: float
    mean_score_change: float
    threshold: Retuned


@dataclass(frozen=True)
class Robustness:
    """The whole audit.

    Attributes:
        run: the run's folder.
        num_clips: test clips that were used.
        num_fake: of them.
        num_validation_clips: on which thresholds are tuned.
        rule: of `fl.metrics.threshold.RULES`.
        max_fpr: false positive rate of the rule "fpr".
        measurements: clean first, then kind by kind.
        notes: what was left out, and why.
        figures: the plots that were written.
    """

    run: str
    num_clips: int
    num_fake: int
    num_validation_clips: int
    rule: str
    max_fpr: float
    measurements: tuple[Measurement, ...]
    notes: tuple[str, ...]
    figures: tuple[str, ...] = ()


def audit_robustness(run: FinishedRun, asked: Namespace) -> Robustness:
    """Every network of a run at every quality.

    Args:
        run: the run.
        asked: ``num_clips``, the most clips of a split to use, ``kinds``, ``rule`` and ``fpr``.
    """
    stores, progress = run.stores(("validation", "test")), Progress()
    networks, notes = open_networks(run)
    kinds = [kind for kind in LEVELS if kind in asked.kinds]
    if H264 in kinds and any(header.fps == 0 for store in stores.values() for header in store.headers):
        kinds.remove(H264)
        notes.append("no H.264: the clips are pictures")
    rows = {split: _chosen_rows(run, store, asked.num_clips) for split, store in stores.items()}
    clean = {split: take(store, rows[split]) for split, store in stores.items()}
    with progress.stage("Clean clips", total=len(networks)) as advance:
        measured = list(_measure(networks, CLEAN, None, clean, asked, ()))
        advance(len(networks))
    for kind in kinds:
        total = len(LEVELS[kind]) * sum(map(len, rows.values()))
        with progress.stage(f"Degrading: {kind}", total=total) as advance:
            for level in LEVELS[kind]:
                views = {}
                for split, store in stores.items():
                    views[split], told = degraded_view(run, store, rows[split], kind, level, advance)
                    notes += [f"{split}: {text}" for text in told]
                measured += _measure(networks, kind, level, views, asked, measured[: len(networks)])
    return Robustness(
        run=str(run.folder),
        num_clips=len(clean["test"]),
        num_fake=int(clean["test"].labels.sum()),
        num_validation_clips=len(clean["validation"]),
        rule=asked.rule,
        max_fpr=asked.fpr,
        measurements=tuple(measured),
        notes=tuple(notes),
    )


def open_networks(run: FinishedRun) -> tuple[dict[str, Scorer], list[str]]:
    """Name -> what it says of a view; and what is missing, with the reason.

    Raises:
        RequestError: an exported file is missing.
    """
    files = {
        "teacher": run.teacher_folder / "teacher.onnx",
        "pruned": run.folder / "student.onnx",
        "INT8": run.folder / "student.int8.onnx",
    }
    for path in files.values():
        if not path.is_file():
            raise RequestError(f"RUN must have {path.name}, but {str(path)!r} does not exist; run it again")
    exported: dict[str, Scorer] = {name: partial(_session_logits, path) for name, path in files.items()}
    teacher, last, int8 = exported.values()
    pruned = [record["round_index"] for record in read_rounds(run.folder) if record.get("prune")]
    if not pruned:
        return {"teacher": teacher, "dense": last, "INT8": int8}, ["the run did not prune its student"]
    before = run.folder / "checkpoints" / f"round-{min(pruned) - 1:03d}"
    if not before.is_dir():
        return exported, [f"no dense student: the run pruned it in round {min(pruned)}, its first"]
    _, network, _ = load_checkpoint(before)
    network.eval()
    networks = {"teacher": teacher, "dense": lambda view: predict(network, view)[0]}
    return {**networks, "pruned": last, "INT8": int8}, [
        f"dense: the student before it was pruned, after round {min(pruned) - 1}"
    ]


def _chosen_rows(run: FinishedRun, store: Shard, num_clips: int) -> NDArray[np.int64]:
    if len(store) <= num_clips:
        return np.arange(len(store))
    rng = generator(run.experiment.seed, 0, -1, "robustness clips")
    return two_class_rows(store.labels, num_clips, rng)


def _measure(
    networks: Mapping[str, Scorer],
    kind: str,
    level: float | None,
    views: Mapping[str, ShardView],
    asked: Namespace,
    clean: tuple[Measurement, ...] | list[Measurement],
) -> Iterator[Measurement]:
    """Every network on views of one quality; ``clean`` are the same networks', empty if this is clean."""
    reference = {measured.network: measured for measured in clean}
    for name, logits_of in networks.items():
        scored = {split: Scored(view.labels, probabilities(logits_of(view))) for split, view in views.items()}
        test = scored["test"]
        metrics, mean = detection_metrics(*test), float(np.mean(test.scores))
        if name in reference:
            before = reference[name].threshold.before
            kept, change = None if before is None else before.threshold, mean - reference[name].mean_score
        else:
            kept, change = tune_threshold(*scored["validation"], asked.rule, asked.fpr), 0.0
        yield Measurement(
            network=name,
            kind=kind,
            level=level,
            num_clips=len(views["test"]),
            auc=metrics.auc,
            accuracy=metrics.accuracy,
            mean_score=mean,
            mean_score_change=change,
            threshold=retune(asked.rule, kept, scored["validation"], test, asked.fpr),
        )


def _session_logits(path: Path, view: ShardView) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = run_session(open_session(path, usable_cores()), view)[0]
    return logits
