"""Static INT8: operators between fixed ranges (QDQ), weights per channel, ranges measured once.

Activations are unsigned, weights signed: on CPUs the other way is several times slower.
"""

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from fl.compress.calibration import METHODS, Calibration, ClipReader

QUANTIZABLE = frozenset({*QDQRegistry, *QLinearOpsRegistry})
"""Operators that ONNX Runtime can quantise."""


class StaticQuantizer:
    """Quantises one graph, whole or in part, as often as it is asked.

    Args:
        model: a float graph whose nodes are all named; left as it is.
        calibration: what the ranges are measured on; whether it may serve is the caller's question.
        method: of `METHODS`.
        folder: where the ranges are kept between calls; empty at first, of this quantiser alone.
    """

    def __init__(self, model: onnx.ModelProto, calibration: Calibration, method: str, folder: Path) -> None:
        self.model = model
        self.calibration = calibration
        self._method = METHODS[method]
        self._folder = folder

    def quantize(self, *, leave: Sequence[str] = (), only: Sequence[str] = ()) -> onnx.ModelProto:
        """The graph in INT8.

        Args:
            leave: names of nodes that stay float.
            only: names of nodes to quantise; empty: all that can be.
        """
        source = onnx.ModelProto()
        source.CopyFrom(self.model)
        add_pre_process_metadata(source)
        path = self._folder / "int8.onnx"
        with quiet_quantizer():
            quantize_static(
                source,
                path,
                ClipReader(self.calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=list(only),
                nodes_to_exclude=list(leave),
                calibrate_method=self._method,
                calibration_cache_path=self._folder / "ranges.json",
                extra_options={"CalibStridedMinMax": 1},  # batch by batch, or histograms fill the memory
            )
        return onnx.load(path)


@contextmanager
def quiet_quantizer() -> Iterator[None]:
    """Drop what the quantiser prints, and says through the root logger, which it would also configure."""
    root = logging.getLogger()
    handler = logging.NullHandler()

    def not_from_quantizer(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in Path(record.pathname).parts

    root.addHandler(handler)
    root.addFilter(not_from_quantizer)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.removeFilter(not_from_quantizer)
        root.removeHandler(handler)
