"""One client's round: distil, measure importance, quantise, report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from fl.compress.importance import (
    magnitude_importance,
    prunable_groups,
    random_importance,
    taylor_importance,
)
from fl.data.shards import ShardView
from fl.distill.batches import (
    Batch,
    TeacherAnswers,
    local_steps,
    num_batches,
    poisson_batches,
    shuffled_batches,
)
from fl.distill.loop import LossOfBatch, MeanLosses, take_steps
from fl.distill.losses import LossTerms, batch_loss
from fl.distill.optimizer import class_weights, make_optimizer
from fl.privacy.accountant import Releases
from fl.privacy.client_releases import LOCAL_SENSITIVITY, releases_of_round
from fl.privacy.local_gaussian import noised_update
from fl.privacy.noise import private_generator
from fl.seeds import generator
from fl.settings import AdversarySettings, AugmentSettings, CompressSettings, DistillSettings, PrivacySettings
from fl.state import flatten, load_flat
from fl.task import LOSS_KEYS, ClientReport, RoundTask


class StageError(Exception):
    """A client's work failed; the message is "stage: reason"."""


@dataclass(frozen=True)
class EdgeClient:
    """A simulated device with its private shard.

    Attributes:
        client_id: the partition id.
        view: its clips.
        teacher: its answers: cached ones are of the view's store, without what the client lacks.
        augment: settings of the augmentation of training clips.
        distill: settings of the local training.
        compress: settings of the importance and of the quantised copy.
        seed: the run's.
        cache_dir: where exported graphs are kept.
        privacy: what protects its clips, and so what it tells.
        adversary: what a malicious client does, see `clients.adversary`; None: it is honest.
        num_rounds: of the run: over which its noise is spread.
    """

    client_id: int
    view: ShardView
    teacher: TeacherAnswers
    augment: AugmentSettings
    distill: DistillSettings
    compress: CompressSettings
    seed: int
    cache_dir: Path
    privacy: PrivacySettings = PrivacySettings()
    adversary: AdversarySettings | None = None
    num_rounds: int = 1

    def generator(self, round_index: int, purpose: str) -> np.random.Generator:
        """Of its private draws; see `private_generator`."""
        return private_generator(self.privacy, self.seed, round_index, self.client_id, purpose)

    def releases(self, step_share: float) -> Releases:
        """What its mechanism releases in a round of so many of its steps."""
        num_clips = len(self.view)
        return releases_of_round(self.privacy, self.distill, num_clips, self.num_rounds, step_share)


def run_round(task: RoundTask, client: EdgeClient, network: nn.Module) -> ClientReport:
    """Do the work of one round.

    Args:
        task: what the server asks.
        client: who does it.
        network: a network of the task's architecture; its state is overwritten.

    Raises:
        StageError: with the stage at which it failed and why.
    """
    started = time.perf_counter()
    importance, agreement = np.empty(0, np.float32), None
    with stage("receive"):
        load_flat(network, task.state)
    with stage("distil"):
        losses = distil(task, client, network)
    if task.measure_importance:
        with stage("importance"):
            importance = measure_importance(task, client, network)
    if task.quantize:
        with stage("quantize"):
            agreement = quantized_agreement(task, client, network)
    with stage("protect"):
        state = told_state(task, client, network)
    terms = (losses.loss, losses.hard, losses.soft, losses.attention, losses.proximal)
    return ClientReport(
        client_id=client.client_id,
        num_examples=len(client.view),
        num_steps=losses.num_steps,
        state=state,
        schema=task.schema,
        losses=dict(zip(LOSS_KEYS, terms, strict=True)),
        seconds=time.perf_counter() - started,
        importance=importance,
        int8_agreement=agreement,
    )


def distil(task: RoundTask, client: EdgeClient, network: nn.Module) -> MeanLosses:
    """Local epochs against labels and the teacher's answers; a straggler does a share of them."""
    settings = client.distill
    if client.privacy.mechanism == "dp_sgd":
        return distil_privately(task, client, network)
    rng = generator(client.seed, task.round_index, client.client_id, "batches")
    batches = shuffled_batches(
        client.view,
        client.teacher,
        settings.batch_size,
        local_steps(settings, len(client.view), task.step_share),
        rng,
        augment=client.augment,
    )
    optimizer = make_optimizer(network.parameters(), settings, task.learning_rate)
    return take_steps(
        network,
        batches,
        local_loss(settings, client.view.labels),
        optimizer,
        proximal_mu=settings.proximal_mu,
        clip_norm=settings.clip_norm,
    )


def distil_privately(task: RoundTask, client: EdgeClient, network: nn.Module) -> MeanLosses:
    """`distil` by DP-SGD: as many steps, on Poisson samples of the clips; see `fl.privacy.dp_sgd`."""
    from fl.privacy.dp_sgd import PrivateGradients, check_student

    settings, frames, mfcc = client.distill, client.view.shard.frames, client.view.shard.mfcc
    check_student(network, frames.shape[1], frames.shape[2], mfcc.shape[2])
    releases = client.releases(task.step_share)
    batches = poisson_batches(
        client.view,
        client.teacher,
        releases.sampling_rate,
        releases.count,
        client.generator(task.round_index, "poisson batches"),
        augment=client.augment,
    )
    optimizer = make_optimizer(network.parameters(), settings, task.learning_rate)
    differentiate = PrivateGradients(
        optimizer,
        noise_multiplier=releases.noise_multiplier,
        clip_norm=client.privacy.clip_norm,
        expected_batch_size=releases.sampling_rate * len(client.view),
        rng=client.generator(task.round_index, "step noise"),
    )
    return take_steps(
        network,
        batches,
        local_loss(settings, client.view.labels),
        optimizer,
        proximal_mu=settings.proximal_mu,
        differentiate=differentiate,
    )


def told_state(task: RoundTask, client: EdgeClient, network: nn.Module) -> np.ndarray:
    """The trained student as it leaves the client; see `fl.privacy.local_gaussian`."""
    state = flatten(network)
    if client.privacy.mechanism != "local_gaussian":
        return state
    noise = client.releases(task.step_share).noise_multiplier * LOCAL_SENSITIVITY
    clip_norm = client.privacy.clip_norm
    rng = client.generator(task.round_index, "update noise")
    return noised_update(task.state, state, clip_norm=clip_norm, noise_std=noise * clip_norm, rng=rng)


def measure_importance(task: RoundTask, client: EdgeClient, network: nn.Module) -> np.ndarray:
    """The client's vote on what the student can do without: one number for each removable unit.

    Taylor importance takes gradients over some batches of the shard; the others need no data. A client
    whose device records no pictures has no Taylor importance of the backbone: it votes for all channels
    alike, or, where other parts are pruned too, gives it zeros, which the server takes as abstention.
    """
    rng = generator(client.seed, task.round_index, client.client_id, "importance")
    settings, image_size = client.compress, client.view.shard.frames.shape[2]
    if settings.importance == "random":
        groups = prunable_groups(network, settings.targets, image_size)
        return random_importance(sum(group.num_channels for group in groups), rng)
    if settings.importance != "taylor":
        return magnitude_importance(network, settings.importance, image_size, settings.targets)
    size = client.distill.batch_size
    steps = min(settings.importance_batches, num_batches(len(client.view), size))
    loss_terms = local_loss(client.distill, client.view.labels)
    network.eval()
    network.zero_grad()
    for batch in shuffled_batches(client.view, client.teacher, size, steps, rng, augment=None):
        loss_terms(network, batch).total.backward()  # type: ignore[no-untyped-call]
    vote = taylor_importance(network, image_size, settings.targets)
    network.zero_grad()
    return vote


def quantized_agreement(task: RoundTask, client: EdgeClient, network: nn.Module) -> float | None:
    """Quantise this client's own student for its device, and compare it with the float one."""
    from fl.compress.agreement import int8_agreement  # onnxruntime is needed in the last round only

    return int8_agreement(task.architecture, network, client.view, client.compress, client.cache_dir)


def local_loss(settings: DistillSettings, labels: np.ndarray) -> LossOfBatch:
    """The distillation loss of a network on a batch that carries the teacher's answers.

    Args:
        settings: weights and temperature, and whether classes are balanced.
        labels: (clips,), of all clips that are trained on.
    """
    weights = class_weights(labels, settings.class_weights)

    def loss_terms(network: nn.Module, batch: Batch) -> LossTerms:
        output = network(*batch.inputs)
        return batch_loss(output.logits, output.explanation, batch, settings, weights)

    return loss_terms


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Name the stage of whatever fails inside: one client's failure never ends a run."""
    try:
        yield
    except Exception as error:
        raise StageError(f"{name}: {type(error).__name__}: {error}") from error
