"""A new run that starts from another run's checkpoint: its folder, made whole before its first round."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fl.data.cache import atomic_folder
from fl.errors import RequestError
from fl.privacy.release_log import FILE as RELEASES_FILE
from sim.config import build
from sim.record import ROUNDS_FILE, keep_rounds, read_rounds, replace_text

ORIGIN_FILE = "branch.json"
FIXED = ("system.student", "data.clip.", "fleet.")
"""Settings that a checkpoint's student was made by begin so."""


@dataclass(frozen=True)
class Origin:
    """What a branch started from.

    Attributes:
        run: the other run's folder.
        round_index: of its checkpoint.
        weights_sha256: of the student in it.
    """

    run: str
    round_index: int
    weights_sha256: str


def read_origin(run_dir: Path) -> Origin | None:
    """What a run was branched from; None if it began with first weights."""
    path = run_dir / ORIGIN_FILE
    return Origin(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def make_branch(
    source: Path, folder: Path, cfg: DictConfig, overrides: Sequence[str], tell: Callable[[str], object]
) -> Path:
    """Make the folder of a branch: settings, the newest checkpoint of ``source``, the records up to it.

    Args:
        source: another run's folder.
        folder: the new one.
        cfg: the new run's configuration.
        overrides: which gave it.
        tell: called with one line for each damaged checkpoint.

    Returns:
        ``folder``, from which the run goes on like one that was killed after that checkpoint.

    Raises:
        RequestError: nothing to start from, or no round would be left to do.
        RunError: every checkpoint is damaged.
    """
    from server.checkpoint import newest_checkpoint  # torch: only for a request that was checked

    found = newest_checkpoint(source, tell)
    if found is None:
        raise RequestError(f"branch must name a run with a checkpoint, but {source} has none; start it anew")
    num_rounds = build(cfg).strategy.num_rounds
    if num_rounds <= found.round_index:
        raise RequestError(
            f"strategy.num_rounds must be above {found.round_index}, the round of the checkpoint that "
            f"branch={source} starts from, got {num_rounds}; add strategy.num_rounds={found.round_index + 1}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as building:
        shutil.copymode(source, building)
        (building / ".hydra").mkdir()
        OmegaConf.save(cfg, building / ".hydra" / "config.yaml", resolve=True)
        OmegaConf.save(list(overrides), building / ".hydra" / "overrides.yaml")
        shutil.copytree(found.folder, building / found.folder.relative_to(source))
        origin = Origin(str(source), found.round_index, found.state["record"]["student"]["weights_sha256"])
        replace_text(building / ORIGIN_FILE, json.dumps(asdict(origin)) + "\n")
        if (source / RELEASES_FILE).is_file():
            shutil.copy(source / RELEASES_FILE, building / RELEASES_FILE)
        if read_rounds(source):
            shutil.copy(source / ROUNDS_FILE, building / ROUNDS_FILE)
            keep_rounds(building, found.round_index)
    return folder
