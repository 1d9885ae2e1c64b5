"""Training stops when the validation AUC no longer rises, and goes back to the best epoch."""

from dataclasses import replace

import pytest
from small_shards import FACE, REAL, shard

from fl.data.shards import take
from fl.distill.early_stopping import train_best, validation_auc
from fl.errors import TeacherError
from fl.settings import AugmentSettings, WarmupSettings
from fl.state import flatten, weights_sha256
from models.architecture import Architecture
from models.pin import PinDetector

VIEW = take(shard([REAL] * 8 + [FACE] * 8))
SETTINGS = WarmupSettings(max_epochs=6, batch_size=8, learning_rate=3e-3)


def trained(settings: WarmupSettings) -> tuple[PinDetector, float | None, int, list[str]]:
    network, notes = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13}).build(0), []
    auc, num_epochs = train_best(
        network, VIEW, VIEW, settings, AugmentSettings(), 0, lambda _, note: notes.append(note)
    )
    return network, auc, num_epochs, notes


def test_the_best_epoch_is_restored_and_the_rest_not_done() -> None:
    network, auc, num_epochs, notes = trained(replace(SETTINGS, patience=2))
    told = [float(note.rpartition(" ")[2]) for note in notes]
    best = told.index(max(told))
    assert num_epochs == len(notes) == min(best + 3, 6)
    assert auc == validation_auc(network, VIEW, SETTINGS)
    assert auc == pytest.approx(max(told), abs=1e-3)


def test_without_patience_all_epochs_are_done_and_the_last_stays() -> None:
    network, auc, num_epochs, _ = trained(SETTINGS)
    assert (auc, num_epochs) == (None, 6)
    patient, _, epochs, _ = trained(replace(SETTINGS, patience=6))
    assert epochs == 6
    sums = [weights_sha256(flatten(each)) for each in (network, patient)]
    # the best of the six is not the last one here: on this corpus the first epochs are perfect already
    assert sums[0] != sums[1]


def test_one_class_cannot_be_validated() -> None:
    network = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13}).build(0)
    with pytest.raises(TeacherError, match="one class only"):
        validation_auc(network, take(shard([REAL] * 4)), SETTINGS)
