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
    """Choose the least important channels, heads and units to remove.

    They are counted in channels: a head counts as many as it is wide, and is compared with others by
    its importance for each of them. Heads are removed one by one, everything else by ``round_to``.

    Args:
        groups: the network's present groups.
        votes: (sum of the groups' channels,), importance in the order of ``groups``: see
            `server.votes`.
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
    sizes = np.array([group.unit_size for group in groups])
    steps = np.array([round_to if group.unit_size == 1 else 1 for group in groups])
    floors = _floors(groups, dense, round_to, min_channel_share)
    highest = highest_ratio(groups, dense_channels, round_to, min_channel_share)
    if ratio > highest:
        raise RequestError(
            f"compress.prune_ratio must be at most {highest:.3f} with compress.round_to={round_to} and "
            f"compress.min_channel_share={min_channel_share}, got {ratio}; lower the ratio or the floor"
        )
    by_group = np.split(votes, np.cumsum(widths)[:-1])
    orders = [np.argsort(scores, kind="stable") for scores in by_group]
    if scope == "local":
        targets = steps * np.floor(dense * (1 - ratio) / steps + 0.5).astype(int)
        kept = np.clip(targets, floors, widths)
    else:
        ranked = [scores[order] for scores, order in zip(by_group, orders, strict=True)]
        gone = ((dense - widths) * sizes).sum()
        kept = _global_widths(ranked, floors, round(ratio * (dense * sizes).sum()) - gone, steps, sizes)
    return {
        group.name: sorted(int(index) for index in order[: now - keep])
        for group, order, now, keep in zip(groups, orders, widths, kept, strict=True)
        if keep < now
    }


def highest_ratio(
    groups: Sequence[ChannelGroup],
    dense_channels: Mapping[str, int],
    round_to: int,
    min_channel_share: float,
) -> float:
    """The largest share of the dense channels that the floors allow to remove; see `make_plan`."""
    dense = np.array([dense_channels[group.name] for group in groups])
    sizes = np.array([group.unit_size for group in groups])
    floors = _floors(groups, dense, round_to, min_channel_share)
    return float(1 - (floors * sizes).sum() / (dense * sizes).sum())


def _floors(
    groups: Sequence[ChannelGroup], dense: np.ndarray, round_to: int, min_channel_share: float
) -> np.ndarray:
    """Smallest width of each group: never none, and never more than it has now."""
    floors = []
    for group, full in zip(groups, dense, strict=True):
        step = round_to if group.unit_size == 1 else 1
        floors.append(min(group.num_channels, step * math.ceil(max(full * min_channel_share, 1) / step)))
    return np.array(floors)


def _global_widths(
    ranked: Sequence[FloatVector],
    floors: np.ndarray,
    num_to_remove: int,
    steps: np.ndarray,
    sizes: np.ndarray,
) -> np.ndarray:
    """Widths after taking the cheapest blocks; ``ranked`` are the groups' scores in rising order."""
    kept = np.array([len(scores) for scores in ranked])
    heap: list[tuple[float, int, int]] = []

    def offer(index: int) -> None:
        width, step = int(kept[index]), int(steps[index])
        count = width % step or step
        if width - count >= floors[index]:
            gone = len(ranked[index]) - width
            score = float(ranked[index][gone : gone + count].mean()) / int(sizes[index])
            heapq.heappush(heap, (score, index, count))

    for index in range(len(ranked)):
        offer(index)
    while num_to_remove > 0 and heap:
        _, index, count = heapq.heappop(heap)
        kept[index] -= count
        num_to_remove -= count * int(sizes[index])
        offer(index)
    return kept
