"""The INT8 variants of a finished run's student that an audit holds against each other."""

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from clients.round import local_loss
from fl.compress.calibration import Calibration
from fl.compress.export import load_template, save_model
from fl.compress.qat import fine_tune
from fl.compress.quantize import quantize_int8, quantize_one_class, sweep_layers
from fl.compress.sessions import inputs_like
from fl.data.shards import Shard, ShardView, take
from fl.errors import RequestError
from models.architecture import Architecture
from server.evaluate import calibration_clips
from sim.finished import FinishedRun
from sim.progress import Progress

RECIPES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "dynamic": ("dynamic", "minmax"),
        "static": ("static", "minmax"),
        "percentile": ("static", "percentile"),
        "entropy": ("static", "entropy"),
        "mixed": ("mixed", "minmax"),
        "weight_only": ("weight_only", "minmax"),
    }
)
"""Variant -> recipe and calibration method."""

ONE_CLASS, QAT = "one_class", "qat"


def make_variants(
    run: FinishedRun, public: Shard, folder: Path, asked: Namespace, progress: Progress
) -> Iterator[tuple[str, Path | RequestError]]:
    """Quantise the float graph of a run in every way that is asked for.

    Args:
        run: the run.
        public: the server's clips: calibration, and fine-tuning.
        folder: where the files go.
        asked: ``variants`` of `RECIPES`, ``qat`` (epochs; 0: none) and ``one_class``.
        progress: shows them.

    Yields:
        name and file, or why there is none.
    """
    float_onnx, calibration = run.folder / "student.onnx", calibration_of(run, public)
    makers = {
        name: partial(quantize_int8, float_onnx, folder / f"{name}.onnx", recipe, calibration, method)
        for name, (recipe, method) in RECIPES.items()
        if name in asked.variants
    }
    if asked.one_class:
        makers[ONE_CLASS] = partial(quantize_one_class, float_onnx, folder / "one_class.onnx", calibration)
    if asked.qat:
        makers[QAT] = partial(_quantize_aware, run, public, calibration, folder, asked.qat)
    with progress.stage("Variants", total=len(makers)) as advance:
        for name, make in makers.items():
            try:
                yield name, make()
            except RequestError as error:
                yield name, error
            advance(1, name)


def layer_sensitivity(
    run: FinishedRun, public: Shard, folder: Path, progress: Progress
) -> dict[str, Any] | RequestError:
    """What INT8 of each module alone does: what "mixed" found on its way, or the same sweep without it.

    Args:
        run: the run.
        public: the server's clips.
        folder: where `make_variants` has put "mixed", if it was asked for.
        progress: shows the sweep.

    Returns:
        ``sweep`` and ``num_clips``, with "mixed" all of `fl.compress.sensitivity.MixedPrecision`; or why
        there is none.
    """
    record = folder / "mixed.sensitivity.json"
    if record.is_file():
        found: dict[str, Any] = json.loads(record.read_text())
        return found
    calibration = calibration_of(run, public)
    try:
        with progress.stage("Sweep of the layers"):  # also without "mixed": what loses most is asked always
            sweep = sweep_layers(run.folder / "student.onnx", calibration)
    except RequestError as error:
        return error
    return {"sweep": [asdict(entry) for entry in sweep], "num_clips": len(calibration.labels)}


def calibration_of(run: FinishedRun, public: Shard) -> Calibration:
    """The clips on which the run itself calibrated."""
    experiment = run.experiment
    return calibration_clips(take(public), experiment.compress.calibration_clips, experiment.seed)


def _quantize_aware(
    run: FinishedRun, public: Shard, calibration: Calibration, folder: Path, num_epochs: int
) -> Path:
    """The student fine-tuned with rounding, then quantised statically."""
    experiment = run.experiment
    student = fine_tune(
        run.network,
        take(public),
        run.teacher_answers(public),
        local_loss(experiment.distill, public.labels),
        experiment.distill,
        num_epochs=num_epochs,
        seed=experiment.seed,
    )
    float_onnx = save_float(run, run.architecture, student, take(public), folder / "qat.float.onnx")
    return quantize_int8(float_onnx, folder / "qat.onnx", "static", calibration)


def save_float(
    run: FinishedRun, architecture: Architecture, network: nn.Module, view: ShardView, path: Path
) -> Path:
    """Write a network's float graph, for clips like those of a view."""
    template = load_template(architecture, network, inputs_like(view), run.cache_dir)
    return save_model(template.with_weights(network.state_dict()), path)
