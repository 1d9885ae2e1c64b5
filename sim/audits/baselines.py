"""A run's student and teacher beside classical models trained on the very clips that trained the student.

What Table III of the MobileNetV3 study shows, except that every figure comes from one table of predictions:
accuracies, curves and confusion matrices cannot contradict each other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fl.data.partition import partition_clips
from fl.data.shards import Shard, ShardView, take
from fl.distill.predict import predict
from fl.distill.teacher import load_teacher, open_outputs, outputs_folder
from fl.metrics.scores import probabilities
from fl.seeds import derive, generator
from models.names import hears
from sim.audits.classical import MAX_FOLDS, Features, Fitted, Floats, features_of, fit_models
from sim.audits.prediction_table import STUDENT, TEST, ClipScore, ModelResult, judge
from sim.finished import FinishedRun
from sim.progress import Progress
from sim.record import read_rounds

TEACHER = "teacher"


@dataclass(frozen=True)
class Baselines:
    """The whole audit.

    Attributes:
        run: the run's folder.
        clips: split -> clips of it in the table.
        results: student and teacher first.
        notes: what trained whom, and what was left out.
        table: the predictions that were written.
        figure: the plot that was written.
    """

    run: str
    clips: Mapping[str, int]
    results: tuple[ModelResult, ...]
    notes: tuple[str, ...]
    table: str = ""
    figure: str = ""


@dataclass(frozen=True)
class _Seen:
    """What was measured before anything is judged.

    Attributes:
        views: (split, clips) in the order of the table.
        student_splits: those that trained the student.
        notes: what they were.
    """

    views: tuple[tuple[str, ShardView], ...]
    student_splits: tuple[str, ...]
    notes: tuple[str, ...]


def audit_baselines(run: FinishedRun) -> tuple[Baselines, tuple[ClipScore, ...]]:
    """Score all clips by all models, and judge each model by what the table holds.

    Args:
        run: the run.

    Returns:
        The audit, and the table of predictions from which all of it was computed.

    Raises:
        RequestError: something of the run is not in the cache.
        DataError: the training clips are of one class.
    """
    stores, experiment, progress = run.stores(("public", "clients", TEST)), run.experiment, Progress()
    seen = training_views(run, stores)
    seed, total = derive(experiment.seed, "baselines"), sum(len(view) for _, view in seen.views)
    scored: dict[str, list[Floats]] = {STUDENT: [], TEACHER: []}
    with progress.stage("Student on every clip", total=total) as advance:
        for _, view in seen.views:
            scored[STUDENT].append(probabilities(predict(run.network, view, advance=advance)[0]))
    with progress.stage("Teacher on every clip", total=total) as advance:
        for _, view in seen.views:
            scored[TEACHER].append(probabilities(teacher_logits(run, view, advance)))
    with progress.stage("Features of every clip", total=total) as advance:
        described = [features_of(view, hears(experiment.system.student), advance) for _, view in seen.views]
    with progress.stage("Classical models", total=MAX_FOLDS + 1) as advance:
        fitted = fit_on(seen, described, seed, advance)
    for model in fitted:
        scored[model.name] = [model.score(features) for features in described]
    table = _table(seen, {name: np.concatenate(parts) for name, parts in scored.items()})
    teachers = () if experiment.teacher.weights else ("public",)
    trained_on = {STUDENT: seen.student_splits, TEACHER: teachers}
    rng = generator(experiment.seed, 0, -1, "baselines bootstrap")
    results = [judge(table, name, trained_on[name], rng) for name in (STUDENT, TEACHER)]
    for model in fitted:
        results.append(judge(table, model.name, seen.student_splits, rng, model.chosen, model.cv_accuracy))
    counts = {
        split: sum(row.split == split for row in table) for split in dict.fromkeys(r.split for r in table)
    }
    return Baselines(str(run.folder), counts, tuple(results), seen.notes), table


def training_views(run: FinishedRun, stores: Mapping[str, Shard]) -> _Seen:
    """The clips that trained a run's student, as its clients' devices recorded them, and the test clips.

    Clients count whose replies were taken in at least one round; the public clips, where the student's
    first weights were trained on them. Public clips are in the table in any case: they trained the teacher.
    """
    experiment, public, clients = run.experiment, stores["public"], stores["clients"]
    replied = {
        client
        for record in read_rounds(run.folder)
        if record["clients"]
        for client in record["clients"]["replied"]
    }
    partition = partition_clips(clients.clips, experiment.partition, experiment.seed)
    views = [("public", take(public))]
    for lacks in sorted(set(partition.lacks)):
        parts = [partition.rows[client] for client in sorted(replied) if partition.lacks[client] == lacks]
        if parts:
            views.append(("clients", take(clients, np.sort(np.concatenate(parts)), lacks)))
    number, held = len(replied), sum(len(view) for split, view in views if split == "clients")
    notes = [
        "student: float, of the last checkpoint",
        f"clients: {held} of {len(clients)} clips, held by the {number} clients whose replies were taken",
    ]
    warm = experiment.warmup.max_epochs > 0
    notes.append(
        f"public: {len(public)} clips, which trained the teacher"
        + (" and the student's first weights" if warm else ", but not the student or the classical models")
    )
    if experiment.teacher.weights:
        notes.append("the teacher's weights were given: what trained it is not known")
    return _Seen(
        (*views, (TEST, take(stores[TEST]))),
        ("public", "clients") if warm else ("clients",),
        tuple(notes),
    )


def teacher_logits(
    run: FinishedRun, view: ShardView, advance: Callable[[int], None] = lambda _: None
) -> NDArray[np.float32]:
    """Logits (clips,): the cached answers, or forward passes where there are none."""
    folder = outputs_folder(run.teacher_folder, view.shard, view.lacks)
    if folder.is_dir():
        advance(len(view))
        return np.asarray(open_outputs(folder).logits)[view.rows]
    network: nn.Module = load_teacher(run.teacher_folder).eval()
    return predict(network, view, advance=advance)[0]


def fit_on(seen: _Seen, described: list[Features], seed: int, advance: Callable[[int], None]) -> list[Fitted]:
    """The classical models, trained on the student's training clips."""
    parts = [
        (view, features)
        for (split, view), features in zip(seen.views, described, strict=True)
        if split in seen.student_splits
    ]
    features = Features(np.concatenate([part.values for _, part in parts]), parts[0][1].num_picture)
    labels = np.concatenate([view.labels for view, _ in parts])
    groups = [clip.group or clip.identity for view, _ in parts for clip in view.clips]
    return fit_models(features, labels, groups, seed, advance)


def _table(seen: _Seen, scores: Mapping[str, Floats]) -> tuple[ClipScore, ...]:
    rows = [
        (split, clip, int(label))
        for split, view in seen.views
        for clip, label in zip(view.clips, view.labels, strict=True)
    ]
    return tuple(
        ClipScore(
            split,
            clip.path.name + (f"#{clip.crop}" if clip.num_crops > 1 else ""),
            label,
            clip.category,
            {name: float(values[index]) for name, values in scores.items()},
        )
        for index, (split, clip, label) in enumerate(rows)
    )
