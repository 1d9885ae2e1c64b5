"""How long the networks of a study's runs take, all timed in turn in one process."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort

from fl.metrics.latency import Feeds, open_session, time_interleaved
from sim.finished import open_run
from sim.studies.study import Subject

FILES = {"student": "student.onnx", "int8": "student.int8.onnx"}
BATCH = 32
"""Pictures of the thesis's timing."""

NUM_WARMUP, NUM_RUNS = 3, 25

Times = Mapping[Subject, Mapping[str, float]]
"""Subject -> "latency_ms", "speedup" over the teacher, and "seconds_per_batch_32"."""


def time_subjects(subjects: Iterable[Subject], folders: Mapping[str, Path]) -> Times:
    """Time what has a graph: each pass runs every network once, one thread, so that ratios hold.

    Args:
        subjects: of a study; those without a graph of their own are left out.
        folders: job -> its finished run.
    """
    graphs: dict[Subject, Path] = {}
    for subject in subjects:
        folder = folders.get(subject.job)
        if folder is None:
            continue
        if subject.network in FILES:
            graphs[subject] = folder / FILES[subject.network]
        teacher = Subject(subject.job, "teacher")
        graphs[teacher] = open_run(folder).teacher_folder / "teacher.onnx"
    files = {path.resolve(): open_session(path) for path in graphs.values() if path.is_file()}
    one, many = (_medians(files, batch) for batch in (1, BATCH))
    times = {}
    for subject, path in graphs.items():
        reference, own = graphs[Subject(subject.job, "teacher")].resolve(), path.resolve()
        if own in one and reference in one:
            times[subject] = {
                "latency_ms": one[own],
                "speedup": one[reference] / one[own],
                "seconds_per_batch_32": many[own] / 1000,
            }
    return times


def _medians(sessions: Mapping[Path, ort.InferenceSession], batch_size: int) -> dict[Path, float]:
    """Median milliseconds of a pass of ``batch_size`` clips."""
    networks = {str(path): (session, _feeds(session, batch_size)) for path, session in sessions.items()}
    rng = np.random.default_rng(0)
    found = time_interleaved(networks, num_warmup=NUM_WARMUP, num_runs=NUM_RUNS, rng=rng)
    return {Path(name): latency.p50_ms for name, latency in found.items()}


def _feeds(session: ort.InferenceSession, batch_size: int) -> Feeds:
    """Noise of the shapes that a graph asks for; no time depends on the values. All modalities are there."""
    rng = np.random.default_rng(0)
    feeds = {}
    for put in session.get_inputs():
        shape = [size if isinstance(size, int) else batch_size for size in put.shape]
        feeds[put.name] = rng.standard_normal(shape).astype(np.float32)
        if put.name == "modalities":
            feeds[put.name] = np.ones(shape, np.float32)
    return feeds
