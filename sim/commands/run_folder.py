"""Where a run goes, as `run` checks and prints it."""

from pathlib import Path

from fl.errors import RequestError
from sim.record import ROUNDS_FILE
from sim.resume import DRIVER_LOCK, only_driver


def refuse_taken(folder: Path) -> None:
    """Refuse a folder in which a run has been, or is at work.

    Raises:
        RequestError: with what to do instead.
    """
    if (folder / ROUNDS_FILE).exists() or any(folder.glob("checkpoints/round-*")):
        raise RequestError(
            f"name must be new, but {str(folder)!r} already holds a record; choose another name or remove "
            f"it; a run that was killed goes on with: python -m sim run resume={folder}"
        )
    if (folder / DRIVER_LOCK).is_file():
        with only_driver(folder):
            pass


def shortest(folder: Path) -> Path:
    """The folder as it is named from here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
