"""How far a client's own INT8 copy decides as its float student, on its own shard."""

import tempfile
from pathlib import Path

import numpy as np
from torch import nn

from fl.compress.calibration import Calibration
from fl.compress.export import load_template, save_model
from fl.compress.quantize import quantize_student
from fl.compress.sessions import inputs_like, run_session
from fl.data.shards import ShardView
from fl.distill.batches import load_batch
from fl.distill.predict import predict
from fl.errors import RequestError
from fl.metrics.latency import open_session
from fl.settings import CompressSettings
from models.architecture import Architecture


def int8_agreement(
    architecture: Architecture,
    network: nn.Module,
    view: ShardView,
    settings: CompressSettings,
    cache_dir: Path,
) -> float | None:
    """Export and quantise a trained student for the device, and compare it with the float one.

    Args:
        architecture: of the network.
        network: the locally trained student.
        view: the client's shard; static INT8 is calibrated on it.
        settings: the INT8 recipe.
        cache_dir: where exported graphs are kept.

    Returns:
        The share of the shard's clips with the same verdict; None where the shard cannot calibrate
        static INT8 (one class, or too few clips).
    """
    model = load_template(architecture, network, inputs_like(view), cache_dir).with_weights(
        network.state_dict()
    )
    with tempfile.TemporaryDirectory() as folder:
        float_onnx = save_model(model, Path(folder) / "student.onnx")
        batch = load_batch(view, np.arange(min(len(view), settings.calibration_clips)))
        calibration = Calibration(*(tensor.numpy() for tensor in (*batch.inputs, batch.labels)))
        try:
            int8_onnx = quantize_student(
                architecture, float_onnx, Path(folder) / "student.int8.onnx", settings, calibration
            )
        except RequestError:
            return None
        int8_logits, _ = run_session(open_session(int8_onnx), view)
    float_logits, _ = predict(network, view)
    return float(((float_logits > 0) == (int8_logits > 0)).mean())
