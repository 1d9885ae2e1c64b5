"""The student made smaller between two rounds: pruned by votes, settled, and measured in its narrow width."""

from collections.abc import Sequence

from torch import nn

from fl.compress.prune import apply_plan, reestimate_batchnorm
from fl.compress.sessions import inputs_like
from fl.compress.units import ChannelGroup
from fl.distill.batches import shuffled_batches
from fl.seeds import generator
from fl.state import flatten
from server.evaluate import evaluate_student
from server.fleet import (
    WEAK_STEM,
    after_plan,
    next_width,
)
from server.parts import GlobalStudent, Record, Server
from server.pruning import choose_plan, decide, scheduled_ratio


def prune_student(
    server: Server, student: GlobalStudent, groups: Sequence[ChannelGroup], round_index: int
) -> Record:
    """Turn this round's votes into one plan, shrink the student, and re-estimate its BatchNorm.

    Clients make their optimisers anew each round, so no state of theirs has to follow the slicing.
    """
    settings = server.experiment.compress
    image_size = server.experiment.data.clip.image_size
    ratio = scheduled_ratio(settings, round_index)
    rng = generator(server.experiment.seed, round_index, -1, "votes")
    robust = server.experiment.strategy.aggregator != "mean"
    decision = decide(
        settings, groups, student.network, server.strategy.voters, rng, image_size, robust=robust
    )
    plan = choose_plan(
        settings,
        student.architecture,
        student.network,
        groups,
        decision.votes,
        ratio,
        inputs_like(server.examiner.test),
        server.examiner.cache_dir,
    )
    apply_plan(student.network, plan, image_size)
    student.architecture = student.architecture.with_widths_of(student.network)
    settle_batchnorm(server, student.network, round_index, "batchnorm")
    if student.weak:
        student.weak = next_width(
            student.weak,
            server.experiment,
            student.architecture,
            student.network,
            *after_plan(groups, decision.votes, plan),
            round_index=round_index,
            ranked_by="clients" if decision.voters else "server",
        )
    sizes = {group.name: group.unit_size for group in groups}
    return {
        "ratio": ratio,
        "ratio_of": settings.ratio_of,
        "removed_channels": sum(len(indices) * sizes[name] for name, indices in plan.items()),
        "voters": decision.voters,
        "clipped": decision.clipped,
        "optimizer_state": "reset",
    }


def settle_batchnorm(server: Server, network: nn.Module, round_index: int, purpose: str) -> None:
    """Re-estimate a student's BatchNorm on public clips, drawn for this round and purpose."""
    rng = generator(server.experiment.seed, round_index, -1, purpose)
    size, count = server.experiment.distill.batch_size, server.experiment.compress.batchnorm_batches
    batches = shuffled_batches(server.public, None, size, count, rng, augment=None)
    reestimate_batchnorm(network, (batch.inputs for batch in batches))


def evaluate_weak(server: Server, student: GlobalStudent, round_index: int) -> Record | None:
    """The "weak" part of a record: the narrow student's own evaluation; None in a uniform fleet."""
    weak = student.weak
    if weak is None:
        return None
    network = weak.nested.build(flatten(student.network))
    settle_batchnorm(server, network, round_index, "weak-batchnorm")
    evaluation = evaluate_student(
        weak.nested.architecture, network, server.examiner, round_index, stem=WEAK_STEM
    )
    return {
        "replied": [client for client in server.strategy.ledger.replied if client in weak.clients],
        "ratio": weak.ratio,
        "since_round": weak.since_round,
        "ranked_by": weak.ranked_by,
        **evaluation.parts,
    }
