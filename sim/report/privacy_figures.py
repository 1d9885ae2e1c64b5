"""The pictures of `python -m sim audit privacy`: curves on logarithmic axes, inverted pictures."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from sim.report.figures import DPI
from sim.report.saving import save_picture
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY

if TYPE_CHECKING:
    from sim.audits.gradient_inversion import Inversion, Inverted
    from sim.audits.membership_attacks import Attack
    from sim.audits.privacy import PrivacyAudit

LOOKS = (
    (GREY, "--"),
    (BLUE, "-"),
    (ORANGE, "-."),
    (GREEN, "--"),
    (RED, ":"),
    (PURPLE, (0, (5, 1, 1, 1))),
    (SKY, (0, (1, 1))),
    ("black", (0, (8, 2))),
    ("#7A4B1E", (0, (4, 1, 1, 1, 1, 1))),
)
"""Colour and line of each attack on one kind of members; they differ without colour too."""


def draw_privacy(audit: "PrivacyAudit", folder: Path) -> list[Path]:
    """``membership.png`` and, where it was attacked, ``inversion.png``.

    Args:
        audit: what was found.
        folder: made if it is not there.

    Raises:
        RunError: the folder cannot be written.
    """
    written = save_picture(_receiver_curves(audit.attacks), folder, "membership")
    if audit.inversion:
        written += save_picture(inversion_figure(audit.inversion), folder, "inversion")
    return written


def _receiver_curves(attacks: Sequence["Attack"]) -> Figure:
    kinds = list(dict.fromkeys(attack.members for attack in attacks))
    figure = Figure(figsize=(6.5 * len(kinds), 6.6), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        _curves(axes, [attack for attack in attacks if attack.members == kind])
        axes.set_title(
            f"Members: the clips of {'the clients' if kind == 'clients' else 'the server (public)'}"
        )
    return figure


def _curves(axes: Axes, attacks: Sequence["Attack"]) -> None:
    low = min(0.5 / max(attack.rates.num_non_members for attack in attacks), 0.01)
    axes.plot([low, 1], [low, 1], color="black", linewidth=0.8, label="chance")
    for (colour, style), attack in zip(cycle(LOOKS), attacks, strict=False):
        inside, outside = (part.scores for part in attack.scores)
        labels = np.repeat([1, 0], [len(inside), len(outside)])
        accused, found, _ = roc_curve(labels, np.concatenate([inside, outside]), drop_intermediate=False)
        name = f"{attack.name}: {attack.sees}, AUC {attack.rates.auc:.3f}"
        axes.step(
            np.maximum(accused, low), np.maximum(found, low), where="post",
            color=colour, linestyle=style, linewidth=1.8, label=name,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=(low, 1), ylim=(low, 1.05))
    axes.set(xlabel="others accused (false positive rate)", ylabel="members found (true positive rate)")
    axes.grid(alpha=0.25, which="both")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize=8)


def inversion_figure(inverted: "Inverted") -> Figure:
    """The clip above, each reconstruction in a row below; beside it the one from a noised gradient."""
    from sim.audits.gradient_inversion import NOISED  # its module needs torch, and the audit has it

    noised = {one.network: one for one in inverted.rows if one.network.endswith(NOISED)}
    num_frames = min(inverted.num_frames, 3 if noised else 6)
    num_columns = 2 * num_frames if noised else num_frames
    clear = [one for one in inverted.rows if one.network not in noised]
    figure = Figure(figsize=(1.4 * num_columns + 2.8, 1.6 * (len(clear) + 1)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(clear) + 1, num_columns, squeeze=False)
    _row_of_pictures(grid[0][:num_frames], "the clip", inverted.original)
    for line, one in zip(grid[1:], clear, strict=True):
        name = one.method if one.network == "none" else one.network
        _row_of_pictures(line[:num_frames], f"{name}\n{_likeness(one)}", one.pictures)
        if one.network + NOISED in noised:
            other = noised[one.network + NOISED]
            _row_of_pictures(line[num_frames:], "", other.pictures)
            line[num_frames].set_title(f"noised: {_likeness(other)}", fontsize=9, loc="left")
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        if not axes.images:
            axes.axis("off")
    figure.suptitle("One clip's gradient, turned back into pictures")
    return figure


def _row_of_pictures(line: Sequence[Axes], name: str, pictures: NDArray[np.float32]) -> None:
    """As many as there is room for; the name at the left."""
    for axes, picture in zip(line, pictures, strict=False):
        axes.imshow(np.clip(picture, 0, 1), interpolation="nearest")
    line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)


def _likeness(one: "Inversion") -> str:
    ratio = "exact" if one.psnr_db is None else f"{one.psnr_db:.1f} dB"
    return f"{ratio}, SSIM {one.ssim:.2f}"
