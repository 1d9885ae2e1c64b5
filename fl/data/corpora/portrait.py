"""A drawn head: one synthetic identity, painted once as a table of textures.

Soft analytic shading (sockets, brow ridge, nose, cheeks, lips) stands for the light and dark that a face
detector looks for.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from fl.data.corpora.canvas import CANVAS, EYE_V, MOUTH_V, ORIGIN, UNIT, Field, blob, edge, grid, lay
from fl.data.corpora.facial_parts import (
    ear,
    hair_masks,
    paint_beard,
    paint_brows,
    paint_eyes,
    paint_glasses,
    paint_mouth,
)
from fl.data.corpora.look import Look

NUM_OPENINGS = 8
ROUNDNESS = (0.0, 1.0)
EYE_STATES = (1.0, 0.55, 0.0)
BOX = (-1.10, -1.12, 2.20)
"""Left, top and side, in face units, of the square that Haar's cascade returns for an upright face."""


@dataclass(frozen=True)
class Portrait:
    """Textures of one identity.

    Attributes:
        heads: (openings, roundness, CANVAS, CANVAS, 4) uint8, premultiplied RGBA, eyes not yet drawn.
        eyes: (states, height, CANVAS, 4) uint8 RGBA strip to lay over rows ``eye_rows``.
        eye_rows: first and last row of the strip.
        look: what it was painted from.
    """

    heads: NDArray[np.uint8]
    eyes: NDArray[np.uint8]
    eye_rows: tuple[int, int]
    look: Look


def paint_portrait(look: Look) -> Portrait:
    """Paint all textures of an identity (about 25 ms)."""
    skin, alpha = paint_head(look)
    heads = np.empty((NUM_OPENINGS, len(ROUNDNESS), CANVAS, CANVAS, 4), dtype=np.uint8)
    for index in range(NUM_OPENINGS):
        opening = index / (NUM_OPENINGS - 1)
        jaw_skin, jaw_alpha = drop_jaw(skin, alpha, opening)
        for round_index, roundness in enumerate(ROUNDNESS):
            colour = jaw_skin.copy()
            paint_mouth(colour, look, opening, roundness)
            heads[index, round_index, ..., :3] = np.clip(colour * jaw_alpha[..., None], 0, 255)
            heads[index, round_index, ..., 3] = jaw_alpha * 255
    top = int(ORIGIN[1] + (EYE_V - 0.20) * UNIT)
    rows = (top, int(ORIGIN[1] + (EYE_V + 0.22) * UNIT))
    eyes = np.stack([paint_eyes(look, rows, state) for state in EYE_STATES])
    return Portrait(heads=heads, eyes=eyes, eye_rows=rows, look=look)


def outline(look: Look) -> PchipInterpolator:
    """Half width of the head (face units) as a smooth function of v."""
    v = np.array([-1.32, -1.15, -0.85, -0.4, 0.0, 0.35, 0.7, 0.95, 1.08, 1.14]) * np.array(
        [1.0] * 5 + [look.length / 1.14] * 5
    )
    half = np.array(
        [0.02, 0.52, 0.83, 0.96, 0.97, 0.92, 0.76 * look.jaw, 0.52 * look.jaw, 0.3 * look.jaw, 0.02]
    )
    return PchipInterpolator(v, half * look.width, extrapolate=False)


def paint_head(look: Look) -> tuple[Field, Field]:
    """Skin, hair, ears, brows and nose with a closed jaw: colours (CANVAS, CANVAS, 3) and coverage."""
    rng = np.random.default_rng(look.texture_seed)
    u, v = grid()
    half = np.nan_to_num(outline(look)(v[:, 0]), nan=0.0).astype(np.float32)[:, None]
    face = edge(half - np.abs(u), 2.0) * (half > 0.03)
    shade = shade_skin(look, u, v, half)
    shade *= 1 + skin_texture(look, rng, u, v)
    skin = np.asarray(look.skin, dtype=np.float32)
    ruddy = (
        blob(u, v, (-0.5, 0.25), (0.25, 0.2))
        + blob(u, v, (0.5, 0.25), (0.25, 0.2))
        + blob(u, v, (0, 0.25), (0.2, 0.2))
    )
    canvas = skin * shade[..., None] * (1 - ruddy[..., None] * np.array([0.0, 0.05, 0.05], dtype=np.float32))
    paint_beard(canvas, look, rng, u, v)
    paint_brows(canvas, look, rng, u, v)
    hair_back, hair_front, strands = hair_masks(look, rng, u, v)
    hair = np.asarray(look.hair, dtype=np.float32) * strands[..., None]
    ears = np.maximum(ear(u, v, look, -1), ear(u, v, look, 1))
    behind = hair * np.float32(0.75)
    lay(behind, ears, skin * np.float32(0.72))
    lay(behind, face, canvas)
    lay(behind, hair_front, hair)
    alpha = np.maximum(np.maximum(face, hair_back), np.maximum(ears, hair_front))
    if look.glasses:
        paint_glasses(behind, look, u, v)
    return behind, alpha


def shade_skin(look: Look, u: Field, v: Field, half: Field) -> Field:
    """Light on the face, about 1 where it is frontal."""
    across = np.clip(u / np.maximum(half, 0.05), -1, 1)
    depth = np.sqrt(1 - 0.92 * across**2)
    light_u, light_v = look.light
    shade = 0.56 + 0.46 * depth + 0.20 * light_u * across - 0.16 * light_v * v
    for side in (-1.0, 1.0):
        eye = (side * look.eye_gap, EYE_V)
        shade = shade - 0.20 * blob(u, v, (eye[0] - side * 0.03, eye[1] - 0.02), (0.22, 0.13))
        shade -= 0.20 * blob(u, v, (side * 0.17, EYE_V + 0.02), (0.07, 0.13))
        shade += 0.15 * blob(u, v, (side * 0.50, 0.12), (0.20, 0.15))
        shade -= 0.10 * blob(u, v, (side * 0.36, 0.42), (0.05, 0.14))
        shade -= 0.10 * blob(u, v, (side * (look.nose_width + 0.07), 0.14), (0.06, 0.14))
        shade -= 0.14 * blob(u, v, (side * 0.75, 0.55), (0.2, 0.3))
        shade -= 0.35 * blob(u, v, (side * 0.08, look.nose_length + 0.03), (0.04, 0.025))
    shade += 0.16 * blob(u, v, (0, -0.05), (0.07, 0.30)) + 0.14 * blob(
        u, v, (0, look.nose_length - 0.06), (0.09, 0.07)
    )
    shade -= 0.24 * blob(u, v, (0, look.nose_length + 0.07), (look.nose_width, 0.04))
    shade += 0.10 * blob(u, v, (0.25 * light_u, -0.65), (0.40, 0.18))
    shade -= 0.14 * blob(u, v, (0, MOUTH_V + 0.19), (0.22, 0.05))
    shade += 0.10 * blob(u, v, (0, 0.95), (0.18, 0.10))
    return shade.astype(np.float32)


def skin_texture(look: Look, rng: np.random.Generator, u: Field, v: Field) -> Field:
    """Pores, blotches and freckles as a relative change of the skin's brightness."""
    noise = rng.standard_normal((2, CANVAS, CANVAS)).astype(np.float32)
    fine = cv2.GaussianBlur(noise[0], (0, 0), 1.1) * np.float32(0.11)
    coarse = cv2.GaussianBlur(noise[1], (0, 0), 5.0) * np.float32(0.30)
    texture = fine + coarse
    for _ in range(look.freckles):
        at = (int(CANVAS / 2 + rng.normal(0, 26)), int(ORIGIN[1] + UNIT * rng.normal(0.12, 0.17)))
        cv2.circle(texture, at, 1, float(-rng.uniform(0.1, 0.3)), -1, cv2.LINE_AA)
    return np.asarray(texture, dtype=np.float32)


def drop_jaw(canvas: Field, alpha: Field, opening: float) -> tuple[Field, Field]:
    """Move what is below the mouth down; ``opening`` in [0, 1]."""
    v, u = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32)
    below = np.clip((v - (ORIGIN[1] + MOUTH_V * UNIT)) / (0.35 * UNIT), 0, 1)
    middle = np.clip(1.25 - np.abs(u - ORIGIN[0]) / UNIT, 0, 1)
    source = (v - 0.12 * UNIT * opening * below * middle).astype(np.float32)
    return (
        np.asarray(cv2.remap(canvas, u, source, cv2.INTER_LINEAR), dtype=np.float32),
        np.asarray(cv2.remap(alpha, u, source, cv2.INTER_LINEAR), dtype=np.float32),
    )
