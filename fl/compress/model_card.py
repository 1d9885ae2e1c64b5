"""What an exported detector says of itself: enough to use it without the run that made it.

The card lies in the ONNX file's metadata, one text for each key of `ModelCard`; what is not text is JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx.external_data_helper import uses_external_data

from fl.data.reading import READER_VERSION
from fl.errors import RequestError
from fl.settings import ClipSettings, FaceSettings
from models.output import INPUTS

PRODUCER = "fedpin"
"""The graph's ``producer_name``."""

CLASSES = ("real", "fake")
"""Names of the labels 0 and 1."""

LICENCE = "trained by this run; see the data's terms"
"""Of the weights: they inherit what their clips allow."""


@dataclass(frozen=True)
class ModelCard:
    """The metadata of an exported detector.

    Attributes:
        clip: how a video becomes the graph's inputs.
        run: name of the run that made it.
        fedpin_version: of the program that made it; empty if unknown.
        architecture_sha256: of its `Architecture`.
        threshold: a clip is called fake if its probability is above this.
        classes: names of the labels 0 and 1.
        licence: of the weights.
        reader_version: of the code that turned clips into tensors.
    """

    clip: ClipSettings
    run: str
    fedpin_version: str
    architecture_sha256: str = ""
    threshold: float = 0.5
    classes: tuple[str, ...] = CLASSES
    licence: str = LICENCE
    reader_version: int = READER_VERSION


def write_card(model: onnx.ModelProto, card: ModelCard) -> onnx.ModelProto:
    """Put a card into a graph, in place of any that it has; gives the graph itself."""
    del model.metadata_props[:]
    for key, value in asdict(card).items():
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        model.metadata_props.add(key=key, value=text)
    model.producer_name, model.producer_version = PRODUCER, card.fedpin_version
    return model


def read_card(model: onnx.ModelProto, name: str) -> ModelCard:
    """The card of a graph.

    Args:
        model: the graph.
        name: what errors call it.

    Raises:
        RequestError: it has none, or one that does not fit this program or the graph.
    """
    told = {entry.key: entry.value for entry in model.metadata_props}
    missing = sorted({field.name for field in fields(ModelCard)} - told.keys())
    if model.producer_name != PRODUCER or missing:
        lacks = f" (it lacks {', '.join(missing)})" if missing else ""
        raise RequestError(
            f"{name} must be a model that `sim run` exported, but its metadata are not ours{lacks}: they say "
            "how a video becomes its inputs; give the student.onnx or student.int8.onnx of a run"
        )
    try:
        card = ModelCard(
            clip=_clip_settings(json.loads(told["clip"])),
            run=told["run"],
            fedpin_version=told["fedpin_version"],
            architecture_sha256=told["architecture_sha256"],
            threshold=float(json.loads(told["threshold"])),
            classes=tuple(str(label) for label in json.loads(told["classes"])),
            licence=told["licence"],
            reader_version=int(json.loads(told["reader_version"])),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RequestError(f"{name} has metadata that cannot be read ({error}); export it again") from error
    _check_card(card, model, name)
    return card


def load_model(path: Path, name: str = "--model") -> tuple[onnx.ModelProto, ModelCard]:
    """An exported detector and its card.

    Args:
        path: the ONNX file.
        name: what errors call the option that named it.

    Raises:
        RequestError: no such file, no ONNX, weights in other files, or not a model of ours.
    """
    where = f"{name} {str(path)!r}"
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise RequestError(f"{name} must be an ONNX file, but {str(path)!r} {found}; give RUN/student.onnx")
    try:
        model = onnx.load_from_string(path.read_bytes())
    except OSError as error:
        raise RequestError(f"{where} cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise RequestError(f"{where} is not an ONNX file; give RUN/student.onnx") from error
    if _has_external_data(model.graph):
        raise RequestError(
            f"{where} keeps its weights in other files, which are never opened; save it as one file"
        )
    return model, read_card(model, where)


def _clip_settings(told: Mapping[str, Any]) -> ClipSettings:
    """The settings, of which each value has the type of its default."""
    clip = ClipSettings(**{**told, "face": FaceSettings(**told["face"])})
    for given, default in ((clip, ClipSettings()), (clip.face, FaceSettings())):
        for field in fields(default):
            value, expected = getattr(given, field.name), type(getattr(default, field.name))
            if type(value) is not expected and not (expected is float and type(value) is int):
                raise TypeError(f"{field.name} must be of type {expected.__name__}, got {value!r}")
    return clip


def _check_card(card: ModelCard, model: onnx.ModelProto, name: str) -> None:
    if card.reader_version != READER_VERSION:
        raise RequestError(
            f"{name} was trained on clips as version {card.reader_version} of the reader made them, this "
            f"program has version {READER_VERSION}: its answers would mislead; train it again"
        )
    if not 0 <= card.threshold <= 1:
        raise RequestError(f"{name} has the threshold {card.threshold:g}, which is not in [0, 1]")
    if card.clip.face.smoothing % 2 == 0:
        raise RequestError(f"{name} smooths faces over {card.clip.face.smoothing} frames, which is not odd")
    shapes = {
        entry.name: [dim.dim_value for dim in entry.type.tensor_type.shape.dim] for entry in model.graph.input
    }
    clip = card.clip
    frames = [0, clip.num_frames, 3, clip.image_size, clip.image_size]
    mismatch = not shapes or not set(shapes) <= set(INPUTS) or shapes.get("frames", frames) != frames
    if mismatch or shapes.get("mfcc", [0, 0, clip.num_mfcc])[2:] != [clip.num_mfcc]:
        raise RequestError(f"{name} takes inputs {shapes}, which its metadata contradict; export it again")


def _has_external_data(graph: onnx.GraphProto) -> bool:
    """Whether any tensor of the graph, of its nodes or of graphs within them lies in another file."""
    if any(uses_external_data(tensor) for tensor in graph.initializer):
        return True
    for sparse in graph.sparse_initializer:
        if uses_external_data(sparse.values) or uses_external_data(sparse.indices):
            return True
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        if any(uses_external_data(tensor) for tensor in (attribute.t, *attribute.tensors)):
            return True
        if any(_has_external_data(inner) for inner in (attribute.g, *attribute.graphs)):
            return True
    return False
