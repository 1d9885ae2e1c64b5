"""Two clips in a grid: the frame, where the teacher looks, where the student looks.

Attention of networks that hear is over time: for every step of the sound, how it is shared among the
video's frames. So the frame that is looked at most is shown, and below it the whole map, sound by frames;
the profiles of both networks, means over the sound, stand below the clip's own frames. Maps over the picture
are laid over it.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from sim.report.column import SMALL, TEXT, column_figure, dress
from sim.report.explained_clips import ExplainedClip, Floats
from sim.report.scatter import BLUE, ORANGE

STRIP = 4
"""Frames of a clip that are shown of it."""
LOOKS = {"teacher": (ORANGE, "s", "-."), "student": (BLUE, "o", "-")}


def draw_grid(clips: Sequence[ExplainedClip]) -> Figure:
    """A row for each clip; its EPS is written below it."""
    in_time = clips[0].step_s > 0
    figure = column_figure((2.75 if in_time else 1.75) * len(clips))
    parts = np.atleast_1d(np.asarray(figure.subfigures(len(clips), 1, hspace=0.06), dtype=object))
    for part, clip in zip(parts, clips, strict=True):
        truth = f"fake ({clip.category})" if clip.label else "real"
        part.suptitle(f"{truth}: {clip.name}", fontsize=TEXT, fontweight="bold", parse_math=False)
        told = f"fake with {clip.teacher_score:.2f} (teacher), {clip.student_score:.2f} (student)"
        part.supxlabel(
            f"EPS {clip.eps:.2f}, median of its class {clip.median_eps:.2f}; {told}", fontsize=SMALL
        )
        (_draw_in_time if in_time else _draw_over_picture)(part, clip)
    return figure


def profile(attention: Floats) -> Floats:
    """(frames,): how the attention of the mean step of sound is shared among the frames; sums to 1.

    Args:
        attention: (steps, frames), each row sums to 1.
    """
    return np.asarray(attention.mean(axis=0), dtype=np.float64)


def overlay(picture: NDArray[np.uint8], values: Floats) -> NDArray[np.uint8]:
    """A picture in grey with a map over it: red above its own mean, blue below it.

    EPS compares orders, not amounts: a map's pattern is shown, not its level. A constant one has no colour.

    Args:
        picture: (H, W, 3) uint8 RGB.
        values: (height, width), signed.
    """
    height, width = picture.shape[:2]
    centred = values - values.mean()
    wide = cv2.resize(centred, (width, height), interpolation=cv2.INTER_CUBIC)
    share = np.clip(wide / (np.abs(centred).max() or 1.0), -1, 1)[..., None]
    grey = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    colour = np.where(share > 0, np.array([213.0, 46.0, 0.0]), np.array([0.0, 96.0, 200.0]))
    strength = 0.65 * np.abs(share)
    return np.asarray((1 - strength) * grey + strength * colour, dtype=np.uint8)


def _draw_over_picture(part: Figure | SubFigure, clip: ExplainedClip) -> None:
    frame = clip.frames[len(clip.frames) // 2]
    pictures = {"frame": frame, "teacher": overlay(frame, clip.teacher_map)}
    pictures["student"] = overlay(frame, clip.student_map)
    for axes, (name, picture) in zip(part.subplots(1, 3), pictures.items(), strict=True):
        _show(axes, picture, name)


def _draw_in_time(part: Figure | SubFigure, clip: ExplainedClip) -> None:
    above, below = part.subplots(2, 3, height_ratios=(1.25, 1))
    _show(above[0], _strip(clip.frames), "frames" if len(clip.frames) >= STRIP else "frame")
    maps = {"teacher": clip.teacher_map, "student": clip.student_map}
    top = max(values.max() for values in maps.values())
    for name, upper, lower in zip(maps, above[1:], below[1:], strict=True):
        shares = profile(maps[name])
        most = int(shares.argmax())
        title = f"{name}: {clip.times_s[most]:.2f} s, {shares[most]:.0%}"
        _show(upper, clip.frames[most], title, LOOKS[name][0])
        _draw_map(lower, clip, maps[name], top)
    below[1].set_ylabel("frame", labelpad=1)
    for name, values in maps.items():
        colour, marker, line = LOOKS[name]
        shares = 100 * profile(values)
        below[0].plot(
            clip.times_s, shares, line, color=colour, marker=marker, markersize=2.5, linewidth=1, label=name
        )
    below[0].set(xlabel="frame at, s", ylabel="looked at, %")
    below[0].set_ylim(0, 115 * max(profile(values).max() for values in maps.values()))
    below[0].legend(fontsize=SMALL, frameon=False, loc="best", handlelength=1.6, borderpad=0)
    below[0].grid(alpha=0.25)
    for axes in below:
        dress(axes, SMALL)


def _draw_map(axes: Axes, clip: ExplainedClip, values: Floats, top: float) -> None:
    """Frames over the time of the sound: bright where a moment of sound looks at a frame."""
    steps, count = values.shape
    extent = (clip.start_s, clip.start_s + steps * clip.step_s, count + 0.5, 0.5)
    axes.imshow(
        values.T, aspect="auto", cmap="viridis", vmin=0, vmax=top, extent=extent, interpolation="none"
    )
    axes.set_yticks(np.unique(np.linspace(1, count, min(count, STRIP)).round().astype(int)))
    axes.set_xlabel("sound at, s")


def _strip(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most four frames, spread over the clip, two by two, read as text is."""
    places = np.linspace(0, len(frames) - 1, STRIP).round().astype(int)
    if len(frames) < STRIP:
        return np.asarray(frames[len(frames) // 2])
    first, second, third, fourth = frames[places]
    rows = [np.concatenate(pair, axis=1) for pair in ((first, second), (third, fourth))]
    return np.concatenate(rows, axis=0)


def _show(axes: Axes, picture: NDArray[np.uint8], title: str, colour: str = "black") -> None:
    axes.imshow(picture, interpolation="none")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=SMALL, pad=3)
    axes.spines[:].set(linewidth=1.0, edgecolor=colour)
