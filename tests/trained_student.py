"""A small student that has learnt its clips, so that what INT8 spoils can be seen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from small_shards import FACE, REAL, shard
from torch import nn

from fl.compress.calibration import Calibration
from fl.compress.export import load_template
from fl.compress.prune import reestimate_batchnorm
from fl.data.shards import Shard, take
from fl.distill.batches import Batch, load_batch, ordered_batches, shuffled_batches
from fl.distill.loop import take_steps
from fl.distill.losses import LossTerms, supervised_loss
from fl.metrics.cost import example_inputs
from models.architecture import Architecture

LITE = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13})


@dataclass(frozen=True)
class Trained:
    """A student, its clips, its float graph, and the clips as calibration."""

    network: nn.Module
    store: Shard
    graph: onnx.ModelProto
    calibration: Calibration


def labels_only(network: nn.Module, batch: Batch) -> LossTerms:
    """The hard loss."""
    return supervised_loss(network(*batch.inputs).logits, batch.labels)


def train_student(cache_dir: Path) -> Trained:
    """Twenty steps on forty clips, half of them dark fakes: no verdict is wrong after them."""
    store = shard([REAL, FACE] * 20)
    view, network = take(store), LITE.build()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    batches = shuffled_batches(view, None, 16, 20, np.random.default_rng(0), augment=None)
    take_steps(network, batches, labels_only, optimizer, clip_norm=5.0)
    reestimate_batchnorm(network.eval(), [batch.inputs for batch in ordered_batches(view, None, 20)])
    inputs = example_inputs(LITE.settings, image_size=32, audio_steps=10)
    graph = load_template(LITE, network, inputs, cache_dir).with_weights(network.state_dict())
    batch = load_batch(view, np.arange(len(view)))
    return Trained(network, store, graph, Calibration(*(t.numpy() for t in (*batch.inputs, batch.labels))))
