"""A conversion as a job: a folder with all it needs, a process with a time limit, a log that is kept.

The process sees a copy of ``models`` and its own environment, so that a converter may need another torch than
ours, write to standard error, or crash.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
from torch import Tensor, nn

import models
from fl.errors import RunError
from models.architecture import Architecture

DEFAULT_TIME_LIMIT_S = 1800.0
"""Of one conversion; PIN-Lite with 80 audio steps takes two minutes of two busy cores."""

_WORKER = Path(__file__).with_name("worker.py")
_NAMED = re.compile(r"[\w.]*(Error|Exception|error): ")
_FRAMES = ("Traceback ", "  ", "File ", "^")


@dataclass(frozen=True)
class Conversion:
    """What a job left.

    Attributes:
        path: the exported file; it goes with the job's folder.
        logits: (clips,), of the exported file in its own runtime, clip by clip.
        explanation: (clips, ...).
        told: "converter", "runtime", "torch" (versions), "conversion_s", "input_names", "output_names".
    """

    path: Path
    logits: np.ndarray
    explanation: np.ndarray
    told: dict[str, Any]


@contextmanager
def converted(
    name: str,
    python: Path,
    architecture: Architecture,
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    log: Path,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> Iterator[Conversion]:
    """Convert a network and run the result; the job's folder is gone afterwards, whatever happens.

    Args:
        name: "executorch" or "tflite".
        python: of the environment that holds the converter.
        architecture: of ``network``.
        network: its weights are converted.
        inputs: names of `models.output.INPUTS`, or the first of them -> (clips, ...), at least one clip.
        log: what the converter said goes there if it failed.
        time_limit_s: then it is ended.

    Raises:
        RunError: it failed, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="fedpin-export-") as place:
        folder = Path(place)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(models.__file__).parent, folder / "models", ignore=ignored)
        shutil.copy(_WORKER, folder)
        (folder / "architecture.json").write_text(architecture.to_json())
        safetensors.torch.save_model(network, str(folder / "weights.safetensors"))
        stored = {key: tensor.contiguous() for key, tensor in inputs.items()}
        safetensors.torch.save_file(stored, folder / "inputs.safetensors")
        told_file, exported = folder / "result.json", folder / "exported"
        run_logged(
            [str(python), "-X", "faulthandler", _WORKER.name, name],
            folder,
            log,
            time_limit_s,
            f"the export to {name}",
        )
        outputs = safetensors.numpy.load_file(folder / "outputs.safetensors")
        told: dict[str, Any] = json.loads(told_file.read_text())
        yield Conversion(exported, outputs["logits"], outputs["explanation"], told)


def run_logged(
    command: list[str],
    folder: Path,
    log: Path,
    time_limit_s: float,
    what: str,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a program; its output is kept only if it fails.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        log: where its output goes.
        time_limit_s: after that it is killed.
        what: what the error calls it.
        environment: variables that are set besides ours.

    Raises:
        RunError: it failed or was too slow; the last line that says something is in the message.
    """
    # Nothing of this process's may lead the other environment's Python to our packages.
    variables = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("PYTHON") and key != "VIRTUAL_ENV"
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            code: int | None = subprocess.run(
                command,
                cwd=folder,
                env={**variables, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=time_limit_s,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
        except BaseException:
            log.unlink()
            raise
    if code == 0:
        log.unlink()
        return
    if code is None:
        raise RunError(f"{what} took longer than {time_limit_s:g} s and was ended; log: {log}")
    said = last_line(log.read_text(errors="replace")) or f"exit code {code}"
    if code < 0:
        said = f"killed by {signal.Signals(-code).name}"
    raise RunError(f"{what} failed: {said}; log: {log}")


def last_line(text: str) -> str:
    """What a failed program said last, at most 200 characters.

    The last line that names an error or exception; else the last that is no frame and no rule.
    """
    lines = [line for line in text.splitlines() if line.strip(" \t-=^~") and not line.startswith(_FRAMES)]
    named = [line for line in lines if _NAMED.match(line)]
    return (named or lines or [""])[-1].strip()[:200]
