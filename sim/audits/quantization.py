"""Float against each INT8 variant of a run's student: answers, thresholds, sizes, latencies, layers."""

import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl.compress.audit import Answers, Quality, assess
from fl.compress.sessions import run_session, session_feeds
from fl.data.shards import Shard, ShardView
from fl.errors import RequestError
from fl.metrics.latency import open_session, time_interleaved
from fl.metrics.threshold import RULES, Retuned, Scored, retune, tune_threshold
from fl.seeds import derive, generator
from sim.audits.variants import layer_sensitivity, make_variants
from sim.finished import FinishedRun
from sim.progress import Progress

FLOAT = "float"
SHIPPED = "shipped"

MIN_TIMED_RUNS: Mapping[int, int] = {1: 40, 32: 12}
"""Batch size -> passes of each graph that are timed, however few the run asked for."""


@dataclass(frozen=True)
class BatchLatency:
    """Time of one pass of a whole batch in ONNX Runtime, one thread, all networks timed in turn.

    Attributes:
        batch_size: clips that pass at once.
        p50_ms: median.
        p95_ms: 95th percentile.
        ratio: the median over the float network's.
    """

    batch_size: int
    p50_ms: float
    p95_ms: float
    ratio: float


@dataclass(frozen=True)
class Variant:
    """One row of the audit.

    Attributes:
        name: "float", "shipped" (the run's own student.int8.onnx) or what was made for the audit.
        size_bytes: of the ONNX file.
        latency: for each batch size.
        quality: on the test split, at the threshold 0.5.
        thresholds: for each rule, on the test split at the threshold that the float network had on the
            validation split, and at the variant's own from there.
        passed: the largest change of the fake probability is within the tolerance.
    """

    name: str
    size_bytes: int
    latency: tuple[BatchLatency, ...]
    quality: Quality
    thresholds: tuple[Retuned, ...]
    passed: bool


@dataclass(frozen=True)
class Audit:
    """The whole audit.

    Attributes:
        run: the run's folder.
        tolerance: largest change of the fake probability that passes.
        max_fpr: false positive rate of the rule "fpr".
        num_clips: of the test split.
        num_validation_clips: on which thresholds are tuned, and nothing else.
        variants: the float network first.
        skipped: variant -> why it could not be made.
        sensitivity: see `sim.audits.variants.layer_sensitivity`; None where it was not measured.
        figures: the pictures that were written.
    """

    run: str
    tolerance: float
    max_fpr: float
    num_clips: int
    num_validation_clips: int
    variants: tuple[Variant, ...]
    skipped: dict[str, str]
    sensitivity: dict[str, Any] | None
    figures: tuple[str, ...] = ()

    @property
    def shipped(self) -> Variant:
        """What the run made itself."""
        return next(variant for variant in self.variants if variant.name == SHIPPED)

    @property
    def passed(self) -> bool:
        """Whether the variant that the run shipped holds the tolerance."""
        return self.shipped.passed


class Splits(NamedTuple):
    """What an audit looks at.

    Attributes:
        public: the server's clips: calibration, and fine-tuning.
        validation: on which thresholds are tuned.
        test: on which everything is judged.
        teacher_maps: (test clips, audio_steps, video_frames), the teacher's.
    """

    public: Shard
    validation: ShardView
    test: ShardView
    teacher_maps: NDArray[np.float32]


def audit_quantization(
    run: FinishedRun, splits: Splits, asked: Namespace
) -> tuple[Audit, dict[str, NDArray[np.float64]]]:
    """Make every variant, and hold each against the float network on the test split.

    Args:
        run: the run.
        splits: its clips.
        asked: ``tolerance``, ``fpr``, ``layers`` (whether to sweep them), and what `make_variants` takes.

    Returns:
        The audit, and variant -> (test clips,) probability of fake.

    Raises:
        RequestError: a file of the run or the teacher's answers are missing.
    """
    files = {FLOAT: run.folder / "student.onnx", SHIPPED: run.folder / "student.int8.onnx"}
    for path in files.values():
        if not path.is_file():
            raise RequestError(f"RUN must hold {path.name}, but {str(path)!r} does not exist; run it again")
    skipped: dict[str, str] = {}
    progress = Progress()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for variant, made in make_variants(run, splits.public, folder, asked, progress):
            if isinstance(made, Path):
                files[variant] = made
            else:
                skipped[variant] = str(made)
        sensitivity = layer_sensitivity(run, splits.public, folder, progress) if asked.layers else None
        if isinstance(sensitivity, RequestError):
            skipped["the sweep of the layers"] = str(sensitivity)
        scores: dict[str, NDArray[np.float64]] = {}
        audit = Audit(
            run=str(run.folder),
            tolerance=asked.tolerance,
            max_fpr=asked.fpr,
            num_clips=len(splits.test),
            num_validation_clips=len(splits.validation),
            variants=tuple(_measure(run, files, splits, asked, progress, scores)),
            skipped=skipped,
            sensitivity=sensitivity if isinstance(sensitivity, dict) else None,
        )
    return audit, scores


def _measure(
    run: FinishedRun,
    files: Mapping[str, Path],
    splits: Splits,
    asked: Namespace,
    progress: Progress,
    scores: dict[str, NDArray[np.float64]],
) -> Iterator[Variant]:
    """Every variant, the float network first; its scores on the test split go to ``scores``."""
    latencies = _time(run, files, splits.test, progress)
    seed = derive(run.experiment.seed, "audit eps")
    labels, float_answers, kept = splits.validation.labels, None, {}
    for name, path in files.items():
        session = open_session(path)
        answers = Answers(*run_session(session, splits.test))
        validation = Scored(labels, Answers(*run_session(session, splits.validation)).scores)
        if float_answers is None:  # only validation clips tune a threshold
            float_answers = answers
            kept = {rule: tune_threshold(*validation, rule, asked.fpr) for rule in RULES}
        scores[name] = answers.scores
        quality = assess(splits.test, float_answers, answers, splits.teacher_maps, seed)
        judged = Scored(splits.test.labels, answers.scores)
        yield Variant(
            name=name,
            size_bytes=path.stat().st_size,
            latency=latencies[name],
            quality=quality,
            thresholds=tuple(retune(rule, kept[rule], validation, judged, asked.fpr) for rule in RULES),
            passed=quality.change_max <= asked.tolerance,
        )


def _time(
    run: FinishedRun, files: Mapping[str, Path], test: ShardView, progress: Progress
) -> dict[str, tuple[BatchLatency, ...]]:
    """File -> its latency at each batch size, all files timed in turn."""
    settings = run.experiment.latency
    sessions = {name: open_session(path) for name, path in files.items()}
    found: dict[str, tuple[BatchLatency, ...]] = dict.fromkeys(files, ())
    with progress.stage("Latency", total=len(MIN_TIMED_RUNS)) as advance:
        for batch_size, min_runs in MIN_TIMED_RUNS.items():
            # A split of fewer clips is repeated: what is in them does not matter here.
            feeds = session_feeds(test, np.resize(np.arange(len(test)), batch_size))
            timings = time_interleaved(
                {name: (session, feeds) for name, session in sessions.items()},
                num_warmup=settings.num_warmup if batch_size == 1 else 1,
                num_runs=max(settings.num_runs, min_runs) if batch_size == 1 else min_runs,
                rng=generator(run.experiment.seed, batch_size, -1, "audit latency"),
            )
            for name, timed in timings.items():
                ratio = timed.p50_ms / timings[FLOAT].p50_ms
                found[name] += (BatchLatency(batch_size, timed.p50_ms, timed.p95_ms, ratio),)
            advance(1, f"batch {batch_size}")
    return found
