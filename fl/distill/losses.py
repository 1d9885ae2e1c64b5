"""The distillation loss of PIN-Lite, with the soft term that a single logit needs.

L = (1 - soft_weight) * hard + soft_weight * soft + attention_weight * attention + proximal.

The published code took the KL divergence of a softmax over one logit, which is identically zero;
here it is the KL divergence of the two Bernoulli distributions that the logits stand for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from fl.distill.batches import Batch
from fl.settings import DistillSettings


@dataclass(frozen=True)
class LossTerms:
    """The terms of the loss before weighting, each a scalar, and their weighted sum.

    Attributes:
        total: what is differentiated, without the proximal term.
        hard: binary cross-entropy against the labels.
        soft: Bernoulli KL times temperature squared; 0 where there is no teacher.
        attention: of `ATTENTION_LOSSES`; 0 where there is no teacher or no picture.
    """

    total: Tensor
    hard: Tensor
    soft: Tensor
    attention: Tensor


def hard_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy of logits against labels; 1 = fake.

    Args:
        logits: (batch,).
        labels: (batch,), 0 or 1.
        class_weights: (2,), what a real and a fake clip weigh; None: all alike.
    """
    weights = None if class_weights is None else class_weights[labels.long()]
    return F.binary_cross_entropy_with_logits(logits, labels, weight=weights)


def soft_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(Bernoulli(sigmoid(teacher / T)) || Bernoulli(sigmoid(student / T))), the mean over the batch.

    T^2 keeps the size of the gradient when T changes (Hinton et al. 2015, section 2). Zero if and
    only if the logits are equal; computed with log-sigmoids, finite for any finite logits.

    Args:
        student_logits: (batch,).
        teacher_logits: (batch,), without gradient.
        temperature: > 0.
    """
    teacher, student = teacher_logits / temperature, student_logits / temperature
    p = torch.sigmoid(teacher)
    fake = p * (F.logsigmoid(teacher) - F.logsigmoid(student))
    real = (1 - p) * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return temperature**2 * (fake + real).mean()


def attention_loss(
    student_maps: Tensor, teacher_maps: Tensor, seen: Tensor, kind: str = "correlation"
) -> Tensor:
    """How far the maps of a clip are apart, the mean over the clips with pictures; >= 0.

    A clip without sound counts: its queries are positions in time, its keys still pictures, and the map
    says which of them the teacher looks at. A clip without pictures does not: all keys are then the
    frames' positions, the same for every clip, and there is nothing to look at. No clip with pictures
    gives 0.

    Args:
        student_maps: (batch, audio_steps, video_frames), or (batch, map_height, map_width) of pictures.
        teacher_maps: without gradient; of another size, both are averaged to the smaller on each axis.
        seen: (batch,), 1 where the clip has pictures, else 0.
        kind: a key of `ATTENTION_LOSSES`.
    """
    student, teacher = (maps.flatten(1) for maps in on_one_grid(student_maps, teacher_maps))
    return masked_mean(ATTENTION_LOSSES[kind](student, teacher), seen)


def _correlation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - Pearson correlation of each clip's maps (batch, places), in [0, 2].

    The correlation leaves scale and offset free, which is what EPS asks of a student: the same
    order of positions. As a distillation loss: Huang et al. 2022 (DIST), section 3. A constant map
    has correlation 0. It is half the mean squared error of the two maps, each standardised.
    """
    student = student - student.mean(dim=1, keepdim=True)
    teacher = teacher - teacher.mean(dim=1, keepdim=True)
    return 1 - F.cosine_similarity(student, teacher, dim=1, eps=1e-12)


def _place_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of the softmaxes over the places of two maps (batch, places), each standardised; >= 0.

    Free of scale and offset like the correlation, but it weighs the places by the teacher's interest
    (Shu et al. 2021, channel-wise distillation, section 3.2). A constant map is uniform.
    """
    q, p = (
        F.log_softmax(F.layer_norm(maps, maps.shape[1:], eps=1e-12), dim=1) for maps in (student, teacher)
    )
    return F.kl_div(q, p, reduction="none", log_target=True).sum(dim=1)


def _sigmoid_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of what two maps of logits (batch, places) say of each place; in [0, 1].

    The level counts: a place's verdict is taught and not only the order of the places. The sigmoid
    bounds a teacher's patch logits, which may reach -1000 and swamp the labels' loss otherwise.
    """
    return (torch.sigmoid(student) - torch.sigmoid(teacher)).square().mean(dim=1)


ATTENTION_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"correlation": _correlation_loss, "kl": _place_loss, "sigmoid_mse": _sigmoid_loss}
)
"""Name -> loss (batch,) of the student's and the teacher's maps (batch, places)."""


def on_one_grid(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two stacks of maps (batch, rows, columns), each axis averaged over areas to the smaller of the two."""
    size = (min(one.shape[1], other.shape[1]), min(one.shape[2], other.shape[2]))
    fitted = [
        maps if maps.shape[1:] == size else F.adaptive_avg_pool2d(maps[:, None], size).squeeze(1)
        for maps in (one, other)
    ]
    return fitted[0], fitted[1]


def masked_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of ``values`` where ``weights``, 0 or 1 and of the same shape, are 1; 0 if none is."""
    return (values * weights).mean() / weights.mean().clamp(min=1 / weights.numel())


def distillation_loss(
    student_logits: Tensor,
    student_maps: Tensor,
    labels: Tensor,
    teacher_logits: Tensor,
    teacher_maps: Tensor,
    seen: Tensor,
    *,
    soft_weight: float,
    temperature: float,
    attention_weight: float,
    attention_kind: str = "correlation",
    class_weights: Tensor | None = None,
) -> LossTerms:
    """All terms and their weighted sum.

    Args:
        student_logits: (batch,).
        student_maps: (batch, audio_steps, video_frames).
        labels: (batch,), 1 = fake.
        teacher_logits: (batch,), without gradient.
        teacher_maps: (batch, audio_steps, video_frames), without gradient.
        seen: (batch,), 1 where the clip has pictures, else 0.
        soft_weight: in [0, 1]; the hard loss has weight 1 - soft_weight.
        temperature: > 0.
        attention_weight: >= 0.
        attention_kind: a key of `ATTENTION_LOSSES`.
        class_weights: of the hard loss, see there.
    """
    hard = hard_loss(student_logits, labels, class_weights)
    soft = soft_loss(student_logits, teacher_logits, temperature)
    attention = attention_loss(student_maps, teacher_maps, seen, attention_kind)
    total = (1 - soft_weight) * hard + soft_weight * soft + attention_weight * attention
    return LossTerms(total, hard, soft, attention)


def batch_loss(
    logits: Tensor,
    maps: Tensor,
    batch: Batch,
    settings: DistillSettings,
    class_weights: Tensor | None = None,
) -> LossTerms:
    """The distillation loss of a network's answer to a batch that carries the teacher's outputs.

    Args:
        logits: (batch,), the student's.
        maps: (batch, audio_steps, video_frames), the student's.
        batch: labels and teacher outputs.
        settings: weights and temperature.
        class_weights: of the hard loss, see there.
    """
    return distillation_loss(
        logits,
        maps,
        batch.labels,
        batch.teacher_logits,
        batch.teacher_maps,
        batch.modalities[:, 0],
        soft_weight=settings.soft_weight,
        temperature=settings.temperature,
        attention_weight=settings.attention_weight,
        attention_kind=settings.attention_loss,
        class_weights=class_weights,
    )


def supervised_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> LossTerms:
    """The hard loss alone, as the teacher is trained; the other terms are zero."""
    hard = hard_loss(logits, labels, class_weights)
    nothing = torch.zeros(())
    return LossTerms(hard, hard, nothing, nothing)
