"""A contact sheet: some clips of a corpus as they are, and as the network sees and hears them."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fl.data.clips import Clip
from fl.data.features import HOP_S
from fl.data.reading import ClipTensors
from fl.errors import RequestError
from sim.progress import clean
from sim.report.examples import PICTURE_HEIGHT, Example, fit_picture

_DPI = 110
_NAME_LETTERS = 34
_ROW_INCHES = 1.35
_CELL_INCHES = _ROW_INCHES - 0.12  # height of what is drawn in a row
_TICKS_INCHES = 0.2
_TEXT_INCHES, _SOUND_INCHES, _MAX_FRAMES_INCHES = 2.4, 3.2, 7.0  # widths of columns
_HEAD_INCHES = 0.62
_HEADINGS = ("clip", "frames, the face's box", "as the network sees it", "as it hears it: MFCC; red: altered")
_GAP = 6  # between pictures, pixels
_BOX_COLOUR = (255, 210, 0)
_GREY = "#555555"
_REAL_COLOUR, _FAKE_COLOUR = "#0b6e4f", "#b3261e"


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
    lefts = [0.1 + sum(columns[:place]) for place in range(len(columns))]
    for heading, left in zip(_HEADINGS, lefts, strict=True):
        figure.text(left / width, 1 - 0.48 / height, heading, fontsize=9, color=_GREY, va="center")
    for row, example in enumerate(examples):
        bottom = height - _HEAD_INCHES - _ROW_INCHES * (row + 1) + 0.06
        cells = []
        for left, column, room in zip(lefts, columns, (0, 0, 0, _TICKS_INCHES), strict=True):
            inches = np.array([left, bottom + room, column - 0.15, _CELL_INCHES - room])
            cells.append(figure.add_axes(tuple(inches / (width, height, width, height))))
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
    inches = _CELL_INCHES / PICTURE_HEIGHT
    frames = [len(one.pictures) * (one.pictures.shape[2] + _GAP) * inches for one in examples]
    counts = [len(one.tensors.frames) for one in examples if one.tensors is not None]
    crops = max(counts, default=0) * (PICTURE_HEIGHT + _GAP) * inches
    return [
        _TEXT_INCHES,
        min(max(2.0, *frames), _MAX_FRAMES_INCHES) + 0.15,
        max(2.0, crops) + 0.15,
        _SOUND_INCHES,
    ]


def draw_boxes(pictures: NDArray[np.uint8], boxes: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Pictures with a box on each.

    Args:
        pictures: (n, H, W, 3) uint8 RGB; left as they are.
        boxes: (n, 4) left, top, width, height in pixels; (0, 4): no boxes.
    """
    drawn = pictures.copy()
    for picture, (left, top, width, height) in zip(drawn, boxes, strict=False):
        first, last = (round(left), round(top)), (round(left + width), round(top + height))
        cv2.rectangle(picture, first, last, _BOX_COLOUR, 2)
    return drawn


def _draw_row(cells: Sequence[Axes], example: Example) -> None:
    text, frames, crops, sound = cells
    for cell in cells:
        cell.set(xticks=[], yticks=[], anchor="W")
        cell.spines[:].set_visible(False)
    _draw_text(text, example.clip)
    if len(example.pictures):
        frames.imshow(_side_by_side(draw_boxes(example.pictures, example.boxes)))
        _draw_times(frames, example)
    if example.tensors is None:
        cell = crops if len(example.pictures) else frames
        reason = textwrap.fill(_plain(f"not used: {example.reason}"), 60)
        cell.text(0.01, 0.5, reason, transform=cell.transAxes, fontsize=9, color=_FAKE_COLOUR, va="center")
        return
    crops.imshow(_side_by_side([fit_picture(crop) for crop in example.tensors.frames]))
    _draw_sound(sound, example.clip, example.tensors, example.start_s)


def _draw_times(axes: Axes, example: Example) -> None:
    box = {"facecolor": "black", "alpha": 0.6, "pad": 1.0, "linewidth": 0}
    step = example.pictures.shape[2] + _GAP
    for place, time_s in enumerate(example.times_s):
        x, y = place * step + 4, PICTURE_HEIGHT - 5
        axes.text(x, y, f"{time_s:.2f} s", fontsize=6.5, color="white", va="bottom", bbox=box)


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


def _side_by_side(pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures of one height in a row, with white between them."""
    gap = np.full((len(pictures[0]), _GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)


def _plain(text: str) -> str:
    """Without letters that the figures' font has not."""
    return clean(text).encode("latin-1", "replace").decode("latin-1")
