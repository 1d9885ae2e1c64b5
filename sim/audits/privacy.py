"""What an attacker gets from a run, beside what its accountant promises.

Membership attacks measure what leaks; canaries prove a lower bound on epsilon, which must not be above the
accounted upper bound; gradient inversion shows what an update in the clear may hold.
"""

from argparse import Namespace
from dataclasses import dataclass, fields
from typing import Any

from fl.privacy.data_flow import UNITS, Flow, data_flow
from fl.seeds import derive
from sim.audits.attacked_clips import AttackedClips, attacked_clips
from sim.audits.client_canaries import audit_client_canaries
from sim.audits.clip_canaries import CanaryAudit, audit_clip_canaries
from sim.audits.gradient_inversion import Inverted, invert_clip
from sim.audits.membership_attacks import BLIND, Attack, membership_attacks
from sim.finished import FinishedRun
from sim.progress import Progress
from sim.round_record import plain

FOLDER = "audits/privacy"
"""Under the run's folder."""


@dataclass(frozen=True)
class PrivacyAudit:
    """The whole audit.

    Attributes:
        run: the run's folder.
        mechanism: of `fl.privacy.data_flow.MECHANISMS`.
        accounted_epsilon: what the accountant says the run has spent in all; None: it promises nothing.
        delta: for which epsilons hold.
        attacks: on membership, the blind controls first.
        canaries: lower bounds on epsilon.
        inversion: None if it was left out.
        data_flow: what leaves a client, and how.
        notes: what must be known to read the numbers.
        figures: the pictures that were written.
    """

    run: str
    mechanism: str
    accounted_epsilon: float | None
    delta: float
    attacks: tuple[Attack, ...]
    canaries: tuple[CanaryAudit, ...]
    inversion: Inverted | None
    data_flow: tuple[Flow, ...]
    notes: tuple[str, ...]
    figures: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no canary proves a larger epsilon than was promised."""
        return all(audit.passed for audit in self.canaries)

    def record(self) -> dict[str, Any]:
        """What goes into ``audit.json``: everything but single clips and pixels."""
        return {
            "run": self.run,
            "passed": self.passed,
            "mechanism": self.mechanism,
            "unit": UNITS[self.mechanism],
            "accounted_epsilon": self.accounted_epsilon,
            "delta": self.delta,
            "attacks": [_without(attack, "scores") for attack in self.attacks],
            "canaries": [{**_without(one), "passed": one.passed} for one in self.canaries],
            "inversion": None
            if self.inversion is None
            else [_without(row, "pictures") for row in self.inversion.rows],
            "data_flow": [_without(row) for row in self.data_flow],
            "notes": self.notes,
            "figures": self.figures,
        }


def audit_privacy(run: FinishedRun, asked: Namespace) -> PrivacyAudit:
    """Attack a run.

    Args:
        run: the run.
        asked: ``shadows``, ``shadow_clips``, ``shadow_rounds``, ``clients``, ``canaries`` and
            ``inversion_steps``; 0 leaves an attack out.

    Raises:
        RequestError: something of the run is not in the cache, or does not allow what is asked.
    """
    progress, clips, settings = Progress(), attacked_clips(run), run.experiment.privacy
    told = clips.rounds[-1]["privacy"]
    canaries = []
    if asked.canaries and settings.mechanism == "central_gaussian" and settings.clip_norm:
        seed = derive(run.experiment.seed, "privacy audit")
        canaries.append(audit_client_canaries(run.experiment, len(clips.rounds), seed))
    elif asked.canaries and settings.mechanism != "central_gaussian":
        canaries.append(audit_clip_canaries(clips, asked.canaries, progress))
    attacks = tuple(
        membership_attacks(
            clips, asked.shadows, asked.shadow_clips, asked.shadow_rounds, asked.clients, progress
        )
    )
    inversion = invert_clip(clips, asked.inversion_steps, progress) if asked.inversion_steps else None
    return PrivacyAudit(
        run=str(run.folder),
        mechanism=settings.mechanism,
        accounted_epsilon=told["epsilon"] if told else None,
        delta=settings.delta,
        attacks=attacks,
        canaries=tuple(canaries),
        inversion=inversion,
        data_flow=data_flow(settings.mechanism),
        notes=tuple(_notes(clips, attacks)),
    )


def _notes(clips: AttackedClips, attacks: tuple[Attack, ...]) -> list[str]:
    notes = [
        f"members: clips of the {len(clips.replied)} clients whose replies were taken (public: the server's, "
        "which trained the teacher); non-members: test clips; identities are on one side only, and intervals "
        "resample them"
    ]
    differing = [attack.members for attack in attacks if attack.name == BLIND and attack.rates.above_chance]
    if differing:
        notes.append(
            f"a classifier that sees no network tells {' and '.join(differing)} clips from test clips: the "
            "splits differ by themselves, and attacks on them measure that too"
        )
    if clips.run.experiment.warmup.max_epochs > 0:
        notes.append(
            "the student's first weights were trained on public clips: it learnt those directly, too"
        )
    if any(attack.name.startswith("LiRA") for attack in attacks):
        notes.append(
            "LiRA's shadows imitate the run (a few rounds of two holders, from the run's first student); one "
            "variance for all clips"
        )
    privacy = clips.run.experiment.privacy
    if privacy.mechanism == "central_gaussian" and not privacy.clip_norm:
        notes.append("no canaries: without privacy.clip_norm a client's update has no largest norm")
    if privacy.secret_noise:
        notes.append("privacy.secret_noise: replayed updates have other noise than those that were sent")
    if privacy.mechanism == "dp_sgd":
        notes.append("the shadows' holders train privately, too, by the run's settings")
    elif privacy.mechanism != "none":
        notes.append("the shadows' updates are neither cut nor noised, as the run's were")
    notes.append("attacks give what was found, not what can be: a better attack may find more")
    return notes


def _without(value: Any, *left_out: str) -> dict[str, Any]:
    """A dataclass as a dictionary, without some of its fields, which are large."""
    return {
        field.name: plain(getattr(value, field.name), field.name)
        for field in fields(value)
        if field.name not in left_out
    }
