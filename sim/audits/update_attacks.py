"""Attacks on single clients' updates of one round: what a server that looks, or a listener, is told."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from clients.round import local_loss
from fl.attacks.alignment import descent_directions, update_direction
from fl.attacks.membership import losses
from fl.attacks.rates import Scored
from fl.data.shards import ShardView, take
from fl.distill.batches import Batch, ordered_batches
from fl.distill.predict import predict
from sim.audits.attacked_clips import AttackedClips, identities_of
from sim.audits.replayed_update import Update, full_width_clients, replay_round, replay_update
from sim.progress import Progress


@dataclass(frozen=True)
class Suspected:
    """What an attack says, before it is judged.

    Attributes:
        name: of the attack.
        sees: what the attacker has.
        members: scores of the clips behind an update, of all updates.
        others: scores of test clips, for each update again.
    """

    name: str
    sees: str
    members: Scored
    others: Scored


def attack_updates(clips: AttackedClips, num_clients: int, progress: Progress) -> Iterator[Suspected]:
    """Two attacks on the same updates, the second also on all clips of a person at once.

    Args:
        clips: the run's.
        num_clients: whose updates are replayed, at most.
        progress: the display.
    """
    round_index = replay_round(clips)
    chosen = full_width_clients(clips, round_index)[:num_clients]
    with progress.stage(f"Updates of round {round_index}", total=len(chosen)) as advance:
        updates = []
        for client in chosen:
            updates.append(replay_update(clips, client, round_index))
            advance()
    yield _loss_lowered(clips, updates, progress)
    complete = [update for update in updates if not update.view.lacks]
    if complete:
        yield from _gradient_match(clips, complete, progress)


def _loss_lowered(clips: AttackedClips, updates: Sequence[Update], progress: Progress) -> Suspected:
    """How much one update lowers a clip's loss."""
    inside, outside = _Scores(), _Scores()
    before: dict[str, NDArray[np.float64]] = {}
    with progress.stage("Loss lowered by them", total=len(updates)) as advance:
        for update in updates:
            test = take(clips.stores["test"], lacks=update.view.lacks)
            if test.lacks not in before:
                before[test.lacks] = _losses(update.before, test)
            inside.add(_losses(update.before, update.view) - _losses(update.after, update.view), update.view)
            outside.add(before[test.lacks] - _losses(update.after, test), test)
            advance()
    return Suspected("loss lowered", _seen(updates), inside.scored(), outside.scored())


def _gradient_match(
    clips: AttackedClips, updates: Sequence[Update], progress: Progress
) -> Iterator[Suspected]:
    """How far updates lie along a clip's own gradient, where they set out from the same student."""
    test, views = take(clips.stores["test"]), [update.view for update in updates]
    directions = np.stack([update_direction(update.before, update.after) for update in updates])
    total = len(test) + sum(map(len, views))
    with progress.stage("Gradients of clips", total=total) as advance:

        def cosines(view: ShardView, split: str, with_updates: NDArray[np.float32]) -> NDArray[np.float32]:
            """(updates, clips)."""
            loss_terms = local_loss(clips.run.experiment.distill, view.labels)

            def loss(network: nn.Module, batch: Batch) -> Tensor:
                return loss_terms(network, batch).total

            found = []
            batches = ordered_batches(view, clips.answers(split), 1)
            for direction in descent_directions(updates[0].before, batches, loss):
                found.append(with_updates @ direction)
                advance()
            return np.stack(found, axis=1)

        others = cosines(test, "test", directions)
        own = [cosines(view, "clients", one[None])[0] for view, one in zip(views, directions, strict=True)]
    for name, by_person in (("gradient match", False), ("match by person", True)):
        inside, outside = _Scores(by_person), _Scores(by_person)
        for view, mine, other in zip(views, own, others, strict=True):
            inside.add(mine, view)
            outside.add(other, test)
        yield Suspected(name, _seen(updates), inside.scored(), outside.scored())


class _Scores:
    """Scores of all updates, and whose they are."""

    def __init__(self, by_person: bool = False) -> None:
        self._by_person = by_person
        self._values: list[NDArray[np.float64]] = []
        self._names: list[str] = []

    def add(self, values: NDArray[np.floating], view: ShardView) -> None:
        """One update's; by person: the mean of each person's clips."""
        names = identities_of(view)
        if self._by_person:
            of_person = defaultdict(list)
            for name, value in zip(names, values, strict=True):
                of_person[name].append(value)
            names, values = list(of_person), np.array([np.mean(found) for found in of_person.values()])
        self._values.append(values.astype(np.float64))
        self._names += names

    def scored(self) -> Scored:
        return Scored.of(np.concatenate(self._values), self._names)


def _losses(network: nn.Module, view: ShardView) -> NDArray[np.float64]:
    return losses(predict(network, view)[0], view.labels)


def _seen(updates: Sequence[Update]) -> str:
    return f"{len(updates)} updates, round {updates[0].round_index}"
