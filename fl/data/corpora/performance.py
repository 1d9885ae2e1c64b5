"""A performance: one identity, filmed while it speaks."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fl.data.corpora.canvas import ORIGIN, UNIT
from fl.data.corpora.look import draw_look
from fl.data.corpora.portrait import BOX, EYE_STATES, NUM_OPENINGS, Portrait, paint_portrait
from fl.data.corpora.recording import Recording
from fl.data.corpora.voice import CONTROL_HZ, Voice, draw_voice, room_noise, speak

FPS = 25
FACE_SHARE = 0.60
"""Side of the face box over the side of the frame, at scale 1."""


@dataclass(frozen=True)
class Person:
    """One identity with all it needs to be filmed.

    Attributes:
        portrait: its textures.
        voice: its sound.
        scene: (size, size, 3) uint8 RGB, background and shoulders without the head.
        room_level: standard deviation of its room's noise.
    """

    portrait: Portrait
    voice: Voice
    scene: NDArray[np.uint8]
    room_level: float


def cast_person(rng: np.random.Generator, frame_size: int) -> Person:
    """Draw an identity: looks, voice and place; big jaws and heavy brows go with low voices."""
    size = float(rng.random())
    look = draw_look(rng, size)
    return Person(
        portrait=paint_portrait(look),
        voice=draw_voice(rng, size),
        scene=paint_scene(np.asarray(look.skin, dtype=np.float32), rng, frame_size),
        room_level=float(10 ** rng.uniform(-2.9, -2.3)),
    )


def paint_scene(skin: NDArray[np.float32], rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A blurred wall with a few things on it, the neck and the clothes, (size, size, 3) uint8."""
    wall = rng.uniform(60, 200) + rng.normal(0, 9, 3)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    slope = rng.normal(0, 30, 2)
    scene = wall + ((x - 0.5) * slope[0] + (y - 0.5) * slope[1])[..., None] + np.zeros((size, size, 3))
    scene = np.ascontiguousarray(scene, dtype=np.float32)
    for _ in range(int(rng.integers(2, 7))):
        corner = rng.integers(0, size, 2)
        extent = rng.integers(size // 10, size // 2, 2)
        colour = tuple(float(c) for c in np.clip(wall + rng.normal(0, 30) + rng.normal(0, 14, 3), 10, 245))
        cv2.rectangle(scene, tuple(map(int, corner)), tuple(map(int, corner + extent)), colour, -1)
    scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), size * float(rng.uniform(0.012, 0.03))))
    scene += cv2.GaussianBlur(rng.normal(0, 6, (size, size, 1)).astype(np.float32), (0, 0), 1.0)[..., None]
    cloth = tuple(float(c) for c in rng.uniform(25, 215, 3))
    neck = tuple(float(c) for c in skin * 0.62)
    points = np.array([[0.37, 0.60], [0.63, 0.60], [0.66, 1.0], [0.34, 1.0]]) * size
    cv2.fillConvexPoly(scene, points.astype(np.int32), neck, cv2.LINE_AA)
    cv2.ellipse(
        scene,
        (size // 2, int(size * 1.17)),
        (int(size * 0.47), int(size * 0.30)),
        0,
        0,
        360,
        cloth,
        -1,
        cv2.LINE_AA,
    )
    cv2.ellipse(
        scene,
        (size // 2, int(size * 0.88)),
        (int(size * 0.15), int(size * 0.05)),
        0,
        0,
        360,
        neck,
        -1,
        cv2.LINE_AA,
    )
    return np.asarray(np.clip(scene, 0, 255), dtype=np.uint8)


def perform(person: Person, duration_s: float, rng: np.random.Generator) -> Recording:
    """Film ``person`` saying something new for ``duration_s`` seconds at 25 fps."""
    size = len(person.scene)
    num_frames = round(duration_s * FPS)
    speech = speak(person.voice, num_frames / FPS, rng)
    at = (np.arange(num_frames) + 0.5) / FPS * CONTROL_HZ
    control = np.arange(len(speech.opening))
    opening = np.interp(at, control, speech.opening)
    roundness = np.interp(at, control, speech.roundness)
    transforms = move_head(num_frames, size, opening, rng)
    blink = plan_blinks(num_frames, rng)
    light = rng.uniform(0.92, 1.08) + rng.normal(0, 0.02, 3)
    noise = sensor_noise(size, float(rng.uniform(1.5, 4.0)), rng)
    scene = cv2.warpAffine(
        person.scene,
        np.array([[1.0, 0.0, rng.normal(0, 0.02) * size], [0.0, 1.0, 0.0]]),
        (size, size),
        borderMode=cv2.BORDER_REPLICATE,
    )
    frames = np.empty((num_frames, size, size, 3), dtype=np.uint8)
    for index in range(num_frames):
        head = pose_head(person.portrait, float(opening[index]), float(roundness[index]), int(blink[index]))
        picture = compose(scene, head, transforms[index])
        offset = rng.integers(0, len(noise) - size, 2)
        grain = noise[offset[0] : offset[0] + size, offset[1] : offset[1] + size]
        lit = cv2.multiply(picture, (*light, 0.0), dtype=cv2.CV_8U)
        frames[index] = cv2.add(lit, grain, dtype=cv2.CV_8U)
    audio = speech.audio * np.float32(rng.uniform(0.6, 1.2))
    level = person.room_level * float(rng.uniform(0.7, 1.4))
    sound = np.clip(audio + room_noise(len(audio), level, rng), -1, 1).astype(np.float32)
    return Recording(frames=frames, boxes=head_boxes(transforms), audio=sound, fps=float(FPS))


def sensor_noise(size: int, sigma: float, rng: np.random.Generator) -> NDArray[np.int16]:
    """A sheet of camera noise, 1.5 times the frame's side, from which each frame takes a random part."""
    side = 3 * size // 2
    sheet = rng.standard_normal((side, side, 3), dtype=np.float32) * np.float32(0.6)
    sheet += rng.standard_normal((side, side, 1), dtype=np.float32)
    return np.asarray(np.rint(np.float32(sigma) * sheet), dtype=np.int16)


def move_head(
    num_frames: int, size: int, opening: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Canvas-to-frame transforms (T, 2, 3): slow sway, nods with the speech, one distance a clip."""
    scale = size * FACE_SHARE / (BOX[2] * UNIT) * float(rng.uniform(0.92, 1.08))
    knots = max(num_frames // 14, 2) + 1
    sway = [
        np.interp(np.arange(num_frames), np.linspace(0, num_frames - 1, knots), rng.normal(0, 1, knots))
        for _ in range(3)
    ]
    kernel = np.hanning(11) / np.hanning(11).sum()
    sway = [np.convolve(np.pad(track, 5, mode="edge"), kernel, mode="valid") for track in sway]
    angle = np.deg2rad(2.2 * sway[0] + rng.normal(0, 2.0))
    x = size * (0.5 + rng.normal(0, 0.012) + 0.010 * sway[1])
    y = size * (0.47 + rng.normal(0, 0.012) + 0.008 * sway[2] + 0.010 * opening)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    transforms = np.empty((num_frames, 2, 3))
    transforms[:, 0] = np.stack([cos, -sin, x - cos * ORIGIN[0] + sin * ORIGIN[1]], axis=1)
    transforms[:, 1] = np.stack([sin, cos, y - sin * ORIGIN[0] - cos * ORIGIN[1]], axis=1)
    return transforms


def plan_blinks(num_frames: int, rng: np.random.Generator) -> NDArray[np.int_]:
    """Index into ``EYE_STATES`` for every frame; about one blink in 2.5 s."""
    states = np.zeros(num_frames, dtype=int)
    closed = len(EYE_STATES) - 1
    for _ in range(rng.poisson(num_frames / FPS / 2.5)):
        at = int(rng.integers(0, num_frames))
        pattern = np.array([1, closed, closed, 1])[: num_frames - at]
        states[at : at + len(pattern)] = pattern
    return states


def pose_head(portrait: Portrait, opening: float, roundness: float, blink: int) -> NDArray[np.uint8]:
    """The canvas with the mouth and the eyes of one frame, (CANVAS, CANVAS, 4) premultiplied RGBA."""
    index = round(min(max(opening, 0.0), 1.0) * (NUM_OPENINGS - 1))
    head: NDArray[np.uint8] = portrait.heads[index, int(roundness > 0.5)].copy()
    first, last = portrait.eye_rows
    strip = portrait.eyes[blink]
    cover = strip[..., 3:].astype(np.uint16)
    below = head[first:last, :, :3].astype(np.uint16)
    head[first:last, :, :3] = (below * (255 - cover) + strip[..., :3] * cover + 127) // 255
    return head


def compose(
    scene: NDArray[np.uint8], head: NDArray[np.uint8], transform: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Put the head into the scene."""
    size = len(scene)
    placed = cv2.warpAffine(head, transform, (size, size), flags=cv2.INTER_LINEAR)
    clear = cv2.cvtColor(cv2.bitwise_not(placed[..., 3]), cv2.COLOR_GRAY2RGB)
    behind = cv2.multiply(scene, clear, scale=1 / 255)
    return np.asarray(cv2.add(behind, placed[..., :3]), dtype=np.uint8)


def head_boxes(transforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Face boxes (T, 4) as Haar's cascade would place them: upright squares around the face's middle."""
    middle = np.array(
        [ORIGIN[0] + (BOX[0] + BOX[2] / 2) * UNIT, ORIGIN[1] + (BOX[1] + BOX[2] / 2) * UNIT, 1.0]
    )
    centre = transforms @ middle
    side = np.hypot(transforms[:, 0, 0], transforms[:, 1, 0]) * BOX[2] * UNIT
    return np.concatenate([centre - side[:, None] / 2, side[:, None], side[:, None]], axis=1)
