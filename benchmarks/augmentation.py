"""Cached against live teacher outputs: a student's accuracy and time with both, and what mirroring costs.

Cached outputs are of the clip as it is, whatever augmentation made of it; a live teacher sees what the
student sees, at the price of a forward pass per step. Students start from the same first weights and learn
from the clients' clips as one shard, in the same order; their epochs take turns, so that a noisy machine
disturbs them alike.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from torch import nn

from clients.round import local_loss
from fl.data.shards import ShardView, take
from fl.distill.batches import LiveTeacher, TeacherAnswers, num_batches, ordered_batches, shuffled_batches
from fl.distill.loop import take_steps
from fl.distill.predict import predict
from fl.distill.teacher import live_teacher
from fl.metrics.detection import detection_metrics
from fl.metrics.scores import probabilities
from fl.seeds import generator
from fl.settings import AugmentSettings, Experiment
from sim import checks
from sim.config import build, compose
from sim.prepare import prepare
from sim.progress import Progress
from sim.start import make_student

AUGMENTATIONS = ("light", "thesis", "degraded")


@dataclass(frozen=True)
class Trained:
    """One student.

    Attributes:
        augment: the augmentation's name.
        teacher_view: "cached" or "live".
        epoch_s: seconds of an epoch, the median.
        accuracy: on the validation split after the last epoch.
        auc: the same; None where one class is missing.
    """

    augment: str
    teacher_view: str
    epoch_s: float
    accuracy: float | None
    auc: float | None


@dataclass(frozen=True)
class Mirroring:
    """What mirroring the validation clips does to the teacher, which saw mirrored clips in training.

    Attributes:
        mean_change: mean absolute change of the logit.
        mean_size: mean absolute logit, for comparison.
        flips: share of clips whose verdict changes.
    """

    mean_change: float
    mean_size: float
    flips: float


@dataclass(frozen=True)
class Comparison:
    """All students, and the teacher under mirroring.

    Attributes:
        students: by augmentation and view.
        live_ratio: time of an epoch with a live teacher over that with cached outputs, the median over
            augmentations and epochs.
        mirroring: see there.
        num_epochs: epochs of each student.
    """

    students: list[Trained]
    live_ratio: float
    mirroring: Mirroring
    num_epochs: int


def measure(num_epochs: int = 4, overrides: Sequence[str] = ()) -> Comparison:
    """Measure on the default experiment, whose corpus and teacher are made first if they are not cached."""
    experiment = build(compose(overrides))
    cache_dir = checks.cache_dir(experiment)
    prepared = prepare(experiment, cache_dir, Progress())
    start = make_student(prepared, experiment, cache_dir, Progress()).network
    torch.set_num_threads(1)
    live = live_teacher(prepared.teacher.folder, experiment.teacher.precision)
    teachers: dict[str, TeacherAnswers] = {"cached": prepared.outputs["clients"], "live": live}
    clips, validation = take(prepared.stores["clients"]), take(prepared.stores["validation"])
    runs = [(name, view) for name in AUGMENTATIONS for view in teachers]
    networks = {run: copy.deepcopy(start).to(memory_format=torch.channels_last) for run in runs}
    seconds: dict[tuple[str, str], list[float]] = {run: [] for run in runs}
    for epoch in range(num_epochs):
        for name, view in runs:
            augment = build(compose([*overrides, f"augment={name}"])).augment
            before = time.perf_counter()
            train_epoch(networks[name, view], clips, teachers[view], augment, experiment, epoch)
            seconds[name, view].append(time.perf_counter() - before)
    ratios = [
        own / floor
        for name in AUGMENTATIONS
        for own, floor in zip(seconds[name, "live"], seconds[name, "cached"], strict=True)
    ]
    students = []
    for name, view in runs:
        logits, _ = predict(networks[name, view], validation)
        metrics = detection_metrics(validation.labels, probabilities(logits))
        students.append(Trained(name, view, median(seconds[name, view]), metrics.accuracy, metrics.auc))
    return Comparison(students, median(ratios), mirror(live, validation), num_epochs)


def train_epoch(
    network: nn.Module,
    clips: ShardView,
    teacher: TeacherAnswers,
    augment: AugmentSettings,
    experiment: Experiment,
    epoch: int,
) -> None:
    """One epoch of local training as a client does it; the optimiser starts anew, as in each round."""
    settings = experiment.distill
    rng = generator(experiment.seed, epoch, -1, "augmentation benchmark")
    steps = num_batches(len(clips), settings.batch_size)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    take_steps(
        network,
        shuffled_batches(clips, teacher, settings.batch_size, steps, rng, augment=augment),
        local_loss(settings, clips.labels),
        optimizer,
        clip_norm=settings.clip_norm,
    )


def mirror(teacher: LiveTeacher, view: ShardView) -> Mirroring:
    """Ask the teacher about every clip as it is and mirrored."""
    plain, mirrored = [], []
    for batch in ordered_batches(view, teacher, 32):
        frames, mfcc, modalities = batch.inputs
        rows = batch.indices.numpy()
        plain.append(batch.teacher_logits.numpy())
        mirrored.append(teacher.answer(rows, (frames.flip(-1), mfcc, modalities))[0].numpy())
    a, b = np.concatenate(plain), np.concatenate(mirrored)
    return Mirroring(float(np.abs(a - b).mean()), float(np.abs(a).mean()), float(((a > 0) != (b > 0)).mean()))


def describe(comparison: Comparison) -> list[str]:
    """The comparison as lines of text."""
    lines = [f"Students after {comparison.num_epochs} epochs on the clients' clips, validation split:"]
    for student in comparison.students:
        accuracy, auc = (
            "  -  " if value is None else f"{value:.3f}" for value in (student.accuracy, student.auc)
        )
        lines.append(
            f"  {student.augment:<9} {student.teacher_view:<7} accuracy {accuracy}   AUC {auc}   "
            f"{student.epoch_s:6.2f} s an epoch"
        )
    told = comparison.mirroring
    lines.append(
        f"  an epoch with a live teacher takes {comparison.live_ratio:.2f} times that with cached outputs"
    )
    lines.append(
        f"  mirroring a clip moves the teacher's logit by {told.mean_change:.2f} of {told.mean_size:.2f} "
        f"on average, and {100 * told.flips:.1f} % of its verdicts"
    )
    return lines
