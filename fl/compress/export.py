"""PyTorch to ONNX: exported once per architecture, with the weights swapped in after.

Exporting costs seconds and a round changes only weights. So a template, a graph whose initialisers
bear the state dict's names but hold nothing, is kept on disk; each round fills it and lets ONNX
Runtime fold what does not depend on the input (docs/decisions/0005-onnx-exporter.md).

Inputs are ``frames`` (batch, num_frames, 3, height, width), ``mfcc`` (batch, audio_steps, num_mfcc)
and ``modalities`` (batch, 2: has video, has audio; 1 or 0), outputs ``logits`` (batch,) and
``explanation`` (batch, audio_steps, num_frames), all float32; the batch is free, everything else fixed.
"""

import copy
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from fl.compress.layout import name_image_axis, rewrite_gates
from fl.errors import RunError
from models.architecture import Architecture
from models.output import INPUTS, Inputs

OPSET = 20
"""ONNX operator set of every exported graph: the first with a Gelu of its own."""

TEMPLATE_VERSION = 3
"""Part of a template's digest: raise it when the graph of the same network changes."""

OUTPUTS = ("logits", "explanation")

_PREFIX = "detector."


@dataclass(frozen=True)
class OnnxTemplate:
    """A network's graph without its weights.

    Attributes:
        model: its initialisers have names, types and shapes, and no values.
    """

    model: onnx.ModelProto

    def with_weights(self, state_dict: Mapping[str, Tensor]) -> onnx.ModelProto:
        """The graph with these weights, folded for inference: standard operators, BatchNorm fused.

        Args:
            state_dict: of a network of the template's architecture.

        Raises:
            ValueError: a tensor is missing, or has another shape.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for initializer in model.graph.initializer:
            name = initializer.name.removeprefix(_PREFIX)
            if name not in state_dict:
                raise ValueError(f"the template needs {name!r}, which the state dict has not")
            tensor = state_dict[name]
            if tuple(tensor.shape) != tuple(initializer.dims):
                raise ValueError(
                    f"{name!r} must have shape {tuple(initializer.dims)}, got {tuple(tensor.shape)}"
                )
            initializer.raw_data = tensor.detach().cpu().contiguous().numpy().tobytes()
        return fold_constants(model)


def load_template(
    architecture: Architecture,
    network: nn.Module,
    example_inputs: Inputs,
    cache_dir: Path,
) -> OnnxTemplate:
    """The template of an architecture for inputs of one shape: from the cache, or exported now.

    Args:
        architecture: of ``network``.
        network: left as it is; its weights do not matter.
        example_inputs: of any batch size (see the module).
        cache_dir: templates lie in ``<cache_dir>/exports/<digest>.onnx``.

    Raises:
        RunError: the cache cannot be written.
    """
    shapes = [list(tensor.shape[1:]) for tensor in example_inputs]
    key = json.dumps([architecture.sha256, shapes, OPSET, TEMPLATE_VERSION, torch.__version__])
    path = cache_dir / "exports" / f"{hashlib.sha256(key.encode()).hexdigest()}.onnx"
    if path.is_file():
        return OnnxTemplate(onnx.load(path))
    model = _export(network, example_inputs)
    for initializer in model.graph.initializer:
        initializer.ClearField("raw_data")
    try:
        save_model(model, path)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror}; set cache_dir to a writable folder"
        ) from error
    return OnnxTemplate(model)


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """ONNX Runtime's basic optimisation: constants folded, BatchNorm fused; operators stay standard."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(path)
    strip_metadata(folded)
    name_image_axis(folded)
    return folded


def strip_metadata(model: onnx.ModelProto) -> None:
    """Delete what only describes: metadata, documentation, inner shapes, operator sets not used."""
    model.ClearField("doc_string")
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    used = {node.domain for node in model.graph.node}
    opsets = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    for item in (*model.graph.node, *model.graph.initializer):
        item.ClearField("doc_string")
        del item.metadata_props[:]


def save_model(model: onnx.ModelProto, path: Path) -> Path:
    """Write a graph to one file, whole or not at all; the folder is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(model.SerializeToString())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def max_difference(session: ort.InferenceSession, network: nn.Module, inputs: Inputs) -> float:
    """Largest absolute difference between an exported graph and its network, over both outputs.

    Args:
        session: of the graph.
        network: the detector in PyTorch, in evaluation mode.
        inputs: see the module.
    """
    with torch.no_grad():
        expected = network(*inputs)
    feeds = {name: tensor.cpu().numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
    answers = session.run(list(OUTPUTS), feeds)
    tensors = (expected.logits, expected.explanation)
    return max(
        float(np.abs(answer - tensor.cpu().numpy()).max())
        for answer, tensor in zip(answers, tensors, strict=True)
    )


class _Exported(nn.Module):
    """A detector reduced to the two outputs that are deployed."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, frames: Tensor, mfcc: Tensor, modalities: Tensor) -> tuple[Tensor, Tensor]:
        output = self.detector(frames, mfcc, modalities)
        return output.logits, output.explanation


def _export(network: nn.Module, example_inputs: Inputs) -> onnx.ModelProto:
    exported = _Exported(copy.deepcopy(network).cpu()).eval()
    _make_distinct(exported)
    inputs = tuple(tensor.cpu() for tensor in example_inputs)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "exported.onnx"
        # The exporter announces its removal; the tracer says that sizes become constants, as is meant.
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*legacy TorchScript.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning, message="The feature will be removed")
        warnings.filterwarnings("ignore", category=TracerWarning)
        warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size other than 1")
        torch.onnx.export(
            exported,
            inputs,
            path,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "batch"} for name in (*INPUTS, *OUTPUTS)},
            opset_version=OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
        model = onnx.load(path)
    strip_metadata(model)
    rewrite_gates(model)
    _declare_inputs(model, inputs)
    return model


def _declare_inputs(model: onnx.ModelProto, inputs: tuple[Tensor, ...]) -> None:
    """All detectors take the same inputs: declare what the exporter dropped since nothing reads it."""
    declared = {value.name: value for value in model.graph.input}
    del model.graph.input[:]
    for name, tensor in zip(INPUTS, inputs, strict=True):
        shape = ["batch", *tensor.shape[1:]]
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        model.graph.input.append(declared.get(name, value))


def _make_distinct(network: nn.Module) -> None:
    """Give every tensor other values: the exporter merges equal ones, as fresh BatchNorms are."""
    generator = torch.Generator().manual_seed(0)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
