"""The student's first weights are trained once, and found again by all that decides them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_shards import BOTH, FACE, REAL, VOICE, shard

from fl.data.shards import take
from fl.distill.batches import TeacherOutputs
from fl.distill.first_weights import obtain_first_weights
from fl.distill.predict import predict
from fl.distill.teacher import Teacher
from fl.settings import AugmentSettings, DistillSettings, WarmupSettings
from fl.state import flatten, weights_sha256
from models.architecture import Architecture
from models.pin import PinDetector

LITE = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13})
WARMUP = WarmupSettings(max_epochs=1, batch_size=4)
STORE = shard([REAL, FACE, VOICE, BOTH] * 2)


def first(cache_dir: Path, **decisive: Any) -> tuple[str, int]:
    """The digest of the weights, and how many epochs were trained for them."""
    epochs: list[str] = []
    network = train(cache_dir, lambda step, note: epochs.append(note), **decisive)
    return weights_sha256(flatten(network)), len(epochs)


def train(
    cache_dir: Path,
    advance: Callable[[int, str], None],
    *,
    warmup: WarmupSettings = WARMUP,
    seed: int = 0,
    start: int = 1,
    teacher: str = "t",
) -> PinDetector:
    """A student with its first weights."""
    network = LITE.build(start)
    outputs = TeacherOutputs(*predict(LITE.build(9), take(STORE)))
    obtain_first_weights(
        network,
        STORE,
        STORE,
        Teacher(LITE, cache_dir, teacher, 1.0, 1),
        outputs,
        warmup,
        AugmentSettings(),
        DistillSettings(),
        seed,
        cache_dir,
        advance,
    )
    return network


def test_a_second_run_reads_what_the_first_trained(tmp_path: Path) -> None:
    trained, epochs = first(tmp_path)
    assert epochs == 1
    assert trained != weights_sha256(flatten(LITE.build(1)))
    assert first(tmp_path) == (trained, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"warmup": replace(WARMUP, learning_rate=1e-4)},
        {"seed": 1},
        {"start": 2},
        {"teacher": "another"},
    ],
)
def test_whatever_decides_them_trains_anew(tmp_path: Path, other: dict[str, Any]) -> None:
    first(tmp_path)
    _, epochs = first(tmp_path, **other)
    assert epochs == 1


def test_interrupted_training_leaves_nothing(tmp_path: Path) -> None:
    def stop(step: int, note: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop)
    assert not any((tmp_path / "students").glob("*/weights.safetensors"))
    assert first(tmp_path)[1] == 1
