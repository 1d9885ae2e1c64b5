"""What clients have spent that make their own noise: an account for each, kept by the server.

It needs nothing that a client measures: what a round releases follows from the settings and from the
number of clips that the client declared (`fl.privacy.client_releases`). Whoever was sent a task has spent it,
whether or not the reply arrived or was accepted: it may have been seen.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fl.errors import RequestError
from fl.privacy.accountant import Epsilon, Releases, spent_epsilon
from fl.privacy.client_releases import releases_of_round
from fl.settings import DistillSettings, Experiment, PrivacySettings


class ClientAccounts:
    """The accounts of a run, and where they stand between two rounds.

    Args:
        settings: with ``mechanism`` dp_sgd or local_gaussian.
        distill: batch size and local epochs.
        num_rounds: for which a target epsilon is to last.
        declared_examples: clips of each client, by its number.

    Attributes:
        unit: whom the mechanism protects: "clip", or "client", all clips of one.
        num_releases: of each client so far.
        num_broken: rounds that were broken off and done again with other noise; they are counted.

    Raises:
        RequestError: delta allows to give a clip away, or the budget is too small for a round.
    """

    def __init__(
        self,
        settings: PrivacySettings,
        distill: DistillSettings,
        num_rounds: int,
        declared_examples: Mapping[int, int],
    ) -> None:
        self.settings, self.distill, self.num_rounds = settings, distill, num_rounds
        self.declared = {client: count for client, count in sorted(declared_examples.items()) if count}
        self.unit = "clip" if settings.mechanism == "dp_sgd" else "client"
        self.num_releases = dict.fromkeys(self.declared, 0)
        self.num_broken = 0
        self._check()

    def count_round(self, step_shares: Mapping[int, float]) -> None:
        """One more round, in which these clients were sent a task with these shares of their steps."""
        for client, share in step_shares.items():
            self.num_releases[client] += self._releases(client, share).count

    def count_broken(self, step_shares: Mapping[int, float]) -> None:
        """A round whose replies somebody may have seen, and that is done again with other noise."""
        self.count_round(step_shares)
        self.num_broken += 1

    @property
    def budget(self) -> float:
        """The largest epsilon that any client may spend; infinite if the settings have no limit."""
        return self.settings.budget_epsilon or self.settings.target_epsilon or math.inf

    @property
    def epsilon(self) -> Epsilon:
        """Spent by those who have spent most."""
        return _worst(self._spent_by_client())

    @property
    def epsilon_after_next(self) -> float:
        """What would be spent after one more round of all, by the tighter accountant."""
        return _worst(self._spent_by_client(one_more=True)).pld

    @property
    def is_exhausted(self) -> bool:
        """Whether the next round would exceed some client's budget."""
        return math.isfinite(self.budget) and self.epsilon_after_next > self.budget

    def record(self) -> dict[str, Any]:
        """The "privacy" part of the last round's record."""
        spent = self._spent_by_client()
        worst, rounds = _worst(spent), {client: self._releases(client) for client in self.declared}
        return {
            "mechanism": self.settings.mechanism,
            "unit": self.unit,
            "epsilon": _finite(worst.pld),
            "delta": self.settings.delta,
            "epsilon_pld": _finite(worst.pld),
            "epsilon_rdp": _finite(worst.rdp),
            "noise_multiplier": min(releases.noise_multiplier for releases in rounds.values()),
            "clip_norm": self.settings.clip_norm,
            "clients": [
                {
                    "client_id": client,
                    "epsilon_pld": _finite(spent[client].pld),
                    "epsilon_rdp": _finite(spent[client].rdp),
                    "noise_multiplier": rounds[client].noise_multiplier,
                    "sampling_rate": rounds[client].sampling_rate,
                    "num_releases": self.num_releases[client],
                }
                for client in self.declared
            ],
            **({"num_broken": self.num_broken} if self.num_broken else {}),
        }

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, in JSON values."""
        counts = {str(client): count for client, count in self.num_releases.items()}
        return {"num_releases": counts, "num_broken": self.num_broken}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.num_releases.update({int(client): int(n) for client, n in state["num_releases"].items()})
        self.num_broken = int(state.get("num_broken", 0))

    def _releases(self, client: int, step_share: float = 1.0) -> Releases:
        return releases_of_round(
            self.settings, self.distill, self.declared[client], self.num_rounds, step_share
        )

    def _spent_by_client(self, one_more: bool = False) -> dict[int, Epsilon]:
        """Client -> what it has spent; equal accounts are computed once."""
        accounts: dict[int, Releases] = {}
        for client, count in self.num_releases.items():
            releases = self._releases(client)
            accounts[client] = replace(releases, count=count + (releases.count if one_more else 0))
        found = {
            releases: spent_epsilon((releases,) if releases.count else (), self.settings.delta)
            for releases in set(accounts.values())
        }
        return {client: found[releases] for client, releases in accounts.items()}

    def _check(self) -> None:
        largest = max(self.declared.values())
        if self.unit == "clip" and self.settings.delta >= 1 / largest:
            raise RequestError(
                f"privacy.delta must be below 1 / {largest}, the clips of the largest client, "
                f"got {self.settings.delta:g}: that would allow to give one clip away; "
                f"set privacy.delta={0.01 / largest:.0e}"
            )
        if self.is_exhausted:
            raise RequestError(
                f"privacy.budget_epsilon must allow at least one round, which spends "
                f"{self.epsilon_after_next:.4g}, got {self.budget:g}; allow more, or raise "
                "privacy.noise_multiplier"
            )


def client_accounts(experiment: Experiment, declared_examples: Mapping[int, int]) -> ClientAccounts | None:
    """The accounts of a run whose clients make their own noise; None for any other.

    Raises:
        RequestError: see `ClientAccounts`.
    """
    if experiment.privacy.mechanism not in ("dp_sgd", "local_gaussian"):
        return None
    return ClientAccounts(
        experiment.privacy, experiment.distill, experiment.strategy.num_rounds, declared_examples
    )


def _worst(spent: Mapping[int, Epsilon]) -> Epsilon:
    return Epsilon(max(each.pld for each in spent.values()), max(each.rdp for each in spent.values()))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
