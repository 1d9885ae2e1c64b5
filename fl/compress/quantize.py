"""Float ONNX to INT8 ONNX, by a recipe for each architecture; the head always stays float.

``dynamic`` stores the weights of matrix products as INT8 and quantises their inputs at run time:
what pays for depthwise networks and attention. ``static`` quantises every operator between fixed
ranges (QDQ): the smallest file. Its ranges come from calibration clips, which must hold both
classes: clips of one class clip the logit's range and the network then answers that class only.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
from onnxruntime.quantization import quantize_dynamic as ort_dynamic
from onnxruntime.quantization import quantize_static as ort_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from fl.compress.export import OUTPUTS, save_model, strip_metadata
from fl.compress.layout import name_image_axis
from fl.errors import RequestError
from models.architecture import Architecture
from models.output import INPUTS

RECIPES: Mapping[str, str] = MappingProxyType({"pinpoint": "static", "pin_lite": "dynamic"})
"""Architecture -> the recipe that is fastest for it."""

MIN_CALIBRATION_CLIPS = 32
"""Fewest clips that calibrate static INT8."""

_CALIBRATION_BATCH = 16
_LAYERS = ("Gemm", "MatMul", "Conv")


@dataclass(frozen=True)
class Calibration:
    """Clips from which static INT8 takes its ranges: never test clips.

    Attributes:
        frames: (clips, num_frames, 3, height, width), as the network takes them.
        mfcc: (clips, audio_steps, num_mfcc).
        modalities: (clips, 2), 1 where the clip has video, and audio.
        labels: (clips,), 1 = fake.
    """

    frames: NDArray[np.float32]
    mfcc: NDArray[np.float32]
    modalities: NDArray[np.float32]
    labels: NDArray[np.float32]


def recipe_of(architecture: Architecture, int8: str = "auto") -> str:
    """The recipe of a network: `compress.int8`, or for "auto" the architecture's own.

    Args:
        architecture: only its name counts.
        int8: "auto", "dynamic" or "static".

    Raises:
        RequestError: no such recipe, or none for this architecture.
    """
    if int8 != "auto":
        if int8 not in ("dynamic", "static"):
            raise RequestError(f"compress.int8 must be auto, dynamic or static, got {int8!r}")
        return int8
    name = architecture.name
    if name not in RECIPES:
        raise RequestError(
            f"compress.int8=auto knows {', '.join(sorted(RECIPES))}, got {name!r}; "
            "set it to dynamic or static"
        )
    return RECIPES[name]


def quantize_int8(
    model: onnx.ModelProto | Path,
    destination: Path,
    recipe: str,
    calibration: Calibration | None = None,
) -> Path:
    """Quantise a float graph and write the INT8 one.

    Args:
        model: what `OnnxTemplate.with_weights` gave, or its file; left as it is.
        destination: the file to write, whole or not at all.
        recipe: "dynamic" or "static" (see the module and `recipe_of`).
        calibration: clips of both classes; only "static" looks at them.

    Returns:
        ``destination``.

    Raises:
        RequestError: another recipe; or static without calibration clips, with too few of them,
            or with clips of one class.
    """
    if recipe not in ("dynamic", "static"):
        raise RequestError(f"compress.int8 must be dynamic or static here, got {recipe!r}")
    source = onnx.ModelProto()
    source.CopyFrom(onnx.load(model) if isinstance(model, Path) else model)
    _name_nodes(source)
    add_pre_process_metadata(source)
    with tempfile.TemporaryDirectory() as folder, _quiet_quantiser():
        path = Path(folder) / "int8.onnx"
        if recipe == "dynamic":
            _write_dynamic(source, path)
        else:
            _write_static(source, path, checked_calibration(calibration))
        quantized = onnx.load(path)
    strip_metadata(quantized)
    name_image_axis(quantized)
    return save_model(quantized, destination)


def checked_calibration(calibration: Calibration | None) -> Calibration:
    """The calibration itself, if static INT8 may rest on it.

    Raises:
        RequestError: none, too few clips, or clips of one class.
    """
    num_clips = 0 if calibration is None else len(calibration.labels)
    if calibration is None or num_clips < MIN_CALIBRATION_CLIPS:
        raise RequestError(
            f"static INT8 needs compress.calibration_clips of at least {MIN_CALIBRATION_CLIPS}, "
            f"got {num_clips}; add clips or set compress.int8=dynamic"
        )
    classes = {int(label) for label in np.unique(calibration.labels)}
    if classes != {0, 1}:
        raise RequestError(
            "static INT8 needs compress.calibration_clips of both classes (0 and 1), got only "
            f"{sorted(classes)}: the network would answer one class; add clips of the other or set "
            "compress.int8=dynamic"
        )
    return calibration


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the clips to the calibrator in batches."""

    def __init__(self, calibration: Calibration) -> None:
        arrays = (calibration.frames, calibration.mfcc, calibration.modalities)
        self._batches = iter(
            [
                {
                    name: array[start : start + _CALIBRATION_BATCH]
                    for name, array in zip(INPUTS, arrays, strict=True)
                }
                for start in range(0, len(calibration.labels), _CALIBRATION_BATCH)
            ]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._batches, None)


def _write_dynamic(model: onnx.ModelProto, path: Path) -> None:
    head = _head(model)
    ort_dynamic(
        model,
        path,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        # A Gemm becomes a MatMul of another name before the names are looked up.
        nodes_to_exclude=[head, f"{head}_MatMul"],
    )


def _write_static(model: onnx.ModelProto, path: Path, calibration: Calibration) -> None:
    ort_static(
        model,
        path,
        _Reader(calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[_head(model)],
    )


def _head(model: onnx.ModelProto) -> str:
    """Name of the layer that makes the logits: the nearest one with weights before the output."""
    producers = {output: node for node in model.graph.node for output in node.output}
    node = producers[OUTPUTS[0]]
    while node.op_type not in _LAYERS:
        node = producers[node.input[0]]
    return str(node.name)


def _name_nodes(model: onnx.ModelProto) -> None:
    """Number every node: a node without a name cannot be left out of quantisation."""
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"


@contextmanager
def _quiet_quantiser() -> Iterator[None]:
    """Drop what the quantiser says through the root logger, which it would also configure."""
    root = logging.getLogger()
    handler = logging.NullHandler()

    def not_from_quantiser(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in Path(record.pathname).parts

    root.addHandler(handler)
    root.addFilter(not_from_quantiser)
    try:
        yield
    finally:
        root.removeFilter(not_from_quantiser)
        root.removeHandler(handler)
