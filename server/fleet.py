"""A fleet of two widths: who trains the narrow student, and which part of the wide one it is.

Diao et al. 2021, HeteroFL: see `fl.compress.nesting`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from fl.compress.importance import FloatVector, magnitude_importance, prunable_groups
from fl.compress.nesting import NestedWidth, nest
from fl.compress.prune import PruningPlan
from fl.compress.units import ChannelGroup
from fl.devices import DeviceProfile, clients_with, profile_of
from fl.errors import RequestError
from fl.settings import CompressSettings, Experiment, FleetSettings
from fl.task import RoundTask
from models.architecture import Architecture
from server.gate import Expectation
from server.plan import highest_ratio, make_plan
from server.pruning import data_free_norm

WEAK_STEM = "student.weak"
"""Files of the narrow student begin so."""


@dataclass(frozen=True)
class WeakWidth:
    """The narrow student of the weak devices; fixed from one pruning of the global student to the next.

    Attributes:
        clients: who trains it.
        plan: what of the global student it does without.
        nested: its shape, and its place in the global student.
        ratio: share of the global student's channels that it does without.
        since_round: the round after whose aggregation it was chosen; 0: before the first.
        ranked_by: "clients", by the votes of that round, or "server", by the size of the weights.
    """

    clients: frozenset[int]
    plan: PruningPlan
    nested: NestedWidth
    ratio: float
    since_round: int
    ranked_by: str


@dataclass(frozen=True)
class WeakPart:
    """What the strategy has to know of a round in which some clients train the narrow student.

    Attributes:
        clients: those clients; others may not be sampled.
        task: theirs.
        expected: what a valid reply to it looks like.
        nested: where the reply's values belong.
    """

    clients: frozenset[int]
    task: RoundTask
    expected: Expectation
    nested: NestedWidth


def first_width(
    experiment: Experiment,
    architecture: Architecture,
    network: nn.Module,
    num_clients: int,
    device_of: Callable[[int], DeviceProfile] = profile_of,
) -> WeakWidth | None:
    """The narrow student before round 1, chosen by the server from the weights; None for a uniform fleet.

    Raises:
        RequestError: it would be as wide as the global one.
    """
    fleet, compress, image_size = experiment.fleet, experiment.compress, experiment.data.clip.image_size
    if fleet.kind == "uniform":
        return None
    groups = prunable_groups(network, compress.targets, image_size)
    votes = magnitude_importance(network, data_free_norm(compress), image_size, compress.targets)
    plan = narrowing_plan(fleet, compress, groups, votes)
    if not plan:
        raise RequestError(
            f"fleet.weak_ratio must be large enough to make some layer narrower with compress.round_to="
            f"{compress.round_to} and compress.min_channel_share={compress.min_channel_share}, "
            f"got {fleet.weak_ratio}; raise it, or lower compress.round_to"
        )
    nested = nest(architecture, network, plan, image_size)
    clients = clients_with(fleet.weak_devices, num_clients, device_of)
    return WeakWidth(clients, plan, nested, share_of(groups, plan), 0, "server")


def restored_width(
    experiment: Experiment,
    architecture: Architecture,
    network: nn.Module,
    num_clients: int,
    plan: PruningPlan,
    told: Mapping[str, Any],
) -> WeakWidth:
    """The narrow student of a checkpoint.

    Args:
        experiment: of the run that wrote it.
        architecture: of ``network``.
        network: the global student.
        num_clients: of the run.
        plan: `WeakWidth.plan`.
        told: the "weak" part of the round's record.
    """
    return WeakWidth(
        clients=clients_with(experiment.fleet.weak_devices, num_clients),
        plan=plan,
        nested=nest(architecture, network, plan, experiment.data.clip.image_size),
        ratio=told["ratio"],
        since_round=told["since_round"],
        ranked_by=told["ranked_by"],
    )


def next_width(
    weak: WeakWidth,
    experiment: Experiment,
    architecture: Architecture,
    network: nn.Module,
    groups: Sequence[ChannelGroup],
    votes: FloatVector,
    *,
    round_index: int,
    ranked_by: str,
) -> WeakWidth:
    """The narrow student after the global one was pruned, by the votes that pruned it.

    Args:
        weak: the one until now.
        experiment: how much narrower, and which widths are allowed.
        architecture: of ``network``.
        network: the global student, pruned.
        groups: of ``network``.
        votes: of its units, in the order of ``groups``.
        round_index: the present round.
        ranked_by: whose votes they are; see `WeakWidth`.
    """
    plan = narrowing_plan(experiment.fleet, experiment.compress, groups, votes)
    nested = nest(architecture, network, plan, experiment.data.clip.image_size)
    return replace(
        weak,
        plan=plan,
        nested=nested,
        ratio=share_of(groups, plan),
        since_round=round_index,
        ranked_by=ranked_by,
    )


def narrowing_plan(
    fleet: FleetSettings, compress: CompressSettings, groups: Sequence[ChannelGroup], votes: FloatVector
) -> PruningPlan:
    """What the narrow student does without: the same share of every layer, as in HeteroFL.

    Floors are shares of the present widths; what they forbid is left in, so the share may be smaller.
    """
    widths = {group.name: group.num_channels for group in groups}
    highest = highest_ratio(groups, widths, compress.round_to, compress.min_channel_share)
    return make_plan(
        groups,
        votes,
        dense_channels=widths,
        ratio=min(fleet.weak_ratio, highest),
        scope="local",
        round_to=compress.round_to,
        min_channel_share=compress.min_channel_share,
    )


def share_of(groups: Sequence[ChannelGroup], plan: PruningPlan) -> float:
    """Share of the groups' channels that a plan removes; a head counts as many as it is wide."""
    gone = sum(len(plan.get(group.name, ())) * group.unit_size for group in groups)
    return gone / sum(group.num_channels * group.unit_size for group in groups)


def after_plan(
    groups: Sequence[ChannelGroup], votes: FloatVector, plan: PruningPlan
) -> tuple[list[ChannelGroup], FloatVector]:
    """The groups and votes of what a plan leaves."""
    ends = np.cumsum([group.num_channels for group in groups])[:-1]
    gone = [list(plan.get(group.name, ())) for group in groups]
    left = [np.delete(part, indices) for part, indices in zip(np.split(votes, ends), gone, strict=True)]
    smaller = [replace(group, num_channels=len(part)) for group, part in zip(groups, left, strict=True)]
    return smaller, np.concatenate(left)


def weak_part(weak: WeakWidth, task: RoundTask, expected: Expectation) -> WeakPart:
    """The narrow student's part of a round, from that of the global one.

    Its clients are not asked for votes: they cannot judge channels that they have not.
    """
    nested = weak.nested
    narrow_task = replace(
        task,
        architecture=nested.architecture,
        state=task.state[nested.positions],
        schema=nested.schema,
        measure_importance=False,
    )
    variances = expected.variances
    narrow_expected = replace(
        expected,
        num_values=nested.positions.size,
        schema=nested.schema,
        num_importances=0,
        sent=narrow_task.state,
        variances=None if variances is None else variances[nested.positions],
    )
    return WeakPart(weak.clients, narrow_task, narrow_expected, nested)
