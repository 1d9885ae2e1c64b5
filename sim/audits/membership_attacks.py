"""The membership attacks on a run: its last student, clients' updates, distilled logits, a control."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from fl.attacks.membership import lira, margins, teacher_closeness
from fl.attacks.rates import AttackRates, Scored, attack_rates
from fl.compress.sessions import run_session
from fl.data.shards import ShardView
from fl.distill.predict import predict
from fl.metrics.latency import open_session
from fl.seeds import derive, generator
from models.names import hears
from sim.audits.attacked_clips import AttackedClips, identities_of, scored
from sim.audits.baselines import teacher_logits
from sim.audits.classical import NUM_COMPONENTS, features_of
from sim.audits.shadow_students import draw_pool, shadow_margins
from sim.audits.update_attacks import attack_updates
from sim.progress import Advance, Progress

BLIND = "blind control"
NUM_FOLDS = 5


@dataclass(frozen=True)
class Attack:
    """One attack, judged.

    Attributes:
        name: of the attack.
        sees: what the attacker has.
        members: whose clips the members are: "clients" or "public".
        rates: how well it tells them from test clips.
        scores: of the members, and of the others; not part of the record.
    """

    name: str
    sees: str
    members: str
    rates: AttackRates
    scores: tuple[Scored, Scored]


def membership_attacks(
    clips: AttackedClips,
    num_shadows: int,
    shadow_clips: int,
    shadow_rounds: int,
    num_clients: int,
    progress: Progress,
) -> Iterator[Attack]:
    """All attacks, the blind control first.

    Args:
        clips: the run's.
        num_shadows: for LiRA; 0 leaves it out.
        shadow_clips: of members and others together, that shadows see.
        shadow_rounds: of their training.
        num_clients: whose updates are replayed, at most; 0 leaves them out.
        progress: the display.
    """
    yield from _blind(clips, progress)
    network = clips.run.network
    with progress.stage("Last student") as advance:
        yield _judge(clips, "loss", "last student", "clients", *_by_loss(clips, network))
        advance()
    shipped = clips.run.folder / "student.int8.onnx"
    if shipped.is_file():
        yield _judge(clips, "loss", "shipped INT8 student", "clients", *_by_shipped(clips, shipped))
    yield _judge(clips, "teacher closeness", "both networks' logits", "clients", *_closeness(clips))
    teacher = [
        scored(views, lambda view: margins(teacher_logits(clips.run, view), view.labels))
        for views in (clips.public, clips.others)
    ]
    yield _judge(clips, "loss", "teacher's logits", "public", *teacher)
    if num_clients:
        for told in attack_updates(clips, num_clients, progress):
            yield _judge(clips, told.name, told.sees, "clients", told.members, told.others)
    if num_shadows:
        yield from _lira(clips, num_shadows, shadow_clips, shadow_rounds, progress)


def _judge(
    clips: AttackedClips, name: str, sees: str, members: str, inside: Scored, outside: Scored
) -> Attack:
    rng = generator(clips.run.experiment.seed, 0, -1, f"privacy bootstrap, {name}, {sees}")
    return Attack(name, sees, members, attack_rates(inside, outside, rng), (inside, outside))


def _by_loss(clips: AttackedClips, network: nn.Module) -> tuple[Scored, Scored]:
    def score(view: ShardView) -> NDArray[np.float64]:
        return margins(predict(network, view)[0], view.labels)

    return scored(clips.members, score), scored(clips.others, score)


def _by_shipped(clips: AttackedClips, path: Path) -> tuple[Scored, Scored]:
    """`_by_loss` of the graph that devices get."""
    session = open_session(path)

    def score(view: ShardView) -> NDArray[np.float64]:
        return margins(run_session(session, view)[0], view.labels)

    return scored(clips.members, score), scored(clips.others, score)


def _closeness(clips: AttackedClips) -> tuple[Scored, Scored]:
    def score(view: ShardView) -> NDArray[np.float64]:
        return teacher_closeness(predict(clips.run.network, view)[0], teacher_logits(clips.run, view))

    return scored(clips.members, score), scored(clips.others, score)


def _lira(
    clips: AttackedClips, num_shadows: int, num_clips: int, num_rounds: int, progress: Progress
) -> Iterator[Attack]:
    pool = draw_pool(clips, num_clips)
    shadows, trained = shadow_margins(clips, pool, num_shadows, num_rounds, progress)
    target, split, names = pool.margins(clips.run.network), len(pool.members), pool.groups
    for online in (False, True):
        values = lira(target, shadows, trained, online=online)
        inside, outside = Scored.of(values[:split], names[:split]), Scored.of(values[split:], names[split:])
        name, sees = f"LiRA {'online' if online else 'offline'}", f"last student, {num_shadows} shadows"
        yield _judge(clips, name, sees, "clients", inside, outside)


def _blind(clips: AttackedClips, progress: Progress) -> Iterator[Attack]:
    """A classifier that sees the clips and no network: above chance only where splits differ anyway."""
    sides = {"clients": clips.members, "public": clips.public, "test": clips.others}
    total = sum(len(view) for views in sides.values() for view in views)
    with progress.stage("Blind control", total=total) as advance:
        found = {name: _features(clips, views, advance) for name, views in sides.items()}
        for members in ("clients", "public"):
            yield _judge(
                clips, BLIND, "the clips alone", members, *_held_out(clips, found[members], found["test"])
            )


Described = tuple[NDArray[np.float64], list[str]]
"""Features (clips, features), and whose each clip is."""


def _features(clips: AttackedClips, views: Sequence[ShardView], advance: Advance) -> Described:
    sounds = hears(clips.run.experiment.system.student)
    values = [features_of(view, sounds, advance).values for view in views]
    return np.concatenate(values), [name for view in views for name in identities_of(view)]


def _held_out(clips: AttackedClips, members: Described, others: Described) -> tuple[Scored, Scored]:
    """Scores of folds that the classifier did not see; no identity is in two folds."""
    values = np.concatenate([members[0], others[0]])
    labels = np.repeat([1, 0], [len(members[1]), len(others[1])])
    names = np.array([*members[1], *others[1]])
    seed = derive(clips.run.experiment.seed, BLIND) % 2**32
    num_folds = min(NUM_FOLDS, len(set(members[1])), len(set(others[1])))
    scores = np.zeros(len(labels))
    folds = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    for kept, held in folds.split(values, labels, names):
        parts = (
            PCA(min(NUM_COMPONENTS, len(kept) // 4), random_state=seed),
            LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000),
        )
        model = make_pipeline(StandardScaler(), *parts).fit(values[kept], labels[kept])
        scores[held] = model.decision_function(values[held])
    split = len(members[1])
    return Scored.of(scores[:split], members[1]), Scored.of(scores[split:], others[1])
