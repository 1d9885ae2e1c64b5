"""What a round's record says of attack and defence: who was kept out, and whether the attack had success."""

from typing import Any

import numpy as np
from torch import nn

from fl.data.shards import ShardView
from fl.distill.predict import predict
from fl.poisoning.roster import malicious_clients
from fl.poisoning.trigger import trigger_of
from fl.poisoning.views import PoisonedView
from fl.settings import AdversarySettings, Experiment
from server.aggregators.limits import fewest_replies
from server.aggregators.rules import left_out
from server.strategy import DeterministicFedProx


def aggregation_part(strategy: DeterministicFedProx) -> dict[str, Any] | None:
    """The "aggregation" part of a record; None where replies are simply averaged."""
    settings, combined = strategy.settings, strategy.combined
    if settings.aggregator == "mean":
        return None
    return {
        "aggregator": settings.aggregator,
        "num_byzantine": settings.num_byzantine,
        "fewest_replies": fewest_replies(settings.aggregator, settings.num_byzantine),
        "weights": None if combined is None else combined.weights.tolist(),
        "left_out": _left_out(strategy),
    }


def adversary_part(
    experiment: Experiment, strategy: DeterministicFedProx, network: nn.Module, test: ShardView
) -> dict[str, Any] | None:
    """The "adversary" part of a record; None where all clients are honest.

    Args:
        experiment: with the adversary's settings and the seed.
        strategy: after the round's aggregation.
        network: the global student after the round.
        test: the test split.
    """
    settings = experiment.adversary
    if settings.kind == "none":
        return None
    bad = malicious_clients(settings, experiment.seed, len(strategy.declared_examples))
    refused = [failure.client_id for failure in strategy.ledger.failed if failure.stage == "gate"]
    out = _left_out(strategy)
    success, without = attack_success(settings, network, test)
    return {
        "kind": settings.kind,
        "malicious": sorted(bad),
        "malicious_refused": [client for client in refused if client in bad],
        "malicious_left_out": [client for client in out if client in bad],
        "malicious_counted": [c for c in strategy.ledger.replied if c in bad and c not in out],
        "honest_refused": [client for client in refused if client not in bad],
        "honest_left_out": [client for client in out if client not in bad],
        "attack_success": success,
        "without_trigger": without,
    }


def attack_success(
    settings: AdversarySettings, network: nn.Module, test: ShardView
) -> tuple[float | None, float | None]:
    """Share of the other label's test clips that are called the target, with the trigger and without.

    Only a backdoor has a trigger; the others' target is that fakes are called real.

    Args:
        settings: what the attack wants.
        network: the student.
        test: the test split.

    Returns:
        None each where the test split has no such clips.
    """
    target = settings.target if settings.kind == "backdoor" else "real"
    labels = test.labels
    rows = test.rows[labels != (target == "fake")]
    if not len(rows):
        return None, None
    plain = ShardView(test.shard, rows, test.lacks)
    without = _share_called(target, network, plain)
    if settings.kind != "backdoor":
        return without, without
    triggered = PoisonedView(
        plain.shard,
        plain.rows,
        plain.lacks,
        given=plain.labels,
        triggered=np.ones(len(rows), np.bool_),
        trigger=trigger_of(settings),
    )
    return _share_called(target, network, triggered), without


def _share_called(target: str, network: nn.Module, clips: ShardView) -> float:
    logits, _ = predict(network, clips)
    return float(((logits > 0) == (target == "fake")).mean())


def _left_out(strategy: DeterministicFedProx) -> list[int]:
    if strategy.combined is None:
        return []
    pairs = zip(strategy.ledger.replied, left_out(strategy.combined.weights), strict=True)
    return [client for client, out in pairs if out]
