from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shards import FACE, REAL, shard

from fl.data.shards import take
from fl.distill.predict import predict
from fl.errors import RequestError, RunError
from fl.metrics.scores import probabilities
from models.architecture import Architecture
from sim.audits.levels import frame_logits, write_frames
from sim.prediction_file import read_table

CLIPS = [replace(c, path=Path(f"{n}.mp4")) for n, c in enumerate([REAL, FACE] * 10)]


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "tiny_ladeda"])
def test_the_mean_of_a_clips_frames_is_its_logit(name: str) -> None:
    view, network = take(shard(CLIPS, size=64)), Architecture(name, {}).build()
    told: list[int] = []
    frames = frame_logits(network, view, told.append)
    clips, _ = predict(network, view)
    assert frames.shape == (20, 4)
    assert frames.std(axis=1).min() > 0  # each frame has its own
    np.testing.assert_allclose(frames.mean(axis=1), clips, atol=1e-4)
    assert sum(told) == 20


def test_a_network_that_hears_has_no_frame_scores() -> None:
    network = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13}).build()
    with pytest.raises(RequestError, match="networks of pictures score single frames, PinDetector does not"):
        frame_logits(network, take(shard(CLIPS)))


def test_frames_are_written_row_by_row_and_read_back(tmp_path: Path) -> None:
    scores = probabilities(np.random.default_rng(0).normal(size=(20, 4)))
    path = write_frames(tmp_path / "frames.csv", take(shard(CLIPS)), scores)
    rows = read_table(path)
    assert rows.scores == scores.ravel().tolist()
    assert rows.labels == [0] * 4 + [1] * 4 + rows.labels[8:]
    assert read_table(path, "clip").scores == pytest.approx(scores.mean(axis=1), abs=1e-15)
    assert path.read_text().splitlines()[5].startswith("1.mp4,0,1,Deepfakes,")
    assert [file.name for file in tmp_path.iterdir()] == ["frames.csv"]


def test_frames_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"frames.csv cannot be written: No such file"):
        write_frames(tmp_path / "none/frames.csv", take(shard(CLIPS)), np.zeros((20, 4)))
