"""A contact sheet: some clips of a corpus as they are, and as the network sees and hears them."""

import textwrap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fl.data.clips import Clip
from fl.data.features import HOP_S
from fl.data.media import Window
from fl.data.reading import ClipTensors, read_clip, read_frames
from fl.errors import ClipError, RequestError
from fl.settings import DataSettings
from sim.progress import clean

SHOWN_FRAMES = 4
"""Frames of a clip that are shown, spread over those that the network gets."""

_DPI = 110
_NAME_LETTERS = 34
_ROW_INCHES = 1.35
_CELL_INCHES = _ROW_INCHES - 0.12  # height of what is drawn in a row
_TICKS_INCHES = 0.2
_TEXT_INCHES, _SOUND_INCHES, _MAX_FRAMES_INCHES = 2.4, 3.2, 7.0  # widths of columns
_HEAD_INCHES = 0.62
_STRIP_PIXELS = 160  # height of the frames' and crops' strips
_MAX_RATIO = 3  # of width to height of a picture
_BOX_COLOUR = (255, 210, 0)
_GREY = "#555555"
_REAL_COLOUR, _FAKE_COLOUR = "#0b6e4f", "#b3261e"


@dataclass(frozen=True, eq=False)
class Example:
    """One clip, read as for training.

    Attributes:
        clip: the clip.
        window: its whole frames; None if the clip cannot be used.
        tensors: what the network sees and hears; None if the clip cannot be used.
        reason: why it cannot be used; empty if it can.
    """

    clip: Clip
    window: Window | None = None
    tensors: ClipTensors | None = None
    reason: str = ""


def read_example(clip: Clip, data: DataSettings) -> Example:
    """Read a clip as a store is built from it, and its whole frames too; a clip may be unusable."""
    window = None
    try:
        window = read_frames(
            clip.path, data.clip, crop=clip.crop, num_crops=clip.num_crops, limits=data.media
        )
        tensors = read_clip(clip.path, data.clip, crop=clip.crop, num_crops=clip.num_crops, limits=data.media)
    except ClipError as error:
        return Example(clip, window, reason=str(error))
    return Example(clip, window, tensors)


def choose_clips(clips: Sequence[Clip], num_clips: int) -> list[Clip]:
    """Some clips, as many of each category as can be, spread over the table; real ones first."""
    by_category: dict[tuple[int, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        by_category[clip.label, clip.category].append(clip)
    queues = [by_category[key] for key in sorted(by_category)]
    counts = [0] * len(queues)
    while sum(counts) < min(num_clips, len(clips)):
        for index, queue in enumerate(queues):
            if counts[index] < len(queue) and sum(counts) < num_clips:
                counts[index] += 1
    return [
        queue[place * len(queue) // count]
        for queue, count in zip(queues, counts, strict=True)
        for place in range(count)
    ]


def draw_contact_sheet(examples: Sequence[Example], out: Path, title: str) -> None:
    """Draw one row for each clip and write the picture.

    Args:
        examples: the clips.
        out: PNG file to write.
        title: of the picture.

    Raises:
        RequestError: there is nothing to draw, or ``out`` cannot be written.
    """
    if not examples:
        raise RequestError("there is no clip to show; choose another --split, or look with `data check`")
    columns = column_widths(examples)
    width, height = sum(columns) + 0.1, _HEAD_INCHES + _ROW_INCHES * len(examples)
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.1 / width, 1 - 0.2 / height, _plain(title), fontsize=12, weight="bold", va="center")
    headings = (
        "clip",
        "frames, the face's box",
        "as the network sees it",
        "as it hears it: MFCC; red: altered",
    )
    lefts = [0.1 + sum(columns[:place]) for place in range(len(columns))]
    for heading, left in zip(headings, lefts, strict=True):
        figure.text(left / width, 1 - 0.48 / height, heading, fontsize=9, color=_GREY, va="center")
    for row, example in enumerate(examples):
        bottom = height - _HEAD_INCHES - _ROW_INCHES * (row + 1) + 0.06
        rooms = [0, 0, 0, _TICKS_INCHES]
        cells = [
            figure.add_axes(
                (
                    left / width,
                    (bottom + room) / height,
                    (column - 0.15) / width,
                    (_CELL_INCHES - room) / height,
                )
            )
            for left, column, room in zip(lefts, columns, rooms, strict=True)
        ]
        _draw_row(cells, example)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, format="png")
    except OSError as error:
        raise RequestError(
            f"--out must be a file that can be written, got {str(out)!r}: {error.strerror}"
        ) from error


def column_widths(examples: Sequence[Example]) -> list[float]:
    """Inches of text, frames, crops and sound: as wide as the widest strips, within limits."""
    strips = [2.0]
    for example in examples:
        if example.window is not None:
            count, height, width = example.window.frames.shape[:3]
            strips.append(min(count, SHOWN_FRAMES) * (_CELL_INCHES * min(_MAX_RATIO, width / height) + 0.05))
    counts = [len(example.tensors.frames) for example in examples if example.tensors is not None]
    crops = max(2.0, min(max(counts, default=1), SHOWN_FRAMES) * (_CELL_INCHES + 0.05))
    return [_TEXT_INCHES, min(max(strips), _MAX_FRAMES_INCHES) + 0.15, crops + 0.15, _SOUND_INCHES]


def strip_frames(
    frames: NDArray[np.uint8], boxes: NDArray[np.float32] | None
) -> tuple[NDArray[np.uint8], list[int]]:
    """Frames side by side, a box drawn on each.

    Args:
        frames: (n, H, W, 3) uint8 RGB.
        boxes: (n, 4) left, top, width, height in pixels; None: no boxes.

    Returns:
        (160, W, 3) uint8 RGB, and where each frame starts in it, pixels.
    """
    pictures = [_fit(frame) for frame in frames]
    scale_x, scale_y = pictures[0].shape[1] / frames.shape[2], _STRIP_PIXELS / frames.shape[1]
    for picture, box in zip(pictures, () if boxes is None else boxes, strict=boxes is not None):
        left, top, width, height = (float(number) for number in box)
        first = round(left * scale_x), round(top * scale_y)
        last = round((left + width) * scale_x), round((top + height) * scale_y)
        cv2.rectangle(picture, first, last, _BOX_COLOUR, 2)
    return _side_by_side(pictures)


def _draw_row(cells: Sequence[Axes], example: Example) -> None:
    text, frames, crops, sound = cells
    for cell in cells:
        cell.set(xticks=[], yticks=[], anchor="W")
        cell.spines[:].set_visible(False)
    _draw_text(text, example.clip)
    window, tensors = example.window, example.tensors
    if window is not None:
        count = len(window.frames)
        spread = [(2 * place + 1) * count // (2 * SHOWN_FRAMES) for place in range(SHOWN_FRAMES)]
        shown = list(dict.fromkeys(spread))
        strip, starts = strip_frames(window.frames[shown], None if tensors is None else tensors.boxes[shown])
        frames.imshow(strip)
        _draw_times(frames, starts, window.times_s[shown])
    if tensors is None or window is None:
        cell = frames if window is None else crops
        reason = textwrap.fill(_plain(f"not used: {example.reason}"), 60)
        cell.text(0.01, 0.5, reason, transform=cell.transAxes, fontsize=9, color=_FAKE_COLOUR, va="center")
        return
    crops.imshow(_side_by_side([_fit(crop) for crop in tensors.frames[shown]])[0])
    _draw_sound(sound, example.clip, tensors, window.start_s)


def _draw_times(axes: Axes, starts: Sequence[int], times_s: NDArray[np.float64]) -> None:
    box = {"facecolor": "black", "alpha": 0.6, "pad": 1.0, "linewidth": 0}
    for start, time_s in zip(starts, times_s, strict=True):
        place = start + 4, _STRIP_PIXELS - 5
        axes.text(*place, f"{time_s:.2f} s", fontsize=6.5, color="white", va="bottom", bbox=box)


def _draw_text(axes: Axes, clip: Clip) -> None:
    name = "/".join(clip.path.parts[-2:])
    lines = [
        (name if len(name) <= _NAME_LETTERS else f"...{name[-_NAME_LETTERS + 3 :]}", "black", "normal"),
        (f"{'fake' if clip.label else 'real'}", _FAKE_COLOUR if clip.label else _REAL_COLOUR, "bold"),
        (clip.category if clip.label else "", "black", "normal"),
        (f"identity {clip.identity}", _GREY, "normal"),
        (f"donor {clip.donor}" if clip.donor else "", _GREY, "normal"),
        (f"split {clip.split}", _GREY, "normal"),
    ]
    shown = [line for line in lines if line[0]]
    for place, (line, colour, weight) in enumerate(shown):
        short = line if len(line) <= _NAME_LETTERS else f"{line[: _NAME_LETTERS - 3]}..."
        height = 0.93 - 0.165 * place
        axes.text(
            0, height, _plain(short), fontsize=8, color=colour, weight=weight, va="center", parse_math=False
        )


def _draw_sound(axes: Axes, clip: Clip, tensors: ClipTensors, start_s: float) -> None:
    """MFCC over the time of the clip; a bar above it where something was altered."""
    if not tensors.has_audio:
        axes.text(0.5, 0.5, "no sound", ha="center", va="center", fontsize=9, color=_GREY)
        return
    steps, num_mfcc = tensors.mfcc.shape
    end_s = start_s + steps * HOP_S
    extent = (start_s, start_s + tensors.valid_steps * HOP_S, 0.0, float(num_mfcc))
    heard = tensors.mfcc[: tensors.valid_steps].T
    axes.imshow(heard, origin="lower", aspect="auto", extent=extent, vmin=-3, vmax=3)
    if tensors.valid_steps < steps:
        axes.axvspan(extent[1], end_s, 0, 1 / 1.12, color="#eeeeee", linewidth=0)
        middle = (extent[1] + end_s) / 2, num_mfcc / 2
        axes.text(*middle, "padding", ha="center", va="center", fontsize=7, color=_GREY, clip_on=True)
    for first_s, last_s in clip.fake_periods:
        span = max(first_s, start_s), min(last_s, end_s)
        if span[0] < span[1]:
            axes.plot(span, [1.06 * num_mfcc] * 2, color=_FAKE_COLOUR, linewidth=4, solid_capstyle="butt")
    axes.set_xlim(start_s, end_s)
    axes.set_ylim(0, 1.12 * num_mfcc)
    axes.set_xticks([start_s, end_s], [f"{start_s:.2f}", f"{end_s:.2f} s"], fontsize=6.5)
    axes.tick_params(length=2, pad=1)
    first, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")


def _fit(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture brought to the strip's height, and no wider than ``_MAX_RATIO`` times that."""
    height, width = picture.shape[:2]
    size = max(1, min(_MAX_RATIO * _STRIP_PIXELS, round(width * _STRIP_PIXELS / height))), _STRIP_PIXELS
    scaling = cv2.INTER_AREA if height > _STRIP_PIXELS else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=scaling), dtype=np.uint8)


def _side_by_side(pictures: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], list[int]]:
    gap = np.full((_STRIP_PIXELS, 6, 3), 255, dtype=np.uint8)
    parts: list[NDArray[np.uint8]] = []
    starts = []
    for picture in pictures:
        starts.append(sum(part.shape[1] for part in parts))
        parts += [picture, gap]
    return np.concatenate(parts[:-1], axis=1), starts


def _plain(text: str) -> str:
    """Without letters that the figures' font has not."""
    return clean(text).encode("latin-1", "replace").decode("latin-1")
