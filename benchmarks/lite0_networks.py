"""EfficientNet-Lite0 on pictures of a corpus: trained from random weights, pruned, exported, judged."""

import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.pictures import calibrate_on
from fl.compress.export import load_template, save_model
from fl.compress.importance import FloatVector, prunable_groups, taylor_importance
from fl.compress.prune import apply_plan, reestimate_batchnorm
from fl.compress.quantize import quantize_int8
from fl.compress.sessions import batch_feeds
from fl.compress.thesis import NETWORK
from fl.data.shards import ShardView
from fl.distill.batches import Batch, ordered_batches, shuffled_batches
from fl.distill.loop import take_steps
from fl.distill.losses import LossTerms, hard_loss, supervised_loss
from fl.distill.optimizer import rate_share
from fl.metrics.cost import example_inputs
from fl.metrics.detection import detection_metrics
from fl.metrics.latency import open_session
from fl.seeds import derive, generator
from fl.settings import AugmentSettings
from models.architecture import Architecture
from models.image import ImageDetector
from server.evaluate import probabilities, two_class_rows
from server.plan import make_plan

NUM_STEPS = 300
LEARNING_RATE = 2e-3
BATCH_SIZE = 32
NUM_BATCHES = 10
"""Batches of votes, and of BatchNorm's new statistics."""
NUM_CALIBRATION = 64
MIN_SHARE = 0.1
"""Floor on a layer's width."""


class Quality(NamedTuple):
    """What a network knows of the test pictures.

    Attributes:
        accuracy: share of correct verdicts.
        auc: area under the ROC curve.
        loss: mean binary cross-entropy.
    """

    accuracy: float
    auc: float
    loss: float


def trained(train: ShardView, seed: int) -> ImageDetector:
    """A dense network after `NUM_STEPS` steps from random weights."""
    network = Architecture(NETWORK).build(derive(seed, "lite0"))
    if not isinstance(network, ImageDetector):
        raise TypeError(f"{NETWORK} is no network of pictures")
    fit(network, train, NUM_STEPS, LEARNING_RATE, seed)
    return network


def fit(network: nn.Module, train: ShardView, num_steps: int, rate: float, seed: int) -> None:
    """AdamW with warm-up and cosine on labels, mirrored pictures, in place; evaluation mode after."""
    rng = generator(seed, num_steps, -1, "lite0 batches")
    batches = shuffled_batches(train, None, BATCH_SIZE, num_steps, rng, augment=AugmentSettings())
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01, fused=True)

    def set_rate(step: int) -> None:
        optimizer.param_groups[0]["lr"] = rate * rate_share(step / num_steps, "cosine", 0.1)

    take_steps(network, batches, _label_loss, optimizer, clip_norm=1.0, before_step=set_rate)
    network.to(memory_format=torch.contiguous_format).eval()


def vote(network: ImageDetector, train: ShardView, seed: int) -> FloatVector:
    """Taylor importance of every channel over some batches."""
    rng = generator(seed, 0, -1, "lite0 votes")
    network.eval().zero_grad()
    for batch in shuffled_batches(train, None, BATCH_SIZE, NUM_BATCHES, rng, augment=None):
        _label_loss(network, batch).total.backward()  # type: ignore[no-untyped-call]
    votes = taylor_importance(network, train.shard.frames.shape[2])
    network.zero_grad()
    return votes


def prune(
    network: ImageDetector, votes: FloatVector, share: float, scope: str, round_to: int
) -> ImageDetector:
    """A copy without that share of the channels."""
    groups = prunable_groups(network)
    plan = make_plan(
        groups,
        votes,
        dense_channels={group.name: group.num_channels for group in groups},
        ratio=share,
        scope=scope,
        round_to=round_to,
        min_channel_share=MIN_SHARE,
    )
    smaller = copy.deepcopy(network)
    apply_plan(smaller, plan)
    return smaller


def mend(network: ImageDetector, train: ShardView) -> None:
    """BatchNorm's statistics anew, in place."""
    rng = generator(0, 0, -1, "lite0 batchnorm")
    batches = shuffled_batches(train, None, BATCH_SIZE, NUM_BATCHES, rng, augment=None)
    reestimate_batchnorm(network, (batch.inputs for batch in batches))


def export(
    network: ImageDetector, train: ShardView, image_size: int, cache_dir: Path, folder: Path
) -> tuple[Path, Path]:
    """Float and static INT8 graphs for pictures of one size."""
    architecture = Architecture(NETWORK).with_widths_of(network)
    inputs = example_inputs({"num_frames": 1, "num_mfcc": 13}, image_size=image_size, audio_steps=1)
    template = load_template(architecture, network, inputs, cache_dir)
    float_onnx = save_model(template.with_weights(network.state_dict()), folder / "float.onnx")
    rows = two_class_rows(train.labels, NUM_CALIBRATION, generator(0, 0, -1, "lite0 calibration"))
    calibration = calibrate_on(train, rows, image_size)
    return float_onnx, quantize_int8(float_onnx, folder / "int8.onnx", "static", calibration)


def quality_of(logits: np.ndarray, test: ShardView) -> Quality:
    """(pictures,) logits against the labels; both classes are present."""
    metrics = detection_metrics(test.labels, probabilities(logits))
    if metrics.accuracy is None or metrics.auc is None:
        raise ValueError("the test pictures must hold both classes")
    labels = torch.from_numpy(test.labels.astype(np.float32))
    return Quality(metrics.accuracy, metrics.auc, float(hard_loss(torch.from_numpy(logits), labels)))


def int8_logits(path: Path, test: ShardView) -> np.ndarray:
    """(pictures,), what an exported graph says of pictures of its own size."""
    session = open_session(path)
    answers = []
    for batch in ordered_batches(test, None, BATCH_SIZE):
        answers.append(session.run(["logits"], batch_feeds(batch))[0])
    return np.concatenate(answers)


def _label_loss(network: nn.Module, batch: Batch) -> LossTerms:
    return supervised_loss(network(*batch.inputs).logits, batch.labels)
