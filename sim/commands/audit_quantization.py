"""`python -m sim audit quantization RUN`: what each way of quantising costs a run's student."""

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.round import loss_terms
from fl.compress.audit import Answers, Quality, assess
from fl.compress.calibration import Calibration
from fl.compress.export import load_template, save_model
from fl.compress.qat import fine_tune
from fl.compress.quantize import quantize_int8, quantize_one_class
from fl.compress.sessions import run_session, session_feeds
from fl.data.shards import Shard, ShardView, take
from fl.distill.teacher import live_teacher
from fl.errors import RequestError
from fl.metrics.latency import open_session, time_interleaved
from fl.seeds import derive, generator
from server.evaluate import calibration_clips, inputs_of
from sim.commands.arguments import Parser, run_parser
from sim.finished import FinishedRun, open_run
from sim.progress import Progress

FLOAT = "float"
SHIPPED = "shipped"

MIN_TIMED_RUNS = 40
"""Passes of each graph that are timed, however few the run asked for: ratios of fewer mean little."""

RECIPES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "dynamic": ("dynamic", "minmax"),
        "static": ("static", "minmax"),
        "percentile": ("static", "percentile"),
        "entropy": ("static", "entropy"),
        "mixed": ("mixed", "minmax"),
        "weight-only": ("weight_only", "minmax"),
    }
)
"""Variant -> recipe and calibration method."""


@dataclass(frozen=True)
class Variant:
    """One row of the audit.

    Attributes:
        name: "float", "shipped" (the run's own student.int8.onnx) or what was made for the audit.
        size_bytes: of the ONNX file.
        latency_ms_p50: median of one clip, one thread.
        latency_ratio: that over the float network's, both timed in turn.
        quality: on the test split.
        passed: the largest change of the fake probability is within the tolerance.
    """

    name: str
    size_bytes: int
    latency_ms_p50: float
    latency_ratio: float
    quality: Quality
    passed: bool


@dataclass(frozen=True)
class Audit:
    """The whole audit.

    Attributes:
        run: the run's folder.
        tolerance: largest change of the fake probability that passes.
        num_clips: of the test split.
        variants: the float network first.
        skipped: variant -> why it could not be made.
        sensitivity: the sweep behind "mixed", see `fl.compress.sensitivity.MixedPrecision`; None
            where that could not be made.
    """

    run: str
    tolerance: float
    num_clips: int
    variants: tuple[Variant, ...]
    skipped: dict[str, str]
    sensitivity: dict[str, Any] | None

    @property
    def passed(self) -> bool:
        """Whether the variant that the run shipped holds the tolerance."""
        return next(variant.passed for variant in self.variants if variant.name == SHIPPED)


def main(argv: Sequence[str]) -> int:
    """Print the table, or with ``--json`` one object.

    Returns:
        0; 1 if the shipped variant breaks the tolerance, which a line on standard error says.

    Raises:
        RequestError: the request is wrong, or something of the run is not in the cache.
    """
    asked = _parser().parse_args(argv)
    if not 0 < asked.tolerance <= 1:
        raise RequestError(f"--tolerance must be in (0, 1], got {asked.tolerance:g}; it is a probability")
    if asked.qat < 0:
        raise RequestError(f"--qat must be at least 0 epochs, got {asked.qat}; 0 leaves it out")
    unknown = [name for name in asked.variants if name not in RECIPES]
    if unknown:
        raise RequestError(f"--variants must be of {', '.join(RECIPES)}, got {unknown[0]!r}")
    run = open_run(asked.run, asked.cache_dir)
    stores = run.stores(("public", "test"))
    test = take(stores["test"])
    teacher_maps = run.teacher_outputs(stores["test"]).maps[test.rows]
    audit = audit_quantization(run, stores["public"], test, teacher_maps, asked)
    if asked.json:
        sys.stdout.write(json.dumps({**asdict(audit), "passed": audit.passed}, indent=2) + "\n")
    else:
        from sim.report.quantization import print_audit

        print_audit(audit)
    if audit.passed:
        return 0
    shipped = next(variant for variant in audit.variants if variant.name == SHIPPED)
    sys.stderr.write(
        f"fedpin: check not passed: student.int8.onnx moves a fake probability by "
        f"{shipped.quality.change_max:.4f}, more than --tolerance {audit.tolerance:g}\n"
    )
    return 1


def audit_quantization(
    run: FinishedRun, public: Shard, test: ShardView, teacher_maps: NDArray[np.float32], asked: Namespace
) -> Audit:
    """Make every variant, and hold each against the float network on the test split.

    Args:
        run: the run.
        public: the server's clips: calibration, and fine-tuning.
        test: the test split.
        teacher_maps: (clips, audio_steps, video_frames), the teacher's of ``test``.
        asked: ``tolerance``, ``variants``, ``qat`` (epochs) and ``one_class``.

    Raises:
        RequestError: a file of the run or the teacher's answers are missing.
    """
    files = {FLOAT: run.folder / "student.onnx", SHIPPED: run.folder / "student.int8.onnx"}
    for path in files.values():
        if not path.is_file():
            raise RequestError(f"RUN must hold {path.name}, but {str(path)!r} does not exist; run it again")
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, made in _make_variants(run, public, Path(folder), asked):
            if isinstance(made, Path):
                files[name] = made
            else:
                skipped[name] = str(made)
        record = Path(folder) / "mixed.sensitivity.json"
        return Audit(
            run=str(run.folder),
            tolerance=asked.tolerance,
            num_clips=len(test),
            variants=tuple(_measure(run, files, test, teacher_maps, asked.tolerance)),
            skipped=skipped,
            sensitivity=json.loads(record.read_text()) if record.is_file() else None,
        )


def _make_variants(
    run: FinishedRun, public: Shard, folder: Path, asked: Namespace
) -> Iterator[tuple[str, Path | RequestError]]:
    """Quantise the float graph in every way; name -> file, or why there is none."""
    float_onnx, experiment = run.folder / "student.onnx", run.experiment
    calibration = calibration_clips(take(public), experiment.compress.calibration_clips, experiment.seed)
    makers = {
        name: partial(quantize_int8, float_onnx, folder / f"{name}.onnx", recipe, calibration, method)
        for name, (recipe, method) in RECIPES.items()
        if name in asked.variants
    }
    if asked.one_class:
        makers["one class"] = partial(quantize_one_class, float_onnx, folder / "one-class.onnx", calibration)
    if asked.qat:
        makers["qat"] = partial(_quantize_aware, run, public, calibration, folder, asked.qat)
    progress = Progress()
    with progress.stage("Variants", total=len(makers)) as advance:
        for name, make in makers.items():
            try:
                yield name, make()
            except RequestError as error:
                yield name, error
            advance(1, name)


def _quantize_aware(
    run: FinishedRun, public: Shard, calibration: Calibration, folder: Path, num_epochs: int
) -> Path:
    """The student fine-tuned with rounding, then quantised statically."""
    experiment = run.experiment
    live = experiment.augment.teacher_view == "live"
    student = fine_tune(
        run.network,
        take(public),
        live_teacher(run.teacher_folder, experiment.teacher.precision)
        if live
        else run.teacher_outputs(public),
        partial(loss_terms, experiment.distill),
        experiment.distill,
        num_epochs=num_epochs,
        seed=experiment.seed,
    )
    template = load_template(
        run.architecture, student, inputs_of(run.architecture, take(public)), run.cache_dir
    )
    float_onnx = save_model(template.with_weights(student.state_dict()), folder / "qat.float.onnx")
    return quantize_int8(float_onnx, folder / "qat.onnx", "static", calibration)


def _measure(
    run: FinishedRun,
    files: Mapping[str, Path],
    test: ShardView,
    teacher_maps: NDArray[np.float32],
    tolerance: float,
) -> Iterator[Variant]:
    sessions = {name: open_session(path) for name, path in files.items()}
    latency = run.experiment.latency
    feeds = session_feeds(test, test.rows[:1])
    timings = time_interleaved(
        {name: (session, feeds) for name, session in sessions.items()},
        num_warmup=latency.num_warmup,
        num_runs=max(latency.num_runs, MIN_TIMED_RUNS),
        rng=generator(run.experiment.seed, 0, -1, "audit latency"),
    )
    seed = derive(run.experiment.seed, "audit eps")
    answers = {name: Answers(*run_session(session, test)) for name, session in sessions.items()}
    for name, path in files.items():
        quality = assess(test, answers[FLOAT], answers[name], teacher_maps, seed)
        yield Variant(
            name=name,
            size_bytes=path.stat().st_size,
            latency_ms_p50=timings[name].p50_ms,
            latency_ratio=timings[name].p50_ms / timings[FLOAT].p50_ms,
            quality=quality,
            passed=quality.change_max <= tolerance,
        )


def _parser() -> Parser:
    parser = run_parser(
        "quantization", "Float against each INT8 variant of a run's student, on its test split."
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.01,
        help="largest change of the fake probability that passes (0.01)",
    )
    parser.add_argument(
        "--variants",
        type=lambda text: text.split(","),
        default=list(RECIPES),
        metavar="NAME,...",
        help=f"which to make: {','.join(RECIPES)} (all)",
    )
    parser.add_argument(
        "--qat",
        type=int,
        default=0,
        metavar="EPOCHS",
        help="add a variant fine-tuned with rounding on the public clips (0: none)",
    )
    parser.add_argument(
        "--one-class",
        action="store_true",
        help="add the ablation: everything quantised, the head too, calibrated on real clips only",
    )
    return parser
