"""Pictures as bytes that are the same each time, and on the disk whole or not at all."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fl.errors import RunError
from sim.report.figures import DPI


def picture_bytes(figure: Figure, ending: str, dpi: float = DPI) -> bytes:
    """A figure on white, without date or random ids.

    Args:
        figure: with a canvas.
        ending: "png" or "svg".
        dpi: of a PNG, and of pictures within an SVG.
    """
    file = io.BytesIO()
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it would move things a little each time
    with rc_context({"svg.hashsalt": "fedpin"}):
        undated = {"Date": None} if ending == "svg" else {}
        figure.savefig(file, format=ending, dpi=dpi, facecolor="white", metadata=undated)
    return file.getvalue()


def save_picture(
    figure: Figure, folder: Path, name: str, endings: Sequence[str] = ("png",), dpi: float = DPI
) -> list[Path]:
    """Write a figure once for each ending, beside its place first.

    Args:
        figure: with a canvas.
        folder: made if it is not there.
        name: of the files, without ending.
        endings: "png", "svg".
        dpi: as in `picture_bytes`.

    Raises:
        RunError: the folder cannot be written.
    """
    written = []
    for ending in endings:
        path, partial = folder / f"{name}.{ending}", folder / f".{name}.{os.getpid()}.{ending}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(picture_bytes(figure, ending, dpi))
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
