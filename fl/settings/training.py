"""Settings of the networks and of everything that steps an optimiser."""

from dataclasses import dataclass

from fl.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Limit, setting
from models.names import AUDIO_VISUAL, PICTURES

NETWORKS = (*AUDIO_VISUAL, *PICTURES)


@dataclass(frozen=True)
class SystemSettings:
    """Which network teaches which: any two that take the same input."""

    teacher: str = setting("pinpoint", Limit(choices=NETWORKS), doc="network that teaches")
    student: str = setting("pin_lite", Limit(choices=NETWORKS), doc="network that learns and is compressed")
    pretrained: bool = setting(False, doc="start the backbones from ImageNet weights (timm downloads them)")
    teacher_backbone: str = setting(
        "", doc="a local file of weights for the teacher's backbone, in place of a download"
    )
    student_backbone: str = setting("", doc="a local file of weights for the student's backbone")
    student_layers: int = setting(2, Limit(low=1, high=6), doc="gated cross-attention blocks of pin_lite")
    student_norm: str = setting(
        "batch",
        Limit(choices=("batch", "group")),
        doc="group: GroupNorm for every BatchNorm, so that no clip's gradient depends on other clips",
    )


@dataclass(frozen=True)
class OptimizerSettings:
    """How an optimiser steps, wherever it does."""

    batch_size: int = setting(16, COUNT, doc="clips per step")
    optimizer: str = setting(
        "adamw", Limit(choices=("adamw", "adam", "sgd")), doc="adam and sgd add weight decay to the gradient"
    )
    learning_rate: float = setting(1e-3, POSITIVE, doc="peak learning rate")
    weight_decay: float = setting(0.01, NOT_NEGATIVE, doc="weight decay")
    momentum: float = setting(0.9, Limit(low=0, high=1, high_open=True), doc="momentum of sgd")
    schedule: str = setting(
        "cosine", Limit(choices=("cosine", "constant")), doc="learning rate after its linear rise"
    )
    class_weights: str = setting(
        "none",
        Limit(choices=("none", "balanced")),
        doc="balanced: real and fake clips weigh the same in sum, counted where they are trained on",
    )


@dataclass(frozen=True)
class PublicTrainingSettings(OptimizerSettings):
    """Training on the server's public split."""

    max_epochs: int = setting(10, NOT_NEGATIVE, doc="epochs at most")
    patience: int = setting(
        0,
        NOT_NEGATIVE,
        doc="epochs without a better validation AUC before stopping, with the best epoch's weights; "
        "0: all epochs, and the last one's weights",
    )
    warmup_share: float = setting(
        0.1, Limit(low=0, high=1, high_open=True), doc="share of the epochs in which the learning rate rises"
    )
    localisation_weight: float = setting(
        1.0, NOT_NEGATIVE, doc="weight of when each modality was altered, a loss of training only"
    )
    sync_weight: float = setting(
        0.0, NOT_NEGATIVE, doc="weight of the synchrony of the cross-attention, a loss of training only"
    )
    offset_weight: float = setting(
        0.0,
        NOT_NEGATIVE,
        doc="weight of telling by how much the sound was shifted, a loss of training only",
    )
    precision: str = setting(
        "float32",
        Limit(choices=("auto", "float32", "bfloat16")),
        doc="of the passes; auto: bfloat16 where the CPU has it in hardware",
    )


@dataclass(frozen=True)
class TeacherSettings(PublicTrainingSettings):
    """Training of the teacher on the server's public split."""

    weights: str = setting("", doc="a safetensors file to use in place of training")
    max_epochs: int = setting(8, COUNT, doc="epochs at most")
    patience: int = setting(
        4,
        COUNT,
        doc="epochs without a better validation AUC before stopping; the best epoch's weights are kept",
    )
    batch_size: int = setting(8, COUNT, doc="clips per step")
    learning_rate: float = setting(5e-4, POSITIVE, doc="peak learning rate")
    sync_weight: float = setting(
        0.1, NOT_NEGATIVE, doc="weight of the synchrony of the cross-attention, a loss of training only"
    )
    precision: str = setting(
        "auto",
        Limit(choices=("auto", "float32", "bfloat16")),
        doc="of the teacher's passes; auto: bfloat16 where the CPU has it in hardware",
    )
    min_auc: float = setting(0.65, SHARE, doc="validation AUC below which the run stops")
    seed: int = setting(0, NOT_NEGATIVE, doc="seed of the teacher, apart from the run's")


@dataclass(frozen=True)
class WarmupSettings(PublicTrainingSettings):
    """The student's first weights: distilled by the server on its public split before round 1."""

    max_epochs: int = setting(10, NOT_NEGATIVE, doc="epochs at most; 0: the first weights are random")
    learning_rate: float = setting(2e-3, POSITIVE, doc="peak learning rate")


@dataclass(frozen=True)
class DistillSettings(OptimizerSettings):
    """Local training of the student at a client."""

    epochs: int = setting(2, COUNT, doc="local epochs per round")
    soft_weight: float = setting(0.5, SHARE, doc="weight of the soft loss; 1 - it weighs the hard loss")
    temperature: float = setting(2.0, POSITIVE, doc="softens both logits of the soft loss")
    attention_weight: float = setting(0.3, NOT_NEGATIVE, doc="weight of the attention loss")
    attention_loss: str = setting(
        "correlation",
        Limit(choices=("correlation", "kl", "sigmoid_mse")),
        doc="how maps are compared; kl: as softmax over the places; sigmoid_mse: place by place, of logits",
    )
    rise_rounds: int = setting(0, NOT_NEGATIVE, doc="rounds in which the learning rate rises linearly")
    final_rate_share: float = setting(
        0.1,
        Limit(low=0, low_open=True, high=1),
        doc="learning rate of the last round, as a share of the peak; schedule=constant has none",
    )
    proximal_mu: float = setting(
        0.01, NOT_NEGATIVE, doc="FedProx mu: weight of the distance to the global student"
    )
    clip_norm: float = setting(5.0, NOT_NEGATIVE, doc="bound on the norm of a step's gradient; 0: none")
