"""What the server asks of a client in a round, and what the client reports."""

from dataclasses import dataclass

import numpy as np

from models.architecture import Architecture


@dataclass(frozen=True)
class RoundTask:
    """One client's work in one round.

    Attributes:
        round_index: from 1.
        architecture: of the global student, pruned or not.
        state: (num_values,), float32, the global student's flat state.
        schema: digest of the flat state's names and shapes.
        learning_rate: of this round.
        step_share: share of the local steps to do, in (0, 1]; below 1 for a simulated straggler.
        measure_importance: report a vote for pruning.
        quantize: quantise the trained student and report its agreement with the float one.
    """

    round_index: int
    architecture: Architecture
    state: np.ndarray
    schema: str
    learning_rate: float
    step_share: float = 1.0
    measure_importance: bool = False
    quantize: bool = False


@dataclass(frozen=True)
class ClientReport:
    """What a client says after its work.

    Some of it stays at the client under a ``privacy.mechanism``: `fl.privacy.data_flow` says what.

    Attributes:
        client_id: the partition id.
        num_examples: clips in its shard: its weight.
        num_steps: optimiser steps done.
        state: (num_values,), float32, the locally trained student's flat state.
        schema: digest of the flat state's names and shapes.
        losses: mean of each loss term, by the keys of `rounds.jsonl`; empty where it stays at the client.
        seconds: wall time of the work at the client; None where it stays there.
        importance: (num_units,), float32, its vote, one for each removable unit; empty where not asked.
        int8_agreement: share of its clips on which its INT8 copy decides as the float one; None
            where it was not asked or cannot be measured.
    """

    client_id: int
    num_examples: int
    num_steps: int
    state: np.ndarray
    schema: str
    losses: dict[str, float]
    seconds: float | None
    importance: np.ndarray
    int8_agreement: float | None = None


LOSS_KEYS = ("loss", "loss_hard", "loss_soft", "loss_attention", "loss_proximal")
"""The loss terms of a report, in the order of `rounds.jsonl`."""


@dataclass(frozen=True)
class Enrolment:
    """What a node says of itself before the first round.

    Attributes:
        client_id: its number in the run.
        num_examples: clips in its shard.
        device: name of its device's profile.
        teacher: digest of the run's teacher if it holds it, else empty.
    """

    client_id: int
    num_examples: int
    device: str
    teacher: str
