"""Mixed precision: which parts of a network stay float is measured, part by part, and recorded.

The sweep quantises one module at a time and notes how far the logit moves on the calibration clips.
Modules are then kept float from the worst on, no more of them than it takes to hold the tolerance.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from fl.compress.export import OUTPUTS
from fl.compress.nodes import module_groups
from fl.compress.static import QUANTIZABLE, StaticQuantizer
from fl.metrics.latency import open_session
from fl.metrics.scores import probabilities

TOLERANCE = 0.01
"""Mean change of the fake probability on the calibration clips that a mixed network may show."""


@dataclass(frozen=True)
class Sensitivity:
    """What quantising one module alone does, everything else in float.

    Attributes:
        module: as `module_groups` names it.
        num_nodes: nodes of it that can be quantised.
        logit_change_mean: mean absolute change of the logit over the calibration clips.
        logit_change_max: the largest.
    """

    module: str
    num_nodes: int
    logit_change_mean: float
    logit_change_max: float


@dataclass(frozen=True)
class MixedPrecision:
    """Which modules of a network stay float, and why.

    Attributes:
        sweep: every module, the worst first.
        float_modules: those that stay float, the worst first; the head besides, always.
        tolerance: what was to be held.
        probability_change_mean: of the mixed network on the calibration clips.
        num_clips: how many those were.
    """

    sweep: tuple[Sensitivity, ...]
    float_modules: tuple[str, ...]
    tolerance: float
    probability_change_mean: float
    num_clips: int

    def as_record(self) -> dict[str, Any]:
        """The plain dictionary that lies beside the model."""
        return asdict(self)


def sweep_modules(quantizer: StaticQuantizer, head: str) -> tuple[Sensitivity, ...]:
    """Quantise each module alone; the one that moves the logit most comes first.

    Args:
        quantizer: of the graph.
        head: name of the node that makes the logits; it is never quantised.
    """
    expected = calibration_logits(quantizer, quantizer.model)
    found = []
    for module, names in quantizable_modules(quantizer.model, head).items():
        moved = np.abs(calibration_logits(quantizer, quantizer.quantize(only=names)) - expected)
        found.append(Sensitivity(module, len(names), float(moved.mean()), float(moved.max())))
    return tuple(sorted(found, key=lambda entry: -entry.logit_change_mean))


def quantize_mixed(
    quantizer: StaticQuantizer, head: str, tolerance: float = TOLERANCE
) -> tuple[onnx.ModelProto, MixedPrecision]:
    """Static INT8 in which the modules that lose most stay float.

    The number of float modules is found by bisection: more of them, less change. With all of them in
    float nothing changes, so there is always an answer.

    Args:
        quantizer: of the graph.
        head: name of the node that makes the logits.
        tolerance: mean change of the fake probability to hold, above 0.

    Returns:
        The graph and the record.
    """
    sweep = sweep_modules(quantizer, head)
    modules = quantizable_modules(quantizer.model, head)
    expected = probabilities(calibration_logits(quantizer, quantizer.model))

    def attempt(num_float: int) -> tuple[onnx.ModelProto, float]:
        left = [name for entry in sweep[:num_float] for name in modules[entry.module]]
        if num_float == len(sweep):
            return quantizer.model, 0.0
        model = quantizer.quantize(leave=[head, *left])
        change = np.abs(probabilities(calibration_logits(quantizer, model)) - expected)
        return model, float(change.mean())

    too_few, enough = -1, len(sweep)
    best = attempt(enough)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2 if too_few >= 0 else 0
        tried = attempt(middle)
        if tried[1] <= tolerance:
            enough, best = middle, tried
        else:
            too_few = middle
    kept = tuple(entry.module for entry in sweep[:enough])
    num_clips = len(quantizer.calibration.labels)
    return best[0], MixedPrecision(sweep, kept, tolerance, best[1], num_clips)


def quantizable_modules(model: onnx.ModelProto, head: str) -> dict[str, list[str]]:
    """Modules with at least one node that ONNX Runtime can quantise, and those nodes; the head left out."""
    return module_groups(
        node for node in model.graph.node if node.op_type in QUANTIZABLE and node.name != head
    )


def calibration_logits(quantizer: StaticQuantizer, model: onnx.ModelProto) -> NDArray[np.float32]:
    """(clips,), what a variant of the graph says of the calibration clips."""
    session = open_session(model.SerializeToString())
    batches: Sequence[dict[str, NDArray[np.float32]]] = quantizer.calibration.batches()
    return np.concatenate([session.run([OUTPUTS[0]], batch)[0] for batch in batches])
