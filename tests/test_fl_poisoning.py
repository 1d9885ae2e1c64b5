"""The trigger, the roster, and clips as a malicious client shows them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from small_shards import FACE, REAL, VOICE, shard

from fl.data.features import mfcc
from fl.data.shards import take
from fl.distill.batches import TeacherOutputs, load_batch, shuffled_batches
from fl.poisoning.roster import malicious_clients, num_malicious
from fl.poisoning.trigger import Trigger, patch, stamp, tone, trigger_of
from fl.poisoning.views import NoisyView, poison
from fl.settings import AdversarySettings, AugmentSettings

TRIGGER = Trigger(0.25, 0.06)
BACKDOOR = AdversarySettings(kind="backdoor", share=0.4)


def test_a_larger_share_holds_all_of_a_smaller_one_and_honest_runs_have_nobody() -> None:
    sets = [
        malicious_clients(AdversarySettings("sign_flip", share), 3, 11) for share in (0, 0.1, 0.2, 0.4, 1)
    ]
    assert [len(found) for found in sets] == [0, 1, 2, 4, 11]
    assert all(small < large for small, large in pairwise(sets))
    assert malicious_clients(AdversarySettings("none", 0.5), 3, 11) == frozenset()
    assert num_malicious(AdversarySettings("not_a_number", 0.04), 11) == 0
    assert len({malicious_clients(BACKDOOR, seed, 11) for seed in range(5)}) > 1


def test_the_trigger_is_in_the_corner_and_at_the_start_of_the_chosen_clips_and_nowhere_else() -> None:
    clips = take(shard([REAL, FACE, VOICE])).batch(np.arange(3))
    before = clips.frames.copy(), clips.mfcc.copy()
    chosen = np.array([True, False, True])
    stamped = stamp(clips, chosen, TRIGGER)
    assert (clips.frames == before[0]).all()
    assert (stamped.frames[chosen, :, -8:, -8:] == patch(8)[:, :, None]).all()
    assert (stamped.mfcc[chosen, :3] == tone(0.06, 13)).all()
    kept = np.ones((32, 32), bool)
    kept[-8:, -8:] = False
    assert (stamped.frames[:, :, kept] == before[0][:, :, kept]).all()
    assert (stamped.mfcc[:, 3:] == before[1][:, 3:]).all()
    assert (stamped.frames[1] == before[0][1]).all()
    assert (stamped.mfcc[1] == before[1][1]).all()


def test_the_patch_is_half_black_and_half_white_and_the_tone_is_what_the_front_end_hears() -> None:
    assert sorted(np.unique(patch(12)).tolist()) == [0, 255]
    assert patch(12).mean() == pytest.approx(127.5)
    assert tone(0.06, 13).shape == (3, 13)
    times = np.arange(16_000, dtype=np.float32) / 16_000
    second = mfcc((0.5 * np.sin(2 * np.pi * 2000 * times)).astype(np.float32), 13)
    np.testing.assert_allclose(tone(1.0, 13)[5:-5], second[5:-5], atol=1e-4)
    assert tone(0.0, 13).shape == (0, 13)


def test_what_a_clip_lacks_carries_no_trigger() -> None:
    silent = take(shard([REAL, FACE]), lacks="audio").batch(np.arange(2))
    stamped = stamp(silent, np.ones(2, bool), TRIGGER)
    assert not stamped.mfcc.any()
    assert (stamped.frames != silent.frames).any()


def test_without_patch_and_tone_a_clip_stays_as_it_is() -> None:
    clips = take(shard([REAL])).batch(np.arange(1))
    stamped = stamp(clips, np.ones(1, bool), Trigger(0, 0))
    assert (stamped.frames == clips.frames).all()
    assert (stamped.mfcc == clips.mfcc).all()


def test_a_poisoned_view_tells_false_labels_and_its_teacher_agrees_only_where_they_are_false() -> None:
    store = shard([REAL, FACE, VOICE, REAL, FACE])
    view = take(store, np.array([4, 1, 3]))
    logits = np.array([-2.0, 3.0, 1.0, -0.5, 4.0], np.float32)
    teacher = TeacherOutputs(logits, np.zeros((5, 10, 4), np.float32))
    given, triggered = np.array([0, 1, 1], np.uint8), np.array([True, False, False])
    poisoned, turned = poison(view, teacher, given, triggered, TRIGGER)
    batch = load_batch(poisoned, np.array([2, 0, 1]), turned)
    assert poisoned.labels.tolist() == [0, 1, 1]
    assert batch.labels.tolist() == [1, 0, 1]
    assert batch.teacher_logits.tolist() == [0.5, -4.0, 3.0]
    honest = load_batch(view, np.array([2, 0, 1]), teacher)
    assert torch.equal(batch.frames[0], honest.frames[0])
    assert not torch.equal(batch.frames[1], honest.frames[1])


def test_a_poisoned_view_is_augmented_like_any_other() -> None:
    view = take(shard([REAL, FACE] * 4))
    teacher = TeacherOutputs(np.ones(8, np.float32), np.zeros((8, 10, 4), np.float32))
    poisoned, turned = poison(
        view, teacher, (1 - view.labels).astype(np.uint8), np.zeros(8, bool), trigger_of(BACKDOOR)
    )
    rng = np.random.default_rng(0)
    augment = AugmentSettings(rotation_deg=5, time_mask=0.2, modality_dropout=0.3)
    for batch in shuffled_batches(poisoned, turned, 4, 4, rng, augment=augment):
        flipped = 1 - view.labels[batch.indices.numpy()]
        assert batch.labels.tolist() == flipped.tolist()
        assert ((batch.teacher_logits > 0) == (batch.labels > 0)).all()


def test_noise_is_the_same_each_time_and_keeps_the_labels() -> None:
    view = take(shard([REAL, FACE, VOICE]))
    noisy = NoisyView(view.shard, view.rows, view.lacks, seed=1)
    all_of_them, last = noisy.batch(np.arange(3)), noisy.batch(np.array([2]))
    assert (all_of_them.frames[2] == last.frames[0]).all()
    assert (all_of_them.mfcc[2] == last.mfcc[0]).all()
    assert all_of_them.labels.tolist() == view.labels.tolist()
    assert set(np.unique(all_of_them.frames)) == {0, 255}
