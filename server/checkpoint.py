"""Checkpoints of a run: all that a later round needs, in JSON and safetensors, whole or not there.

``checkpoints/round-NNN`` holds architecture.json, weights.safetensors, scores.safetensors, state.json and,
of all four, the digests in SHA256SUMS, as `sha256sum --check` reads them.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from fl.data.cache import flush
from fl.errors import RunError
from fl.reasons import one_line
from models.architecture import Architecture
from models.zoo import Detector

FOLDER = "checkpoints"
SUMS_FILE = "SHA256SUMS"
FILES = ("architecture.json", "scores.safetensors", "state.json", "weights.safetensors")

_BUILDING = ".building-"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint, read back.

    Attributes:
        folder: where it lies.
        round_index: the round that it was written after.
        architecture: the student's.
        network: the student.
        state: JSON values: see `server.rounds.run_rounds`.
        scores: name of a student -> (clips,), float64, its probabilities of fake on the test split.
    """

    folder: Path
    round_index: int
    architecture: Architecture
    network: Detector
    state: dict[str, Any]
    scores: dict[str, np.ndarray]


def save_checkpoint(
    run_dir: Path,
    round_index: int,
    architecture: Architecture,
    network: nn.Module,
    state: Mapping[str, Any],
    scores: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write ``checkpoints/round-NNN``; it is on the disk, whole, when this returns, or not there at all.

    Args:
        run_dir: the run's folder.
        round_index: from 1.
        architecture: the student's.
        network: the student.
        state: JSON values that a later round needs.
        scores: see `Checkpoint`.

    Raises:
        RunError: it cannot be written; the earlier ones stay as they are.
    """
    folder = run_dir / FOLDER / f"round-{round_index:03d}"
    building = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=folder.parent))
        (building / "architecture.json").write_text(architecture.to_json())
        safetensors.torch.save_model(network, str(building / "weights.safetensors"))
        safetensors.numpy.save_file(dict(scores or {}), building / "scores.safetensors")
        (building / "state.json").write_text(json.dumps({"round_index": round_index, **state}))
        (building / SUMS_FILE).write_text("".join(f"{_sha256(building / name)}  {name}\n" for name in FILES))
        for name in (*FILES, SUMS_FILE, "."):
            flush(building / name)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(building, folder)
        flush(folder.parent)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"the checkpoint of round {round_index} cannot be written to {folder} ({error}); make room or "
            f"the folder writable, then go on: python -m sim run resume={run_dir}"
        ) from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
    return folder


def load_checkpoint(folder: Path) -> tuple[Architecture, Detector, dict[str, Any]]:
    """Architecture, student and state that `save_checkpoint` wrote."""
    architecture = Architecture.from_json((folder / "architecture.json").read_text())
    network = architecture.build()
    safetensors.torch.load_model(network, folder / "weights.safetensors")
    state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return architecture, network, state


def checkpoint_folders(run_dir: Path) -> list[Path]:
    """The folders of a run's checkpoints, oldest first; damaged ones too."""
    return sorted((run_dir / FOLDER).glob("round-*"), key=_round_of)


def newest_checkpoint(run_dir: Path, tell: Callable[[str], object]) -> Checkpoint | None:
    """The newest checkpoint that is as it was written; None where there is none at all.

    What a killed process left half-written is removed.

    Args:
        run_dir: the run's folder; no other process may write to it.
        tell: called with one line for each damaged one.

    Raises:
        RunError: there are checkpoints, and all are damaged.
    """
    for torn in (run_dir / FOLDER).glob(_BUILDING + "*"):
        shutil.rmtree(torn)
    folders = checkpoint_folders(run_dir)
    for folder in reversed(folders):
        damage = find_damage(folder)
        if not damage:
            try:
                return _read(folder)
            except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
                damage = f"its files are whole, but none of ours: {one_line(str(error))}"
        tell(f"Checkpoint {folder.name} is damaged, going back to the one before: {damage}")
    if folders:
        raise RunError(
            f"no checkpoint of {run_dir} can be used; remove {run_dir / FOLDER} to begin with round 1 again"
        )
    return None


def find_damage(folder: Path) -> str:
    """What of a checkpoint is not as it was written; empty if nothing."""
    try:
        sums = (folder / SUMS_FILE).read_text()
    except (OSError, UnicodeDecodeError):
        return f"{SUMS_FILE} cannot be read"
    written = {name: digest for digest, _, name in (line.partition("  ") for line in sums.splitlines())}
    for name in FILES:
        if name not in written:
            return f"{SUMS_FILE} does not name {name}"
        if not (folder / name).is_file():
            return f"{name} is not there"
        if _sha256(folder / name) != written[name]:
            return f"{name} has another SHA-256 than when it was written"
    return ""


def _read(folder: Path) -> Checkpoint:
    architecture, network, state = load_checkpoint(folder)
    scores = safetensors.numpy.load_file(folder / "scores.safetensors")
    return Checkpoint(folder, int(state["round_index"]), architecture, network, state, scores)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _round_of(folder: Path) -> int:
    number = folder.name.removeprefix("round-")
    return int(number) if number.isdigit() else 0
