"""Training a detector on the server's public split: the teacher, and the student's first weights.

Beside the clip's label, each modality's tokens learn when they were altered, from the corpus's
fake periods: the frame classification losses of BA-TFD (Cai et al. 2022, "Do You Really Mean
That?", section 4). Without them a network that starts from nothing needs many times the clips.
The two linear heads are thrown away afterwards. Networks of pictures have no tokens: they learn from
the clip's label, and from the teacher's answers, alone.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl.data.shards import ShardView
from fl.distill.altered import Altered, altered_labels
from fl.distill.batches import Batch, TeacherAnswers, num_batches, shuffled_batches
from fl.distill.loop import MeanLosses, take_steps
from fl.distill.losses import LossTerms, batch_loss, masked_mean, supervised_loss
from fl.distill.precision import autocast, resolve_precision
from fl.seeds import derive, generator
from fl.settings import AugmentSettings, DistillSettings, TeacherSettings, WarmupSettings
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
    settings: TeacherSettings | WarmupSettings,
    augment: AugmentSettings,
    seed: int,
    teacher: TeacherAnswers | None = None,
    distill: DistillSettings | None = None,
) -> Iterator[MeanLosses]:
    """AdamW with warm-up and cosine decay; yields after each epoch, with the detector in place.

    Args:
        detector: trained in place; stop asking for epochs and it stays as it is.
        public: the server's clips.
        settings: epochs, batch size, learning rate, weight of the two heads' losses, precision.
        augment: how the clips are altered each time.
        seed: of the heads, of the order of clips and of what alters them.
        teacher: its answers, if cached on the store of ``public``; None: labels only.
        distill: weights of the distillation loss; with ``teacher``.
    """
    trained: nn.Module = detector
    if isinstance(detector, PinDetector):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "heads"))
            trained = Localiser(detector)
    trained.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        trained.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    altered, precision = altered_labels(public), resolve_precision(settings.precision)
    per_epoch = num_batches(len(public), settings.batch_size)

    def loss_terms(network: nn.Module, batch: Batch) -> LossTerms:
        if not isinstance(network, Localiser):
            with autocast(precision):
                output = network(*batch.inputs)
            return clip_loss(output.logits.float(), output.explanation.float(), batch, distill)
        return localised_loss(
            network,
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
        batches = shuffled_batches(public, teacher, settings.batch_size, per_epoch, rng, augment=augment)
        yield take_steps(trained, batches, loss_terms, optimizer, clip_norm=1.0, before_step=set_rate)
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

    The heads learn from what is there: not from an absent modality, nor from padded or masked sound.

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
        video, audio = localiser.detector.encode(*batch.inputs)
        output = localiser.detector.fuse(video, audio)
        seen, heard = localiser.video_head(video).squeeze(-1), localiser.audio_head(audio).squeeze(-1)
    logits, maps = output.logits.float(), output.explanation.float()
    terms = clip_loss(logits, maps, batch, distill)
    has_video, has_audio = batch.modalities.unbind(dim=1)
    visible = has_video[:, None].expand_as(seen)
    audible = has_audio[:, None] * batch.mfcc.any(dim=2)
    located = balanced_loss(seen.float(), altered.frames, batch.indices, visible)
    located = located + balanced_loss(heard.float(), altered.steps, batch.indices, audible)
    total = terms.total + weight * located + sync_weight * sync_loss(maps, has_video * has_audio)
    return LossTerms(total, terms.hard, terms.soft, terms.attention)


def clip_loss(logits: Tensor, maps: Tensor, batch: Batch, distill: DistillSettings | None) -> LossTerms:
    """The loss of a clip as a whole: against its label, and the teacher's answers if ``distill`` is given."""
    if distill is None:
        return supervised_loss(logits, batch.labels)
    return batch_loss(logits, maps, batch, distill)


def sync_loss(maps: Tensor, both: Tensor) -> Tensor:
    """Cross-entropy of each audio step's attention against the frames shown at that time.

    PinPoint is trained with synchrony losses; this one asks the cross-attention to compare a sound
    with the pictures of its moment. The target of a step is shared by its two nearest frames.

    Args:
        maps: (batch, audio_steps, video_frames), rows that sum to 1.
        both: (batch,), 1 where the clip has both modalities, else 0: without one there is nothing to
            compare.
    """
    num_steps, num_frames = maps.shape[1:]
    place = (torch.arange(num_steps) + 0.5) / num_steps * num_frames - 0.5
    distance = (place.clamp(0, num_frames - 1)[:, None] - torch.arange(num_frames)).abs()
    steps = -((1 - distance).clamp(min=0) * maps.clamp(min=1e-8).log()).sum(dim=2)
    return masked_mean(steps, both[:, None].expand_as(steps))


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


def warm_cosine(progress: float, warmup: float = 0.1) -> float:
    """Share of the peak learning rate at ``progress`` in [0, 1]: linear rise, then half a cosine."""
    if progress < warmup:
        return 0.05 + 0.95 * progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
