"""Checkpoints of a run: architecture, weights and round in JSON and safetensors, written atomically."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from models.architecture import Architecture
from models.zoo import Detector


def save_checkpoint(
    run_dir: Path, round_index: int, architecture: Architecture, network: nn.Module, state: dict[str, Any]
) -> Path:
    """Write ``checkpoints/round-NNN``; it appears whole or not at all.

    Args:
        run_dir: the run's folder.
        round_index: from 1.
        architecture: the student's.
        network: the student.
        state: JSON values that a later round needs.
    """
    folder = run_dir / "checkpoints" / f"round-{round_index:03d}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        (building / "architecture.json").write_text(architecture.to_json())
        safetensors.torch.save_model(network, str(building / "weights.safetensors"))
        (building / "state.json").write_text(json.dumps({"round_index": round_index, **state}))
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def load_checkpoint(folder: Path) -> tuple[Architecture, Detector, dict[str, Any]]:
    """What `save_checkpoint` wrote."""
    architecture = Architecture.from_json((folder / "architecture.json").read_text())
    network = architecture.build()
    safetensors.torch.load_model(network, folder / "weights.safetensors")
    state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return architecture, network, state
