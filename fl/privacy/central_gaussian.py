"""Central privacy of clients: each client's update is clipped, and noise is added to their sum.

McMahan, Ramage, Talwar and Zhang 2018, Learning Differentially Private Recurrent Language Models,
algorithm 1 (DP-FedAvg): clients take part by a coin each (Poisson sampling), all weigh the same, and the sum
is divided by the number expected, so that it says nothing of how many there were. The noise has a standard
deviation of ``noise_multiplier`` times the clipping norm, the most by which a client can move the sum.

The server is trusted: it sees updates as they are, clips them and draws the noise. Neighbours are two runs
with and without one client, all of its clips. A client that fails or drops out adds nothing; the denominator
stays. Running statistics of BatchNorm take no part, since noised variances may be negative: the server
estimates them on its own clips. Without a clipping norm (and so without noise, and without any guarantee) the
mean is the plain one.

Sampling and noise come from the run's seed, so that a run can be repeated. A seed that is known is no
secret: who has it can take the noise off. The guarantee is for runs with a secret seed, or with
``privacy.secret_noise``, whose sampling and noise come from the system's entropy.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fl.errors import RequestError
from fl.privacy.accountant import Epsilon, Releases, calibrated_noise, one_more, spent_epsilon
from fl.privacy.adaptive_clipping import next_clip_norm, noise_of_sum, noised_share
from fl.seeds import generator
from fl.settings import Experiment, PrivacySettings


def clip_update(update: np.ndarray, clip_norm: float) -> bool:
    """Shorten an update in place to a Euclidean norm of at most ``clip_norm``; whether it was longer."""
    norm = float(np.linalg.norm(update))
    if norm <= clip_norm:
        return False
    update *= clip_norm / norm
    return True


class CentralGaussian:
    """The mechanism of a run, and where it stands between two rounds; ``unit`` is whom it protects.

    Args:
        settings: with ``mechanism`` central_gaussian.
        seed: the run's.
        sampling_rate: of a client in a round.
        num_clients: of the run; public.
        num_rounds: for which a target epsilon is to last.

    Attributes:
        noise_multiplier: of all that a round releases; see `adaptive_clipping` for how it is shared.
        clip_norm: of the next round.
        spent: releases so far.
        num_broken: of them, those of rounds that were broken off and done again with other noise.

    Raises:
        RequestError: the noise of the count leaves none for the sum, or the budget is too small for a round.
    """

    unit = "client"

    def __init__(
        self, settings: PrivacySettings, seed: int, sampling_rate: float, num_clients: int, num_rounds: int
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.sampling_rate = sampling_rate
        self.expected_clients = sampling_rate * num_clients
        self.noise_multiplier = settings.noise_multiplier
        if settings.target_epsilon:
            self.noise_multiplier = calibrated_noise(
                settings.target_epsilon, settings.delta, sampling_rate, num_rounds
            )
        self.clip_norm = settings.clip_norm
        self.spent: tuple[Releases, ...] = ()
        self.num_broken = 0
        self._last: dict[str, Any] = {}
        self._check()

    @property
    def clips(self) -> bool:
        """Whether updates are clipped; if not, nothing is private."""
        return self.settings.clip_norm > 0

    @property
    def budget(self) -> float:
        """The largest epsilon that may be spent; infinite if the settings have no limit."""
        return self.settings.budget_epsilon or self.settings.target_epsilon or math.inf

    @property
    def epsilon(self) -> Epsilon:
        """Spent so far; infinite after rounds without noise."""
        return spent_epsilon(self.spent, self.settings.delta)

    @property
    def epsilon_after_next(self) -> float:
        """What would be spent after one more round, by the tighter accountant."""
        after = one_more(self.spent, self.sampling_rate, self.noise_multiplier)
        return spent_epsilon(after, self.settings.delta).pld

    @property
    def is_exhausted(self) -> bool:
        """Whether the next round would exceed the budget."""
        return math.isfinite(self.budget) and self.epsilon_after_next > self.budget

    def aggregate(
        self, round_index: int, sent: np.ndarray, states: Sequence[np.ndarray], learnt: np.ndarray
    ) -> np.ndarray:
        """The next state, and one more release on the account.

        Args:
            round_index: from 1.
            sent: (num_values,), float32, the state before the round, which is public.
            states: of those who answered, maybe none: then noise alone moves the state.
            learnt: (num_values,), bool, which values take part; the others stay as they were sent.

        Returns:
            (num_values,), float32.
        """
        settings, rng = self.settings, self._generator(round_index)
        total, num_clipped = np.zeros(int(learnt.sum()), np.float64), 0
        for state in states:
            update = np.subtract(state[learnt], sent[learnt], dtype=np.float64)
            num_clipped += clip_update(update, self.clip_norm)
            total += update
        count_noise = settings.count_noise_multiplier if self.noise_multiplier else 0.0
        self._last = {"clip_norm": self.clip_norm}
        noise = self.noise_multiplier
        if settings.clipping == "adaptive":
            noise = noise_of_sum(noise, count_noise) if noise else 0.0
            num_unclipped = len(states) - num_clipped
            share = noised_share(num_unclipped, num_clipped, self.expected_clients, count_noise, rng)
            self._last["share_clipped"] = 1 - share
            following = next_clip_norm(self.clip_norm, share, settings.clip_quantile, settings.clip_rate)
        else:
            following = self.clip_norm
        if noise:
            total += rng.normal(0, noise * self.clip_norm, total.size)
        self.clip_norm = following
        mean = sent.copy()
        mean[learnt] = sent[learnt] + total / self.expected_clients
        self.count_round()
        return mean

    def count_round(self) -> None:
        """One more release on the account."""
        self.spent = one_more(self.spent, self.sampling_rate, self.noise_multiplier)

    def count_broken(self, step_shares: Mapping[int, float]) -> None:
        """A release that somebody may have seen, of a round that is done again with other noise."""
        self.count_round()
        self.num_broken += 1

    def record(self) -> dict[str, Any]:
        """The "privacy" part of the last round's record: nothing in it is outside the account."""
        pld, rdp = (value if math.isfinite(value) else None for value in (self.epsilon.pld, self.epsilon.rdp))
        return {
            "mechanism": "central_gaussian",
            "unit": self.unit,
            "epsilon": pld,
            "delta": self.settings.delta,
            "epsilon_pld": pld,
            "epsilon_rdp": rdp,
            "noise_multiplier": self.noise_multiplier,
            "sampling_rate": self.sampling_rate,
            "expected_clients": self.expected_clients,
            **self._last,
            **({"num_broken": self.num_broken} if self.num_broken else {}),
        }

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, in JSON values."""
        return {
            "spent": [asdict(releases) for releases in self.spent],
            "clip_norm": self.clip_norm,
            "num_broken": self.num_broken,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.spent = tuple(Releases(**releases) for releases in state["spent"])
        self.clip_norm = float(state["clip_norm"])
        self.num_broken = int(state.get("num_broken", 0))

    def _generator(self, round_index: int) -> np.random.Generator:
        if self.settings.secret_noise:
            return np.random.default_rng()
        return generator(self.seed, round_index, -1, "dp-noise")

    def _check(self) -> None:
        settings = self.settings
        if settings.clipping == "adaptive" and settings.count_noise_multiplier <= self.noise_multiplier:
            raise RequestError(
                f"privacy.count_noise_multiplier must be above the noise multiplier of the whole, "
                f"{self.noise_multiplier:.4g}, got {settings.count_noise_multiplier:g}; "
                f"set privacy.count_noise_multiplier={10 * self.noise_multiplier:.3g}"
            )
        if self.is_exhausted:
            raise RequestError(
                f"privacy.budget_epsilon must allow at least one round, which spends "
                f"{self.epsilon_after_next:.4g}, got {self.budget:g}; allow more, or raise "
                "privacy.noise_multiplier"
            )


def central_mechanism(experiment: Experiment) -> CentralGaussian | None:
    """The mechanism that a run's settings ask for; None unless they ask for central privacy.

    Raises:
        RequestError: see `CentralGaussian`.
    """
    if experiment.privacy.mechanism != "central_gaussian":
        return None
    strategy, num_clients = experiment.strategy, experiment.partition.num_clients
    return CentralGaussian(
        experiment.privacy, experiment.seed, strategy.fraction, num_clients, strategy.num_rounds
    )
