"""One prune round at the server: who votes, how far the student shrinks this time, and the plan."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from fl.compress.importance import (
    FloatVector,
    magnitude_importance,
    prunable_groups,
    random_importance,
)
from fl.compress.prune import PruningPlan, apply_plan
from fl.compress.target import share_removed, smallest_ratio
from fl.compress.units import ChannelGroup
from fl.settings import CompressSettings
from fl.task import ClientReport
from models.architecture import Architecture
from models.output import Inputs
from server.plan import highest_ratio, make_plan
from server.votes import fair_votes


@dataclass(frozen=True)
class Decision:
    """The votes of a round, made one.

    Attributes:
        votes: (units,), float32, in the order of the groups.
        voters: ids of the clients whose votes count; none where the server decides.
        clipped: ids of those whose votes were cut.
    """

    votes: FloatVector
    voters: tuple[int, ...]
    clipped: tuple[int, ...]


def clients_vote(settings: CompressSettings) -> bool:
    """Whether clients are asked for votes at all."""
    return settings.voters in ("all", "one_client")


def data_free_norm(settings: CompressSettings) -> str:
    """The size of weights that stands in for an importance where there are no clips: "l1" or "l2"."""
    return settings.importance if settings.importance in ("l1", "l2") else "l1"


def scheduled_ratio(settings: CompressSettings, round_index: int) -> float:
    """The share that is gone after a prune round; it reaches the configured one at the last.

    It rises evenly, or by a cubic (Zhu and Gupta 2017, "To Prune, or Not to Prune", equation 1, with
    one step for each prune round).
    """
    rounds = sorted(settings.prune_rounds)
    step = rounds.index(round_index) + 1
    if settings.ratio_schedule == "cubic":
        return float(settings.prune_ratio * (1 - (1 - step / len(rounds)) ** 3))
    return settings.prune_ratio * step / len(rounds)


def decide(
    settings: CompressSettings,
    groups: Sequence[ChannelGroup],
    network: nn.Module,
    reports: Sequence[ClientReport],
    rng: np.random.Generator,
    image_size: int,
    *,
    robust: bool = False,
) -> Decision:
    """The votes that count this round, as `CompressSettings.voters` asks.

    Args:
        settings: whose votes, and of what.
        groups: of ``network``.
        network: the aggregated student.
        reports: of the clients that were asked for a vote, in the order of client ids; where none of
            them replied, the server decides without data.
        rng: draws the one client, and random votes.
        image_size: side of a frame, pixels.
        robust: the median of the votes counts, not their mean.
    """
    num_units = sum(group.num_channels for group in groups)
    server_decides = not (clients_vote(settings) and reports)
    if settings.voters == "random" or (server_decides and settings.importance == "random"):
        return Decision(random_importance(num_units, rng), (), ())
    if server_decides:
        votes = magnitude_importance(network, data_free_norm(settings), image_size, settings.targets)
        return Decision(votes, (), ())
    if settings.voters == "one_client":
        reports = [reports[int(rng.integers(len(reports)))]]
    fair = fair_votes(
        groups,
        [report.importance for report in reports],
        [report.num_examples for report in reports],
        settings.vote_limit,
        robust=robust,
    )
    ids = tuple(report.client_id for report in reports)
    return Decision(fair.vote, ids, tuple(ids[index] for index in fair.clipped))


def check_reachable(
    settings: CompressSettings, architecture: Architecture, inputs: Inputs, cache_dir: Path
) -> None:
    """Refuse a ratio that the floors do not allow, before anything was trained for it.

    How far the floors let a network shrink does not depend on the votes. Latency is only known when it
    is measured, after the votes.

    Raises:
        RequestError: with the highest ratio.
    """
    if not settings.prune_rounds or settings.ratio_of == "latency":
        return
    network, image_size = architecture.build(), inputs[0].shape[-1]
    groups = prunable_groups(network, settings.targets, image_size)
    votes = np.ones(sum(group.num_channels for group in groups), np.float32)
    choose_plan(settings, architecture, network, groups, votes, settings.prune_ratio, inputs, cache_dir)


def choose_plan(
    settings: CompressSettings,
    architecture: Architecture,
    network: nn.Module,
    groups: Sequence[ChannelGroup],
    votes: FloatVector,
    ratio: float,
    inputs: Inputs,
    cache_dir: Path,
) -> PruningPlan:
    """The plan after which ``ratio`` of what `CompressSettings.ratio_of` names is gone.

    Args:
        settings: scope, floors, and what the ratio is a share of.
        architecture: of ``network``.
        network: the aggregated student; left as it is.
        groups: of ``network``.
        votes: see `decide`.
        ratio: share of the dense student's.
        inputs: one clip, for MACs and latency.
        cache_dir: where exported graphs are kept.

    Raises:
        RequestError: the floors do not allow it.
    """
    image_size = inputs[0].shape[-1]
    dense_architecture = Architecture(architecture.name, architecture.settings)
    dense = dense_architecture.build()
    dense_groups = prunable_groups(dense, settings.targets, image_size)
    dense_channels = {group.name: group.num_channels for group in dense_groups}

    def plan_at(channel_ratio: float) -> PruningPlan:
        return make_plan(
            groups,
            votes,
            dense_channels=dense_channels,
            ratio=channel_ratio,
            scope=settings.prune_scope,
            round_to=settings.round_to,
            min_channel_share=settings.min_channel_share,
        )

    if settings.ratio_of == "channels":
        return plan_at(ratio)

    def saved(channel_ratio: float) -> float:
        tried = copy.deepcopy(network)
        apply_plan(tried, plan_at(channel_ratio), image_size)
        both = (dense_architecture, architecture.with_widths_of(tried))
        return share_removed(settings.ratio_of, dense, tried, both, inputs, cache_dir)

    highest = highest_ratio(groups, dense_channels, settings.round_to, settings.min_channel_share)
    return plan_at(smallest_ratio(saved, ratio, highest, settings.ratio_of))
