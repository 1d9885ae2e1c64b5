"""Everything before the first round: corpus, stores, teacher, its outputs, and the partition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fl.compress.sessions import inputs_like
from fl.data.partition import PartitionSkew, divergences, partition_clips, partition_skew
from fl.data.shards import Shard, take
from fl.data.splits import SPLITS
from fl.distill.batches import TeacherOutputs
from fl.distill.teacher import Teacher, obtain_teacher, teacher_outputs
from fl.errors import RequestError
from fl.settings import Experiment
from models.architecture import GROUP_NORM, Architecture
from models.names import hears
from server.pruning import check_reachable
from sim.corpus import build_store, read_clips
from sim.progress import Progress


@dataclass(frozen=True)
class ServerPart:
    """What a server starts from.

    Attributes:
        stores: split -> its clips on disk; a server of real devices has none of "clients".
        teacher: trained and frozen.
        outputs: split -> the teacher's outputs, for "test" and, unless it is asked live, for "public"
            and "clients".
        student: the dense student's architecture.
    """

    stores: dict[str, Shard]
    teacher: Teacher
    outputs: dict[str, TeacherOutputs]
    student: Architecture


@dataclass(frozen=True)
class Prepared(ServerPart):
    """What the rounds of a simulation start from.

    Attributes:
        rows: the rows of the clients' store that each client owns.
        lacks: what each client's device cannot record: "audio", "video" or "".
        skew: how uneven the clients are.
    """

    rows: tuple[np.ndarray, ...]
    lacks: tuple[str, ...]
    skew: PartitionSkew


def prepare(experiment: Experiment, cache_dir: Path, progress: Progress) -> Prepared:
    """Build or find in the cache all that the rounds need.

    Raises:
        FedpinError: with the cause; nothing half-built is left in the cache.
    """
    stores, student = prepare_stores(experiment, cache_dir, progress, SPLITS)
    partition = partition_clips(stores["clients"].clips, experiment.partition, experiment.seed)
    check_something_is_left(stores["clients"], partition.lacks)
    skew = partition_skew(stores["clients"].clips, partition)
    for text in describe_partition(experiment.partition.scheme, skew):
        progress.line(text)

    teacher = prepare_teacher(experiment, stores, cache_dir, progress)
    outputs = cache_outputs(teacher, stores, partition.lacks, experiment, progress)
    return Prepared(stores, teacher, outputs, student, partition.rows, partition.lacks, skew)


def prepare_server(experiment: Experiment, cache_dir: Path, progress: Progress) -> ServerPart:
    """`prepare` for a server whose clients have their own clips: it does not touch the split "clients"."""
    splits = [split for split in SPLITS if split != "clients"]
    stores, student = prepare_stores(experiment, cache_dir, progress, splits)
    teacher = prepare_teacher(experiment, stores, cache_dir, progress)
    return ServerPart(stores, teacher, cache_outputs(teacher, stores, (), experiment, progress), student)


def prepare_stores(
    experiment: Experiment, cache_dir: Path, progress: Progress, splits: Sequence[str]
) -> tuple[dict[str, Shard], Architecture]:
    """A store for each of these splits, and the dense student, which can be pruned as asked."""
    clips = read_clips(experiment, cache_dir, progress)
    stores = {split: build_store(split, clips, experiment, cache_dir, progress) for split in splits}
    student = student_of(experiment)
    check_reachable(experiment.compress, student, inputs_like(take(stores["test"])), cache_dir)
    return stores, student


def prepare_teacher(
    experiment: Experiment, stores: Mapping[str, Shard], cache_dir: Path, progress: Progress
) -> Teacher:
    """The teacher, trained on public clips or found in the cache."""
    with progress.stage("Teacher", total=experiment.teacher.max_epochs) as advance:
        teacher = obtain_teacher(
            architecture_of(experiment.system.teacher, experiment),
            stores["public"],
            stores["validation"],
            experiment.teacher,
            experiment.augment,
            cache_dir,
            advance,
            pretrained=experiment.system.teacher_backbone or experiment.system.pretrained,
        )
    progress.line(f"Teacher {teacher.digest[:8]}: validation AUC {teacher.validation_auc:.3f}")
    return teacher


def architecture_of(name: str, experiment: Experiment) -> Architecture:
    """A dense network of the zoo for the run's clips."""
    if not hears(name):
        return Architecture(name)
    clip = experiment.data.clip
    settings = {"num_frames": clip.num_frames, "num_mfcc": clip.num_mfcc}
    if name == "pin_lite":
        settings["num_layers"] = experiment.system.student_layers
    return Architecture(name, settings)


def student_of(experiment: Experiment) -> Architecture:
    """The dense student."""
    dense = architecture_of(experiment.system.student, experiment)
    if experiment.system.student_norm == "batch":
        return dense
    return Architecture(dense.name, {**dense.settings, GROUP_NORM: 1})


def check_something_is_left(store: Shard, lacks: Sequence[str]) -> None:
    """Refuse clients without pictures where the clips have no sound either.

    Raises:
        RequestError: partition.missing_modality=video on a corpus without sound.
    """
    if "video" in lacks and not store.has_audio.all():
        silent = len(store) - int(store.has_audio.sum())
        raise RequestError(
            "partition.missing_modality=video needs clips with sound, but "
            f"{silent} of {len(store)} have none, so that nothing would be left of them; "
            "set it to audio or none, or data.clip.require_audio=true"
        )


def cache_outputs(
    teacher: Teacher,
    stores: Mapping[str, Shard],
    lacks: Sequence[str],
    experiment: Experiment,
    progress: Progress,
) -> dict[str, TeacherOutputs]:
    """What the teacher says of the test split and, unless it is asked live, of all training clips.

    On the clients' split it is also asked without each modality that some clients lack; those answers
    stay on disk, for the clients to open.
    """
    wanted = [("test", "")]
    if experiment.augment.teacher_view == "cached":
        wanted += [("public", "")]
    if "clients" in stores and experiment.augment.teacher_view == "cached":
        wanted += [("clients", lack) for lack in sorted({"", *lacks})]
    outputs = {}
    for split, lack in wanted:
        title = f"Teacher outputs, {split}" + (f" without {lack}" if lack else "")
        with progress.stage(title, total=len(stores[split])) as advance:
            answers = teacher_outputs(
                teacher.folder, stores[split], experiment.teacher.precision, advance, lack
            )
        if not lack:
            outputs[split] = answers
    return outputs


def describe_partition(scheme: str, skew: PartitionSkew) -> list[str]:
    """Two lines: sizes and real clips of the clients; how far they are from the whole, and what they lack."""
    sizes, real, lacks = skew["sizes"], skew["real_shares"], skew["lacks"]
    lacking = "".join(f"; {lacks.count(name)} lack {name}" for name in sorted(set(lacks) - {""}))
    return [
        f"Partition {scheme}: {len(sizes)} clients, effectively {skew['effective_clients']:.1f}; "
        f"{min(sizes)} to {max(sizes)} clips each, {100 * min(real):.0f} to {100 * max(real):.0f} % real",
        f"Divergence of the clients: {divergences(skew)} (0 = IID){lacking}",
    ]
