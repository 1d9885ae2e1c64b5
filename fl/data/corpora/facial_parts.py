"""Eyes, mouth, brows, beard, hair, ears and glasses of a drawn head."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fl.data.corpora.canvas import CANVAS, EYE_V, MOUTH_V, ORIGIN, UNIT, Field, blob, edge, grid, lay
from fl.data.corpora.look import Look


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
