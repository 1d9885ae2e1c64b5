"""One export in a process of its own: rebuild the network, convert it, run the result on real clips.

It runs as ``python worker.py FORMAT`` in a job's folder (see `fl.export.job`), in an environment that may
have another torch than ours, and nothing of fedpin but a copy of ``models``. In: ``architecture.json``,
``weights.safetensors``, ``inputs.safetensors`` (the network's inputs of several clips, in their names). Out:
``exported``, ``outputs.safetensors`` (``logits`` (clips,), ``explanation`` (clips, ...)) and ``result.json``.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from models.architecture import Architecture
from models.output import INPUTS

EXPORTED = Path("exported")

Answer = Callable[[Sequence[Tensor]], tuple[np.ndarray, np.ndarray]]
"""One clip's inputs, batch 1 -> logits and explanation of the exported file, run by its own runtime."""


class Deployed(nn.Module):
    """A detector reduced to the two outputs that are deployed."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (1,) and the explanation (1, ...)."""
        output = self.detector(*inputs)
        return output.logits, output.explanation


def main(name: str) -> None:
    """Convert to ``name``, "executorch" or "tflite", and write what the module says."""
    torch.set_num_threads(1)
    network = Architecture.from_json(Path("architecture.json").read_text()).build()
    safetensors.torch.load_model(network, "weights.safetensors")
    deployed = Deployed(network.eval().requires_grad_(False)).eval()
    stored = safetensors.torch.load_file("inputs.safetensors")
    clips = [stored[key] for key in INPUTS if key in stored]
    start = time.monotonic()
    told, answer = CONVERTERS[name](deployed, [tensor[:1].contiguous() for tensor in clips])
    seconds = time.monotonic() - start
    answers = [answer([t[i : i + 1].contiguous() for t in clips]) for i in range(len(clips[0]))]
    outputs = {
        key: torch.from_numpy(np.concatenate([given[place] for given in answers]))
        for place, key in enumerate(("logits", "explanation"))
    }
    safetensors.torch.save_file(outputs, "outputs.safetensors")
    result = {**told, "torch": torch.__version__, "conversion_s": seconds}
    Path("result.json").write_text(json.dumps(result))


def to_executorch(deployed: nn.Module, example: Sequence[Tensor]) -> tuple[dict[str, Any], Answer]:
    """A program for ExecuTorch: XNNPACK computes what it can, portable operators the rest or all."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    exported = torch.export.export(deployed, tuple(example))
    delegate = "xnnpack"
    try:
        lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    except AssertionError as error:  # its partitions of some graphs, MobileNetV3 with its map, form a cycle
        if "dependency cycles" not in str(error):
            raise
        delegate = "none"
        lowered = to_edge_transform_and_lower(exported).to_executorch()
    EXPORTED.write_bytes(lowered.buffer)
    # Loaded by its path, or let go while its method is used, a program may crash (EfficientNet-Lite0 does).
    loaded = Runtime.get().load_program(EXPORTED.read_bytes())
    num_delegates = sum(
        "call_delegate" in str(node.target) for node in lowered.exported_program().graph.nodes
    )

    def answer(inputs: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        logits, explanation = loaded.load_method("forward").execute(list(inputs))
        return logits.numpy().copy(), explanation.numpy().copy()

    num_delegates = sum(
        "call_delegate" in str(node.target) for node in lowered.exported_program().graph.nodes
    )
    told = {
        "converter": f"executorch {version('executorch')}",
        "runtime": f"executorch {version('executorch')}",
        "delegate": delegate,
        "num_delegates": num_delegates,
        "input_names": [f"{place}" for place in range(len(example))],
        "output_names": ["0", "1"],
    }
    return told, answer


def to_tflite(deployed: nn.Module, example: Sequence[Tensor]) -> tuple[dict[str, Any], Answer]:
    """A FlatBuffer for LiteRT, whose own XNNPACK takes what it can when it is loaded."""
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter

    written = EXPORTED.with_suffix(".tflite")
    litert_torch.convert(deployed, tuple(example)).export(str(written))
    written.replace(EXPORTED)
    interpreter = Interpreter(model_content=EXPORTED.read_bytes(), num_threads=1)
    ((_, signature),) = interpreter.get_signature_list().items()
    runner = interpreter.get_signature_runner()
    names = [f"args_{place}" for place in range(len(example))]
    outputs = ["output_0", "output_1"]
    if sorted(signature["inputs"]) != names or sorted(signature["outputs"]) != outputs:
        raise ValueError(f"litert-torch named inputs and outputs {signature}, expected {names} and {outputs}")

    def answer(inputs: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        given = runner(**{name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
        return given[outputs[0]].copy(), given[outputs[1]].copy()

    told = {
        "converter": f"litert-torch {version('litert-torch')}",
        "runtime": f"ai-edge-litert {version('ai-edge-litert')}",
        "input_names": names,
        "output_names": outputs,
    }
    return told, answer


CONVERTERS = {"executorch": to_executorch, "tflite": to_tflite}

if __name__ == "__main__":
    main(sys.argv[1])
