"""What an aggregation rule is given, and what it gives."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

STRIP = 1 << 16
"""Values looked at together: with a dozen clients they stay in the processor's cache."""


@dataclass(frozen=True)
class Replies:
    """The valid replies of a round.

    Attributes:
        sent: (num_values,), the global state before the round.
        states: of each client, (num_values,), finite, float32.
        num_examples: of each client, positive.
        num_byzantine: f, how many of them may be bad.
    """

    sent: np.ndarray
    states: list[np.ndarray]
    num_examples: list[int]
    num_byzantine: int

    def __len__(self) -> int:
        return len(self.states)

    def strips(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Places and (clients, at most `STRIP`) values, from the first to the last."""
        for start in range(0, self.sent.size, STRIP):
            span = slice(start, start + STRIP)
            yield span, np.stack([state[span] for state in self.states])


@dataclass(frozen=True)
class Combined:
    """The replies, made one.

    Attributes:
        state: (num_values,), float32.
        weights: (clients,), what each client's reply counts in it, from 0; they add up to 1, or to less where
            updates were shortened. Of a rule that goes value by value: share of the values that are its own.
    """

    state: np.ndarray
    weights: np.ndarray
