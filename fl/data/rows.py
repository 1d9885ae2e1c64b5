"""One clip's row in each of the large files of a store."""

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.features import num_steps
from fl.data.reading import ClipTensors
from fl.settings import ClipSettings

FRAMES_FILE, MFCC_FILE, BOXES_FILE, TIMES_FILE = "frames.u8", "mfcc.f16", "boxes.f32", "times.f32"


def row_shapes(settings: ClipSettings) -> dict[str, tuple[tuple[int, ...], str]]:
    """File -> shape and dtype of one clip's row in it."""
    side, num_frames = settings.image_size, settings.num_frames
    return {
        FRAMES_FILE: ((num_frames, side, side, 3), "uint8"),
        MFCC_FILE: ((num_steps(settings.window_s), settings.num_mfcc), "float16"),
        BOXES_FILE: ((num_frames, 4), "float32"),
        TIMES_FILE: ((num_frames,), "float32"),
    }


def row_sizes(settings: ClipSettings) -> dict[str, int]:
    """File -> bytes of one clip's row in it."""
    shapes = row_shapes(settings)
    return {name: math.prod(shape) * np.dtype(dtype).itemsize for name, (shape, dtype) in shapes.items()}


def write_row(folder: Path, row: int, clip: ClipTensors) -> int:
    """Write a clip into its row of the existing files in ``folder``; the CRC-32 of what was written."""
    data: dict[str, NDArray[Any]] = {
        FRAMES_FILE: clip.frames,
        MFCC_FILE: clip.mfcc.astype(np.float16),
        BOXES_FILE: clip.boxes,
        TIMES_FILE: clip.times_s,
    }
    return write_arrays(folder, row, data)


def write_arrays(folder: Path, row: int, data: Mapping[str, NDArray[Any]]) -> int:
    """Write arrays into the row of the files of these names in ``folder``; their CRC-32."""
    crc = 0
    for name, values in data.items():
        contents = values.tobytes()
        # Written, not mapped: a full disk is then an error and not a fatal signal.
        with (folder / name).open("r+b", buffering=0) as file:
            file.seek(row * len(contents))
            if file.write(contents) != len(contents):
                raise OSError(f"{name} could not be written in full: no space left")
        crc = zlib.crc32(contents, crc)
    return crc


def row_crc(folder: Path, row: int, sizes: dict[str, int]) -> int:
    """The CRC-32 of a row as it is in the files."""
    crc = 0
    for name, size_bytes in sizes.items():
        with (folder / name).open("rb", buffering=0) as file:
            file.seek(row * size_bytes)
            crc = zlib.crc32(file.read(size_bytes), crc)
    return crc


def compact_rows(path: Path, rows: list[int], row_bytes: int) -> None:
    """Move the given rows (ascending) to the front of a file, in order, and cut off the rest."""
    with path.open("r+b") as file:
        for target, row in enumerate(rows):
            if target == row:
                continue
            file.seek(row * row_bytes)
            data = file.read(row_bytes)
            file.seek(target * row_bytes)
            file.write(data)
        file.truncate(len(rows) * row_bytes)
