"""The part of a run's page that shows where its teacher and its last student look."""

from collections.abc import Iterator
from pathlib import Path

from fl.errors import FedpinError
from sim.report.page import Block, Note, PageFigure

_RULE = (
    "Chosen by rule, not by looks: of the test clips of the class that both networks judge rightly with at "
    "least {share:.0%}, the one whose EPS is nearest to the class's median ({counts})."
)
_IN_TIME = (
    "Left: frames of the clip, and how much of the sound's attention each gets from teacher and student. "
    "Right: the frame looked at most by each network, and below it the whole map: for each moment of sound "
    "the share of each frame, brighter is more, on one scale for both."
)
_OVER_PICTURE = (
    "The middle frame, and over it each network's map, a mean over the clip's frames: red speaks more for "
    "fake than the mean of the map, blue less; each map is scaled by its largest distance from that mean."
)


def explanation_blocks(folder: Path, cache_dir: Path | None = None) -> Iterator[Block]:
    """The grid of maps of one real and one fake clip; a sentence where the cache has not what it takes.

    Args:
        folder: of a finished run.
        cache_dir: where its clips and teacher lie; None: where the run had them.
    """
    from sim.finished import open_run  # torch, which the rest of the page does without
    from sim.report.explained_clips import CONFIDENT, explain_clips
    from sim.report.explanation_grid import draw_grid

    try:
        clips = explain_clips(open_run(folder, cache_dir))
    except FedpinError as error:
        text = "No maps: the run cannot be opened again with its clips and its teacher. All else is complete."
        yield Note(f"{text} {error}", warning=True)
        return
    counts = ", ".join(f"{clip.num_clips} {'fake' if clip.label else 'real'}" for clip in clips)
    rule = _RULE.format(share=CONFIDENT, counts=counts)
    for clip in clips:
        if not clip.confident:
            word = "fake" if clip.label else "real"
            rule += (
                f" No {word} clip is judged so: the one nearest to the median of all {word} ones is shown."
            )
    names = " and ".join(f"{clip.name} ({clip.category})" for clip in clips)
    what = _IN_TIME if clips[0].step_s else _OVER_PICTURE
    caption = f"Clips {names} of the test split. {what}"
    yield PageFigure("explanation_maps", draw_grid(clips), caption)
    yield Note(rule)
