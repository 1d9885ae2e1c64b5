"""Targets and losses of the server's training, against closed forms; and that it learns at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fl.data.clips import Clip
from fl.data.shards import Shard, take
from fl.distill.supervised import altered_labels, balanced_loss, sync_loss, train_epochs, warm_cosine
from fl.settings import WarmupSettings
from models.architecture import Architecture


def clip(category: str, periods: tuple[tuple[float, float], ...], *, video: bool, audio: bool) -> Clip:
    return Clip(
        path=Path(f"{category}.mp4"),
        label=int(bool(periods)),
        category=category,
        identity="a",
        source="a",
        group="a",
        split="public",
        fake_periods=periods,
        modify_video=video,
        modify_audio=audio,
        duration_s=1.0,
    )


def shard(clips: list[Clip], num_frames: int = 4, steps: int = 10, size: int = 32) -> Shard:
    rng = np.random.default_rng(0)
    labels = np.array([c.label for c in clips], np.uint8)
    frames = rng.integers(0, 256, (len(clips), num_frames, size, size, 3), dtype=np.uint8)
    frames[labels == 1] //= 4  # dark means fake: learnable in a few steps
    return Shard(
        digest="d",
        path=Path("nowhere"),
        clips=tuple(clips),
        frames=frames,
        mfcc=rng.normal(size=(len(clips), steps, 13)).astype(np.float16),
        labels=labels,
        valid_steps=np.full(len(clips), steps, np.int32),
        skipped=(),
    )


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


def test_sync_loss_is_least_on_the_diagonal() -> None:
    diagonal = torch.eye(4)[None]
    assert float(sync_loss(diagonal)) == pytest.approx(0, abs=1e-6)
    uniform = torch.full((1, 4, 4), 0.25)
    assert float(sync_loss(uniform)) == pytest.approx(np.log(4), rel=1e-5)
    assert sync_loss(torch.eye(4).flip(0)[None]) > sync_loss(uniform)


def test_sync_targets_share_a_step_between_its_two_frames() -> None:
    # 8 steps over 4 frames: no step falls on a frame's own time, all weights are 0.75 and 0.25 inside
    expected = -(0.75 * np.log(0.7) + 0.25 * np.log(0.1))
    maps = torch.full((1, 8, 4), 0.1)
    maps[0, 2, 1] = 0.7
    # step 2 lies at 2.5 / 8 * 4 - 0.5 = 0.75: frame 1 weighs 0.75 and frame 0 weighs 0.25
    row = sync_loss(maps) - sync_loss(torch.full((1, 8, 4), 0.1))
    assert float(row) * 8 == pytest.approx(expected + np.log(0.1), rel=1e-4)


def test_balanced_loss_weighs_both_kinds_of_places_alike() -> None:
    targets = torch.tensor([[1.0, 0, 0, 0]])
    logits = torch.zeros(1, 4, requires_grad=True)
    balanced_loss(logits, targets, torch.tensor([0])).backward()
    assert logits.grad is not None
    assert float(logits.grad[0, 0]) == pytest.approx(-float(logits.grad[0, 1:].sum()))


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [warm_cosine(p) for p in np.linspace(0, 1, 21)]
    assert max(rates) == pytest.approx(1)
    assert rates[0] < rates[1] < rates[2]
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_epochs_lower_the_loss_and_depend_on_the_seed_only() -> None:
    clips = [clip("real", (), video=False, audio=False) for _ in range(12)]
    clips += [clip("Deepfakes", ((0.0, 1.0),), video=True, audio=False) for _ in range(12)]
    view = take(shard(clips))
    settings = replace(WarmupSettings(), max_epochs=3, batch_size=8)

    def train() -> tuple[list[float], torch.Tensor]:
        network = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13}).build(0)
        losses = [means.hard for means in train_epochs(network, view, settings, seed=0)]
        return losses, network.head.weight.detach().clone()

    losses, weights = train()
    assert losses[-1] < losses[0]
    assert torch.equal(weights, train()[1])
