"""A canvas in face units, and soft shapes to paint on it.

The canvas has ``CANVAS`` pixels a side; u runs to the right and v down from the middle of the face, about 1
at the cheeks.
"""

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

CANVAS = 192
UNIT = 58.0
ORIGIN = (96.0, 102.0)
EYE_V = -0.27
MOUTH_V = 0.60


def grid(rows: slice = slice(0, CANVAS)) -> tuple[Field, Field]:
    """Face coordinates (u, v) of the canvas' pixels, each (rows, CANVAS)."""
    v, u = np.mgrid[rows, 0:CANVAS].astype(np.float32)
    return (u - np.float32(ORIGIN[0])) / np.float32(UNIT), (v - np.float32(ORIGIN[1])) / np.float32(UNIT)


def blob(u: Field, v: Field, at: tuple[float, float], sigma: tuple[float, float]) -> Field:
    """A Gaussian spot of height 1."""
    return np.exp(-0.5 * (((u - at[0]) / sigma[0]) ** 2 + ((v - at[1]) / sigma[1]) ** 2)).astype(np.float32)


def edge(distance: NDArray[np.floating], softness: float = 1.2) -> Field:
    """Coverage in [0, 1] from a signed distance in face units (positive inside), anti-aliased."""
    return np.asarray(np.clip(distance * (UNIT / softness) + 0.5, 0, 1), dtype=np.float32)


def lay(canvas: Field, mask: Field, colour: tuple[float, float, float] | Field) -> None:
    """Paint ``colour`` over ``canvas`` (height, width, 3) in place with coverage ``mask``."""
    canvas += mask[..., None] * (np.asarray(colour, dtype=np.float32) - canvas)
