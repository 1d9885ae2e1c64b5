"""Latency in ONNX Runtime: one thread, one clip, networks measured in turn."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Feeds = Mapping[str, NDArray[np.float32]]

_ERROR = 3
"""ONNX Runtime's log severity: errors and worse."""


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass.

    Attributes:
        p50_ms: median.
        p95_ms: 95th percentile.
    """

    p50_ms: float
    p95_ms: float


def open_session(model: Path | bytes, num_threads: int = 1) -> ort.InferenceSession:
    """Load an ONNX network on the CPU.

    Args:
        model: the file, or its content.
        num_threads: threads within and across operators; 1 is what latencies are reported with.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = num_threads
    options.log_severity_level = _ERROR
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def time_interleaved(
    networks: Mapping[str, tuple[ort.InferenceSession, Feeds]],
    *,
    num_warmup: int,
    num_runs: int,
    rng: np.random.Generator,
) -> dict[str, Latency]:
    """Time several networks side by side, so that a busy machine slows all of them alike.

    Each pass runs every network once, in a random order. Ratios between networks of one call hold
    to 2 or 3 %; between calls they do not.

    Args:
        networks: name -> session and its inputs (batch 1 for a latency per clip).
        num_warmup: passes before the clock counts.
        num_runs: passes that are timed, at least 1.
        rng: draws the order.

    Returns:
        The same names -> latency.
    """
    names = list(networks)
    times_ns: dict[str, list[int]] = {name: [] for name in names}
    for index in range(num_warmup + num_runs):
        for position in rng.permutation(len(names)):
            name = names[position]
            session, feeds = networks[name]
            start = time.perf_counter_ns()
            session.run(None, feeds)
            if index >= num_warmup:
                times_ns[name].append(time.perf_counter_ns() - start)
    return {name: _summarise(values) for name, values in times_ns.items()}


def _summarise(values_ns: list[int]) -> Latency:
    p50, p95 = np.percentile(np.array(values_ns) / 1e6, [50, 95])
    return Latency(float(p50), float(p95))
