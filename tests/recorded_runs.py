"""What finished runs leave behind, made up, for tests of what reads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sim.record import Prediction, append_round, summarise, write_predictions, write_summary

NUM_CLIPS = 40
PARTITION = {
    "scheme": "dirichlet",
    "alpha": 1.0,
    "sizes": [4, 4, 4],
    "categories": ["real", "FaceSwap"],
    "counts": [[2, 2]] * 3,
    "qualities": ["h264"],
    "quality_counts": [[4]] * 3,
    "lacks": [""] * 3,
    "label_divergence": 0.0,
    "category_divergence": 0.1,
    "quality_divergence": 0.0,
}


def a_round(index: int, **changes: Any) -> dict[str, Any]:
    """A round of three clients: one replies, one straggles, one fails."""
    graph = {
        "size_bytes": 4_000_000,
        "latency_ms_p50": 2.0,
        "latency_ms_p95": 2.5,
        "accuracy": 0.5,
        "auc": 0.5,
    }
    return {
        "round_index": index,
        "clients": {
            "sampled": [0, 1, 2],
            "replied": [0, 1],
            "failed": [{"client_id": 2, "stage": "gate", "reason": "loss is <nan>"}],
            "missing": [],
            "stragglers": [1],
        },
        "train": {"loss": 1 / index},
        "global": {"accuracy": 0.5, "f1": 0.5, "auc": 0.5},
        "eps": {"mean": 0.5, "ci95": [0.4, 0.6], "shuffled": 0.3},
        "onnx": {"fp32": graph, "int8": {**graph, "latency_ms_p50": 1.0}, "teacher_latency_ms_p50": 20.0},
        "bytes": {"down": 1_500_000, "up": 1_000_000},
        "simulated": {"round_s": 30.25, "by_device": {"camera": 30.25, "phone": 3.0}},
        **changes,
    }


def predictions(seed: int, num_clips: int = NUM_CLIPS) -> list[Prediction]:
    rng = np.random.default_rng(seed)
    found = []
    for index in range(num_clips):
        label = index % 2
        score, int8, teacher = np.clip(0.4 * label + 0.3 + rng.normal(0, 0.25, 3), 0, 1)
        category = "FaceSwap <b>" if label else "real"
        found.append(
            Prediction(f"{index:03}.mp4", label, category, float(score), float(int8), float(teacher))
        )
    return found


def write_run(
    folder: Path,
    seed: int = 0,
    rows: Sequence[Prediction] | None = None,
    settings: str = "seed: 1\n",
    rounds: Sequence[dict[str, Any]] | None = None,
) -> Path:
    """The records of a run of two rounds; ``seed`` draws its predictions."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(settings)
    for record in rounds or [a_round(1), a_round(2)]:
        append_round(folder, record)
    teacher = {"latency_ms_p50": 20.0, "accuracy": 0.9, "auc": 0.9}
    summary = summarise(folder, teacher, {}, partition=PARTITION, caveats=["LEAK: <1> clip"], overrides=[])
    write_summary(folder, summary)
    write_predictions(folder, predictions(seed) if rows is None else rows)
    return folder
