"""Mislabelled clips, each put into one client's training by a coin: what its updates prove to reveal.

What is audited is the client's whole local work as it runs, `clients.round.run_round`, in all of the run's
rounds, with whatever noise the run's mechanism adds there. A canary is a clip of another client whose label
and soft target are turned round: nothing but memory can make a student agree with it.
"""

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy, nn, where

from clients.round import run_round
from fl.attacks.membership import Floats, margins
from fl.attacks.one_run import EpsilonBound, bound_epsilon
from fl.data.shards import Shard, ShardView, take
from fl.distill.batches import TeacherAnswers
from fl.distill.predict import predict
from fl.errors import RequestError
from fl.privacy.accountant import spent_epsilon
from fl.privacy.client_releases import releases_of_round
from fl.seeds import generator
from fl.settings import Experiment
from fl.state import load_flat
from models.output import Inputs
from server.parts import GlobalStudent
from server.rounds import make_task
from sim.audits.attacked_clips import AttackedClips
from sim.progress import Progress

PURPOSE = "privacy canaries"
MIN_CANARIES = 32


@dataclass(frozen=True)
class TurnedAnswers:
    """A teacher that is wrong about some clips: the sign of its logits is turned.

    Attributes:
        answers: the teacher's.
        rows: of those clips in the store.
    """

    answers: TeacherAnswers
    rows: NDArray[np.int64]

    def answer(self, rows: np.ndarray, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """See `TeacherAnswers`."""
        logits, maps = self.answers.answer(rows, inputs)
        return where(from_numpy(np.isin(rows, self.rows)), -logits, logits), maps


@dataclass(frozen=True)
class CanaryAudit:
    """What canaries prove of a mechanism, beside what its accountant promises.

    Attributes:
        canary: what one is: "clip" or "client".
        what: what was audited, in words.
        bound: the lower bound.
        accounted: the upper bound of the very same training; None where none is promised.
    """

    canary: str
    what: str
    bound: EpsilonBound
    accounted: float | None

    @property
    def passed(self) -> bool:
        """Whether what was proved is not more than what was promised."""
        return self.accounted is None or self.bound.epsilon <= self.accounted


@dataclass(frozen=True)
class ClipCanaries:
    """Clips with wrong labels.

    Attributes:
        client_id: in whose training they are.
        store: of all clients, the canaries' labels turned.
        rows: (canaries,), of the store.
        included: (canaries,), the coins.
    """

    client_id: int
    store: Shard
    rows: NDArray[np.int64]
    included: NDArray[np.bool_]

    @property
    def view(self) -> ShardView:
        """All canaries, in or out."""
        return take(self.store, self.rows)


def draw_clip_canaries(clips: AttackedClips, num_canaries: int) -> ClipCanaries:
    """Canaries for the client with the most clips, from clips of the others, in an order drawn by the seed.

    Raises:
        RequestError: there are too few or too many.
    """
    store, partition = clips.stores["clients"], clips.partition
    client = max(clips.replied, key=lambda one: len(partition.rows[one]))
    free = np.setdiff1d(np.arange(len(store)), partition.rows[client])
    if not MIN_CANARIES <= num_canaries <= len(free):
        raise RequestError(
            f"--canaries must be 0, or from {MIN_CANARIES} to {len(free)}, the clips of clients other than "
            f"{client}, got {num_canaries}"
        )
    rng = generator(clips.run.experiment.seed, 0, client, PURPOSE)
    rows = np.sort(rng.choice(free, num_canaries, replace=False))
    included = rng.random(num_canaries) < 0.5
    labels = np.array(store.labels)
    labels[rows] = 1 - labels[rows]
    return ClipCanaries(client, replace(store, labels=labels), rows, included)


def train_with_canaries(clips: AttackedClips, canaries: ClipCanaries, progress: Progress) -> Floats:
    """Train one client's student through all rounds, alone; how far it came to agree with each canary.

    It begins with the run's last student, which the coins know nothing of.
    """
    run, experiment = clips.run, clips.run.experiment
    own = clips.partition.rows[canaries.client_id]
    rows = np.sort(np.concatenate([own, canaries.rows[canaries.included]]))
    answers = TurnedAnswers(clips.answers("clients"), canaries.rows)
    client = clips.edge_client(canaries.client_id, take(canaries.store, rows), answers)
    student = GlobalStudent(run.architecture, run.architecture.build())
    student.network.load_state_dict(run.network.state_dict())
    before = _margins(student.network, canaries.view)
    with progress.stage("Client with canaries", total=experiment.strategy.num_rounds) as advance:
        for round_index in range(1, experiment.strategy.num_rounds + 1):
            task = replace(make_task(experiment, student, round_index, prunes=False), quantize=False)
            report = run_round(task, client, run.architecture.build())
            load_flat(student.network, report.state)
            advance(1)
    return _margins(student.network, canaries.view) - before


def audit_clip_canaries(clips: AttackedClips, num_canaries: int, progress: Progress) -> CanaryAudit:
    """Draw canaries, train with them, and bound epsilon, at the delta of the run's settings.

    Args:
        clips: the run's; its clients make their own noise, or there is none.
        num_canaries: at least 32.
        progress: the display.
    """
    experiment = clips.run.experiment
    canaries = draw_clip_canaries(clips, num_canaries)
    scores = train_with_canaries(clips, canaries, progress)
    bound = bound_epsilon(scores, canaries.included, experiment.privacy.delta)
    num_clips = len(clips.partition.rows[canaries.client_id]) + bound.num_included
    rounds = experiment.strategy.num_rounds
    what = f"what client {canaries.client_id} sends in {rounds} rounds alone"
    return CanaryAudit("clip", what, bound, accounted_epsilon(experiment, num_clips))


def accounted_epsilon(experiment: Experiment, num_clips: int) -> float | None:
    """What the run's accountant says of a client of so many clips after all rounds; None: no promise."""
    settings, rounds = experiment.privacy, experiment.strategy.num_rounds
    if settings.mechanism == "none":
        return None
    releases = releases_of_round(settings, experiment.distill, num_clips, rounds)
    spent = spent_epsilon((replace(releases, count=rounds * releases.count),), settings.delta).pld
    return spent if isfinite(spent) else None


def _margins(network: nn.Module, view: ShardView) -> Floats:
    return margins(predict(network, view)[0], view.labels)
