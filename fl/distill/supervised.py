"""Training a detector on the server's public split: the teacher, and the student's first weights.

Beside the clip's label, each modality's tokens learn when they were altered, from the corpus's
fake periods: the frame classification losses of BA-TFD (Cai et al. 2022, "Do You Really Mean
That?", section 4). Without them a network that starts from nothing needs many times the clips.
The two linear heads are thrown away afterwards.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl.data.shards import ShardView
from fl.distill.batches import Batch, TeacherOutputs, num_batches, shuffled_batches
from fl.distill.loop import MeanLosses, take_steps
from fl.distill.losses import LossTerms, batch_loss, supervised_loss
from fl.distill.predict import autocast, resolve_precision
from fl.seeds import derive, generator
from fl.settings import DistillSettings, TeacherSettings, WarmupSettings
from models.pin import PinDetector

STEP_S = 0.02
"""Time between two MFCC vectors."""


class Localiser(nn.Module):
    """A detector with a linear head on each modality's tokens, for training only."""

    def __init__(self, detector: PinDetector) -> None:
        super().__init__()
        self.detector = detector
        self.video_head = nn.Linear(detector.dim, 1)
        self.audio_head = nn.Linear(detector.dim, 1)


@dataclass(frozen=True)
class Altered:
    """When each clip of a view was altered, as 0 or 1.

    Attributes:
        frames: (clips, num_frames), float32: the pictures at each frame.
        steps: (clips, audio_steps), float32: the sound at each MFCC step.
    """

    frames: Tensor
    steps: Tensor


def altered_labels(view: ShardView) -> Altered:
    """The targets of the two heads, from the clips' fake periods and what each manipulation altered."""
    num_frames, num_steps = view.shard.frames.shape[1], view.shard.mfcc.shape[1]
    frames = np.zeros((len(view), num_frames), np.float32)
    steps = np.zeros((len(view), num_steps), np.float32)
    for i, (clip, valid) in enumerate(zip(view.clips, view.valid_steps, strict=True)):
        valid_s = float(valid) * STEP_S
        start_s = max(0.0, (clip.duration_s - valid_s) / 2)
        frame_s = start_s + valid_s * (np.arange(num_frames) + 0.5) / num_frames
        step_s = start_s + STEP_S * (np.arange(num_steps) + 0.5)
        for begin, end in clip.fake_periods:
            if clip.modify_video:
                frames[i, (frame_s >= begin) & (frame_s <= end)] = 1
            if clip.modify_audio:
                steps[i, (step_s >= begin) & (step_s <= end)] = 1
    return Altered(torch.from_numpy(frames), torch.from_numpy(steps))


def train_epochs(
    detector: PinDetector,
    public: ShardView,
    settings: TeacherSettings | WarmupSettings,
    seed: int,
    outputs: TeacherOutputs | None = None,
    distill: DistillSettings | None = None,
) -> Iterator[MeanLosses]:
    """AdamW with warm-up and cosine decay; yields after each epoch, with the detector in place.

    Args:
        detector: trained in place; stop asking for epochs and it stays as it is.
        public: the server's clips.
        settings: epochs, batch size, learning rate, weight of the two heads' losses, precision.
        seed: of the heads and of the order of clips.
        outputs: the teacher's on the store of ``public``; None: labels only.
        distill: weights of the distillation loss; with ``outputs``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "heads"))
        localiser = Localiser(detector)
    localiser.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        localiser.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    altered, precision = altered_labels(public), resolve_precision(settings.precision)
    per_epoch = num_batches(len(public), settings.batch_size)

    def loss_terms(_: nn.Module, batch: Batch) -> LossTerms:
        return localised_loss(
            localiser,
            batch,
            altered,
            weight=settings.localisation_weight,
            sync_weight=settings.sync_weight,
            precision=precision,
            distill=distill,
        )

    for epoch in range(settings.max_epochs):

        def set_rate(step: int, done: int = epoch * per_epoch) -> None:
            share = warm_cosine((done + step) / (per_epoch * settings.max_epochs))
            optimizer.param_groups[0]["lr"] = settings.learning_rate * share

        rng = generator(seed, epoch, -1, "public batches")
        batches = shuffled_batches(public, outputs, settings.batch_size, per_epoch, rng, flip=True)
        yield take_steps(localiser, batches, loss_terms, optimizer, clip_norm=1.0, before_step=set_rate)
    detector.to(memory_format=torch.contiguous_format)


def localised_loss(
    localiser: Localiser,
    batch: Batch,
    altered: Altered,
    *,
    weight: float,
    sync_weight: float,
    precision: str,
    distill: DistillSettings | None,
) -> LossTerms:
    """The clip's loss, plus the cross-entropies of the two heads and the synchrony of the attention.

    Args:
        localiser: a `Localiser`.
        batch: with teacher outputs if ``distill`` is given.
        altered: targets of the view's clips.
        weight: >= 0.
        sync_weight: weight of `sync_loss`, >= 0.
        precision: "float32" or "bfloat16".
        distill: weights of the distillation loss; None: labels only.
    """
    with autocast(precision):
        video, audio = localiser.detector.encode(batch.frames, batch.mfcc)
        output = localiser.detector.fuse(video, audio)
        seen, heard = localiser.video_head(video).squeeze(-1), localiser.audio_head(audio).squeeze(-1)
    logits, maps = output.logits.float(), output.explanation.float()
    if distill is None:
        terms = supervised_loss(logits, batch.labels)
    else:
        terms = batch_loss(logits, maps, batch, distill)
    located = balanced_loss(seen.float(), altered.frames, batch.indices)
    located = located + balanced_loss(heard.float(), altered.steps, batch.indices)
    total = terms.total + weight * located + sync_weight * sync_loss(maps)
    return LossTerms(total, terms.hard, terms.soft, terms.attention)


def sync_loss(maps: Tensor) -> Tensor:
    """Cross-entropy of each audio step's attention against the frames shown at that time.

    PinPoint is trained with synchrony losses; this one asks the cross-attention to compare a sound
    with the pictures of its moment. The target of a step is shared by its two nearest frames.

    Args:
        maps: (batch, audio_steps, video_frames), rows that sum to 1.
    """
    num_steps, num_frames = maps.shape[1:]
    place = (torch.arange(num_steps) + 0.5) / num_steps * num_frames - 0.5
    distance = (place.clamp(0, num_frames - 1)[:, None] - torch.arange(num_frames)).abs()
    return -((1 - distance).clamp(min=0) * maps.clamp(min=1e-8).log()).sum(dim=2).mean()


def balanced_loss(logits: Tensor, targets: Tensor, indices: Tensor) -> Tensor:
    """Binary cross-entropy in which altered and untouched places weigh the same over the whole view.

    Args:
        logits: (batch, places).
        targets: (clips, places), 0 or 1.
        indices: (batch,), the clips of the batch.
    """
    share = targets.mean().clamp(0.01, 0.99)
    return F.binary_cross_entropy_with_logits(logits, targets[indices], pos_weight=(1 - share) / share)


def warm_cosine(progress: float, warmup: float = 0.1) -> float:
    """Share of the peak learning rate at ``progress`` in [0, 1]: linear rise, then half a cosine."""
    if progress < warmup:
        return 0.05 + 0.95 * progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
