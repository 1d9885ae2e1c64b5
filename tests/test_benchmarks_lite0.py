"""The benchmark's network on pictures: what is pruned where, and that its INT8 graph is the same network."""

from pathlib import Path

import numpy as np
import pytest
from small_shards import FACE, REAL, shard

from benchmarks.lite0_networks import export, fit, int8_logits, mend, prune, quality_of, vote
from benchmarks.pictures import picture_shard
from fl.compress.importance import prunable_groups
from fl.compress.thesis import NETWORK
from fl.data.shards import ShardView, take
from fl.distill.predict import predict
from models.architecture import Architecture
from models.image import ImageDetector


@pytest.fixture(scope="module")
def pictures() -> ShardView:
    return take(picture_shard([shard([REAL, FACE] * 10)]))


@pytest.fixture(scope="module")
def network() -> ImageDetector:
    built = Architecture(NETWORK).build(1)
    assert isinstance(built, ImageDetector)
    return built


def test_local_takes_of_every_layer_and_global_where_it_matters_least(
    network: ImageDetector, pictures: ShardView
) -> None:
    before = np.array([group.num_channels for group in prunable_groups(network)])
    votes = vote(network, pictures, 0)
    gone = {}
    for scope in ("local", "global"):
        smaller = prune(network, votes, 0.05, scope, round_to=1)
        gone[scope] = before - np.array([group.num_channels for group in prunable_groups(smaller)])
        assert gone[scope].sum() == pytest.approx(0.05 * before.sum(), abs=len(before) / 2)
    assert np.abs(gone["local"] - 0.05 * before).max() <= 0.5 + 1e-9
    assert (gone["global"] / before).max() > 0.06


@pytest.mark.slow
def test_the_int8_graph_answers_like_its_network(
    network: ImageDetector, pictures: ShardView, tmp_path: Path
) -> None:
    smaller = prune(network, vote(network, pictures, 0), 0.5, "local", round_to=16)
    fit(smaller, pictures, 10, 1e-3, 0)
    mend(smaller, pictures)
    float_onnx, int8_onnx = export(smaller, pictures, 32, tmp_path / "cache", tmp_path)
    assert 3 * int8_onnx.stat().st_size < 1.05 * float_onnx.stat().st_size
    expected, answered = predict(smaller, pictures)[0], int8_logits(int8_onnx, pictures)
    assert np.corrcoef(expected, answered)[0, 1] > 0.95
    assert quality_of(expected, pictures).auc == pytest.approx(quality_of(answered, pictures).auc, abs=0.1)
