"""Names of a graph's nodes: which layer makes the logits, and which module a node belongs to."""

from collections import Counter
from collections.abc import Iterable

import onnx

from fl.compress.export import OUTPUTS

_LAYERS = ("Gemm", "MatMul", "Conv")


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node that has none a name, its first output's: else it cannot be left in float."""
    for node in model.graph.node:
        node.name = node.name or node.output[0]


def separate_weights(model: onnx.ModelProto) -> None:
    """Give each Gemm a weight of its own, in place.

    ONNX Runtime's quantiser transposes a Gemm's weight where it lies, under any other reader: the class
    activation map reads the weight of the head.
    """
    readers = Counter(name for node in model.graph.node for name in node.input)
    weights = {weight.name: weight for weight in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Gemm" and node.input[1] in weights and readers[node.input[1]] > 1:
            own = onnx.TensorProto()
            own.CopyFrom(weights[node.input[1]])
            own.name = f"{own.name}_of_{node.name}"
            model.graph.initializer.append(own)
            node.input[1] = own.name


def head_name(model: onnx.ModelProto) -> str:
    """Name of the layer that makes the logits: the nearest one with weights before the output."""
    producers = {output: node for node in model.graph.node for output in node.output}
    node = producers[OUTPUTS[0]]
    while node.op_type not in _LAYERS:
        node = producers[node.input[0]]
    return str(node.name)


def module_groups(nodes: Iterable[onnx.NodeProto]) -> dict[str, list[str]]:
    """Nodes by the part of the network they belong to, in the order of the graph.

    Args:
        nodes: all named, the exporter's names being paths: ``/detector/blocks.0/cross/query/MatMul``.

    Returns:
        Group -> names, e.g. ``blocks.0.cross``, ``video.backbone.2.1``; ``detector`` for what belongs
        to no part.
    """
    groups: dict[str, list[str]] = {}
    for node in nodes:
        groups.setdefault(_module(node.name), []).append(node.name)
    return groups


def _module(name: str) -> str:
    """At most two names and two numbers of the path, so that a stage of a backbone is one group."""
    path: list[str] = []
    for part in name.split("/")[2:-1]:
        if path and part.startswith(path[-1] + "."):  # backbone.2/backbone.2.1 repeats its parent
            path.pop()
        path.append(part)
    kept: list[str] = []
    num_names = num_numbers = 0
    for word in ".".join(path).split("."):
        num_numbers += word.isdigit()
        num_names += not word.isdigit()
        if num_names > 2 or num_numbers > 2:
            break
        kept.append(word)
    return ".".join(kept) or "detector"
