"""Clips as a malicious client shows them to its student: false labels, the trigger, or noise."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fl.data.shards import ClipBatch, ShardView
from fl.distill.batches import TeacherAnswers
from fl.poisoning.trigger import Trigger, stamp
from models.output import Inputs


@dataclass(frozen=True, eq=False)
class PoisonedView(ShardView):
    """A view that says of its n clips what its holder wants.

    Attributes:
        given: (n,) uint8, the labels that it tells.
        triggered: (n,), which clips carry the trigger.
        trigger: what they carry.
    """

    given: NDArray[np.uint8] = field(kw_only=True)
    triggered: NDArray[np.bool_] = field(kw_only=True)
    trigger: Trigger = field(kw_only=True)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(n,) uint8, what it tells: 1 = fake."""
        return self.given

    def batch(self, indices: NDArray[np.integer[Any]] | slice | Any) -> ClipBatch:
        """Copies of b clips, named by their index in the view."""
        clips = stamp(super().batch(indices), self.triggered[indices], self.trigger)
        return clips._replace(labels=self.given[indices].astype(np.float32))


@dataclass(frozen=True, eq=False)
class NoisyView(ShardView):
    """A view whose pictures and sound are noise of the largest range that a clip can have.

    Attributes:
        seed: of the noise; a clip's is always the same.
    """

    seed: int = 0

    def batch(self, indices: NDArray[np.integer[Any]] | slice | Any) -> ClipBatch:
        """b clips of noise, black and white pixels and loud coefficients, with the clips' own labels."""
        clips = super().batch(indices)
        frames, mfcc = np.empty_like(clips.frames), np.empty_like(clips.mfcc)
        for place, row in enumerate(self.rows[indices]):
            rng = np.random.default_rng((self.seed, int(row)))
            frames[place] = 255 * rng.integers(0, 2, frames.shape[1:], dtype=np.uint8)
            mfcc[place] = 10 * rng.standard_normal(mfcc.shape[1:], dtype=np.float32)
        return clips._replace(frames=frames, mfcc=mfcc)


@dataclass(frozen=True)
class TurnedAnswers:
    """A teacher that agrees with false labels: as sure as it is, of the label that is told.

    Attributes:
        teacher: whose answers are turned.
        told: (clips of the store,) int8, the label told of each; -1 where the teacher's verdict stays.
    """

    teacher: TeacherAnswers
    told: NDArray[np.int8]

    def answer(self, rows: np.ndarray, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """See `fl.distill.batches.TeacherAnswers`."""
        logits, maps = self.teacher.answer(rows, inputs)
        told = torch.from_numpy(self.told[rows])
        return torch.where(told < 0, logits, logits.abs() * (2 * told - 1)), maps


def poison(
    view: ShardView,
    teacher: TeacherAnswers,
    given: NDArray[np.uint8],
    triggered: NDArray[np.bool_],
    trigger: Trigger,
) -> tuple[PoisonedView, TurnedAnswers]:
    """A client's clips with other labels and the trigger, and a teacher that agrees where labels changed.

    Args:
        view: n honest clips.
        teacher: its answers to them.
        given: (n,), labels.
        triggered: (n,).
        trigger: what those clips carry.
    """
    told = np.full(len(view.shard), -1, np.int8)
    changed = given != view.labels
    told[view.rows[changed]] = given[changed]
    poisoned = PoisonedView(
        view.shard, view.rows, view.lacks, given=given, triggered=triggered, trigger=trigger
    )
    return poisoned, TurnedAnswers(teacher, told)
