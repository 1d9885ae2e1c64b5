"""Losses of sound against picture, against closed forms."""

import numpy as np
import pytest
import torch

from fl.distill.synchrony import offset_loss, shift_sound, sync_loss
from models.architecture import Architecture

ONE = torch.ones(1)


def test_sync_loss_is_least_on_the_diagonal() -> None:
    diagonal = torch.eye(4)[None]
    assert float(sync_loss(diagonal, ONE)) == pytest.approx(0, abs=1e-6)
    uniform = torch.full((1, 4, 4), 0.25)
    assert float(sync_loss(uniform, ONE)) == pytest.approx(np.log(4), rel=1e-5)
    assert sync_loss(torch.eye(4).flip(0)[None], ONE) > sync_loss(uniform, ONE)


def test_sync_targets_share_a_step_between_its_two_frames() -> None:
    # 8 steps over 4 frames: no step falls on a frame's own time, all weights are 0.75 and 0.25 inside
    expected = -(0.75 * np.log(0.7) + 0.25 * np.log(0.1))
    maps = torch.full((1, 8, 4), 0.1)
    maps[0, 2, 1] = 0.7
    # step 2 lies at 2.5 / 8 * 4 - 0.5 = 0.75: frame 1 weighs 0.75 and frame 0 weighs 0.25
    row = sync_loss(maps, ONE) - sync_loss(torch.full((1, 8, 4), 0.1), ONE)
    assert float(row) * 8 == pytest.approx(expected + np.log(0.1), rel=1e-4)


def test_only_clips_with_sound_and_picture_are_in_synchrony() -> None:
    assert sync_loss(torch.rand(2, 8, 4), torch.zeros(2)) == 0
    maps = torch.rand(2, 8, 4)
    assert sync_loss(maps, torch.tensor([1.0, 0])) == pytest.approx(float(sync_loss(maps[:1], ONE)))


def test_a_class_is_forty_milliseconds_whatever_the_rates() -> None:
    mfcc = torch.arange(1.0, 41.0)[None, :, None].repeat(64, 1, 13)  # 40 steps of 20 ms
    shifted = shift_sound(mfcc, torch.Generator().manual_seed(0))
    assert set(shifted.classes.tolist()) == set(range(11))
    for row, chosen in zip(shifted.mfcc[:, :, 0], shifted.classes.tolist(), strict=True):
        late = 2 * (chosen - 5)  # 40 ms are two steps
        expected = torch.zeros(40)
        if late >= 0:
            expected[late:] = torch.arange(1.0, 41.0 - late)
        else:
            expected[:late] = torch.arange(1.0 - late, 41.0)
        assert torch.equal(row, expected)


def test_the_offset_head_learns_from_untouched_clips_only() -> None:
    detector = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13}).build(0)
    video, mfcc = torch.randn(3, 4, 128), torch.randn(3, 20, 13)
    sound = shift_sound(mfcc, torch.Generator().manual_seed(1))
    assert offset_loss(detector, video, sound, torch.zeros(3)) == 0
    some = offset_loss(detector, video, sound, torch.tensor([1.0, 0, 1.0]))
    other = video.clone()
    other[1] = 9.0
    assert some == offset_loss(detector, other, sound, torch.tensor([1.0, 0, 1.0]))
    some.backward()
    assert detector.offset_head.weight.grad is not None
    assert float(detector.offset_head.weight.grad.abs().sum()) > 0
    assert detector.head.weight.grad is None


def test_a_head_that_knows_nothing_pays_the_logarithm_of_the_classes() -> None:
    detector = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13}).build(0)
    torch.nn.init.zeros_(detector.offset_head.weight)
    torch.nn.init.zeros_(detector.offset_head.bias)
    sound = shift_sound(torch.randn(2, 20, 13), torch.Generator().manual_seed(1))
    loss = offset_loss(detector, torch.randn(2, 4, 128), sound, torch.ones(2))
    assert float(loss.detach()) == pytest.approx(np.log(11), rel=1e-5)
