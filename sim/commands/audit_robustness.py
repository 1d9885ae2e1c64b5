"""`python -m sim audit robustness RUN`: what compression, blur and noise cost a run's networks.

On the test split, worse and worse: the teacher, the student before pruning, the pruned one, and INT8.
The threshold is looked at too: where it would have to lie for each quality, and what it costs to leave it.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_curve

from fl.compress.sessions import run_session
from fl.data.degrade import H264, LEVELS, degrade_crops, reencoded_crops
from fl.data.shards import Shard, ShardView, take
from fl.distill.predict import predict
from fl.errors import RequestError
from fl.metrics.detection import check_table, detection_metrics
from fl.metrics.latency import open_session
from fl.metrics.scores import probabilities
from fl.seeds import generator
from server.checkpoint import load_checkpoint
from server.evaluate import two_class_rows
from sim.commands.arguments import Parser, run_parser
from sim.finished import FinishedRun, open_run
from sim.progress import Advance, Progress
from sim.record import read_rounds

CLEAN = "clean"
DEFAULT_CLIPS = 400

Scorer = Callable[[ShardView], np.ndarray]
"""Logits (clips,) of every clip of a view."""


@dataclass(frozen=True)
class Measurement:
    """One network at one quality.

    Attributes:
        network: "teacher", "student", "pruned" or "INT8".
        kind: of the degradation, a key of `fl.data.degrade.LEVELS`, or "clean".
        level: see `fl.data.degrade.UNITS`; None: clean.
        auc: None unless both classes are present.
        accuracy: at the threshold in use, 0.5.
        best_threshold: where true less false positives are most (Youden's J) on these very clips.
        accuracy_best: at that threshold: what a threshold for each quality could reach.
        mean_score: mean probability of fake: whether the quality drives the answers to one side.
    """

    network: str
    kind: str
    level: float | None
    auc: float | None
    accuracy: float | None
    best_threshold: float | None
    accuracy_best: float | None
    mean_score: float


@dataclass(frozen=True)
class Robustness:
    """The whole audit.

    Attributes:
        run: the run's folder.
        num_clips: test clips that were used.
        num_fake: of them.
        measurements: clean first, then kind by kind.
        notes: what was left out, and why.
        figures: the plots that were written.
    """

    run: str
    num_clips: int
    num_fake: int
    measurements: tuple[Measurement, ...]
    notes: tuple[str, ...]
    figures: tuple[str, ...] = ()


def main(argv: Sequence[str]) -> int:
    """Measure, draw one plot per kind into the run's figures, and print the table or one JSON object.

    Returns:
        0.

    Raises:
        RequestError: the request is wrong, or something of the run is not in the cache.
        DataError: a file of the corpus cannot be read any more.
    """
    asked = _parser().parse_args(argv)
    if asked.num_clips < 2:
        raise RequestError(f"--num-clips must be at least 2, got {asked.num_clips}; one real, one fake")
    from sim.report.robustness import draw_robustness, print_robustness

    audit = audit_robustness(open_run(asked.run, asked.cache_dir), asked)
    figures = draw_robustness(audit, asked.run / "figures")
    audit = replace(audit, figures=tuple(str(path) for path in figures))
    if asked.json:
        sys.stdout.write(json.dumps(asdict(audit), indent=2, allow_nan=False) + "\n")
    else:
        print_robustness(audit)
    return 0


def audit_robustness(run: FinishedRun, asked: Namespace) -> Robustness:
    """Every network of a run at every quality.

    Args:
        run: the run.
        asked: ``num_clips``, the most test clips to use, and ``kinds``.
    """
    store, progress = run.stores(("test",))["test"], Progress()
    rows = np.arange(len(store))
    if len(store) > asked.num_clips:
        rng = generator(run.experiment.seed, 0, -1, "robustness clips")
        rows = two_class_rows(store.labels, asked.num_clips, rng)
    networks, notes = open_networks(run)
    kinds = [kind for kind in LEVELS if kind in asked.kinds]
    if H264 in kinds and any(header.fps == 0 for header in store.headers):
        kinds.remove(H264)
        notes.append("no H.264: the clips are pictures")
    clean = take(store, rows)
    measured = list(_measure(networks, CLEAN, None, clean))
    for kind in kinds:
        total = len(LEVELS[kind]) * len(rows)
        with progress.stage(f"Degrading: {kind}", total=total) as advance:
            for level in LEVELS[kind]:
                view = degraded_view(run, store, rows, kind, level, advance)
                measured += _measure(networks, kind, level, view)
    return Robustness(str(run.folder), len(rows), int(clean.labels.sum()), tuple(measured), tuple(notes))


def open_networks(run: FinishedRun) -> tuple[dict[str, Scorer], list[str]]:
    """Name -> what it says of a view; and what is missing, with the reason.

    Raises:
        RequestError: an exported file is missing.
    """
    files = {
        "teacher": run.teacher_folder / "teacher.onnx",
        "student": run.folder / "student.onnx",
        "INT8": run.folder / "student.int8.onnx",
    }
    for path in files.values():
        if not path.is_file():
            raise RequestError(f"RUN must have {path.name}, but {str(path)!r} does not exist; run it again")
    exported: dict[str, Scorer] = {name: partial(_session_logits, path) for name, path in files.items()}
    pruned = [record["round_index"] for record in read_rounds(run.folder) if record.get("prune")]
    if not pruned:
        return exported, ["the run did not prune its student"]
    networks = {"teacher": exported["teacher"], "pruned": exported["student"], "INT8": exported["INT8"]}
    before = run.folder / "checkpoints" / f"round-{min(pruned) - 1:03d}"
    if not before.is_dir():
        return networks, [f"no dense student: the run pruned it in round {min(pruned)}, its first"]
    _, dense, _ = load_checkpoint(before)
    scorers = {"teacher": networks.pop("teacher"), "student": lambda view: predict(dense, view)[0]}
    return {**scorers, **networks}, [f"student: as it was before pruning, after round {min(pruned) - 1}"]


def degraded_view(
    run: FinishedRun, store: Shard, rows: np.ndarray, kind: str, level: float, advance: Advance
) -> ShardView:
    """The clips of those rows with pictures made worse; their sound is left as it is.

    Raises:
        ClipError: a file cannot be read any more.
    """
    data, frames = run.experiment.data, []
    for row in rows:
        if kind == H264:
            clip = store.clips[row]
            worse = reencoded_crops(
                clip.path,
                level,
                store.boxes[row],
                data.clip,
                data.media,
                crop=clip.crop,
                num_crops=clip.num_crops,
            )
        else:
            # One stream of noise per clip: at every level it has the same shape.
            rng = generator(run.experiment.seed, 0, int(row), "robustness noise")
            worse = degrade_crops(np.array(store.frames[row]), kind, level, rng)
        frames.append(worse)
        advance(1, f"{level:g}")
    chosen = replace(
        store,
        clips=tuple(store.clips[row] for row in rows),
        headers=tuple(store.headers[row] for row in rows),
        frames=np.stack(frames),
        **{name: getattr(store, name)[rows] for name in ("mfcc", "labels", "valid_steps", "has_audio")},
        **{name: getattr(store, name)[rows] for name in ("boxes", "times")},
    )
    return take(chosen)


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """The threshold at which true positive rate less false positive rate is most (Youden 1950).

    Args:
        labels: (clips,), 1 = fake.
        scores: (clips,), probability of fake.

    Returns:
        In [0, 1], to be used as "fake if above"; midway to the next lower score, of several the highest;
        None unless both classes are present.
    """
    truth, score = check_table(labels, scores)
    if len(np.unique(truth)) < 2:
        return None
    false_positive, true_positive, cuts = roc_curve(truth, score, drop_intermediate=False)
    # A cut of roc_curve calls "fake" what is at least as high; its first calls nothing so, its last all.
    best = int(np.argmax(true_positive - false_positive))
    return float((min(cuts[best], 1.0) + cuts[best + 1]) / 2)


def _measure(
    networks: Mapping[str, Scorer], kind: str, level: float | None, view: ShardView
) -> Iterator[Measurement]:
    for name, logits_of in networks.items():
        scores = probabilities(logits_of(view))
        metrics = detection_metrics(view.labels, scores)
        threshold = best_threshold(view.labels, scores)
        reached = None if threshold is None else detection_metrics(view.labels, scores, None, threshold)
        yield Measurement(
            network=name,
            kind=kind,
            level=level,
            auc=metrics.auc,
            accuracy=metrics.accuracy,
            best_threshold=threshold,
            accuracy_best=None if reached is None else reached.accuracy,
            mean_score=float(scores.mean()),
        )


def _session_logits(path: Path, view: ShardView) -> np.ndarray:
    return run_session(open_session(path), view)[0]


def _parser() -> Parser:
    parser = run_parser(
        "robustness", "A run's networks on its test clips, degraded: JPEG, resizing, blur, noise, H.264."
    )
    parser.add_argument(
        "--kinds", nargs="+", choices=tuple(LEVELS), default=tuple(LEVELS), help="which degradations (all)"
    )
    parser.add_argument(
        "--num-clips",
        type=int,
        default=DEFAULT_CLIPS,
        help=f"at most so many test clips, half of each class ({DEFAULT_CLIPS})",
    )
    return parser
