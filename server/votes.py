"""Whose votes count, and how: from the clients' importance vectors to one that no client decides alone.

A vote passed the gate: it is finite and as long as it should be. That does not make it fair. A client
may send a vote a million times as large as the others', or put all of it into one group.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fl.compress.importance import FloatVector
from fl.compress.units import ChannelGroup

MEAN_TOLERANCE = 1e-3
"""A vote whose mean is this near to 1 was scaled by the client, as it should; any other is scaled here."""


@dataclass(frozen=True)
class FairVotes:
    """The clients' votes, made one.

    Attributes:
        vote: (units,), float32, the mean by examples, or the median.
        clipped: positions in the list of votes of those that were cut in some group.
    """

    vote: FloatVector
    clipped: tuple[int, ...]


def fair_votes(
    groups: Sequence[ChannelGroup],
    votes: Sequence[FloatVector],
    num_examples: Sequence[int],
    vote_limit: float,
    *,
    robust: bool = False,
) -> FairVotes:
    """Average votes by examples, each bounded so that one client cannot decide alone.

    With ``robust`` the median of the clients' values counts for each unit, one client, one vote: then less
    than half of those who vote cannot bring a unit beyond what the others say of it. The mean only bounds
    what they do, and a vote turned upside down keeps every bound.

    Values below zero count as zero. A vote is scaled to mean 1, so its size says nothing. In each
    group its sum is then cut to ``vote_limit`` times the median of the clients' sums, which a single
    client cannot move beyond the others'; the order within its vote stays. A kind of groups to which a
    client gives only zeros is one on which it abstains (its device records no pictures, say): there the
    others' mean counts; where all abstain, every unit counts 1.

    Args:
        groups: the network's present groups.
        votes: one vector of all their units for each client, in the order of ``groups``.
        num_examples: of each client, positive.
        vote_limit: at least 1.
        robust: as the state is aggregated by a rule that withstands bad clients.
    """
    ends = np.cumsum([0, *(group.num_channels for group in groups)]).tolist()
    spans = [slice(start, end) for start, end in pairwise(ends)]
    kinds = np.repeat([group.kind for group in groups], [group.num_channels for group in groups])
    scaled = [_scaled(vote, kinds) for vote in votes]
    fair, clipped = np.ones(ends[-1], np.float64), set()
    for group, span in zip(groups, spans, strict=True):
        present = [index for index, vote in enumerate(scaled) if vote[kinds == group.kind].any()]
        if not present:
            continue
        sums = {index: float(scaled[index][span].sum()) for index in present}
        limit = vote_limit * statistics.median_low(sums.values())
        total = sum(num_examples[index] for index in present)
        cut = {index: scaled[index][span] for index in present}
        for index in present:
            if sums[index] > limit:
                cut[index] = cut[index] * np.float32(limit / sums[index])
                clipped.add(index)
        if robust:
            fair[span] = np.median(list(cut.values()), axis=0)
            continue
        fair[span] = 0
        for index, values in cut.items():
            fair[span] += values * (num_examples[index] / total)
    return FairVotes(fair.astype(np.float32), tuple(sorted(clipped)))


def _scaled(vote: FloatVector, kinds: np.ndarray) -> FloatVector:
    """A vote without negative values, of mean 1 over the kinds on which it does not abstain."""
    vote = np.maximum(vote, 0)
    voted = [kind for kind in np.unique(kinds) if vote[kinds == kind].any()]
    if not voted:
        return vote
    mean = float(vote[np.isin(kinds, voted)].mean(dtype=np.float64))
    return vote if abs(mean - 1) <= MEAN_TOLERANCE else (vote / mean).astype(np.float32)
