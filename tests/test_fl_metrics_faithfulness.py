"""Deletion and insertion on networks whose decisive place is known."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from small_shards import FACE, REAL, shard
from torch import Tensor, nn

from fl.data.shards import ShardView, take
from fl.distill.batches import load_batch
from fl.metrics.faithfulness import ERASERS, Curves, importance, move, ranks, trace
from sim.audits.explanation import summarise

CELL, FRAME, STEP = 5, 2, 7
"""The place of each kind that decides: a cell of 4 x 4, a frame of 4, a step of 10."""


class Answer(NamedTuple):
    logits: Tensor


class OnePlace(nn.Module):
    """Fake if one place is unlike the neutral input; nothing else is looked at."""

    def __init__(self, positions: str) -> None:
        super().__init__()
        self.positions = positions

    def forward(self, frames: Tensor, mfcc: Tensor, modalities: Tensor) -> Answer:
        if self.positions == "picture":
            row, column = divmod(CELL, 4)
            seen = frames[:, :, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            found = seen.var(dim=(3, 4)).mean(dim=(1, 2))
        elif self.positions == "frames":
            found = frames[:, FRAME].var(dim=(2, 3)).mean(dim=1) - 0.8  # of the mean frame: a quarter, 0.4
        else:
            found = mfcc[:, STEP].square().mean(dim=1)
        return Answer(8 * (found > 1e-3).float() - 4)


@pytest.fixture
def view() -> ShardView:
    return take(shard([REAL] * 4))


def place_maps(positions: str, sign: float = 1.0) -> np.ndarray:
    """Maps that name the decisive place, or with ``sign`` -1 name it last."""
    maps = np.full((4, 4, 4) if positions == "picture" else (4, 10, 4), 0.1)
    if positions == "picture":
        maps.reshape(4, -1)[:, CELL] += sign
    elif positions == "frames":
        maps[:, :, FRAME] += sign
    else:
        maps[:, STEP] += 0.09 * sign
    return maps


def traced(positions: str, maps: np.ndarray, view: ShardView) -> Curves:
    return trace(OnePlace(positions), view, maps, positions, np.random.default_rng(0), max_steps=20)


@pytest.mark.parametrize("positions", list(ERASERS))
def test_a_true_map_falls_at_once_and_rises_at_once_and_a_false_one_last(
    positions: str, view: ShardView
) -> None:
    num = {"picture": 16, "frames": 4, "sound": 10}[positions]
    high, low = (1 / (1 + np.exp(-logit)) for logit in (4.0, -4.0))
    true, false = (traced(positions, place_maps(positions, sign), view) for sign in (1.0, -1.0))
    assert true.shares.tolist() == pytest.approx(np.arange(num + 1) / num)
    for curve in (true.deletion, 1 - true.insertion):
        np.testing.assert_allclose(curve, np.tile([high] + [low] * num, (4, 1)), atol=1e-6)
    np.testing.assert_allclose(false.deletion, np.tile([high] * num + [low], (4, 1)), atol=1e-6)
    row = summarise("student", positions, true, np.random.default_rng(0))
    assert min(row.deletion_gain.ci95[0], row.insertion_gain.ci95[0]) > 0
    assert row.deletion.mean < row.random.mean < row.insertion.mean
    assert summarise("student", positions, false, np.random.default_rng(0)).deletion_gain.mean < 0


def test_a_constant_map_is_a_random_order() -> None:
    many = take(shard([REAL, FACE] * 100))
    curves = trace(
        OnePlace("picture"), many, np.ones((200, 4, 4)), "picture", np.random.default_rng(0), max_steps=16
    )
    # the decisive cell is as likely to be any: its probability falls along a line, the area is one half
    for curve in (curves.deletion, curves.insertion, curves.random, curves.moved_deletion):
        assert curves.areas(curve).mean() == pytest.approx(0.5, abs=0.06)


def test_importance_turns_the_map_round_where_the_network_says_real() -> None:
    maps = np.arange(8.0).reshape(2, 2, 2)
    found = importance(maps, "picture", np.array([1.0, -1.0]))
    assert found.tolist() == [[0, 1, 2, 3], [-4, -5, -6, -7]]
    attention = np.array([[[0.5, 0.5], [0.1, 0.9]]])  # rows sum to 1: their sums would say nothing
    assert importance(attention, "frames", np.ones(1)).tolist() == [[0.6, 1.4]]
    np.testing.assert_allclose(importance(attention, "sound", np.ones(1)), [[0.5, 0.82]])


def test_padding_comes_last_and_does_not_move() -> None:
    rng = np.random.default_rng(0)
    scores, counts = np.array([[1.0, 3, 2, 9, 9]]), np.array([3])
    assert ranks(scores, counts, rng)[0, :3].tolist() == [2, 0, 1]
    for _ in range(10):
        moved = move(scores, counts, "sound", rng)[0]
        assert moved[:3].tolist() in ([2, 1, 3], [3, 2, 1])
        assert moved[3:].tolist() == [9, 9]


def test_a_moved_picture_keeps_its_shape_and_leaves_its_place() -> None:
    grid = np.zeros((1, 9))
    grid[0, 4] = 1
    rng = np.random.default_rng(0)
    places = {int(move(grid, np.array([9]), "picture", rng)[0].argmax()) for _ in range(200)}
    assert places == set(range(9)) - {4}
    with pytest.raises(ValueError, match="must be square, got 6 cells"):
        move(np.zeros((1, 6)), np.array([6]), "picture", rng)


def test_what_is_erased_is_neutral_and_the_rest_untouched(view: ShardView) -> None:
    batch = load_batch(view, np.arange(4))
    gone = torch.zeros(4, 16, dtype=torch.bool)
    gone[:, CELL] = True
    frames, mfcc, modalities = ERASERS["picture"](batch, gone)
    mean = batch.frames.mean(dim=(3, 4))
    torch.testing.assert_close(frames[..., 8:16, 8:16], mean[..., None, None].expand(-1, -1, -1, 8, 8))
    assert torch.equal(frames[..., :8, :], batch.frames[..., :8, :])
    assert mfcc is batch.mfcc
    assert modalities is batch.modalities
