"""A run's student as files for other runtimes, each run by its own and held against PyTorch."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from fl.compress.audit import Answers
from fl.compress.export import OUTPUTS, load_template
from fl.compress.model_card import ModelCard, write_card
from fl.compress.sessions import batch_feeds
from fl.distill.batches import Batch
from fl.errors import RunError
from fl.export.job import converted
from fl.export.manifest import Export, compare, describe_file
from fl.metrics.latency import open_session
from models.output import INPUTS
from sim.finished import FinishedRun
from sim.progress import Progress

FILES = {"onnx": "student.onnx", "executorch": "student.pte", "tflite": "student.tflite"}
INT8 = "student.int8.onnx"


@dataclass(frozen=True)
class Exporter:
    """What all formats need.

    Attributes:
        run: the run.
        batch: test clips of both classes.
        expected: PyTorch's answers to them.
        card: of the run's student.onnx.
        weights_sha256: of the student.
        out: where files go.
        tolerance: largest difference of a logit or of a value of the map.
        python: format -> the Python that converts to it.
    """

    run: FinishedRun
    batch: Batch
    expected: Answers
    card: ModelCard
    weights_sha256: str
    out: Path
    tolerance: float
    python: dict[str, Path]


def export_formats(exporter: Exporter, formats: Sequence[str]) -> list[Export]:
    """Export to each format; one that fails leaves no file and does not stop the others."""

    exports: list[Export] = []
    progress = Progress()
    with progress.stage("Exporting", total=len(formats)) as advance:
        for name in formats:
            advance(0, name)
            try:
                exports += _export_onnx(exporter) if name == "onnx" else [_export_mobile(exporter, name)]
            except RunError as error:
                (exporter.out / FILES[name]).unlink(missing_ok=True)
                exports.append(Export(name, tolerance=exporter.tolerance, passed=False, error=str(error)))
            advance(1, name)
    return exports


def _export_onnx(exporter: Exporter) -> Iterator[Export]:
    """The float graph, exported again from the checkpoint, and the INT8 one that the run shipped."""
    run, one = exporter.run, tuple(tensor[:1] for tensor in exporter.batch.inputs)
    template = load_template(run.architecture, run.network, (one[0], one[1], one[2]), run.cache_dir)
    model = write_card(template.with_weights(run.network.state_dict()), exporter.card)
    model.metadata_props.add(key="weights_sha256", value=exporter.weights_sha256)
    content = model.SerializeToString()
    yield _onnx_file(exporter, "onnx", model, content, FILES["onnx"], exporter.tolerance)
    if (shipped := run.folder / INT8).is_file():
        content = shipped.read_bytes()
        yield _onnx_file(exporter, "onnx int8", onnx.load_from_string(content), content, INT8, None)


def _onnx_file(
    exporter: Exporter, name: str, model: onnx.ModelProto, content: bytes, file: str, tolerance: float | None
) -> Export:
    session, feeds = open_session(content), batch_feeds(exporter.batch)
    num_clips = len(exporter.batch.labels)
    single = [
        session.run(list(OUTPUTS), {key: value[i : i + 1] for key, value in feeds.items()})
        for i in range(num_clips)
    ]
    alone = Answers(*(np.concatenate([given[place] for given in single]) for place in (0, 1)))
    whole = Answers(*session.run(list(OUTPUTS), feeds))
    parity = max(
        (compare(exporter.expected, given, (1, num_clips)) for given in (alone, whole)),
        key=lambda found: found.worst,
    )
    told = {
        "converter": f"{model.producer_name} {model.producer_version}".strip(),
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "input_names": list(feeds),
        "output_names": list(OUTPUTS),
    }
    inputs: dict[str, list[int | str]] = {key: ["batch", *array.shape[1:]] for key, array in feeds.items()}
    return _keep(exporter, content, file, Export(name, told, inputs, parity, tolerance))


def _export_mobile(exporter: Exporter, name: str) -> Export:
    run, stored = exporter.run, dict(zip(INPUTS, exporter.batch.inputs, strict=True))
    log = exporter.out / f"{name}.log"
    with converted(name, exporter.python[name], run.architecture, run.network, stored, log) as conversion:
        given = Answers(conversion.logits, conversion.explanation)
        inputs: dict[str, list[int | str]] = {key: [1, *t.shape[1:]] for key, t in stored.items()}
        parity = compare(exporter.expected, given, (1,))
        export = Export(name, conversion.told, inputs, parity, exporter.tolerance)
        return _keep(exporter, conversion.path.read_bytes(), FILES[name], export)


def _keep(exporter: Exporter, content: bytes, file: str, export: Export) -> Export:
    """Write a file that holds the tolerance, if it must; one that does not leaves none."""
    path, parity, tolerance = exporter.out / file, export.parity, export.tolerance
    if tolerance is not None and (parity is None or not parity.worst <= tolerance):
        path.unlink(missing_ok=True)
        worst = "an unknown amount" if parity is None else f"{parity.worst:.2g}"
        error = f"differs from PyTorch by {worst}, more than --tolerance {tolerance:g}: {file} not written"
        return replace(export, passed=False, error=error)
    partial = path.with_name(f".{file}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; name another folder by --out") from error
    finally:
        partial.unlink(missing_ok=True)
    return replace(export, **describe_file(path), passed=None if tolerance is None else True)
