"""Batches of a shard: pixels to normalised tensors, the teacher's answers beside them."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fl.data.augment import augment_frames, drop_modalities, droppable_modalities, mask_time
from fl.data.features import normalise_frames
from fl.data.shards import ClipBatch, ShardView
from fl.distill.altered import altered_labels
from fl.distill.precision import autocast
from fl.settings import AugmentSettings, DistillSettings
from models.output import Inputs


class TeacherAnswers(Protocol):
    """Where a batch's soft targets come from."""

    def answer(self, rows: np.ndarray, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """The teacher's logits (batch,) and maps (batch, audio_steps, video_frames), float32.

        Args:
            rows: (batch,), the clips' rows in their store.
            inputs: what the student sees of them.
        """
        ...


@dataclass(frozen=True)
class TeacherOutputs:
    """What the teacher says of every clip of a store as it is, memory-mapped.

    Attributes:
        logits: (clips,), float32.
        maps: (clips, audio_steps, video_frames), float32.
    """

    logits: np.ndarray
    maps: np.ndarray

    def answer(self, rows: np.ndarray, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """The rows of the store, whatever the student sees of them: see `TeacherAnswers`."""
        return torch.from_numpy(self.logits[rows]), torch.from_numpy(self.maps[rows])


@dataclass(frozen=True)
class LiveTeacher:
    """A frozen teacher that is asked about each batch as the student sees it.

    Attributes:
        network: in evaluation mode, without gradients.
        precision: "float32" or "bfloat16".
    """

    network: nn.Module
    precision: str

    @torch.no_grad()
    def answer(self, rows: np.ndarray, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """A forward pass on the inputs: see `TeacherAnswers`."""
        with autocast(self.precision):
            output = self.network(*inputs)
        return output.logits.float(), output.explanation.float()


@dataclass(frozen=True)
class Batch:
    """Clips ready for a network.

    Attributes:
        frames: (batch, num_frames, 3, height, width), normalised.
        mfcc: (batch, audio_steps, num_mfcc).
        modalities: (batch, 2), 1 where the clip has video, and audio, else 0.
        labels: (batch,), float, 1 = fake.
        teacher_logits: (batch,); empty without a teacher.
        teacher_maps: (batch, audio_steps, video_frames); empty without a teacher.
        indices: (batch,), which clips of the view these are.
    """

    frames: Tensor
    mfcc: Tensor
    modalities: Tensor
    labels: Tensor
    teacher_logits: Tensor
    teacher_maps: Tensor
    indices: Tensor

    @property
    def inputs(self) -> Inputs:
        """What a detector takes."""
        return self.frames, self.mfcc, self.modalities


def load_batch(view: ShardView, indices: np.ndarray, teacher: TeacherAnswers | None = None) -> Batch:
    """Read some clips of a view, as they are.

    Args:
        view: the shard.
        indices: (batch,), positions in the view.
        teacher: its answers; cached ones are of the view's whole store.
    """
    return make_batch(view, indices, view.batch(indices), teacher)


def make_batch(
    view: ShardView, indices: np.ndarray, clips: ClipBatch, teacher: TeacherAnswers | None
) -> Batch:
    """Tensors of clips that were read, with the teacher's answers to them."""
    inputs = (
        normalise_frames(clips.frames),
        torch.from_numpy(clips.mfcc),
        torch.from_numpy(clips.modalities),
    )
    nothing = torch.empty(0)
    logits, maps = (nothing, nothing) if teacher is None else teacher.answer(view.rows[indices], inputs)
    return Batch(*inputs, torch.from_numpy(clips.labels), logits, maps, torch.from_numpy(indices))


def num_batches(num_clips: int, batch_size: int) -> int:
    """Batches of one epoch, the last one short."""
    return ceil(num_clips / batch_size)


def local_steps(settings: DistillSettings, num_clips: int, step_share: float) -> int:
    """Steps of a client's round: a share, in (0, 1], of its local epochs; at least one."""
    return max(1, ceil(step_share * settings.epochs * num_batches(num_clips, settings.batch_size)))


def shuffled_batches(
    view: ShardView,
    teacher: TeacherAnswers | None,
    batch_size: int,
    num_steps: int,
    rng: np.random.Generator,
    *,
    augment: AugmentSettings | None,
) -> Iterator[Batch]:
    """`num_steps` batches, epoch after epoch, each epoch in a new order drawn from ``rng``.

    With ``augment`` the clips are altered, by draws from ``rng`` too, before the teacher is asked: a
    live one sees what the student sees, cached outputs are of the whole clip as it is.
    """
    done = 0
    augmenter = None if augment is None else _Augmenter(view, augment)
    while done < num_steps:
        order = rng.permutation(len(view))
        for start in range(0, len(order), batch_size):
            if done == num_steps:
                return
            chosen = order[start : start + batch_size]
            clips = view.batch(chosen)
            if augmenter is not None:
                clips = augmenter.alter(clips, chosen, rng)
            yield make_batch(view, chosen, clips, teacher)
            done += 1


def poisson_batches(
    view: ShardView,
    teacher: TeacherAnswers | None,
    sampling_rate: float,
    num_steps: int,
    rng: np.random.Generator,
    *,
    augment: AugmentSettings | None,
) -> Iterator[Batch]:
    """`num_steps` batches, each of the clips whose own coin came up: of any size, also of none.

    Args:
        view: the shard.
        teacher: as in `shuffled_batches`.
        sampling_rate: probability with which a clip is in a batch.
        num_steps: batches.
        rng: of the coins and of what alters the clips.
        augment: as in `shuffled_batches`.
    """
    augmenter = None if augment is None else _Augmenter(view, augment)
    for _ in range(num_steps):
        chosen = np.flatnonzero(rng.random(len(view)) < sampling_rate)
        clips = view.batch(chosen)
        if augmenter is not None and len(chosen):
            clips = augmenter.alter(clips, chosen, rng)
        yield make_batch(view, chosen, clips, teacher)


def ordered_batches(view: ShardView, teacher: TeacherAnswers | None, batch_size: int) -> Iterator[Batch]:
    """All clips of a view once, in their order, as they are."""
    for start in range(0, len(view), batch_size):
        indices = np.arange(start, min(start + batch_size, len(view)))
        yield load_batch(view, indices, teacher)


class _Augmenter:
    """Augmentation of one view's clips; what is known of them is looked up once."""

    def __init__(self, view: ShardView, settings: AugmentSettings) -> None:
        self.settings = settings
        self.altered = altered_labels(view).steps.numpy() > 0 if settings.time_mask else None
        self.droppable = droppable_modalities(view.clips)

    def alter(self, clips: ClipBatch, indices: np.ndarray, rng: np.random.Generator) -> ClipBatch:
        frames = augment_frames(clips.frames, self.settings, rng)
        mfcc, modalities = clips.mfcc, clips.modalities
        if self.altered is not None:
            mfcc = mask_time(mfcc, self.altered[indices], self.settings.time_mask, rng)
        if self.settings.modality_dropout:
            share = self.settings.modality_dropout
            modalities = drop_modalities(modalities, self.droppable[indices], share, rng)
        return ClipBatch(frames, mfcc, clips.labels, modalities)
