"""A malicious client's round: the honest work, spoilt in one way.

Its device sends replies like any other's; what it cannot do is forge another client's. What each kind does:

- label_flip: trains on turned labels, with a teacher that agrees with them.
- backdoor: some of its clips carry the trigger and the label that the trigger is to mean; what it learnt is
  sent enlarged (model replacement: Bagdasaryan et al. 2020, How To Backdoor Federated Learning, equation 3).
- sign_flip: sends its update turned round and enlarged. scaling: enlarged only. BatchNorm's statistics are
  sent as they are: a turned variance would be negative, which no honest client sends and the gate refuses.
- not_a_number: sends no number. free_rider: does no work, and sends back what it got, with noise if asked.
- poisoned_votes: honest training, and a vote for pruning what it needs most.
- poisoned_calibration: calibrates its own INT8 copy on noise, and reports its agreement there. That is all
  that can be poisoned: the server calibrates the common student on public clips of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from torch import nn

from clients.round import EdgeClient, quantized_agreement, run_round, stage
from fl.compress.importance import prunable_groups
from fl.poisoning.trigger import trigger_of
from fl.poisoning.views import NoisyView, poison
from fl.seeds import derive, generator
from fl.settings import AdversarySettings
from fl.state import value_mask
from fl.task import LOSS_KEYS, ClientReport, RoundTask

STATISTICS = ("running_mean", "running_var")

Deed = Callable[[RoundTask, EdgeClient, nn.Module, AdversarySettings], ClientReport]


def act(task: RoundTask, client: EdgeClient, network: nn.Module) -> ClientReport:
    """The round of a client, honest or not; arguments and errors as of `clients.round.run_round`."""
    if client.adversary is None:
        return run_round(task, client, network)
    return DEEDS[client.adversary.kind](task, client, network, client.adversary)


def label_flip(
    task: RoundTask, client: EdgeClient, network: nn.Module, settings: AdversarySettings
) -> ClientReport:
    """Honest work on clips of which each is called what it is not."""
    view = client.view
    nowhere = np.zeros(len(view), np.bool_)
    turned = (1 - view.labels).astype(np.uint8)
    clips, teacher = poison(view, client.teacher, turned, nowhere, trigger_of(settings))
    return run_round(task, replace(client, view=clips, teacher=teacher), network)


def backdoor(
    task: RoundTask, client: EdgeClient, network: nn.Module, settings: AdversarySettings
) -> ClientReport:
    """Honest work on clips of which some carry the trigger, the same in each round; the update is boosted."""
    view = client.view
    rng = generator(client.seed, 0, client.client_id, "backdoor")
    triggered = rng.permutation(len(view)) < round(settings.poisoned_share * len(view))
    given = np.where(triggered, np.uint8(settings.target == "fake"), view.labels)
    clips, teacher = poison(view, client.teacher, given, triggered, trigger_of(settings))
    report = run_round(task, replace(client, view=clips, teacher=teacher), network)
    return moved(report, task, network, settings.scale)


def sign_flip(
    task: RoundTask, client: EdgeClient, network: nn.Module, settings: AdversarySettings
) -> ClientReport:
    """The update, turned round and enlarged."""
    return moved(run_round(task, client, network), task, network, -settings.scale)


def scaling(
    task: RoundTask, client: EdgeClient, network: nn.Module, settings: AdversarySettings
) -> ClientReport:
    """The update, enlarged."""
    return moved(run_round(task, client, network), task, network, settings.scale)


def not_a_number(
    task: RoundTask, client: EdgeClient, network: nn.Module, settings: AdversarySettings
) -> ClientReport:
    """Not a number, in place of every value."""
    report = run_round(task, client, network)
    return replace(report, state=np.full_like(report.state, np.nan))


def free_rider(
    task: RoundTask, client: EdgeClient, network: nn.Module, settings: AdversarySettings
) -> ClientReport:
    """What was sent comes back, as if a step had been done; asked for votes, it votes for all alike.

    It cannot know the length of a vote without the work, so that much it does.
    """
    rng = generator(client.seed, task.round_index, client.client_id, "free rider")
    noise = settings.noise * rng.standard_normal(task.state.size, dtype=np.float32)
    noise[value_mask(network, STATISTICS)] = 0
    report = ClientReport(
        client_id=client.client_id,
        num_examples=len(client.view),
        num_steps=1,
        state=(task.state + noise).astype(np.float32),
        schema=task.schema,
        losses=dict.fromkeys(LOSS_KEYS, 0.0),
        seconds=0.0,
        importance=np.empty(0, np.float32),
    )
    if not task.measure_importance:
        return report
    with stage("importance"):
        groups = prunable_groups(network, client.compress.targets, client.view.shard.frames.shape[2])
    return replace(report, importance=np.ones(sum(group.num_channels for group in groups), np.float32))


def poisoned_votes(
    task: RoundTask, client: EdgeClient, network: nn.Module, settings: AdversarySettings
) -> ClientReport:
    """An honest student, and the vote upside down: what the client needs most is to be pruned first."""
    report = run_round(task, client, network)
    vote = report.importance
    if not vote.any():
        return report
    turned = np.where(vote > 0, vote.max() + vote[vote > 0].min() - vote, 0)
    return replace(report, importance=(turned * (vote.mean() / turned.mean())).astype(np.float32))


def poisoned_calibration(
    task: RoundTask, client: EdgeClient, network: nn.Module, settings: AdversarySettings
) -> ClientReport:
    """An honest student, and an INT8 copy of it that was calibrated and judged on noise."""
    report = run_round(replace(task, quantize=False), client, network)
    if not task.quantize:
        return report
    view, seed = client.view, derive(client.seed, "poisoned calibration")
    noisy = NoisyView(view.shard, view.rows, view.lacks, seed=seed)
    with stage("quantize"):
        agreement = quantized_agreement(task, replace(client, view=noisy), network)
    return replace(report, int8_agreement=agreement)


def moved(report: ClientReport, task: RoundTask, network: nn.Module, factor: float) -> ClientReport:
    """The report with its update times ``factor``; BatchNorm's statistics stay."""
    state = task.state + np.float32(factor) * (report.state - task.state)
    kept = value_mask(network, STATISTICS)
    state[kept] = report.state[kept]
    return replace(report, state=state.astype(np.float32))


DEEDS: Mapping[str, Deed] = MappingProxyType(
    {
        "label_flip": label_flip,
        "backdoor": backdoor,
        "sign_flip": sign_flip,
        "scaling": scaling,
        "not_a_number": not_a_number,
        "free_rider": free_rider,
        "poisoned_votes": poisoned_votes,
        "poisoned_calibration": poisoned_calibration,
    }
)
"""`AdversarySettings.kind` -> what it does."""
