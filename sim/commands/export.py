"""`python -m sim export RUN`: a run's student for other runtimes, each file held against PyTorch."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fl.errors import RequestError
from sim.commands.arguments import Parser

if TYPE_CHECKING:
    from sim.exporting import Exporter

FORMATS = ("onnx", "executorch", "tflite")

EPILOG = """\
onnx: any batch; student.int8.onnx is copied as the run shipped it. executorch: batch 1, needs the extra
executorch. tflite: batch 1, converted in an environment of its own in the cache, made by --prepare-tflite.
Every file is run by its own runtime on clips of the test split. One that differs from PyTorch by more
than the tolerance, in a logit or in the map, is not written. export.json says what each file is.
Exit code: 0, or 1 if a format failed (the others are written), 2 if the request was wrong.
"""


def main(argv: Sequence[str]) -> int:
    """Export, print the table or with ``--json`` the manifest.

    Returns:
        0; 1 if a format failed, which a line on standard error says.

    Raises:
        RequestError: the request is wrong, or something that it needs is not there; nothing was exported.
        RunError: the TFLite environment cannot be made.
    """
    asked = _parse(argv)
    if "executorch" in asked.format and find_spec("executorch") is None:
        raise RequestError(
            "--format executorch needs the extra executorch (0.5 GB): pip install 'executorch==1.5.1', "
            "or pip install -e '.[executorch]' in the checkout"
        )
    from fl.export.manifest import write_manifest
    from sim.exporting import export_formats

    exporter = _make_exporter(asked)
    exports = export_formats(exporter, asked.format)
    document = write_manifest(exporter.out, exporter.card, exporter.weights_sha256, exports)
    if asked.json:
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    else:
        from sim.report.exports import print_exports

        print_exports(str(exporter.out), exports)
    failed = [export for export in exports if export.error is not None]
    for export in failed:
        sys.stderr.write(f"fedpin: {export.format}: {export.error}\n")
    return 1 if failed else 0


def _make_exporter(asked: Namespace) -> "Exporter":
    """Open the run and everything that the formats need, before anything is converted."""
    import torch

    from fl.compress.audit import Answers
    from fl.compress.model_card import load_model
    from fl.data.shards import take
    from fl.distill.batches import load_batch
    from fl.seeds import generator
    from fl.state import flatten, weights_sha256
    from server.evaluate import two_class_rows
    from sim.exporting import FILES, INT8, Exporter
    from sim.finished import open_run

    run = open_run(asked.run, asked.cache_dir)
    card = load_model(run.folder / FILES["onnx"], "RUN")[1]
    for path in (run.folder / FILES["onnx"], run.folder / INT8):
        if path.is_file() and load_model(path, "RUN")[1].architecture_sha256 != run.architecture.sha256:
            raise RequestError(f"{path} is of another network than the run's last checkpoint; run it again")
    out = asked.out or run.folder / "export"
    python = {"executorch": Path(sys.executable)}
    if "tflite" in asked.format:
        python["tflite"] = _tflite_python(run.cache_dir, asked.prepare_tflite)
    test = take(run.stores(("test",))["test"])
    rows = two_class_rows(test.labels, asked.clips, generator(run.experiment.seed, 0, -1, "export"))
    batch = load_batch(test, rows)
    with torch.no_grad():
        output = run.network(*batch.inputs)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--out {str(out)!r} cannot be made: {error.strerror}; name another") from error
    return Exporter(
        run=run,
        batch=batch,
        expected=Answers(output.logits.numpy(), output.explanation.numpy()),
        card=card,
        weights_sha256=weights_sha256(flatten(run.network)),
        out=out,
        tolerance=asked.tolerance,
        python=python,
    )


def _tflite_python(cache_dir: Path, prepare_it: bool) -> Path:
    from fl.export.tflite_environment import environment_python, prepare
    from sim.progress import Progress

    python = environment_python(cache_dir)
    if python is None and prepare_it:
        with Progress().stage("Preparing the TFLite environment"):
            return prepare(cache_dir)
    if python is None:
        raise RequestError(
            f"--format tflite needs an environment of its own in {cache_dir / 'tools'}, which is not there: "
            "add --prepare-tflite, which downloads 1 to 3 GB once"
        )
    return python


def _parse(argv: Sequence[str]) -> Namespace:
    parser = Parser(
        prog="python -m sim export", description="A run's student for other runtimes.", epilog=EPILOG
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--format", nargs="+", choices=FORMATS, default=["onnx"], help="which files to make (onnx)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where they go (RUN/export)")
    parser.add_argument(
        "--tolerance", type=float, default=1e-3, help="largest difference that passes (0.001)"
    )
    parser.add_argument("--clips", type=int, default=32, help="test clips to compare on, at least 2 (32)")
    parser.add_argument(
        "--prepare-tflite", action="store_true", help="make the TFLite environment if it is not there"
    )
    parser.add_argument("--cache-dir", type=Path, help="the run's cache, if it was moved")
    parser.add_argument("--json", action="store_true", help="print the manifest")
    asked = parser.parse_args(argv)
    asked.format = list(dict.fromkeys(asked.format))
    if not 0 < asked.tolerance <= 1:
        raise RequestError(f"--tolerance must be in (0, 1], got {asked.tolerance:g}; 0.001 is usual")
    if asked.clips < 2:
        raise RequestError(f"--clips must be at least 2, got {asked.clips}; 32 is usual")
    return asked
