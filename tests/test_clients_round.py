"""A client's round where its device records no sound or no pictures, and with a live teacher."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_shards import BOTH, FACE, REAL, VOICE, shard

from clients.round import EdgeClient, distil, measure_importance, run_round
from fl.data.shards import take
from fl.distill.batches import LiveTeacher, TeacherOutputs
from fl.distill.predict import predict
from fl.settings import AugmentSettings, CompressSettings, DistillSettings
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
