"""Training a detector on the server's public split: the teacher, and the student's first weights.

Beside the clip's label, each modality's tokens learn when they were altered, from the corpus's
fake periods: the frame classification losses of BA-TFD (Cai et al. 2022, "Do You Really Mean
That?", section 4). Without them a network that starts from nothing needs many times the clips.
The two linear heads are thrown away afterwards. Networks of pictures have no tokens: they learn from
the clip's label, and from the teacher's answers, alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl.data.shards import ShardView
from fl.distill.altered import Altered, altered_labels
from fl.distill.batches import Batch, TeacherAnswers, num_batches, shuffled_batches
from fl.distill.loop import MeanLosses, take_steps
from fl.distill.losses import LossTerms, batch_loss, supervised_loss
from fl.distill.optimizer import class_weights, make_optimizer, rate_share
from fl.distill.precision import autocast, resolve_precision
from fl.distill.synchrony import offset_loss, shift_sound, sync_loss
from fl.seeds import derive, generator
from fl.settings import AugmentSettings, DistillSettings, PublicTrainingSettings
from models.pin import PinDetector
from models.zoo import Detector


class Localiser(nn.Module):
    """A detector with a linear head on each modality's tokens, for training only."""

    def __init__(self, detector: PinDetector) -> None:
        super().__init__()
        self.detector = detector
        self.video_head = nn.Linear(detector.dim, 1)
        self.audio_head = nn.Linear(detector.dim, 1)


def train_epochs(
    detector: Detector,
    public: ShardView,
    settings: PublicTrainingSettings,
    augment: AugmentSettings,
    seed: int,
    teacher: TeacherAnswers | None = None,
    distill: DistillSettings | None = None,
) -> Iterator[MeanLosses]:
    """Train by the settings' optimiser and schedule; yields after each epoch, with the detector in place.

    Args:
        detector: trained in place; stop asking for epochs and it stays as it is.
        public: the server's clips.
        settings: epochs, optimiser, schedule, weights of the losses, precision.
        augment: how the clips are altered each time.
        seed: of the heads, of the order of clips and of what alters and shifts them.
        teacher: its answers, if cached on the store of ``public``; None: labels only.
        distill: weights of the distillation loss; with ``teacher``.
    """
    trained: nn.Module = detector
    if isinstance(detector, PinDetector):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "heads"))
            trained = Localiser(detector)
    trained.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(trained.parameters(), settings, settings.learning_rate)
    goal = Goal(
        settings,
        resolve_precision(settings.precision),
        distill,
        altered_labels(public),
        class_weights(public.labels, settings.class_weights),
        torch.Generator().manual_seed(derive(seed, "offsets")),
    )
    per_epoch = num_batches(len(public), settings.batch_size)
    for epoch in range(settings.max_epochs):

        def set_rate(step: int, done: int = epoch * per_epoch) -> None:
            progress = (done + step) / (per_epoch * settings.max_epochs)
            share = rate_share(progress, settings.schedule, settings.warmup_share)
            optimizer.param_groups[0]["lr"] = settings.learning_rate * share

        rng = generator(seed, epoch, -1, "public batches")
        batches = shuffled_batches(public, teacher, settings.batch_size, per_epoch, rng, augment=augment)
        yield take_steps(trained, batches, goal.loss_terms, optimizer, clip_norm=1.0, before_step=set_rate)
    detector.to(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class Goal:
    """What a step on public clips descends.

    Attributes:
        settings: weights of the losses.
        precision: "float32" or "bfloat16".
        distill: weights of the distillation loss; None: labels only.
        altered: targets of the view's clips: when each was altered.
        class_weights: (2,), of real and fake clips in the hard loss; None: all alike.
        shifts: draws by how much a sound is shifted.
    """

    settings: PublicTrainingSettings
    precision: str
    distill: DistillSettings | None
    altered: Altered
    class_weights: Tensor | None
    shifts: torch.Generator

    def loss_terms(self, network: nn.Module, batch: Batch) -> LossTerms:
        """The loss of a `Localiser`, or of a network of pictures, on one batch."""
        if isinstance(network, Localiser):
            return localised_loss(network, batch, self)
        with autocast(self.precision):
            output = network(*batch.inputs)
        return self.clip_loss(output.logits.float(), output.explanation.float(), batch)

    def clip_loss(self, logits: Tensor, maps: Tensor, batch: Batch) -> LossTerms:
        """The loss of clips as a whole: against their labels, and the teacher's answers if distilled."""
        if self.distill is None:
            return supervised_loss(logits, batch.labels, self.class_weights)
        return batch_loss(logits, maps, batch, self.distill, self.class_weights)


def localised_loss(localiser: Localiser, batch: Batch, goal: Goal) -> LossTerms:
    """The clip's loss, plus the cross-entropies of the two heads, and PinPoint's two of sound and picture.

    The heads learn from what is there: not from an absent modality, nor from padded or masked sound.

    Args:
        localiser: a `Localiser`.
        batch: with teacher outputs if the goal distils.
        goal: see there.
    """
    settings = goal.settings
    with autocast(goal.precision):
        video, audio = localiser.detector.encode(*batch.inputs)
        output = localiser.detector.fuse(video, audio)
        seen, heard = localiser.video_head(video).squeeze(-1), localiser.audio_head(audio).squeeze(-1)
    maps = output.explanation.float()
    terms = goal.clip_loss(output.logits.float(), maps, batch)
    has_video, has_audio = batch.modalities.unbind(dim=1)
    visible = has_video[:, None].expand_as(seen)
    audible = has_audio[:, None] * batch.mfcc.any(dim=2)
    located = balanced_loss(seen.float(), goal.altered.frames, batch.indices, visible)
    located = located + balanced_loss(heard.float(), goal.altered.steps, batch.indices, audible)
    both = has_video * has_audio
    total = (
        terms.total + settings.localisation_weight * located + settings.sync_weight * sync_loss(maps, both)
    )
    if settings.offset_weight:
        untouched = both * (1 - goal.altered.steps[batch.indices].amax(dim=1))
        with autocast(goal.precision):
            shifted = shift_sound(batch.mfcc, goal.shifts)
            offset = offset_loss(localiser.detector, video, shifted, untouched)
        total = total + settings.offset_weight * offset
    return LossTerms(total, terms.hard, terms.soft, terms.attention)


def balanced_loss(logits: Tensor, targets: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy in which altered and untouched places weigh the same over the whole view.

    Args:
        logits: (batch, places).
        targets: (clips, places), 0 or 1.
        indices: (batch,), the clips of the batch.
        weights: (batch, places), 0 where there is nothing to judge, else 1.
    """
    share = targets.mean().clamp(0.01, 0.99)
    loss = F.binary_cross_entropy_with_logits(
        logits, targets[indices], weight=weights, pos_weight=(1 - share) / share
    )
    return loss / weights.mean().clamp(min=1 / weights.numel())
