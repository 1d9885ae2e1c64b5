"""Whose membership is attacked: clips that trained a run's student, and clips that nothing was trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clients.round import EdgeClient
from fl.attacks.rates import Scored
from fl.data.partition import Partition, partition_clips
from fl.data.shards import Shard, ShardView, take
from fl.distill.batches import TeacherAnswers
from fl.distill.teacher import live_teacher, open_outputs, outputs_folder
from fl.errors import RequestError
from fl.poisoning.roster import malicious_clients
from sim.finished import FinishedRun, missing
from sim.record import read_rounds
from sim.round_record import RoundRecord

SPLITS = ("public", "validation", "clients", "test")


@dataclass(frozen=True)
class AttackedClips:
    """The clips of a run, as attacks see them.

    Attributes:
        run: the run.
        stores: split -> its clips.
        partition: which client holds what.
        rounds: the run's records.
    """

    run: FinishedRun
    stores: dict[str, Shard]
    partition: Partition
    rounds: list[RoundRecord]

    @property
    def replied(self) -> list[int]:
        """Honest clients whose replies were taken in at least one round, ascending."""
        told = [record["clients"]["replied"] for record in self.rounds if record["clients"]]
        return sorted({client for replied in told for client in replied} - self.malicious)

    @property
    def malicious(self) -> frozenset[int]:
        """Clients whose work was not what the run asks for; nobody asks who their members are."""
        experiment = self.run.experiment
        num_clients = experiment.partition.num_clients
        return malicious_clients(experiment.adversary, experiment.seed, num_clients)

    @property
    def members(self) -> tuple[ShardView, ...]:
        """Clips of those clients, as their devices recorded them: one view for each lack."""
        lacking: dict[str, list[NDArray[np.int64]]] = {}
        for client in self.replied:
            lacking.setdefault(self.partition.lacks[client], []).append(self.partition.rows[client])
        store = self.stores["clients"]
        return tuple(
            take(store, np.sort(np.concatenate(rows)), lack) for lack, rows in sorted(lacking.items())
        )

    @property
    def others(self) -> tuple[ShardView, ...]:
        """Clips of the test split, which trained nothing."""
        return (take(self.stores["test"]),)

    @property
    def public(self) -> tuple[ShardView, ...]:
        """Clips of the server, which trained the teacher."""
        return (take(self.stores["public"]),)

    def client_view(self, client: int) -> ShardView:
        """One client's clips."""
        return take(self.stores["clients"], self.partition.rows[client], self.partition.lacks[client])

    def answers(self, split: str, lacks: str = "") -> TeacherAnswers:
        """What a student learns from on a split.

        Raises:
            RequestError: the teacher's answers are not in the cache.
        """
        run = self.run
        if run.experiment.augment.teacher_view == "live":
            return live_teacher(run.teacher_folder, run.experiment.teacher.precision)
        folder = outputs_folder(run.teacher_folder, self.stores[split], lacks)
        if not folder.is_dir():
            raise missing("teacher's answers to these clips", run.folder, run.cache_dir)
        return open_outputs(folder)

    def edge_client(self, client_id: int, view: ShardView, answers: TeacherAnswers) -> EdgeClient:
        """A client of this run with these clips."""
        experiment = self.run.experiment
        return EdgeClient(
            client_id=client_id,
            view=view,
            teacher=answers,
            augment=experiment.augment,
            distill=experiment.distill,
            compress=experiment.compress,
            seed=experiment.seed,
            cache_dir=self.run.cache_dir,
            privacy=experiment.privacy,
            num_rounds=experiment.strategy.num_rounds,
        )


def attacked_clips(run: FinishedRun) -> AttackedClips:
    """Open the clips of a run.

    Raises:
        RequestError: they are not in the cache, or identities are on both sides.
    """
    stores, experiment = run.stores(SPLITS), run.experiment
    partition = partition_clips(stores["clients"].clips, experiment.partition, experiment.seed)
    clips = AttackedClips(run, stores, partition, read_rounds(run.folder))
    outside = {name for view in clips.others for name in identities_of(view)}
    shared = outside & {
        name for views in (clips.members, clips.public) for v in views for name in identities_of(v)
    }
    if shared:
        raise RequestError(
            f"identities must be in one split only, but {len(shared)} are in the test split and in training, "
            f"the first {sorted(shared)[0]!r}: nobody is a non-member; run again with split=by_identity"
        )
    return clips


def identities_of(view: ShardView) -> list[str]:
    """For each clip who is seen."""
    return [clip.identity for clip in view.clips]


def scored(views: Sequence[ShardView], score: Callable[[ShardView], ArrayLike]) -> Scored:
    """An attack's scores of all clips of some views."""
    values = np.concatenate([np.asarray(score(view), dtype=np.float64) for view in views])
    return Scored.of(values, [name for view in views for name in identities_of(view)])
