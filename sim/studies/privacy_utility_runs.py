"""The runs of the privacy study: who adds the noise, how much of it, seeds; and the attacks on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sim.studies.study import Job

EPSILONS = (1.0, 2.0, 4.0, 8.0, None)
"""Targets; None: clipped alike, without noise, and so without any guarantee."""

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Part:
    """Runs that trust alike.

    Attributes:
        title: of its table.
        told: who adds the noise and who sees what, for the page.
        overrides: beside the experiment.
        audit: arguments of `python -m sim audit`.
        measures: column -> heading.
    """

    title: str
    told: str
    overrides: tuple[str, ...]
    audit: tuple[str, ...]
    measures: Mapping[str, str]


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "central": Part(
            "The server adds the noise",
            "The server is trusted to clip and to add the noise; whoever sees the released students is not. "
            "Attack AUC: members' clips against test clips by the last student's loss. Canaries: made-up "
            "clients that prove a lower bound on epsilon; it must not be above the accounted upper bound, "
            "and is no higher than 1,000 canaries can show. Canary AUC: how well the released students tell "
            "which of them took part.",
            (),
            ("privacy", "--shadows", "0", "--clients", "0", "--inversion-steps", "0"),
            MappingProxyType(
                {
                    "accuracy": "acc. %",
                    "auc": "AUC",
                    "eps": "EPS",
                    "shuffled": "EPS shuffled",
                    "latency": "latency ms",
                    "attack_auc": "attack AUC",
                    "attack_tpr": "attack TPR % at FPR 1 %",
                    "canary_auc": "canary AUC",
                    "epsilon": "epsilon accounted (PLD)",
                    "epsilon_rdp": "(RDP)",
                    "empirical": "epsilon shown by canaries",
                    "noise": "noise multiplier",
                }
            ),
        ),
        "local": Part(
            "Each client adds noise of its own",
            "Nobody is trusted: the server sees every update, and so does the attacker, who asks of 89 "
            "updates of the last of two rounds whose clips are behind them. Loss: by how much the update "
            "lowers a clip's loss. Gradient: how far the update points along a clip's gradient; person: the "
            "mean over a person's clips, all of which this mechanism hides together. Two rounds teach the "
            "student nothing under so much noise, so that there is no accuracy here.",
            ("privacy=local_gaussian", "strategy.num_rounds=2"),
            ("privacy", "--shadows", "0", "--clients", "89", "--canaries", "0", "--inversion-steps", "0"),
            MappingProxyType(
                {
                    "loss_auc": "loss: attack AUC",
                    "clip_auc": "gradient, clip: attack AUC",
                    "clip_tpr": "TPR % at FPR 1 %",
                    "person_auc": "gradient, person: attack AUC",
                    "person_tpr": "TPR % at FPR 1 %",
                    "epsilon": "epsilon accounted (PLD)",
                    "epsilon_rdp": "(RDP)",
                    "noise": "noise multiplier",
                }
            ),
        ),
    }
)
"""Name -> the runs whose clients trust the server, and those whose clients do not."""


@dataclass(frozen=True)
class Cell:
    """One run's place in the study.

    Attributes:
        part: a key of `PARTS`.
        epsilon: of `EPSILONS`.
        seed: of `SEEDS`.
    """

    part: str
    epsilon: float | None
    seed: int

    @property
    def name(self) -> str:
        """Of its run."""
        told = "no-noise" if self.epsilon is None else f"epsilon-{self.epsilon:g}"
        return f"{self.part}-{told}-seed{self.seed}"

    @property
    def overrides(self) -> tuple[str, ...]:
        """Beside the experiment."""
        target = f"privacy.target_epsilon={self.epsilon or 0:g}"
        noise = ("privacy.noise_multiplier=0",) if self.epsilon is None else ()
        return (*PARTS[self.part].overrides, target, *noise, f"seed={self.seed}")


CELLS = tuple(Cell(part, epsilon, seed) for part in PARTS for seed in SEEDS for epsilon in EPSILONS)
JOBS = tuple(Job(cell.name, cell.overrides) for cell in CELLS)
