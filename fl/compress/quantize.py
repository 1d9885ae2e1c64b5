"""Float ONNX to INT8 ONNX, by a recipe for each architecture; the head stays float.

``dynamic`` stores the weights of matrix products as INT8 and quantises their inputs at run time:
what pays for depthwise networks and attention. ``static`` quantises every operator between fixed
ranges (QDQ): the smallest file. Its ranges come from calibration clips, which must hold both
classes: clips of one class clip the logit's range and the network then answers that class only.
``mixed`` is static with the modules that lose most in float (`fl.compress.sensitivity`);
``weight_only`` stores INT8 and computes in float (`fl.compress.weight_only`).
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from fl.compress.calibration import METHODS, Calibration, checked_calibration
from fl.compress.export import save_model, strip_metadata
from fl.compress.layout import name_image_axis
from fl.compress.nodes import head_name, name_nodes, separate_weights
from fl.compress.sensitivity import Sensitivity, quantize_mixed, sweep_modules
from fl.compress.static import StaticQuantizer, quiet_quantizer
from fl.compress.weight_only import store_weights_int8
from fl.errors import RequestError
from fl.settings import CompressSettings
from models.architecture import Architecture
from models.names import MOBILENETS, PICTURES

__all__ = ["RECIPES", "Calibration", "quantize_int8", "quantize_student", "recipe_of", "sweep_layers"]

RECIPES: Mapping[str, str] = MappingProxyType(
    {
        "pinpoint": "static",
        "pin_lite": "dynamic",
        **dict.fromkeys(PICTURES, "static"),
        **dict.fromkeys(MOBILENETS, "dynamic"),
        "tiny_ladeda": "weight_only",
    }
)
"""Architecture -> the recipe that is fastest for it. Squeeze-excite and hard-swish break the chain of
integers, so that static INT8 slows MobileNetV3 down; a network as small as Tiny-LaDeDa gains nothing."""

CHOICES = ("dynamic", "static", "mixed", "weight_only")


def recipe_of(architecture: Architecture, int8: str = "auto") -> str:
    """The recipe of a network: `compress.int8`, or for "auto" the architecture's own.

    Args:
        architecture: only its name counts.
        int8: "auto", or one of `CHOICES`.

    Raises:
        RequestError: no such recipe, or none for this architecture.
    """
    if int8 != "auto":
        if int8 not in CHOICES:
            raise RequestError(f"compress.int8 must be auto or one of {', '.join(CHOICES)}, got {int8!r}")
        return int8
    name = architecture.name
    if name not in RECIPES:
        raise RequestError(
            f"compress.int8=auto knows {', '.join(sorted(RECIPES))}, got {name!r}; "
            f"set it to one of {', '.join(CHOICES)}"
        )
    return RECIPES[name]


def quantize_student(
    architecture: Architecture,
    model: onnx.ModelProto | Path,
    destination: Path,
    settings: CompressSettings,
    calibration: Calibration,
) -> Path:
    """Quantise as the settings ask, the ablation `compress.calibration=one_class` included.

    The ablation is what a client does that holds one class and takes no care: static INT8 of every
    operator, the head too, on real clips only.

    Args:
        architecture: of the network.
        model: as in `quantize_int8`.
        destination: as in `quantize_int8`.
        settings: recipe, method and ablation.
        calibration: clips of both classes.

    Raises:
        RequestError: as in `quantize_int8`; or the ablation with another recipe than static.
    """
    recipe = recipe_of(architecture, settings.int8)
    if settings.calibration == "two_class":
        return quantize_int8(model, destination, recipe, calibration, settings.calibration_method)
    if recipe != "static":
        raise RequestError(
            f"compress.calibration=one_class is an ablation of static INT8, got the recipe {recipe!r}; "
            "add compress.int8=static"
        )
    return quantize_one_class(model, destination, calibration, settings.calibration_method)


def quantize_int8(
    model: onnx.ModelProto | Path,
    destination: Path,
    recipe: str,
    calibration: Calibration | None = None,
    method: str = "minmax",
) -> Path:
    """Quantise a float graph and write the INT8 one.

    Args:
        model: what `OnnxTemplate.with_weights` gave, or its file; left as it is.
        destination: the file to write, whole or not at all; "mixed" writes what it found beside it,
            as ``<destination without .onnx>.sensitivity.json``.
        recipe: one of `CHOICES` (see the module and `recipe_of`).
        calibration: clips of both classes; only "static" and "mixed" look at them.
        method: of `fl.compress.calibration.METHODS`; only "static" and "mixed" look at it.

    Returns:
        ``destination``.

    Raises:
        RequestError: another recipe or method; or static and mixed without calibration clips, with too
            few of them, or with clips of one class.
    """
    if recipe not in CHOICES:
        raise RequestError(f"compress.int8 must be one of {', '.join(CHOICES)} here, got {recipe!r}")
    source = _named(model)
    if recipe == "weight_only":
        store_weights_int8(source)
        return _save(source, destination)
    with tempfile.TemporaryDirectory() as folder:
        if recipe == "dynamic":
            return _save(_dynamic(source, Path(folder)), destination)
        quantizer = _static(source, checked_calibration(calibration), method, Path(folder))
        if recipe == "static":
            return _save(quantizer.quantize(leave=[head_name(source)]), destination)
        quantized, found = quantize_mixed(quantizer, head_name(source))
        record = json.dumps(found.as_record(), indent=1, allow_nan=False) + "\n"
        destination.with_suffix(".sensitivity.json").write_text(record)
        return _save(quantized, destination)


def sweep_layers(model: onnx.ModelProto | Path, calibration: Calibration) -> tuple[Sensitivity, ...]:
    """What static INT8 of each module alone does to the logit, the worst first; "mixed" starts from it.

    Args:
        model: as in `quantize_int8`.
        calibration: as there.

    Raises:
        RequestError: too few calibration clips, or of one class.
    """
    source = _named(model)
    with tempfile.TemporaryDirectory() as folder:
        quantizer = _static(source, checked_calibration(calibration), "minmax", Path(folder))
        return sweep_modules(quantizer, head_name(source))


def quantize_one_class(
    model: onnx.ModelProto | Path, destination: Path, calibration: Calibration, method: str = "minmax"
) -> Path:
    """The ablation of `quantize_student`: every operator static, the ranges of real clips only.

    Args:
        model: as in `quantize_int8`.
        destination: the file to write.
        calibration: of which only the real clips count.
        method: as in `quantize_int8`.

    Raises:
        RequestError: no real clip, or no such method.
    """
    real = calibration.of_class(0)
    if not len(real.labels):
        raise RequestError("compress.calibration=one_class needs real clips, got none; set it to two_class")
    with tempfile.TemporaryDirectory() as folder:
        return _save(_static(_named(model), real, method, Path(folder)).quantize(), destination)


def _static(model: onnx.ModelProto, calibration: Calibration, method: str, folder: Path) -> StaticQuantizer:
    if method not in METHODS:
        raise RequestError(f"compress.calibration_method must be one of {', '.join(METHODS)}, got {method!r}")
    return StaticQuantizer(model, calibration, method, folder)


def _dynamic(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    head, path = head_name(model), folder / "int8.onnx"
    add_pre_process_metadata(model)
    with quiet_quantizer():
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            # A Gemm becomes a MatMul of another name before the names are looked up.
            nodes_to_exclude=[head, f"{head}_MatMul"],
        )
    return onnx.load(path)


def _named(model: onnx.ModelProto | Path) -> onnx.ModelProto:
    """A copy of the graph, in which every node has a name and every Gemm a weight of its own."""
    copy = onnx.ModelProto()
    copy.CopyFrom(onnx.load(model) if isinstance(model, Path) else model)
    name_nodes(copy)
    separate_weights(copy)
    return copy


def _save(model: onnx.ModelProto, destination: Path) -> Path:
    strip_metadata(model)
    name_image_axis(model)
    return save_model(model, destination)
