"""Are a run's explanations faithful to its networks, and the student's like the teacher's?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import nn

from fl.data.shards import ShardView, take
from fl.distill.predict import predict, valid_rows
from fl.distill.teacher import load_teacher
from fl.errors import DataError
from fl.metrics.explanation import EpsSummary, Floats, eps, mean_interval
from fl.metrics.faithfulness import Curves, trace
from fl.seeds import generator
from models.names import hears
from server.evaluate import two_class_rows
from sim.finished import FinishedRun
from sim.progress import Progress

MODALITY = {"picture": 0, "frames": 0, "sound": 1}
"""What is removed -> column of `fl.data.shards.MODALITIES` that a clip must have."""


@dataclass(frozen=True)
class Area:
    """A mean over clips with its 95 % bootstrap interval."""

    mean: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Faithfulness:
    """One network and one kind of position.

    Attributes:
        network: "teacher" or "student".
        positions: what is removed, a key of `fl.metrics.faithfulness.ERASERS`.
        num_clips: that have them.
        deletion: area under the deletion curve; small is faithful.
        insertion: area under the insertion curve; large is faithful.
        random: area for a random order.
        deletion_gain: the moved map's area - the map's, clip by clip: above 0, its places matter.
        insertion_gain: the map's area - the moved map's, likewise.
        shares: of positions, of the curves below.
        curves: name in `fl.metrics.faithfulness.Curves` -> mean probability of the predicted class at
            each share.
    """

    network: str
    positions: str
    num_clips: int
    deletion: Area
    insertion: Area
    random: Area
    deletion_gain: Area
    insertion_gain: Area
    shares: tuple[float, ...]
    curves: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Explanation:
    """The whole audit.

    Attributes:
        run: the run's folder.
        num_clips: test clips that were used.
        num_fake: of them.
        eps: the student's maps against the teacher's, on these clips.
        rows: teacher first.
        figure: the plot that was written.
    """

    run: str
    num_clips: int
    num_fake: int
    eps: EpsSummary
    rows: tuple[Faithfulness, ...]
    figure: str = ""


def audit_explanation(run: FinishedRun, num_clips: int) -> Explanation:
    """Trace the teacher and the last student of a run on its test clips.

    Args:
        run: the run.
        num_clips: at most so many, half of each class.

    Raises:
        DataError: no clip has what is to be removed.
    """
    store, seed = run.stores(("test",))["test"], run.experiment.seed
    rows = np.arange(len(store))
    if len(store) > num_clips:
        rows = two_class_rows(store.labels, num_clips, generator(seed, 0, -1, "explanation clips"))
    view = take(store, rows)
    networks = {"teacher": load_teacher(run.teacher_folder).eval(), "student": run.network}
    maps = {name: predict(network, view)[1] for name, network in networks.items()}
    kinds = ("frames", "sound") if hears(run.experiment.system.student) else ("picture",)
    found, progress = [], Progress()
    for name, network in networks.items():
        for kind in kinds:
            with progress.stage(f"Removing from the {name}: {kind}") as advance:
                found.append(trace_network(name, network, view, maps[name], kind, seed, advance))
    alike = eps(
        maps["teacher"],
        maps["student"],
        valid_rows(view, maps["teacher"]),
        generator(seed, 0, -1, "explanation eps"),
    )
    return Explanation(str(run.folder), len(view), int(view.labels.sum()), alike, tuple(found))


def trace_network(
    name: str,
    network: nn.Module,
    view: ShardView,
    maps: np.ndarray,
    kind: str,
    seed: int,
    advance: Callable[[int], None] = lambda num_clips: None,
) -> Faithfulness:
    """One row; the clips without the modality are left out.

    Raises:
        DataError: none has it.
    """
    kept = np.flatnonzero(view.modalities[:, MODALITY[kind]] > 0)
    if not len(kept):
        raise DataError(f"no test clip has {kind} to remove; name a run whose clips do")
    rng = generator(seed, 0, -1, f"explanation {kind}")
    part = take(view.shard, view.rows[kept], view.lacks)
    curves = trace(network, part, maps[kept], kind, rng, advance=advance)
    return summarise(name, kind, curves, rng)


def summarise(name: str, kind: str, curves: Curves, rng: np.random.Generator) -> Faithfulness:
    """Means and intervals over the clips; the gains are paired."""
    names = ("deletion", "insertion", "random", "moved_deletion", "moved_insertion")
    traced = {name: getattr(curves, name) for name in names}
    areas = {name: curves.areas(curve) for name, curve in traced.items()}

    def area(values: Floats) -> Area:
        interval = mean_interval(values, rng)
        assert interval is not None  # there are clips
        return Area(float(values.mean()), interval)

    return Faithfulness(
        network=name,
        positions=kind,
        num_clips=len(curves.deletion),
        deletion=area(areas["deletion"]),
        insertion=area(areas["insertion"]),
        random=area(areas["random"]),
        deletion_gain=area(areas["moved_deletion"] - areas["deletion"]),
        insertion_gain=area(areas["insertion"] - areas["moved_insertion"]),
        shares=tuple(curves.shares.tolist()),
        curves={key: tuple(curve.mean(axis=0).tolist()) for key, curve in traced.items()},
    )
