"""Manipulations of the face: each alters the frames ``indices`` within the face's region only.

Positions on a face are shares of its box's side, as OpenCV's Haar cascade draws boxes: eyes at 0.39 of the
height, nose tip at 0.62, mouth at 0.78, chin at 1.02.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fl.data.corpora.recording import Recording

Picture = NDArray[np.float32]
REGION_MARGIN = 0.12
FACE = (0.50, 0.60, 0.37, 0.44)
MOUTH = (0.50, 0.78, 0.32, 0.23)
LOWER = (0.50, 0.79, 0.32, 0.24)
DECODER_SIDE = 22


def region(box: NDArray[np.float64], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a picture that a manipulation of the face in ``box`` may alter."""
    x, y, w, h = box
    top, bottom = y - REGION_MARGIN * h, y + (1 + REGION_MARGIN) * h
    left, right = x - REGION_MARGIN * w, x + (1 + REGION_MARGIN) * w
    return (
        slice(int(np.clip(top, 0, height)), int(np.clip(np.ceil(bottom), 0, height))),
        slice(int(np.clip(left, 0, width)), int(np.clip(np.ceil(right), 0, width))),
    )


def ellipse(
    box: NDArray[np.float64],
    area: tuple[slice, slice],
    shape: tuple[float, float, float, float],
    feather: float,
) -> Picture:
    """Soft elliptical mask over ``area``.

    Args:
        box: face box (4,) in pixels.
        area: rows and columns of the picture.
        shape: centre x, centre y and half axes in shares of the box.
        feather: width of the edge as a share of the half axes.

    Returns:
        (rows, columns, 1) float32 in [0, 1].
    """
    y, x = np.ogrid[area]
    u = ((x - box[0] - shape[0] * box[2]) / (shape[2] * box[2])).astype(np.float32)
    v = ((y - box[1] - shape[1] * box[3]) / (shape[3] * box[3])).astype(np.float32)
    return np.asarray(np.clip((1 - np.sqrt(u * u + v * v)) / feather, 0, 1)[..., None], dtype=np.float32)


def align(
    picture: NDArray[np.uint8],
    source: NDArray[np.float64],
    box: NDArray[np.float64],
    area: tuple[slice, slice],
) -> Picture:
    """Warp ``picture`` so that its box ``source`` falls on ``box``; return what covers ``area``."""
    scale_x, scale_y = box[2] / source[2], box[3] / source[3]
    left, top = area[1].start, area[0].start
    transform = np.array(
        [
            [scale_x, 0.0, box[0] - left - scale_x * source[0]],
            [0.0, scale_y, box[1] - top - scale_y * source[1]],
        ]
    )
    extent = (area[1].stop - left, area[0].stop - top)
    warped = cv2.warpAffine(
        picture, transform, extent, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, dtype=np.float32)


def match_colour(face: Picture, like: Picture, mask: Picture) -> Picture:
    """Give ``face`` the mean and spread of ``like`` where ``mask`` > 0.5 (Reinhard et al., 2001)."""
    inside = (mask > 0.5).astype(np.uint8)
    mean, spread = (moment[:, 0] for moment in cv2.meanStdDev(face, mask=inside))
    wanted, wide = (moment[:, 0] for moment in cv2.meanStdDev(like, mask=inside))
    gain = np.clip((wide + 1) / (spread + 1), 0.6, 1.6)
    return np.asarray(
        face * gain.astype(np.float32) + (wanted - gain * mean).astype(np.float32), dtype=np.float32
    )


def blend(own: Picture, forged: Picture, mask: Picture, strength: float) -> NDArray[np.uint8]:
    """Mix two pictures of one shape; uint8."""
    return np.clip(np.rint(own + np.float32(strength) * mask * (forged - own)), 0, 255).astype(np.uint8)


def upsampling_grid(
    box: NDArray[np.float64],
    area: tuple[slice, slice],
    lattice: NDArray[np.float64],
    weights: tuple[float, float],
) -> Picture:
    """The regular pattern that strided transposed convolutions leave (Odena et al., Distill, 2016).

    Args:
        box: face box (4,) in pixels; the pattern is fixed to it.
        area: rows and columns of the picture.
        lattice: (3,) period of the pattern as a share of the box's side, and its two phases in radians.
        weights: grey levels of the vertical and of the horizontal stripes.

    Returns:
        (rows, columns, 1) float32, mean about 0.
    """
    y, x = np.ogrid[area]
    turns = 2 * np.pi / lattice[0]
    u, v = turns * (x - box[0]) / box[2] + lattice[1], turns * (y - box[1]) / box[3] + lattice[2]
    grid = weights[0] * np.cos(u) + weights[1] * np.cos(v)
    return np.asarray(grid[..., None], dtype=np.float32)


def draw_lattice(rng: np.random.Generator) -> NDArray[np.float64]:
    """Period and phases for `upsampling_grid`."""
    return np.array([rng.uniform(0.07, 0.09), *rng.uniform(0, 2 * np.pi, 2)])


def swap_face(
    target: Recording, donor: Recording, indices: NDArray[np.int_], strength: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """FaceSwap: the donor's face, aligned by boxes, colour-matched and blended with a feathered edge.

    Leaves a seam, the donor's texture and features out of place, and a colour that flickers.

    Returns:
        (T, H, W, 3) uint8.
    """
    frames = target.frames.copy()
    height, width = frames.shape[1:3]
    tint = rng.choice([-1, 1], 3) * rng.uniform(10, 22, 3)
    for index in indices:
        box, other = target.boxes[index], index % len(donor.frames)
        area = region(box, height, width)
        own = frames[index][area].astype(np.float32)
        mask = ellipse(box, area, FACE, 0.08)
        jitter = donor.boxes[other] + np.array([*rng.normal(0, 0.012, 2), 0, 0]) * donor.boxes[other, 2]
        face = match_colour(align(donor.frames[other], jitter, box, area), own, mask)
        forged = face + (tint + rng.normal(0, 8, 3)).astype(np.float32)
        frames[index][area] = blend(own, forged, mask, strength)
    return frames


def decode_face(
    target: Recording, donor: Recording, indices: NDArray[np.int_], strength: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Deepfakes: a face as a small autoencoder gives it back, between donor and target, at low resolution.

    Leaves a blurred face without grain inside a sharp head.

    Returns:
        (T, H, W, 3) uint8.
    """
    frames = target.frames.copy()
    height, width = frames.shape[1:3]
    share, lattice = float(rng.uniform(0.3, 0.6)), draw_lattice(rng)
    for index in indices:
        box, other = target.boxes[index], index % len(donor.frames)
        area = region(box, height, width)
        own = frames[index][area].astype(np.float32)
        mask = ellipse(box, area, FACE, 0.22)
        face = match_colour(align(donor.frames[other], donor.boxes[other], box, area), own, mask)
        mixed = own + np.float32(share) * (face - own)
        side = max(round(DECODER_SIDE * (1 + 2 * REGION_MARGIN)), 2)
        small = cv2.resize(mixed, (side, side), interpolation=cv2.INTER_AREA)
        decoded = np.asarray(
            cv2.resize(small, mixed.shape[1::-1], interpolation=cv2.INTER_CUBIC), dtype=np.float32
        )
        decoded += upsampling_grid(box, area, lattice, (10.0, 10.0))
        frames[index][area] = blend(own, decoded, mask, strength)
    return frames


def reenact_mouth(
    target: Recording, donor: Recording, indices: NDArray[np.int_], strength: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Face2Face: the lower face from other moments of the same recording, stretched to another's expression.

    Leaves a mouth that does not fit the voice, bent contours and a seam along jaw and cheeks.

    Returns:
        (T, H, W, 3) uint8.
    """
    frames = target.frames.copy()
    num_frames, height, width = frames.shape[:3]
    offset = int(rng.integers(num_frames // 4, max(3 * num_frames // 4, num_frames // 4 + 1)))
    motion = np.interp(np.arange(num_frames), np.linspace(0, num_frames, 9), rng.uniform(-1, 1, 9))
    bent = rng.choice([-1, 1], 2) * rng.uniform(0.12, 0.20, 2)
    gain = float(rng.choice([-1, 1]) * rng.uniform(0.08, 0.14))
    lattice = draw_lattice(rng)
    for index in indices:
        box, other = target.boxes[index], (index + offset) % num_frames
        area = region(box, height, width)
        own = frames[index][area].astype(np.float32)
        source = target.boxes[other].copy()
        stretch = bent * (1 + 0.6 * motion[index] * np.array([1.0, -1.0]))
        middle = source[:2] + source[2:] * np.array([MOUTH[0], MOUTH[1]])
        source[:2] = middle - (middle - source[:2]) / (1 + stretch)
        source[2:] = source[2:] / (1 + stretch)
        face = align(target.frames[other], source, box, area)
        mask = ellipse(box, area, LOWER, 0.10)
        rendered = face * np.float32(1 + gain) + upsampling_grid(box, area, lattice, (0.0, 16.0))
        frames[index][area] = blend(own, rendered, mask, strength)
    return frames


def render_texture(
    target: Recording, donor: Recording, indices: NDArray[np.int_], strength: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """NeuralTextures: the mouth region rendered anew: smoothed, with the grid of a transposed convolution.

    Leaves skin without grain and a faint regular pattern (Odena et al., 2016) that moves with the face.

    Returns:
        (T, H, W, 3) uint8.
    """
    frames = target.frames.copy()
    height, width = frames.shape[1:3]
    lattice = draw_lattice(rng)
    for index in indices:
        box = target.boxes[index]
        area = region(box, height, width)
        own = frames[index][area].astype(np.float32)
        mask = ellipse(box, area, MOUTH, 0.20)
        smooth = np.asarray(cv2.bilateralFilter(own, 5, 40, 4), dtype=np.float32)
        rendered = smooth + upsampling_grid(box, area, lattice, (16.0, 16.0))
        frames[index][area] = blend(own, rendered, mask, strength)
    return frames
