"""Pictures on the disk, whole or not at all."""

import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fl.errors import RunError
from sim.report.figures import DPI


def save_picture(figure: Figure, folder: Path, name: str, endings: Sequence[str] = ("png",)) -> list[Path]:
    """Write a figure once for each ending, beside its place first.

    Args:
        figure: with a canvas.
        folder: made if it is not there.
        name: of the files, without ending.
        endings: "png", "svg".

    Raises:
        RunError: the folder cannot be written.
    """
    written = []
    for ending in endings:
        path, partial = folder / f"{name}.{ending}", folder / f".{name}.{os.getpid()}.{ending}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(partial, dpi=DPI)
            os.replace(partial, path)
        except OSError as error:
            raise RunError(
                f"{str(path)!r} cannot be written: {error.strerror or error}; make its folder writable"
            ) from error
        finally:
            if partial.exists():
                partial.unlink()
        written.append(path)
    return written
