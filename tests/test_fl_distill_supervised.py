"""Targets and losses of the server's training, against closed forms; and that it learns at all."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_shards import BOTH, FACE, REAL, clip, shard

from fl.data.shards import take
from fl.distill.altered import altered_labels
from fl.distill.batches import load_batch
from fl.distill.optimizer import OPTIMIZERS
from fl.distill.supervised import (
    Goal,
    Localiser,
    balanced_loss,
    localised_loss,
    train_epochs,
)
from fl.settings import AugmentSettings, WarmupSettings
from models.architecture import Architecture


def test_targets_follow_the_periods_in_the_middle_of_a_longer_clip() -> None:
    # the window is the middle 0.2 s (10 steps) of 1 s: it starts at 0.4 s; frames at .425 .475 .525 .575
    view = take(
        shard(
            [
                clip("real", (), video=False, audio=False),
                clip("Deepfakes", ((0.45, 0.55),), video=True, audio=False),
                clip("AudioReplaced", ((0.5, 1.0),), video=False, audio=True),
            ]
        )
    )
    altered = altered_labels(view)
    assert altered.frames.tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert altered.steps[:2].sum() == 0
    assert altered.steps[2].tolist() == [0] * 5 + [1] * 5


def test_balanced_loss_weighs_both_kinds_of_places_alike() -> None:
    targets = torch.tensor([[1.0, 0, 0, 0]])
    logits = torch.zeros(1, 4, requires_grad=True)
    balanced_loss(logits, targets, torch.tensor([0]), torch.ones(1, 4)).backward()
    assert logits.grad is not None
    assert float(logits.grad[0, 0]) == pytest.approx(-float(logits.grad[0, 1:].sum()))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_epochs_lower_the_loss_and_depend_on_the_seed_only(optimizer: str) -> None:
    view = take(shard([REAL] * 12 + [FACE] * 12))
    settings = replace(
        WarmupSettings(), max_epochs=3, batch_size=8, optimizer=optimizer, offset_weight=0.5, sync_weight=0.1
    )
    if optimizer == "sgd":
        settings = replace(settings, learning_rate=0.05)

    def train() -> tuple[list[float], torch.Tensor]:
        network = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13}).build(0)
        losses = [means.hard for means in train_epochs(network, view, settings, AugmentSettings(), 0)]
        return losses, network.head.weight.detach().clone()

    losses, weights = train()
    assert losses[-1] < losses[0]
    assert torch.equal(weights, train()[1])


def test_what_is_absent_padded_or_masked_is_not_judged() -> None:
    targets, logits = torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[0.3, 5.0, -1.0, 2.0]])
    first = torch.tensor([0])
    seen = torch.tensor([[1.0, 0, 1, 0]])
    changed = logits.clone()
    changed[0, 1], changed[0, 3] = -7.0, 9.0
    assert balanced_loss(logits, targets, first, seen) == balanced_loss(changed, targets, first, seen)
    assert balanced_loss(logits, targets, first, torch.zeros(1, 4)) == 0


def test_a_clip_without_sound_gives_the_sound_head_no_gradient() -> None:
    view = take(shard([REAL, BOTH], has_audio=[0, 0]))
    localiser = Localiser(Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13}).build(0)).train()
    terms = localised_loss(
        localiser,
        load_batch(view, np.arange(2)),
        Goal(
            WarmupSettings(sync_weight=1.0, offset_weight=1.0),
            "float32",
            None,
            altered_labels(view),
            None,
            torch.Generator().manual_seed(0),
        ),
    )
    terms.total.backward()
    assert localiser.audio_head.weight.grad is not None
    assert float(localiser.audio_head.weight.grad.abs().sum()) == 0
    assert localiser.video_head.weight.grad is not None
    assert float(localiser.video_head.weight.grad.abs().sum()) > 0
    assert localiser.detector.audio.conv1.weight.grad is None
