"""Pictures of clips as clips of one picture, for the benchmark of networks that do not hear."""

import numpy as np
from small_shards import BOTH, FACE, REAL, VOICE, clip, shard

from benchmarks.pictures import calibrate_on, picture_shard
from fl.data.shards import take
from fl.distill.batches import load_batch

PARTLY = clip("FaceSwap", ((0.0, 0.5),), video=True, audio=False)


def test_the_picture_is_labelled_and_not_the_clip() -> None:
    pictures = picture_shard([shard([REAL, FACE]), shard([VOICE, BOTH])])
    assert pictures.frames.shape == (16, 1, 32, 32, 3)
    assert pictures.labels.tolist() == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4
    assert [clip.label for clip in pictures.clips] == pictures.labels.tolist()
    assert (load_batch(take(pictures), np.arange(3)).modalities[:, 1] == 0).all()


def test_only_the_altered_pictures_of_an_altered_clip_are_used() -> None:
    store = shard([REAL, PARTLY])
    pictures = picture_shard([store])
    inside = store.times[1] <= 0.5
    assert 0 < inside.sum() < 4
    assert pictures.labels.tolist() == [0] * 4 + [1] * int(inside.sum())
    assert (pictures.frames[4:, 0] == store.frames[1][inside]).all()
    assert (pictures.times[4:, 0] == store.times[1][inside]).all()


def test_calibration_has_the_inputs_and_the_size_of_the_graph() -> None:
    view = take(picture_shard([shard([REAL, FACE])]))
    batches = calibrate_on(view, np.array([0, 5]), 48).batches()
    assert [sorted(batch) for batch in batches] == [["frames", "mfcc", "modalities"]]
    assert batches[0]["frames"].shape == (2, 1, 3, 48, 48)
    same = calibrate_on(view, np.array([0, 5]), 32).batches()
    assert (same[0]["frames"] == load_batch(view, np.array([0, 5])).frames.numpy()).all()
