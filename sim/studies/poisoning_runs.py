"""The runs of the poisoning study: attacks, shares of bad clients, rules, seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sim.studies.study import Job

NUM_CLIENTS = 11
BAD = (0, 2, 4)
"""Numbers of malicious clients of `NUM_CLIENTS`: none, 18 %, 36 %."""

SEEDS = (0, 1)

WITHSTANDS: Mapping[str, int] = MappingProxyType(
    {
        "mean": 0,
        "norm_clipping": 4,
        "median": 4,
        "trimmed_mean": 4,
        "geometric_median": 4,
        "krum": 4,
        "multi_krum": 4,
        "bulyan": 2,
    }
)
"""Rule -> strategy.num_byzantine, the same whatever the attack: the most that its theory allows, of `BAD`."""

ATTACKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sign_flip": ("adversary=sign_flip", "adversary.scale=10"),
        "backdoor": (
            "adversary=backdoor",
            "adversary.scale=4",
            "adversary.poisoned_share=0.8",
            "adversary.trigger_size=0.3",
            "adversary.trigger_s=0.5",
        ),
    }
)
"""Attack -> overrides."""


@dataclass(frozen=True)
class Cell:
    """One run's place in the study.

    Attributes:
        attack: a key of `ATTACKS`.
        rule: a key of `WITHSTANDS`.
        num_bad: of `BAD`.
        seed: of `SEEDS`.
    """

    attack: str
    rule: str
    num_bad: int
    seed: int

    @property
    def name(self) -> str:
        """Of its run: without a bad client the attack has no part in it, but its trigger is measured."""
        return f"{self.attack}-{self.rule}-bad{self.num_bad}-seed{self.seed}"

    @property
    def overrides(self) -> tuple[str, ...]:
        """Beside the experiment."""
        return (
            *ATTACKS[self.attack],
            f"adversary.share={self.num_bad / NUM_CLIENTS:.4f}",
            f"strategy.aggregator={self.rule}",
            f"strategy.num_byzantine={WITHSTANDS[self.rule]}",
            f"seed={self.seed}",
        )


CELLS = tuple(
    Cell(attack, rule, num_bad, seed)
    for seed in SEEDS
    for rule in WITHSTANDS
    for attack, num_bad in (
        ("backdoor", 0),
        *((attack, num_bad) for attack in ATTACKS for num_bad in BAD if num_bad),
    )
)
"""Every run once: without bad clients attacks are the same, and the backdoor's measures the trigger too."""


def cell_of(attack: str, rule: str, num_bad: int, seed: int) -> Cell:
    """The cell whose run answers this question."""
    return Cell(attack if num_bad else "backdoor", rule, num_bad, seed)


JOBS = tuple(Job(cell.name, cell.overrides) for cell in CELLS)
