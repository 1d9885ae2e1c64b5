"""A run that is to go on: its settings, what a request would change of them, and that one process drives it.

No heavy import: all this is asked before torch is loaded.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from fl.errors import RequestError
from fl.settings import Experiment
from sim.config import build, compose
from sim.record import SUMMARY_FILE
from sim.schema import settings, shown, value_of

SETTINGS_FOLDER = ".hydra"
DRIVER_LOCK = f"{SETTINGS_FOLDER}/driver.lock"
LAST_FILE = "figures/partition.png"
"""What a run writes last, and at once."""

Change = tuple[Any, Any]
"""A setting's value in a run, and the one asked for."""


def kept_settings(run_dir: Path) -> Experiment:
    """The settings with which a run was started.

    Raises:
        RequestError: the folder is no run, or its process was killed before it had written them.
    """
    loaded = _load(run_dir / SETTINGS_FOLDER / "config.yaml")
    if not isinstance(loaded, DictConfig):
        raise RequestError(
            f"resume and branch must name the folder of a run, got {str(run_dir)!r} without "
            f"{SETTINGS_FOLDER}/config.yaml; `python -m sim run` prints its folder last"
        )
    return build(loaded)


def kept_overrides(run_dir: Path) -> list[str]:
    """A run's overrides as typed, and where Hydra looked for further groups."""
    typed = _load(run_dir / SETTINGS_FOLDER / "overrides.yaml")
    hydra = _load(run_dir / SETTINGS_FOLDER / "hydra.yaml")
    asked = [str(item) for item in typed] if isinstance(typed, ListConfig) else []
    own = OmegaConf.select(hydra, "hydra.overrides.hydra") if isinstance(hydra, DictConfig) else None
    return [*(str(item) for item in own or [] if str(item).startswith("hydra.searchpath")), *asked]


def changes(run_dir: Path, overrides: Sequence[str]) -> dict[str, Change]:
    """The settings that ``overrides``, after a run's own, would change; by key.

    Raises:
        RequestError: an override is wrong.
    """
    if not overrides:
        return {}
    own = kept_overrides(run_dir)
    kept, before, after = kept_settings(run_dir), build(compose(own)), build(compose([*own, *overrides]))
    found = {}
    for setting in settings():
        old, new = value_of(kept, setting.key), value_of(after, setting.key)
        if new != old and new != value_of(before, setting.key):
            found[setting.key] = (old, new)
    return found


def refuse_changes(run_dir: Path, changed: Mapping[str, Change], overrides: Sequence[str]) -> None:
    """A resumed run equals the uninterrupted one, so that it can take no other setting.

    Raises:
        RequestError: one line, then one for each key.
    """
    if changed:
        written = "".join(f"\n  {key}: {shown(old)} -> {shown(new)}" for key, (old, new) in changed.items())
        raise RequestError(
            f"resume must keep the settings of {run_dir}, but {len(changed)} would change; leave them out, "
            f"or start a new run from its last checkpoint: python -m sim run branch={run_dir} "
            f"{' '.join(overrides)}{written}"
        )


def is_finished(run_dir: Path, experiment: Experiment) -> bool:
    """Whether a run has done its last round and written all that comes after."""
    if not all((run_dir / name).is_file() for name in (LAST_FILE, SUMMARY_FILE)):
        return False
    last = json.loads((run_dir / SUMMARY_FILE).read_text(encoding="utf-8"))["last_round"]
    return bool(last["round_index"] == experiment.strategy.num_rounds)


@contextmanager
def only_driver(run_dir: Path) -> Iterator[None]:
    """Hold a run's folder: the kernel lets go when the process ends, however it ends.

    Raises:
        RequestError: another process holds it.
    """
    lock = FileLock(run_dir / DRIVER_LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RequestError(
            f"{run_dir} is being written by another process; wait for it, or choose another name"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _load(path: Path) -> DictConfig | ListConfig | None:
    if not path.is_file():
        return None
    try:
        return OmegaConf.load(path)
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        raise RequestError(f"{path} cannot be read ({error}); start the run anew") from error
