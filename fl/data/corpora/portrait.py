"""A drawn head: the look of one synthetic identity, painted once as a table of textures.

The head lives on a canvas of ``CANVAS`` pixels in face units: u to the right and v down from the middle of
the face, about 1 at the cheeks. Soft analytic shading (sockets, brow ridge, nose, cheeks, lips) stands for
the light and dark that a face detector looks for.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Field = NDArray[np.float32]

CANVAS = 192
UNIT = 58.0
ORIGIN = (96.0, 102.0)
NUM_OPENINGS = 8
ROUNDNESS = (0.0, 1.0)
EYE_STATES = (1.0, 0.55, 0.0)
EYE_V = -0.27
MOUTH_V = 0.60
BOX = (-1.10, -1.12, 2.20)
"""Left, top and side, in face units, of the square that Haar's cascade returns for an upright face."""


@dataclass(frozen=True)
class Look:
    """What tells one identity from another; colours are RGB in [0, 255], the rest in face units."""

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    lips: tuple[float, float, float]
    width: float
    jaw: float
    length: float
    eye_gap: float
    eye_size: float
    brow_height: float
    brow_weight: float
    nose_length: float
    nose_width: float
    mouth_width: float
    lip_weight: float
    hairline: float
    fringe: float
    hair_length: float
    beard: float
    freckles: int
    glasses: bool
    light: tuple[float, float]
    texture_seed: int


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


def draw_look(rng: np.random.Generator, size: float) -> Look:
    """Choose an identity's look.

    Args:
        rng: the identity's generator.
        size: in [0, 1]; a larger speaker has a wider jaw, a longer face and (see voice) a lower pitch.
    """
    tone = rng.uniform(0.0, 1.0)
    fair, dark = np.array([232.0, 190.0, 165.0]), np.array([128.0, 86.0, 62.0])
    skin = (fair + tone * (dark - fair)) * rng.uniform(0.93, 1.07) + rng.normal(0, 3, 3)
    hairs = np.array(
        [
            [30, 24, 22],
            [48, 34, 26],
            [70, 46, 32],
            [96, 48, 30],
            [112, 78, 48],
            [132, 130, 128],
            [160, 122, 76],
        ]
    )
    hairs = hairs[: 2 if tone > 0.6 else 4 if tone > 0.4 else 7]
    irises = np.array([[70, 48, 34], [78, 100, 122], [84, 104, 78], [52, 38, 30]])
    lips = skin * np.array([0.86, 0.62, 0.62]) + rng.normal(0, 6, 3)
    return Look(
        skin=rgb(skin),
        hair=rgb(hairs[rng.integers(len(hairs))] * rng.uniform(0.8, 1.15)),
        iris=rgb(irises[rng.integers(len(irises))].astype(float)),
        lips=rgb(lips),
        width=rng.uniform(0.88, 0.98) + 0.04 * size,
        jaw=rng.uniform(0.80, 0.95) + 0.14 * size,
        length=rng.uniform(1.10, 1.18) + 0.08 * size,
        eye_gap=rng.uniform(0.39, 0.45),
        eye_size=rng.uniform(0.19, 0.23),
        brow_height=rng.uniform(0.17, 0.23),
        brow_weight=rng.uniform(0.035, 0.065) + 0.015 * size,
        nose_length=rng.uniform(0.20, 0.29),
        nose_width=rng.uniform(0.13, 0.19) + 0.02 * size,
        mouth_width=rng.uniform(0.33, 0.43),
        lip_weight=rng.uniform(0.055, 0.085) - 0.015 * size,
        hairline=rng.uniform(-0.98, -0.70),
        fringe=rng.uniform(-0.30, 0.25),
        hair_length=rng.choice([0.0, 0.0, 0.5, 1.0]) if size > 0.5 else rng.choice([0.0, 0.6, 1.0, 1.0]),
        beard=float(rng.uniform(0.25, 0.75)) if size > 0.55 and rng.random() < 0.45 else 0.0,
        freckles=int(rng.integers(10, 50)) if rng.random() < 0.25 else 0,
        glasses=bool(rng.random() < 0.15),
        light=(float(rng.uniform(-0.5, 0.5)), float(rng.uniform(0.15, 0.6))),
        texture_seed=int(rng.integers(2**31)),
    )


def rgb(colour: NDArray[np.float64]) -> tuple[float, float, float]:
    """A colour held within [8, 247]."""
    red, green, blue = np.clip(colour, 8, 247)
    return float(red), float(green), float(blue)


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


def paint_beard(canvas: Field, look: Look, rng: np.random.Generator, u: Field, v: Field) -> None:
    """Darken jaw and upper lip with hair of the identity's colour."""
    if look.beard == 0.0:
        return
    jaw = edge(v - 0.28 - 0.25 * (1 - u**2), 16.0) + blob(u, v, (0, MOUTH_V - 0.15), (0.3, 0.06))
    noise = rng.uniform(0.4, 1.0, (CANVAS, CANVAS)).astype(np.float32)
    lay(canvas, np.clip(jaw, 0, 1) * noise * np.float32(look.beard), look.hair)


def paint_brows(canvas: Field, look: Look, rng: np.random.Generator, u: Field, v: Field) -> None:
    """Two arched brows that thin out towards the temples."""
    noise = rng.uniform(0.6, 1.0, (CANVAS, CANVAS)).astype(np.float32)
    colour = np.minimum(np.asarray(look.hair) * 0.75, np.asarray(look.skin) * 0.5).astype(np.float32)
    for side in (-1.0, 1.0):
        across = (u * np.float32(side) - np.float32(look.eye_gap)) / np.float32(0.27)
        middle = EYE_V - look.brow_height - 0.05 * (1 - across**2) + 0.03 * across
        weight = look.brow_weight * (1 - 0.45 * across) * np.clip(1.2 - across**2, 0, 1)
        mask = edge(weight - np.abs(v - middle), 3.0) * (np.abs(across) < 1.08)
        lay(canvas, (mask * noise * np.float32(0.9)).astype(np.float32), colour)


def hair_masks(look: Look, rng: np.random.Generator, u: Field, v: Field) -> tuple[Field, Field, Field]:
    """Coverage of the hair behind and before the face, and the brightness of its strands."""
    crown = 1 - (u / np.float32(look.width * 1.10)) ** 2 - ((v + 0.30) / np.float32(1.20)) ** 2
    back = edge(crown.astype(np.float32) * 0.5, 2.0) * (v < 0.1)
    if look.hair_length > 0:
        sides = np.float32(look.width * 1.13) - np.abs(u) - 0.08 * np.abs(v)
        back = np.maximum(
            back, edge(sides, 3.0) * edge(np.float32(look.hair_length * 1.3) - v, 6.0) * (v > -0.35)
        )
    line = (
        look.hairline + 0.10 * u + look.fringe * (u**2 - 0.3) + 0.42 * np.clip(np.abs(u) - 0.62, 0, 1) / 0.3
    )
    wave = 0.02 * np.sin(u * rng.uniform(9, 16) + rng.uniform(0, 6))
    front = edge((line + wave - v).astype(np.float32), 4.0) * back
    if look.hair_length > 0:
        curtain = edge(np.abs(u) - np.float32(look.width * 0.93) + 0.06 * np.abs(v), 3.0)
        front = np.maximum(front, curtain * back)
    noise = cv2.GaussianBlur(
        rng.standard_normal((CANVAS, CANVAS)).astype(np.float32), (0, 0), sigmaX=0.9, sigmaY=6.0
    )
    strands = 0.9 + noise * 1.1 + 0.25 * blob(u, v, (0.5 * look.light[0], -1.05), (0.45, 0.12))
    return back.astype(np.float32), front.astype(np.float32), np.clip(strands, 0.4, 1.8).astype(np.float32)


def ear(u: Field, v: Field, look: Look, side: int) -> Field:
    """Coverage of one ear."""
    distance = 1 - ((u - side * look.width * 0.99) / 0.12) ** 2 - ((v + 0.02) / 0.24) ** 2
    return edge((distance * 0.08).astype(np.float32), 1.5)


def paint_glasses(canvas: Field, look: Look, u: Field, v: Field) -> None:
    """Thin round rims and a bridge."""
    for side in (-1.0, 1.0):
        radius = np.sqrt(((u - side * look.eye_gap) / 0.31) ** 2 + ((v - EYE_V - 0.02) / 0.25) ** 2)
        lay(
            canvas,
            edge((0.022 - 0.28 * np.abs(radius - 1)).astype(np.float32)) * np.float32(0.8),
            (48, 44, 46),
        )
    bridge = edge((0.015 - np.abs(v - EYE_V + 0.03)).astype(np.float32)) * (np.abs(u) < look.eye_gap - 0.3)
    lay(canvas, bridge.astype(np.float32), (48, 44, 46))


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


def paint_mouth(canvas: Field, look: Look, opening: float, roundness: float) -> None:
    """Lips, teeth and the dark of the mouth, in place."""
    rows = slice(int(ORIGIN[1] + (MOUTH_V - 0.25) * UNIT), int(ORIGIN[1] + (MOUTH_V + 0.42) * UNIT))
    u, v = grid(rows)
    area = canvas[rows]
    width = look.mouth_width * (1 - 0.28 * roundness) * (1 - 0.06 * opening)
    arch = np.clip(1 - (u / np.float32(width)) ** 2, 0, 1)
    gap = 0.17 * opening * (1 + 0.25 * roundness)
    upper = (MOUTH_V - 0.25 * gap * arch).astype(np.float32)
    lower = (MOUTH_V + 0.95 * gap * np.sqrt(arch)).astype(np.float32)
    bow = 1 - 0.35 * np.exp(-((u / 0.06) ** 2))
    top = upper - look.lip_weight * 1.0 * arch * bow
    bottom = lower + look.lip_weight * 1.35 * np.sqrt(arch)
    lips = edge(np.minimum(v - top, bottom - v).astype(np.float32), 1.6) * (arch > 0)
    tone = 0.88 + 0.30 * blob(u, v, (0, MOUTH_V + gap + 0.06), (0.16, 0.03)) - 0.15 * (v < upper)
    lay(
        area,
        lips.astype(np.float32),
        np.asarray(look.lips, dtype=np.float32) * tone[..., None].astype(np.float32),
    )
    line = np.exp(-(((v - MOUTH_V) / 0.018) ** 2)) * (arch > 0.02) * np.clip(1 - opening * 6, 0, 1)
    lay(area, (0.75 * line).astype(np.float32), (70, 34, 34))
    inside = (
        edge(np.minimum(v - upper, lower - v).astype(np.float32), 1.2) * (arch > 0) * min(opening * 8, 1.0)
    )
    lay(area, inside.astype(np.float32), (52, 20, 22))
    teeth = inside * edge((upper + 0.07 - v).astype(np.float32), 1.5) * (np.abs(u) < width * 0.72)
    lay(area, (0.9 * teeth).astype(np.float32), (214, 206, 194))
    tongue = inside * blob(u, v, (0, MOUTH_V + gap * 0.95), (0.14, 0.05))
    lay(area, (0.7 * tongue).astype(np.float32), (150, 78, 78))


def paint_eyes(look: Look, rows: tuple[int, int], openness: float) -> NDArray[np.uint8]:
    """The strip with both eyes, (height, CANVAS, 4) uint8 RGBA, not premultiplied."""
    u, v = grid(slice(*rows))
    colour = np.broadcast_to(np.asarray(look.skin, dtype=np.float32) * np.float32(0.72), (*u.shape, 3)).copy()
    coverage = np.zeros_like(u)
    for side in (-1.0, 1.0):
        across = (u - np.float32(side * look.eye_gap)) / np.float32(look.eye_size)
        arch = np.clip(1 - across**2, 0, 1)
        down = v - np.float32(EYE_V)
        upper, lower = (-0.115 * (2 * openness - 0.8) / 1.2) * arch, 0.075 * arch
        within = edge(np.minimum(down - upper, lower - down).astype(np.float32), 1.2) * (arch > 0)
        lids = edge((0.14 * arch - np.abs(down + 0.01)).astype(np.float32), 3.0) * (arch > 0)
        ball = np.full((*u.shape, 3), 1.0, dtype=np.float32) * (
            np.array([150, 146, 142], dtype=np.float32)
            + np.float32(0.3) * np.asarray(look.skin, dtype=np.float32)
        )
        ball *= (0.78 + 0.22 * arch)[..., None]
        distance = np.sqrt((across * look.eye_size) ** 2 + (down + 0.005) ** 2)
        lay(ball, edge((0.088 - distance).astype(np.float32)), look.iris)
        lay(ball, edge((0.042 - distance).astype(np.float32)), (14, 12, 12))
        glint = np.sqrt((across * look.eye_size - 0.03) ** 2 + (down + 0.04) ** 2)
        lay(ball, edge((0.017 - glint).astype(np.float32)), (250, 250, 250))
        if openness > 0:
            lay(colour, within.astype(np.float32), ball)
        lash = np.exp(-(((down - (upper if openness > 0 else 0.05 * arch)) / 0.020) ** 2)) * (arch > 0.02)
        lay(colour, (0.85 * lash).astype(np.float32), (38, 28, 26))
        crease = np.exp(-(((down + 0.165 * np.sqrt(arch)) / 0.018) ** 2)) * (arch > 0.1)
        lay(colour, (0.4 * crease).astype(np.float32), tuple(0.5 * c for c in look.skin))  # type: ignore[arg-type]
        near = np.maximum.reduce([lids * (0.9 if openness < 1 else 0.35), within, 0.85 * lash, 0.4 * crease])
        coverage = np.maximum(coverage, near)
    strip = np.concatenate([colour, (255 * coverage)[..., None]], axis=2)
    return np.asarray(np.clip(strip, 0, 255), dtype=np.uint8)
