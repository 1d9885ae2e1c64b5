"""From the clients' importance votes to one pruning plan.

All clients must hold the same shape, or parameters cannot be averaged. So clients vote, the
server plans, and every machine replays the plan (`fl.compress.prune.apply_plan`).
"""

import heapq
import math
from collections.abc import Mapping, Sequence

import numpy as np

from fl.compress.importance import FloatVector
from fl.compress.prune import PruningPlan
from fl.compress.units import ChannelGroup
from fl.errors import RequestError


def make_plan(
    groups: Sequence[ChannelGroup],
    votes: FloatVector,
    *,
    dense_channels: Mapping[str, int],
    ratio: float,
    scope: str,
    round_to: int,
    min_channel_share: float,
) -> PruningPlan:
    """Choose the least important channels to remove.

    Args:
        groups: the network's present groups.
        votes: (sum of the groups' channels,), importance in the order of ``groups``: the clients'
            vectors averaged by their numbers of examples.
        dense_channels: group name -> channels before any pruning.
        ratio: share of all the dense channels that is gone after this plan, in [0, 1); an
            iterative schedule passes an increasing one.
        scope: "local" takes the same share of each group, rounded to the nearest width allowed;
            "global" ranks all groups together and takes ``round_to`` channels at a time, the
            least important of some group, until the share is reached.
        round_to: widths that change are multiples of this.
        min_channel_share: floor on a group's width, as a share of its dense one; rounded up to
            a multiple of ``round_to``.

    Returns:
        Group name -> sorted indices to remove, without groups that keep everything. Within a
        group no channel that goes is more important than one that stays; ties go to the first.

    Raises:
        RequestError: the floors do not allow the ratio.
        ValueError: votes of another length, or not finite.
    """
    widths = np.array([group.num_channels for group in groups])
    if votes.shape != (widths.sum(),) or not np.isfinite(votes).all():
        raise ValueError(f"votes must be {widths.sum()} finite numbers, got shape {votes.shape}")
    dense = np.array([dense_channels[group.name] for group in groups])
    floors = np.array(
        [
            min(now, round_to * math.ceil(max(full * min_channel_share, 1) / round_to))
            for now, full in zip(widths, dense, strict=True)
        ]
    )
    highest = 1 - floors.sum() / dense.sum()
    if ratio > highest:
        raise RequestError(
            f"compress.prune_ratio must be at most {highest:.3f} with compress.round_to={round_to} and "
            f"compress.min_channel_share={min_channel_share}, got {ratio}; lower the ratio or the floor"
        )
    by_group = np.split(votes, np.cumsum(widths)[:-1])
    orders = [np.argsort(scores, kind="stable") for scores in by_group]
    if scope == "local":
        targets = round_to * np.floor(dense * (1 - ratio) / round_to + 0.5).astype(int)
        kept = np.clip(targets, floors, widths)
    else:
        ranked = [scores[order] for scores, order in zip(by_group, orders, strict=True)]
        kept = _global_widths(ranked, floors, round(ratio * dense.sum()) - (dense - widths).sum(), round_to)
    return {
        group.name: sorted(int(index) for index in order[: now - keep])
        for group, order, now, keep in zip(groups, orders, widths, kept, strict=True)
        if keep < now
    }


def _global_widths(
    ranked: Sequence[FloatVector], floors: np.ndarray, num_to_remove: int, round_to: int
) -> np.ndarray:
    """Widths after taking the cheapest blocks; ``ranked`` are the groups' scores in rising order."""
    kept = np.array([len(scores) for scores in ranked])
    heap: list[tuple[float, int, int]] = []

    def offer(index: int) -> None:
        width = int(kept[index])
        size = width % round_to or round_to
        if width - size >= floors[index]:
            gone = len(ranked[index]) - width
            heapq.heappush(heap, (float(ranked[index][gone : gone + size].mean()), index, size))

    for index in range(len(ranked)):
        offer(index)
    while num_to_remove > 0 and heap:
        _, index, size = heapq.heappop(heap)
        kept[index] -= size
        num_to_remove -= size
        offer(index)
    return kept
