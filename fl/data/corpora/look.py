"""The look of one synthetic identity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
