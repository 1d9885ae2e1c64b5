"""Students that an attacker trains himself, each on half of the clips, to learn what membership looks like.

An imitation and no replay: each begins with the run's first student, which saw public clips only, and is
trained by two holders in turn, one of clips that were members in the run and one of clips that were not.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from clients.round import EdgeClient, distil
from fl.attacks.membership import balanced_halves, margins
from fl.data.shards import ShardView, take
from fl.distill.first_weights import obtain_first_weights
from fl.distill.predict import predict
from fl.distill.teacher import Teacher
from fl.seeds import derive, generator
from fl.state import flatten, schema_digest
from fl.task import RoundTask
from models.architecture import Architecture
from sim.audits.attacked_clips import AttackedClips, identities_of
from sim.prepare import student_of
from sim.progress import Progress

PURPOSE = "privacy shadows"


@dataclass(frozen=True)
class Pool:
    """The clips that shadows are trained and asked about: as many members as others, identities whole.

    Attributes:
        members: some of the run's.
        others: some of the test split.
    """

    members: ShardView
    others: ShardView

    @property
    def groups(self) -> list[str]:
        """Of the members, then of the others."""
        return [*identities_of(self.members), *identities_of(self.others)]

    def margins(self, network: nn.Module) -> NDArray[np.float64]:
        """Of the members, then of the others, (clips,)."""
        parts = [margins(predict(network, view)[0], view.labels) for view in (self.members, self.others)]
        return np.concatenate(parts)


def draw_pool(clips: AttackedClips, num_clips: int) -> Pool:
    """At most half of ``num_clips`` of each side, whole identities in an order drawn from the run's seed."""
    rng = generator(clips.run.experiment.seed, 0, -1, PURPOSE)
    everyone = [_shuffled_identities(view, rng) for view in (_largest(clips.members), clips.others[0])]
    size = min(num_clips // 2, *(len(rows) for rows, _ in everyone))
    sides = []
    for view, (rows, names) in zip((_largest(clips.members), clips.others[0]), everyone, strict=True):
        whole = size
        while whole > 1 and whole < len(rows) and names[whole] == names[whole - 1]:
            whole -= 1
        sides.append(take(view.shard, np.sort(rows[:whole]), view.lacks))
    return Pool(*sides)


def _largest(views: tuple[ShardView, ...]) -> ShardView:
    return max(views, key=len)


def _shuffled_identities(view: ShardView, rng: np.random.Generator) -> tuple[NDArray[np.int64], list[str]]:
    """Rows of a view, identity after identity in a drawn order, and whose each is."""
    names = np.array(identities_of(view))
    place = {name: index for index, name in enumerate(rng.permutation(np.unique(names)).tolist())}
    order = np.argsort([place[name] for name in names], kind="stable")
    return view.rows[order], names[order].tolist()


def shadow_margins(
    clips: AttackedClips, pool: Pool, num_shadows: int, num_rounds: int, progress: Progress
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Margins of every clip of the pool by every shadow, and which of them each was trained on.

    Args:
        clips: the run's.
        pool: see `draw_pool`.
        num_shadows: even.
        num_rounds: in which each holder trains once, by the run's own local settings.
        progress: the display.

    Returns:
        Both (shadows, clips).
    """
    seed = clips.run.experiment.seed
    trained = balanced_halves(pool.groups, num_shadows, generator(seed, 1, -1, PURPOSE))
    architecture, start = first_student(clips, progress)
    found = []
    with progress.stage("Shadow students", total=num_shadows) as advance:
        for shadow, chosen in enumerate(trained):
            network = copy.deepcopy(start)
            _train(clips, pool, chosen, architecture, network, shadow, num_rounds)
            found.append(pool.margins(network))
            advance(1)
    return np.array(found), trained


def first_student(clips: AttackedClips, progress: Progress) -> tuple[Architecture, nn.Module]:
    """The dense student that the run began with: from the cache, or trained again on public clips."""
    run, experiment = clips.run, clips.run.experiment
    architecture = student_of(experiment)
    pretrained = experiment.system.student_backbone or experiment.system.pretrained
    network = architecture.build(derive(experiment.seed, "student"), pretrained)
    if experiment.warmup.max_epochs:
        text = (run.teacher_folder / "architecture.json").read_text()
        teacher = Teacher(Architecture.from_json(text), run.teacher_folder, run.teacher_folder.name, 0.0, 0)
        with progress.stage("First student", total=experiment.warmup.max_epochs) as advance:
            obtain_first_weights(
                network,
                clips.stores["public"],
                clips.stores["validation"],
                teacher,
                clips.answers("public"),
                experiment.warmup,
                experiment.augment,
                experiment.distill,
                experiment.seed,
                run.cache_dir,
                advance,
            )
    return architecture, network


def _train(
    clips: AttackedClips,
    pool: Pool,
    chosen: NDArray[np.bool_],
    architecture: Architecture,
    network: nn.Module,
    shadow: int,
    num_rounds: int,
) -> None:
    """Train a shadow in place on the chosen clips of the pool; its draws are those of no client."""
    rate = clips.run.experiment.distill.learning_rate
    holders: list[EdgeClient] = []
    sides = (
        (pool.members, chosen[: len(pool.members)], "clients"),
        (pool.others, chosen[len(pool.members) :], "test"),
    )
    for view, kept, split in sides:
        half = replace(view, rows=view.rows[kept])
        if len(half):
            name = -2 - 2 * shadow - len(holders)
            holders.append(clips.edge_client(name, half, clips.answers(split, half.lacks)))
    for round_index in range(1, num_rounds + 1):
        for holder in holders:
            task = RoundTask(round_index, architecture, flatten(network), schema_digest(network), rate)
            distil(task, holder, network)
