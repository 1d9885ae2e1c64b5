"""Each step of the augmentation: what it changes, what it must leave, and that off means off."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_shards import BOTH, FACE, REAL, VOICE, clip

from fl.data.augment import (
    augment_frames,
    blur,
    compress,
    drop_modalities,
    droppable_modalities,
    mask_time,
    recolour,
    rotate,
)
from fl.settings import AugmentSettings

OFF = AugmentSettings(flip=False)
ALL = AugmentSettings(
    rotation_deg=10, jitter=0.3, jpeg_quality=20, resize=0.3, time_mask=0.5, modality_dropout=0.5
)


def pictures(num_clips: int = 6, size: int = 24, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, every frame of a clip another one."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0, 255, (num_clips * 3, size, size, 3)).astype(np.float32)
    kernel = np.ones(5, np.float32) / 5
    for axis in (1, 2):
        noise = np.apply_along_axis(np.convolve, axis, noise, kernel, "same")
    return noise.astype(np.uint8).reshape(num_clips, 3, size, size, 3)


def test_everything_off_changes_nothing_and_draws_nothing() -> None:
    frames, rng = pictures(), np.random.default_rng(0)
    assert np.array_equal(augment_frames(frames, OFF, rng), frames)
    assert rng.random() == np.random.default_rng(0).random()


def test_flip_alone_mirrors_the_clips_of_one_draw() -> None:
    frames = pictures(20)
    mirrored = np.random.default_rng(1).random(20) < 0.5
    assert 0 < mirrored.sum() < 20
    result = augment_frames(frames, AugmentSettings(), np.random.default_rng(1))
    assert np.array_equal(result[~mirrored], frames[~mirrored])
    assert np.array_equal(result[mirrored], frames[mirrored][:, :, :, ::-1])


@pytest.mark.parametrize(
    "step", [{"rotation_deg": 10.0}, {"jitter": 0.3}, {"resize": 0.3}, {"jpeg_quality": 20}]
)
def test_every_step_is_seeded_keeps_shape_and_type_and_leaves_its_input(step: dict[str, float]) -> None:
    frames = pictures()
    before = frames.copy()
    chosen = replace(OFF, **step)
    first, again = (augment_frames(frames, chosen, np.random.default_rng(3)) for _ in range(2))
    assert first.dtype == np.uint8
    assert first.shape == frames.shape
    assert np.array_equal(first, again)
    assert np.array_equal(frames, before)
    assert not np.array_equal(first, augment_frames(frames, chosen, np.random.default_rng(4)))
    changed = (first != frames).any(axis=(2, 3, 4))
    assert changed.all(axis=1).sum() >= 5


@pytest.mark.parametrize(
    "step", [{"rotation_deg": 10.0}, {"jitter": 0.3}, {"resize": 0.3}, {"jpeg_quality": 20}]
)
def test_one_draw_holds_for_all_frames_of_a_clip(step: dict[str, float]) -> None:
    still = np.repeat(pictures()[:, :1], 3, axis=1)
    result = augment_frames(still, replace(OFF, **step), np.random.default_rng(0))
    assert np.array_equal(result[:, 0], result[:, 2])
    assert not np.array_equal(result[0], result[1])


def test_rotation_has_its_closed_form_at_right_angles() -> None:
    frames = pictures(1)[0]
    assert np.array_equal(rotate(frames, 0), frames)
    assert np.array_equal(rotate(frames, 90), np.rot90(frames, axes=(1, 2)))


def test_colours_have_their_closed_forms() -> None:
    frames = pictures(1)[0]
    assert np.array_equal(recolour(frames, 1, 1, 1), frames)
    np.testing.assert_allclose(recolour(frames, 0.5, 1, 1), frames / 2, atol=0.51)
    grey = frames @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(recolour(frames, 1, 1, 0), np.stack([grey] * 3, axis=-1), atol=0.51)
    np.testing.assert_allclose(recolour(frames, 1, 0, 1), np.full(frames.shape, grey.mean()), atol=0.51)
    halved = grey.mean() + 0.5 * (frames - grey.mean())
    np.testing.assert_allclose(recolour(frames, 1, 0.5, 1), halved, atol=0.51)


def test_degradations_lose_more_the_further_they_go() -> None:
    frames = pictures(1, size=32)[0]

    def error(result: np.ndarray) -> float:
        return float(np.abs(result.astype(int) - frames).mean())

    assert error(blur(frames, 1.0)) == 0
    assert 0 < error(blur(frames, 0.7)) < error(blur(frames, 0.3))
    assert 0 < error(compress(frames, 90)) < error(compress(frames, 10))
    flat = np.full((2, 16, 16, 3), (200, 40, 90), np.uint8)
    assert np.abs(compress(flat, 95).astype(int) - flat).max() <= 3  # channels in their order


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.floats(0, 0.9), st.integers(0, 19), st.integers(1, 20))
def test_a_mask_is_one_stretch_within_its_share_and_never_hides_all_that_was_altered(
    seed: int, share: float, begin: int, length: int
) -> None:
    sound = np.ones((8, 20, 2), np.float32)
    altered = np.zeros((8, 20), bool)
    altered[:4, begin : begin + length] = True
    masked = mask_time(sound, altered, share, np.random.default_rng(seed))[:, :, 0] == 0
    assert (masked.sum(axis=1) <= share * 20).all()
    edges = np.diff(np.pad(masked, ((0, 0), (1, 1))).astype(int), axis=1)
    assert ((edges == 1).sum(axis=1) <= 1).all()
    assert (altered & ~masked).any(axis=1)[:4].all()
    assert (sound == 1).all()


def test_masks_reach_their_share() -> None:
    sound = np.ones((500, 20, 2), np.float32)
    masked = mask_time(sound, np.zeros((500, 20), bool), 0.5, np.random.default_rng(0))[:, :, 0] == 0
    assert masked.sum(axis=1).max() == 10
    assert masked.mean() == pytest.approx(0.25, abs=0.02)
    assert masked.any(axis=0).all()


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_no_clip_loses_both_or_the_only_thing_that_was_altered(seed: int, share: float) -> None:
    clips = [REAL, FACE, VOICE, BOTH] * 10
    present = np.ones((40, 2), np.float32)
    present[20:28, 1] = 0
    left = drop_modalities(present, droppable_modalities(clips), share, np.random.default_rng(seed))
    assert (left.sum(axis=1) >= 1).all()
    assert (left <= present).all()
    assert np.array_equal(left[20:28], present[20:28])
    for row, one in enumerate(clips[:20]):
        shows = (one.modify_video and left[row, 0] > 0) or (one.modify_audio and left[row, 1] > 0)
        assert one.label == int(shows)


def test_clips_with_both_modalities_lose_one_as_often_as_asked() -> None:
    clips = [REAL, FACE, VOICE, BOTH] * 500
    present = np.ones((2000, 2), np.float32)
    left = drop_modalities(present, droppable_modalities(clips), 0.3, np.random.default_rng(0))
    lost = 1 - left.reshape(500, 4, 2).mean(axis=0)
    np.testing.assert_allclose(lost.sum(axis=1), 0.3, atol=0.06)
    np.testing.assert_allclose(lost[[0, 3]], 0.15, atol=0.05)
    assert lost[1, 0] == lost[2, 1] == 0


def test_a_fake_of_which_nobody_says_what_was_altered_keeps_both() -> None:
    unknown = clip("unknown", ((0.0, 1.0),), video=False, audio=False)
    assert droppable_modalities([unknown, REAL]).tolist() == [[False, False], [True, True]]
    assert droppable_modalities([]).shape == (0, 2)
