"""Weight-only INT8: a smaller file that computes in float.

Each weight is stored as INT8 with one scale per output channel, and the graph itself turns it back:
Cast, then Mul. This is DequantizeLinear with zero point 0 in other words. ONNX Runtime folds these two
when it loads the graph and then runs at float speed, whoever opens it; it keeps a DequantizeLinear
unless each session is opened with ``session.disable_quant_qdq=1``.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from fl.compress.nodes import head_name

MIN_VALUES = 256
"""Smaller tensors stay float: their scales and names would take more than is saved."""

_LEVELS = 127


def store_weights_int8(model: onnx.ModelProto) -> None:
    """Store the weights of convolutions, matrix products and recurrences as INT8, the head's excepted.

    Args:
        model: a float graph whose nodes are all named; changed in place.
    """
    head = head_name(model)
    axes: dict[str, int] = {}
    for node in model.graph.node:
        if node.name != head:
            axes.update(_output_axes(node))
    kept, added = [], []
    for tensor in model.graph.initializer:
        if tensor.name not in axes or np.prod(tensor.dims) < MIN_VALUES:
            kept.append(tensor)
            continue
        levels, scales = quantize_weight(numpy_helper.to_array(tensor), axes[tensor.name])
        names = {part: f"{tensor.name}_{part}" for part in ("int8", "scale", "cast")}
        kept.append(numpy_helper.from_array(levels, names["int8"]))
        kept.append(numpy_helper.from_array(scales, names["scale"]))
        added.append(
            helper.make_node(
                "Cast", [names["int8"]], [names["cast"]], name=names["cast"], to=onnx.TensorProto.FLOAT
            )
        )
        added.append(
            helper.make_node(
                "Mul", [names["cast"], names["scale"]], [tensor.name], name=f"{tensor.name}_dequantized"
            )
        )
    nodes = [*added, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)


def quantize_weight(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric INT8 of a weight, one scale per index of ``axis``.

    Args:
        weight: of any shape.
        axis: of the output channels.

    Returns:
        Levels in [-127, 127], of the weight's shape, and scales, of the same number of axes, which
        multiply them; a channel of (next to) nothing has scale 1.
    """
    others = tuple(index for index in range(weight.ndim) if index != axis)
    peak = np.abs(weight).max(axis=others, keepdims=True)
    steps = peak / np.float32(_LEVELS)
    scales = np.where(steps > np.finfo(np.float32).tiny, steps, np.float32(1))
    levels = np.clip(np.rint(weight / scales), -_LEVELS, _LEVELS).astype(np.int8)
    return levels, scales


def _output_axes(node: onnx.NodeProto) -> dict[str, int]:
    """Weight -> axis of its output channels, for the weights that this node multiplies by."""
    if node.op_type == "Conv":
        return {node.input[1]: 0}
    if node.op_type == "MatMul":
        return {node.input[1]: 1}
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        return {node.input[1]: 0 if transposed else 1}
    if node.op_type == "GRU":
        return {node.input[1]: 1, node.input[2]: 1}
    return {}
