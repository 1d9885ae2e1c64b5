"""Classical models: what they see, and how their settings are chosen."""

from dataclasses import replace

import numpy as np
import pytest
from small_shards import FACE, REAL, shard

from fl.data.shards import take
from fl.errors import DataError
from sim.audits import classical
from sim.audits.classical import MODELS, Features, features_of, fit_models

NUM_HOG = 7 * 7 * 4 * 9
"""Blocks of 2 x 2 cells on a crop of 8 x 8 cells, 9 directions each."""


def blobs(seed: int, num_identities: int = 12, clips_each: int = 8) -> tuple[Features, np.ndarray, list[str]]:
    """Clips that tell who is seen; whether they are fake is a matter of the identity alone."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(num_identities), clips_each)
    centres = rng.normal(size=(num_identities, 6)) * 5
    values = centres[identity] + rng.normal(size=(len(identity), 6)) * 0.1
    return Features(values, 4), (identity % 2).astype(np.uint8), [str(i) for i in identity]


@pytest.fixture(autouse=True)
def _small_forest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical, "NUM_TREES", 20)


def test_who_is_seen_does_not_count_as_knowing_what_is_fake() -> None:
    """Divided clip by clip, an identity's other clips would give each held-out clip away."""
    features, labels, groups = blobs(0)
    grouped = fit_models(features, labels, groups, 1)
    loose = fit_models(features, labels, [str(row) for row in range(len(labels))], 1)
    for model in grouped:
        assert model.cv_accuracy is not None
        assert model.cv_accuracy < 0.8
        assert ((model.score(features) > 0.5) == labels).mean() > 0.9  # in training all is easy
    for model in loose:
        assert model.cv_accuracy is not None
        assert model.cv_accuracy > 0.9


def test_what_can_be_learned_is_learned_and_the_seed_decides_the_rest() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 40).astype(np.uint8)
    features = Features(rng.normal(size=(80, 6)) + 4 * labels[:, None], 4)
    groups = [str(row // 4) for row in range(80)]
    first, second = (fit_models(features, labels, groups, 7) for _ in range(2))
    assert [model.name for model in first] == list(MODELS)
    for model, again in zip(first, second, strict=True):
        assert model.cv_accuracy is not None
        assert model.cv_accuracy > 0.9
        assert model.chosen in MODELS[model.name].candidates
        np.testing.assert_array_equal(model.score(features), again.score(features))
        assert ((model.score(features) >= 0) & (model.score(features) <= 1)).all()


def test_without_two_groups_of_a_class_nothing_is_chosen() -> None:
    features, labels, _ = blobs(1)
    for model in fit_models(features, labels, ["one"] * len(labels), 1):
        assert model.cv_accuracy is None
        assert model.chosen == MODELS[model.name].candidates[0]


@pytest.mark.parametrize(("label", "named"), [(0, "all real"), (1, "all fake")])
def test_one_class_is_refused(label: int, named: str) -> None:
    features, labels, groups = blobs(2)
    with pytest.raises(DataError, match=f"96 clips that trained the student are {named}"):
        fit_models(features, np.full_like(labels, label), groups, 1)


def test_features_are_of_the_pictures_and_of_the_sound_that_is_there() -> None:
    store = shard([REAL, FACE, REAL], has_audio=[1, 1, 0], steps=12)
    deaf, hearing = (features_of(take(store), hears) for hears in (False, True))
    assert deaf.values.shape == (3, 2 * NUM_HOG)
    assert hearing.values.shape == (3, 2 * NUM_HOG + 4 * 13 + 2)
    assert deaf.num_picture == hearing.num_picture == 2 * NUM_HOG
    np.testing.assert_array_equal(hearing.values[:, : 2 * NUM_HOG], deaf.values)
    sound = hearing.values[:, 2 * NUM_HOG :]
    mfcc = store.mfcc[0].astype(np.float32)
    np.testing.assert_allclose(sound[0, :13], mfcc.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sound[0, 39:52], np.diff(mfcc, axis=0).std(axis=0), rtol=1e-5)
    assert not sound[2, :52].any()  # it has no sound
    np.testing.assert_array_equal(sound[:, 52:], [[1, 1], [1, 1], [1, 0]])


def test_padding_does_not_count() -> None:
    store = shard([REAL, FACE], steps=12)
    louder = np.array(store.mfcc)
    louder[:, 8:] += 9
    padded = [replace(store, mfcc=mfcc, valid_steps=np.full(2, 8, np.int32)) for mfcc in (store.mfcc, louder)]
    one, other = (features_of(take(part), True).values for part in padded)
    np.testing.assert_array_equal(one, other)
    assert (one != features_of(take(store), True).values).any()


def test_a_single_picture_has_no_deviation() -> None:
    assert features_of(take(shard([REAL, FACE], num_frames=1)), False).num_picture == NUM_HOG
