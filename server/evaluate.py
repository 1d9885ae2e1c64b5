"""What a round's student is worth: accuracy, EPS, and the exported ONNX graphs, float and INT8."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import load as load_onnx
from torch import nn

from fl.compress.export import load_template, max_difference, save_model
from fl.compress.model_card import ModelCard, write_card
from fl.compress.quantize import Calibration, quantize_student, recipe_of
from fl.compress.sessions import inputs_like, run_session, session_feeds
from fl.data.shards import ShardView
from fl.distill.batches import TeacherOutputs, load_batch
from fl.distill.predict import predict, valid_rows
from fl.metrics.cost import count_macs, count_parameters, size_bytes
from fl.metrics.detection import DetectionMetrics, detection_metrics
from fl.metrics.explanation import EpsSummary, eps
from fl.metrics.latency import Latency, open_session, time_interleaved
from fl.metrics.scores import probabilities
from fl.seeds import generator
from fl.settings import CompressSettings, LatencySettings
from fl.state import flatten, weights_sha256
from models.architecture import Architecture

PARITY_CLIPS = 8
"""Test clips on which the exported graph is compared with PyTorch each round."""


@dataclass(frozen=True)
class Examiner:
    """What every evaluation needs, the same in all rounds.

    Attributes:
        test: the test split.
        outputs: the teacher's on it.
        calibration: public clips of both classes, for static INT8.
        teacher_onnx: the teacher's float graph.
        compress: the INT8 recipe.
        latency: how many runs are timed.
        run_dir: where the exported graphs go.
        cache_dir: where exported graphs are kept.
        card: what the exported graphs say of themselves; the architecture is filled in.
        seed: of the bootstrap and of the order of timed runs.
        macs: what `macs_of` has counted, by the architecture's digest.
    """

    test: ShardView
    outputs: TeacherOutputs
    calibration: Calibration
    teacher_onnx: Path
    compress: CompressSettings
    latency: LatencySettings
    run_dir: Path
    cache_dir: Path
    card: ModelCard
    seed: int
    macs: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """A student's evaluation: parts of the round's record, and its scores.

    Attributes:
        parts: "student", "global", "eps" and "onnx" as in `rounds.jsonl`.
        scores: (clips,), the float student's probability of fake on the test split.
        scores_int8: (clips,), the INT8 student's.
    """

    parts: dict[str, Any]
    scores: np.ndarray
    scores_int8: np.ndarray


def evaluate_student(
    architecture: Architecture,
    network: nn.Module,
    examiner: Examiner,
    round_index: int,
    stem: str = "student",
) -> Evaluation:
    """Measure a student on the test split: in PyTorch, as float ONNX, and as INT8 ONNX.

    The graphs are written to ``<stem>.onnx`` and ``<stem>.int8.onnx`` in the run's folder.
    """
    logits, maps = predict(network, examiner.test)
    scores = probabilities(logits)
    float_onnx, int8_onnx, difference = export_student(architecture, network, examiner, stem)
    sessions = {
        "teacher": open_session(examiner.teacher_onnx),
        "fp32": open_session(float_onnx),
        "int8": open_session(int8_onnx),
    }
    fp32_logits, _ = run_session(sessions["fp32"], examiner.test)
    int8_logits, int8_maps = run_session(sessions["int8"], examiner.test)
    feeds = session_feeds(examiner.test, np.arange(1))
    timings = time_interleaved(
        {name: (session, feeds) for name, session in sessions.items()},
        num_warmup=examiner.latency.num_warmup,
        num_runs=examiner.latency.num_runs,
        rng=generator(examiner.seed, round_index, -1, "latency"),
    )
    eps_int8 = explain(examiner, int8_maps, round_index)
    onnx = {
        "fp32": _graph_row(float_onnx, timings["fp32"], measure(examiner, fp32_logits)),
        "int8": {
            **_graph_row(int8_onnx, timings["int8"], measure(examiner, int8_logits)),
            "eps": eps_int8.mean,
            "eps_shuffled": eps_int8.shuffled,
            "flips": int(((int8_logits > 0) != (fp32_logits > 0)).sum()),
        },
        "speedup_int8": timings["teacher"].p50_ms / timings["int8"].p50_ms,
        "teacher_latency_ms_p50": timings["teacher"].p50_ms,
        "teacher_latency_ms_p95": timings["teacher"].p95_ms,
        "max_difference": difference,
        "int8_recipe": recipe_of(architecture, examiner.compress.int8),
    }
    parts = {
        "student": describe(architecture, network, examiner),
        "global": asdict(measure(examiner, logits)),
        "eps": asdict(explain(examiner, maps, round_index)),
        "onnx": onnx,
    }
    return Evaluation(parts, scores, probabilities(int8_logits))


def export_student(
    architecture: Architecture, network: nn.Module, examiner: Examiner, stem: str
) -> tuple[Path, Path, float]:
    """Write the float and the INT8 graph; the largest difference of the float one from PyTorch."""
    inputs = inputs_like(examiner.test)
    template = load_template(architecture, network, inputs, examiner.cache_dir)
    card = replace(examiner.card, architecture_sha256=architecture.sha256)
    model = write_card(template.with_weights(network.state_dict()), card)
    float_onnx = save_model(model, examiner.run_dir / f"{stem}.onnx")
    int8_onnx = quantize_student(
        architecture,
        float_onnx,
        examiner.run_dir / f"{stem}.int8.onnx",
        examiner.compress,
        examiner.calibration,
    )
    save_model(write_card(load_onnx(int8_onnx), card), int8_onnx)
    indices = np.arange(min(PARITY_CLIPS, len(examiner.test)))
    batch = load_batch(examiner.test, indices)
    difference = max_difference(open_session(float_onnx), network, batch.inputs)
    return float_onnx, int8_onnx, difference


def measure(examiner: Examiner, logits: np.ndarray) -> DetectionMetrics:
    """Detection metrics of (clips,) logits on the test split."""
    categories = [clip.category for clip in examiner.test.clips]
    return detection_metrics(examiner.test.labels, probabilities(logits), categories)


def explain(examiner: Examiner, maps: np.ndarray, round_index: int) -> EpsSummary:
    """EPS of (clips, rows, columns) maps against the teacher's on the test split."""
    rng = generator(examiner.seed, round_index, -1, "eps")
    teacher_maps = examiner.outputs.maps[examiner.test.rows]
    return eps(teacher_maps, maps, valid_rows(examiner.test, teacher_maps), rng)


def describe(architecture: Architecture, network: nn.Module, examiner: Examiner) -> dict[str, Any]:
    """The "student" part of a record: digests, parameters, MACs of one clip, bytes."""
    return {
        "architecture_sha256": architecture.sha256,
        "weights_sha256": weights_sha256(flatten(network)),
        "num_parameters": count_parameters(network),
        "macs": macs_of(architecture, examiner),
        "size_bytes": size_bytes(network),
    }


def macs_of(architecture: Architecture, examiner: Examiner) -> int:
    """Multiply-accumulates of one test clip, counted once for each architecture: no weight matters."""
    if architecture.sha256 not in examiner.macs:
        macs = count_macs(architecture.build(), *inputs_like(examiner.test))
        examiner.macs[architecture.sha256] = macs.total
    return examiner.macs[architecture.sha256]


def calibration_clips(public: ShardView, num_clips: int, seed: int) -> Calibration:
    """The public clips of both classes from which a run, and its audit, take the ranges of INT8.

    Args:
        public: the server's own clips.
        num_clips: how many, half of each class as far as there are.
        seed: of the run.
    """
    rows = two_class_rows(public.labels, num_clips, generator(seed, 0, -1, "calibration"))
    batch = load_batch(public, rows)
    return Calibration(*(tensor.numpy() for tensor in (*batch.inputs, batch.labels)))


def two_class_rows(labels: np.ndarray, num_clips: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of ``num_clips`` clips, half of each class as far as there are, in rising order."""
    chosen: list[int] = []
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        chosen += rng.permutation(rows)[: num_clips // 2].tolist()
    return np.array(sorted(chosen), dtype=np.int64)


def _graph_row(path: Path, timing: Latency, metrics: DetectionMetrics) -> dict[str, Any]:
    return {
        "size_bytes": path.stat().st_size,
        "latency_ms_p50": timing.p50_ms,
        "latency_ms_p95": timing.p95_ms,
        "accuracy": metrics.accuracy,
        "f1": metrics.f1,
        "auc": metrics.auc,
    }
