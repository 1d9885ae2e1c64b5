"""Directions of single clips' gradients, and of what an update did."""

import numpy as np
import pytest
import torch
from small_shards import FACE, REAL, shard
from torch import Tensor, nn
from torch.nn import functional

from fl.attacks.alignment import descent_directions, update_direction
from fl.data.shards import take
from fl.distill.batches import Batch, ordered_batches


class Scores(nn.Module):
    """A linear detector of the mean colour, beside a layer that no output needs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.unused = nn.Linear(3, 1), nn.Linear(2, 2)

    def forward(self, frames: Tensor) -> Tensor:
        return self.linear(frames.mean(dim=(1, 3, 4))).flatten()


def loss(network: nn.Module, batch: Batch) -> Tensor:
    return functional.binary_cross_entropy_with_logits(network(batch.inputs[0]), batch.labels.float())


def test_a_step_on_one_clip_points_where_that_clip_does() -> None:
    torch.manual_seed(0)
    view = take(shard([REAL, FACE, REAL, FACE]))
    before, after = Scores(), Scores()
    batches = list(ordered_batches(view, None, 1))
    directions = np.stack(list(descent_directions(before, batches, loss)))
    assert directions.shape == (4, 3 + 1 + 4 + 2)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1)
    assert not directions[:, 4:].any()
    after.load_state_dict(before.state_dict())
    optimizer = torch.optim.SGD(after.parameters(), 0.1)
    loss(after, batches[2]).backward()
    optimizer.step()
    cosines = directions @ update_direction(before, after)
    assert cosines[2] == pytest.approx(1, abs=1e-4)
    assert cosines[1] < 0  # of the other class


def test_an_update_of_nothing_points_nowhere() -> None:
    network = Scores()
    assert not update_direction(network, network).any()
