"""The clips from which static INT8 takes its ranges, and how it takes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod

from fl.errors import RequestError
from models.output import INPUTS

METHODS: Mapping[str, CalibrationMethod] = MappingProxyType(
    {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }
)
"""`compress.calibration_method` -> ONNX Runtime's: a tensor's whole range, all but its outermost
values, or the range that keeps most of its distribution (least Kullback-Leibler divergence)."""

MIN_CALIBRATION_CLIPS = 32
"""Fewest clips that calibrate static INT8."""

BATCH_CLIPS = 8
"""Clips that pass at once: the histograms of percentile and entropy hold every tensor of a batch."""


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

    def batches(self) -> list[dict[str, NDArray[np.float32]]]:
        """The clips as named inputs, `BATCH_CLIPS` at a time, in their order."""
        arrays = dict(zip(INPUTS, (self.frames, self.mfcc, self.modalities), strict=True))
        starts = range(0, len(self.labels), BATCH_CLIPS)
        return [{name: array[i : i + BATCH_CLIPS] for name, array in arrays.items()} for i in starts]

    def of_class(self, label: int) -> "Calibration":
        """Only the clips of one class: what a client that holds no other would calibrate on."""
        chosen = self.labels == label
        return Calibration(
            self.frames[chosen], self.mfcc[chosen], self.modalities[chosen], self.labels[chosen]
        )


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


class ClipReader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the clips to ONNX Runtime's calibrator, which may ask for some of the batches."""

    def __init__(self, calibration: Calibration) -> None:
        self._batches = calibration.batches()
        self.set_range(0, len(self._batches))

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with the batches from ``start_index`` up to ``end_index``, which is left out."""
        self._rest = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch; None after the last."""
        return next(self._rest, None)
