"""A client's round where its device records no sound or no pictures, and with a live teacher."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_shards import BOTH, FACE, REAL, VOICE, shard

from clients.round import EdgeClient, StageError, distil, measure_importance, run_round
from fl.data.shards import take
from fl.distill.batches import LiveTeacher, TeacherOutputs
from fl.distill.predict import predict
from fl.settings import AugmentSettings, CompressSettings, DistillSettings, PrivacySettings
from fl.state import flatten, schema_digest
from fl.task import RoundTask
from models.architecture import Architecture

LITE = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13})


def edge_client(lacks: str = "", *, live: bool = False, augment: AugmentSettings | None = None) -> EdgeClient:
    view = take(shard([REAL, FACE, VOICE, BOTH] * 2), lacks=lacks)
    network = LITE.build(3)
    return EdgeClient(
        client_id=0,
        view=view,
        teacher=LiveTeacher(network, "float32") if live else TeacherOutputs(*predict(network, view)),
        augment=augment or AugmentSettings(),
        distill=DistillSettings(batch_size=4, epochs=1),
        compress=CompressSettings(),
        seed=0,
        cache_dir=Path("nowhere"),
    )


def task() -> RoundTask:
    network = LITE.build(1)
    return RoundTask(1, LITE, flatten(network), schema_digest(network), 1e-3)


@pytest.mark.parametrize(("lacks", "untouched"), [("video", "video."), ("audio", "audio.")])
def test_the_encoder_of_what_a_client_lacks_comes_back_as_it_went(lacks: str, untouched: str) -> None:
    network = LITE.build(1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    report = run_round(task(), edge_client(lacks), network)
    assert np.isfinite(report.state).all()
    changed = {name for name, t in network.state_dict().items() if not torch.equal(t, before[name])}
    assert not any(name.startswith(untouched) for name in changed)
    assert "head.weight" in changed
    if lacks == "video":
        assert report.losses["loss_attention"] == 0
    else:
        assert report.losses["loss_attention"] > 0
        assert "video.projection.weight" in changed


def test_a_client_without_pictures_votes_for_all_channels_alike() -> None:
    network = LITE.build(1)
    assert (measure_importance(task(), edge_client("video"), network) == 1).all()
    assert measure_importance(task(), edge_client("audio"), network).std() > 0


def test_a_client_without_pictures_abstains_on_the_backbone_where_more_is_pruned() -> None:
    client = edge_client("video")
    everything = replace(client, compress=replace(client.compress, targets="all"))
    vote = measure_importance(task(), everything, LITE.build(1))
    assert (vote[:3848] == 0).all()
    assert vote[3848:].mean() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("importance", ["l1", "l2", "random"])
def test_votes_without_data_are_as_long_and_as_large(importance: str) -> None:
    client = edge_client()
    compress = replace(client.compress, importance=importance, targets="attention")
    vote = measure_importance(task(), replace(client, compress=compress), LITE.build(1))
    assert vote.shape == (16,)
    assert vote.dtype == np.float32
    assert vote.mean() == pytest.approx(1, abs=0.5)


def test_a_live_teacher_changes_nothing_where_clips_are_as_they_are() -> None:
    off = AugmentSettings(flip=False)
    states = []
    for live in (False, True):
        network = LITE.build(1)
        distil(task(), edge_client(live=live, augment=off), network)
        states.append(flatten(network))
    np.testing.assert_allclose(states[0], states[1], atol=2e-3)


def test_a_live_teacher_is_asked_about_the_altered_clips() -> None:
    losses = []
    for live in (False, True):
        client = edge_client(live=live, augment=AugmentSettings(rotation_deg=45, jitter=1.0))
        losses.append(distil(task(), replace(client), LITE.build(1)))
    assert losses[0].hard == pytest.approx(losses[1].hard, rel=0.1)
    assert losses[0].soft != losses[1].soft


GROUPED = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13, "group_norm": 1})


def private_round(mechanism: str, noise: float, clip_norm: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """The state that a client got, and the one that it tells."""
    network = GROUPED.build(1)
    asked = RoundTask(1, GROUPED, flatten(network), schema_digest(network), 1e-3)
    privacy = PrivacySettings(mechanism=mechanism, noise_multiplier=noise, clip_norm=clip_norm)
    report = run_round(asked, replace(edge_client(), privacy=privacy, seed=seed), network)
    return asked.state, report.state, flatten(network)


def test_a_client_with_local_noise_tells_a_cut_and_noised_update_and_keeps_its_own() -> None:
    sent, told, trained = private_round("local_gaussian", 0.0, 0.1)
    assert np.linalg.norm(trained - sent) > 0.1
    assert np.linalg.norm(told - sent) == pytest.approx(0.1, rel=1e-3)
    _, noised, again = private_round("local_gaussian", 2.0, 0.1)
    assert np.array_equal(again, trained)
    assert (noised - told).std() == pytest.approx(2.0 * 0.1, rel=0.01)
    assert np.array_equal(noised, private_round("local_gaussian", 2.0, 0.1)[1])


def test_local_noise_of_nothing_that_cuts_nothing_is_the_plain_round() -> None:
    _, plain, _ = private_round("none", 0.0, 1.0)
    sent, told, _ = private_round("local_gaussian", 0.0, 1e9)
    np.testing.assert_allclose(told, plain, atol=1e-7)
    assert not np.array_equal(sent, plain)


def test_a_round_of_dp_sgd_repeats_to_the_bit_and_moves_with_the_noise() -> None:
    sent, told, trained = private_round("dp_sgd", 1.0, 1.0)
    assert np.array_equal(told, trained)
    assert np.isfinite(told).all()
    assert not np.array_equal(told, sent)
    assert np.array_equal(told, private_round("dp_sgd", 1.0, 1.0)[1])
    assert not np.array_equal(told, private_round("dp_sgd", 1.0, 1.0, seed=1)[1])


def test_a_client_of_dp_sgd_refuses_a_student_that_mixes_clips() -> None:
    client = replace(edge_client(), privacy=PrivacySettings(mechanism="dp_sgd"))
    with pytest.raises(StageError, match=r"distil: RequestError: .* mixes them in 34 BatchNorms"):
        run_round(task(), client, LITE.build(1))
