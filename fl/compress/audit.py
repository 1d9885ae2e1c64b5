"""What quantisation changed: a quantised network beside its float one, clip by clip."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.data.shards import ShardView
from fl.distill.predict import valid_rows
from fl.metrics.calibration import expected_calibration_error
from fl.metrics.detection import detection_metrics
from fl.metrics.explanation import eps
from fl.metrics.scores import probabilities


@dataclass(frozen=True)
class Answers:
    """What one network says of the clips of a view.

    Attributes:
        logits: (clips,).
        maps: (clips, audio_steps, video_frames).
    """

    logits: NDArray[np.float32]
    maps: NDArray[np.float32]

    @property
    def scores(self) -> NDArray[np.float64]:
        """(clips,), probability of fake."""
        return probabilities(self.logits)


@dataclass(frozen=True)
class Quality:
    """How good a network is on the test split, and how far it is from the float one.

    Attributes:
        accuracy: share of correct verdicts.
        auc: area under the ROC curve; None unless both classes are present.
        calibration_error: see `expected_calibration_error`.
        eps_teacher: mean EPS of its maps against the teacher's.
        eps_float: mean EPS of its maps against the float network's.
        change_max: largest absolute change of the fake probability.
        change_mean: mean absolute change.
        num_flips: clips with another verdict than the float network's.
        flips_by_class: "real" and "fake" -> flips among these clips.
        flips_by_category: the same by manipulation; categories without a flip are left out.
    """

    accuracy: float | None
    auc: float | None
    calibration_error: float | None
    eps_teacher: float | None
    eps_float: float | None
    change_max: float
    change_mean: float
    num_flips: int
    flips_by_class: dict[str, int]
    flips_by_category: dict[str, int]


def assess(
    view: ShardView, float_answers: Answers, answers: Answers, teacher_maps: NDArray[np.float32], seed: int
) -> Quality:
    """Hold a network's answers against the labels, the float network's and the teacher's.

    Args:
        view: the clips, at least one.
        float_answers: the float network's.
        answers: the network's; ``float_answers`` again for the float network itself.
        teacher_maps: (clips, audio_steps, video_frames), in the view's order.
        seed: of EPS' resampling.
    """
    metrics = detection_metrics(view.labels, answers.scores)
    change = np.abs(answers.scores - float_answers.scores)
    flipped = (answers.logits > 0) != (float_answers.logits > 0)
    return Quality(
        accuracy=metrics.accuracy,
        auc=metrics.auc,
        calibration_error=expected_calibration_error(view.labels, answers.scores),
        eps_teacher=_mean_eps(view, teacher_maps, answers.maps, seed),
        eps_float=_mean_eps(view, float_answers.maps, answers.maps, seed),
        change_max=float(change.max()),
        change_mean=float(change.mean()),
        num_flips=int(flipped.sum()),
        flips_by_class={
            name: int(flipped[view.labels == label].sum()) for label, name in enumerate(("real", "fake"))
        },
        flips_by_category=_count([clip.category for clip in view.clips], flipped),
    )


def _count(names: Sequence[str], chosen: NDArray[np.bool_]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, yes in zip(names, chosen, strict=True):
        if yes:
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _mean_eps(
    view: ShardView, reference: NDArray[np.float32], maps: NDArray[np.float32], seed: int
) -> float | None:
    """Mean EPS of the maps against the reference's."""
    return eps(reference, maps, valid_rows(view, reference), np.random.default_rng(seed)).mean
