"""What an export folder says of itself: ``export.json``, one entry for each file."""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.compress.audit import Answers
from fl.compress.model_card import ModelCard
from fl.data.features import HOP_S, IMAGENET_MEAN, IMAGENET_STD, mfcc_scale
from fl.errors import RunError

MANIFEST_FILE = "export.json"


@dataclass(frozen=True)
class Parity:
    """How far an exported file's answers are from PyTorch's on the same clips.

    Attributes:
        num_clips: how many.
        batch_sizes: that the file was run with.
        logits_max: largest difference of a logit; null if one of them is no finite number.
        probability_max: of a probability of fake; likewise.
        explanation_max: of a value of the explanation map; likewise.
    """

    num_clips: int
    batch_sizes: tuple[int, ...]
    logits_max: float | None
    probability_max: float | None
    explanation_max: float | None

    @property
    def worst(self) -> float:
        """The larger difference of logits and map; infinite if there is a number that is not finite."""
        told = (self.logits_max, self.explanation_max)
        return max(math.inf if value is None else value for value in told)


@dataclass(frozen=True)
class Export:
    """One format's outcome.

    Attributes:
        format: "onnx", "onnx int8", "executorch" or "tflite".
        told: converter, runtime, names of inputs and outputs, operator set where there is one.
        inputs: name of `models.output.INPUTS` -> shape, "batch" where the batch is free.
        parity: null if there is nothing to compare.
        tolerance: that ``parity.worst`` must not exceed; null for a file that is not meant to be equal.
        passed: it holds; null likewise.
        file: its name; null if it was not kept.
        size_bytes: of the file.
        sha256: of the file's content.
        error: why there is no file.
    """

    format: str
    told: dict[str, Any] | None = None
    inputs: dict[str, list[int | str]] | None = None
    parity: Parity | None = None
    tolerance: float | None = None
    passed: bool | None = None
    file: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    error: str | None = None


def compare(expected: Answers, given: Answers, batch_sizes: Sequence[int]) -> Parity:
    """Hold an exported file's answers against PyTorch's.

    Args:
        expected: of PyTorch, for some clips.
        given: of the file, for the same clips.
        batch_sizes: that the file was run with.

    Raises:
        RunError: the shapes differ.
    """
    if expected.logits.shape != given.logits.shape or expected.maps.shape != given.maps.shape:
        raise RunError(
            f"the file answers {given.logits.shape} and {given.maps.shape}, "
            f"PyTorch {expected.logits.shape} and {expected.maps.shape}"
        )
    return Parity(
        num_clips=len(expected.logits),
        batch_sizes=tuple(batch_sizes),
        logits_max=_largest(expected.logits, given.logits),
        probability_max=_largest(expected.scores, given.scores),
        explanation_max=_largest(expected.maps, given.maps),
    )


def describe_file(path: Path) -> dict[str, Any]:
    """``file``, ``size_bytes`` and ``sha256`` of an `Export`."""
    content = path.read_bytes()
    return {
        "file": path.name,
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def write_manifest(
    folder: Path, card: ModelCard, weights_sha256: str, exports: Sequence[Export]
) -> dict[str, Any]:
    """Write ``export.json``, whole or not at all, and give what it says.

    Entries of an earlier manifest stay if they are of the same weights, of another format, and their
    file is still what they say.
    """
    document = {
        "run": card.run,
        "fedpin_version": card.fedpin_version,
        "architecture_sha256": card.architecture_sha256,
        "weights_sha256": weights_sha256,
        "classes": list(card.classes),
        "threshold": card.threshold,
        "licence": card.licence,
        "preprocessing": _preprocessing(card),
        "exports": [*_kept(folder, weights_sha256, exports), *(asdict(export) for export in exports)],
    }
    path = folder / MANIFEST_FILE
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return document


def _kept(folder: Path, weights_sha256: str, exports: Sequence[Export]) -> list[dict[str, Any]]:
    try:
        earlier = json.loads((folder / MANIFEST_FILE).read_text())
        if earlier["weights_sha256"] != weights_sha256:
            return []
        made = {export.format for export in exports}
        return [
            entry
            for entry in earlier["exports"]
            if entry["format"] not in made
            and entry["file"] is not None
            and describe_file(folder / Path(entry["file"]).name)["sha256"] == entry["sha256"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # no manifest, none of ours, or a file of it has gone


def _preprocessing(card: ModelCard) -> dict[str, Any]:
    """How a video becomes the inputs; the numbers are those of `fl.data.features`."""
    shift, scale = mfcc_scale(card.clip.num_mfcc)
    return {
        "reader_version": card.reader_version,
        "clip": asdict(card.clip),
        "frames": {"layout": "RGB, (x / 255 - mean) / std", "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
        "mfcc": {"hop_s": HOP_S, "shift": shift.tolist(), "scale": scale.tolist()},
        "modalities": "has video, has audio: 1 or 0",
    }


def _largest(expected: NDArray[Any], given: NDArray[Any]) -> float | None:
    largest = float(np.abs(expected.astype(np.float64) - given).max())
    return largest if math.isfinite(largest) else None
