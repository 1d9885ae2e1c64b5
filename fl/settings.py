"""Every setting of a run, typed, with its limits: the one place where a default lives.

No heavy import here: the command line checks a request against these before torch is loaded.
Field names equal the YAML keys. `sim.config` turns Hydra's configuration into `Experiment`.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Limit:
    """The values a setting may take; None stands for no bound.

    Attributes:
        low: smallest value; ``low_open`` excludes the bound itself.
        high: largest value; ``high_open`` excludes the bound itself.
        choices: the only values allowed.
        remedy: what to do, in a few words.
    """

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    choices: tuple[str, ...] = ()
    remedy: str = ""


def setting(default: Any, limit: Limit | None = None, *, doc: str) -> Any:
    """A dataclass field with its limit and one line of documentation."""
    return field(default=default, metadata={"limit": limit, "doc": doc})


def section(kind: type) -> Any:
    """A dataclass field that holds a nested group of settings."""
    return field(default_factory=kind)


POSITIVE = Limit(low=0, low_open=True)
NOT_NEGATIVE = Limit(low=0)
SHARE = Limit(low=0, high=1)
COUNT = Limit(low=1)


@dataclass(frozen=True)
class SyntheticSettings:
    """The corpus that the renderer draws (`data=synthetic`)."""

    num_identities: int = setting(360, Limit(low=12), doc="talking heads over all splits")
    clips_per_identity: int = setting(4, Limit(low=2), doc="clips of each, real and fake")
    dev_share: float = setting(0.10, Limit(low=0, low_open=True, high=0.5), doc="identities for validation")
    test_share: float = setting(0.15, Limit(low=0, low_open=True, high=0.5), doc="identities for the test")
    frame_size: int = setting(160, Limit(low=96, high=512), doc="width and height in pixels; even")
    duration_s: float = setting(1.6, Limit(low=0.8, high=10), doc="length of a clip, s, at 25 fps")
    seed: int = setting(0, NOT_NEGATIVE, doc="seed of the corpus, apart from the run's")


@dataclass(frozen=True)
class FolderSettings:
    """Real videos of people talking, from which fakes are forged (`data=folders`)."""

    fakes_per_real: int = setting(3, Limit(low=1, high=6), doc="manipulated clips for each real window")
    windows_per_video: int = setting(1, Limit(low=1, high=64), doc="windows cut from each video")
    window_s: float = setting(1.6, Limit(low=0.8, high=10), doc="length of a window, s")
    identity_pattern: str = setting(
        "", doc="regular expression whose first group names the person; empty: the file is the person"
    )
    validation_share: float = setting(0.2, Limit(low=0, high=0.5), doc="groups of identities for validation")
    test_share: float = setting(0.2, Limit(low=0, high=0.5), doc="groups of identities for the test")
    seed: int = setting(0, NOT_NEGATIVE, doc="seed of the forging, apart from the run's")


@dataclass(frozen=True)
class ClipSettings:
    """How a video becomes tensors: part of a shard's digest."""

    num_frames: int = setting(4, Limit(low=2, high=64), doc="frames spread evenly over the window")
    image_size: int = setting(80, Limit(low=32, high=512), doc="side of the face crop, pixels")
    num_mfcc: int = setting(13, Limit(low=4, high=40), doc="MFCC coefficients")
    window_s: float = setting(
        1.6, Limit(low=0.4, high=30), doc="length of the window, s; the middle of longer clips"
    )
    face_margin: float = setting(
        0.1, Limit(low=0, high=1), doc="added around the face box, as a share of its side"
    )
    min_face: int = setting(32, Limit(low=16), doc="smallest face that Haar looks for, pixels")


@dataclass(frozen=True)
class DataSettings:
    """Which corpus, and how it is read."""

    corpus: str = setting("synthetic", Limit(choices=("synthetic", "folders", "lavdf")), doc="kind of corpus")
    root: str = setting("", doc="folder of the corpus; not used by synthetic")
    public_share: float = setting(
        0.35, Limit(low=0.05, high=0.9), doc="share of the training identities that the server holds"
    )
    max_bad_share: float = setting(0.2, SHARE, doc="unreadable clips above this share end the run")
    clip: ClipSettings = section(ClipSettings)
    synthetic: SyntheticSettings = section(SyntheticSettings)
    folders: FolderSettings = section(FolderSettings)


@dataclass(frozen=True)
class PartitionSettings:
    """How the clients' split is cut into shards."""

    scheme: str = setting("dirichlet", Limit(choices=("iid", "dirichlet")), doc="kind of partition")
    num_clients: int = setting(8, COUNT, doc="number of edge clients")
    alpha: float = setting(1.0, POSITIVE, doc="Dirichlet concentration over categories; small = skewed")


@dataclass(frozen=True)
class SystemSettings:
    """Which pair of networks."""

    name: str = setting("pin", Limit(choices=("pin",)), doc="system: teacher and student")
    pretrained: bool = setting(False, doc="start the backbones from ImageNet weights (timm downloads them)")
    teacher_backbone: str = setting(
        "", doc="a local file of timm's ResNet-18 weights, in place of a download"
    )
    student_backbone: str = setting("", doc="a local file of timm's MobileNetV3-Small weights")
    student_layers: int = setting(2, Limit(low=1, high=6), doc="gated cross-attention blocks of the student")


@dataclass(frozen=True)
class TeacherSettings:
    """Training of the teacher on the server's public split."""

    weights: str = setting("", doc="a safetensors file to use in place of training")
    max_epochs: int = setting(8, COUNT, doc="epochs at most")
    patience: int = setting(4, COUNT, doc="epochs without a better validation AUC before stopping")
    batch_size: int = setting(8, COUNT, doc="clips per step")
    learning_rate: float = setting(5e-4, POSITIVE, doc="peak learning rate of AdamW")
    weight_decay: float = setting(0.01, NOT_NEGATIVE, doc="AdamW weight decay")
    localisation_weight: float = setting(
        1.0, NOT_NEGATIVE, doc="weight of when each modality was altered, a loss of training only"
    )
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
class DistillSettings:
    """Local training of the student at a client."""

    epochs: int = setting(2, COUNT, doc="local epochs per round")
    batch_size: int = setting(16, COUNT, doc="clips per step")
    learning_rate: float = setting(1e-3, POSITIVE, doc="peak learning rate of AdamW")
    weight_decay: float = setting(0.01, NOT_NEGATIVE, doc="AdamW weight decay")
    soft_weight: float = setting(0.5, SHARE, doc="weight of the soft loss; 1 - it weighs the hard loss")
    temperature: float = setting(2.0, POSITIVE, doc="softens both logits of the soft loss")
    attention_weight: float = setting(0.3, NOT_NEGATIVE, doc="weight of the attention loss")
    final_rate_share: float = setting(
        0.1,
        Limit(low=0, low_open=True, high=1),
        doc="learning rate of the last round, as a share of the peak",
    )
    proximal_mu: float = setting(
        0.01, NOT_NEGATIVE, doc="FedProx mu: weight of the distance to the global student"
    )
    clip_norm: float = setting(5.0, NOT_NEGATIVE, doc="bound on the norm of a step's gradient; 0: none")
    flip: bool = setting(True, doc="mirror half of the clips left to right while training")


@dataclass(frozen=True)
class WarmupSettings:
    """The student's first weights: distilled by the server on its public split before round 1."""

    max_epochs: int = setting(10, NOT_NEGATIVE, doc="epochs; 0: the first weights are random")
    batch_size: int = setting(16, COUNT, doc="clips per step")
    learning_rate: float = setting(2e-3, POSITIVE, doc="peak learning rate of AdamW")
    weight_decay: float = setting(0.01, NOT_NEGATIVE, doc="AdamW weight decay")
    localisation_weight: float = setting(
        1.0, NOT_NEGATIVE, doc="weight of when each modality was altered, a loss of training only"
    )
    sync_weight: float = setting(
        0.0, NOT_NEGATIVE, doc="as in teacher; the student learns it from the teacher"
    )
    precision: str = setting("float32", Limit(choices=("auto", "float32", "bfloat16")), doc="of the passes")


@dataclass(frozen=True)
class CompressSettings:
    """Pruning and quantisation in the loop."""

    prune_rounds: tuple[int, ...] = setting(
        (2, 4), doc="rounds after whose aggregation the student shrinks; empty: never"
    )
    prune_ratio: float = setting(
        0.65, Limit(low=0, high=1, high_open=True), doc="share of the backbone's channels removed in the end"
    )
    prune_scope: str = setting(
        "global", Limit(choices=("global", "local")), doc="rank channels over all layers or within each"
    )
    round_to: int = setting(16, COUNT, doc="widths are multiples of this")
    min_channel_share: float = setting(
        0.2, Limit(low=0, high=1, low_open=True), doc="floor on every layer's width"
    )
    importance_batches: int = setting(4, COUNT, doc="batches of a client's Taylor importance")
    batchnorm_batches: int = setting(10, COUNT, doc="batches that re-estimate BatchNorm after pruning")
    int8: str = setting(
        "auto", Limit(choices=("auto", "dynamic", "static")), doc="INT8 recipe; auto: the architecture's own"
    )
    calibration_clips: int = setting(
        64, Limit(low=32), doc="public clips of both classes that calibrate static INT8"
    )


@dataclass(frozen=True)
class StrategySettings:
    """FedProx on Flower."""

    num_rounds: int = setting(6, COUNT, doc="rounds")
    fraction: float = setting(
        1.0, Limit(low=0, low_open=True, high=1), doc="share of the clients sampled each round"
    )
    straggler_share: float = setting(0.2, SHARE, doc="simulated: sampled clients that do fewer steps")
    straggler_steps: float = setting(
        0.5, Limit(low=0, low_open=True, high=1), doc="share of the steps a straggler does"
    )
    dropout_share: float = setting(
        0.05, Limit(low=0, high=1, high_open=True), doc="simulated: sampled clients that never answer"
    )
    round_timeout_s: float = setting(600.0, POSITIVE, doc="a round closes after this time, s")


@dataclass(frozen=True)
class GridSettings:
    """Where the clients run."""

    kind: str = setting("ray", Limit(choices=("ray", "inprocess")), doc="Ray actors, or this process")
    address: str = setting("local", doc="Ray cluster to join; local: start one here")
    num_workers: int = setting(0, NOT_NEGATIVE, doc="Ray actors; 0: one per core")
    max_retries: int = setting(2, NOT_NEGATIVE, doc="times a client is tried again when its worker dies")


@dataclass(frozen=True)
class LatencySettings:
    """ONNX Runtime timing, 1 thread, batch 1, interleaved."""

    num_warmup: int = setting(5, NOT_NEGATIVE, doc="runs before the clock counts")
    num_runs: int = setting(40, Limit(low=5), doc="timed runs of each network per round")


@dataclass(frozen=True)
class Experiment:
    """One run."""

    seed: int = setting(0, NOT_NEGATIVE, doc="seed of sampling, partition, initial weights and batches")
    name: str = setting("", doc="name of the run folder; empty: date and time")
    runs_dir: str = setting("runs", doc="where run folders go")
    cache_dir: str = setting("", doc="corpora, shards, teachers; empty: $FEDPIN_CACHE or ~/.cache/fedpin")
    data: DataSettings = section(DataSettings)
    partition: PartitionSettings = section(PartitionSettings)
    system: SystemSettings = section(SystemSettings)
    teacher: TeacherSettings = section(TeacherSettings)
    warmup: WarmupSettings = section(WarmupSettings)
    distill: DistillSettings = section(DistillSettings)
    compress: CompressSettings = section(CompressSettings)
    strategy: StrategySettings = section(StrategySettings)
    grid: GridSettings = section(GridSettings)
    latency: LatencySettings = section(LatencySettings)
