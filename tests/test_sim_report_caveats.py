from dataclasses import replace
from pathlib import Path

from fl.data.clips import Clip
from sim.report.caveats import leak_caveats

ANN = Clip(Path("ann.mp4"), 0, "real", identity="ann", source="ann", group="ann", split="clients")
BOB = replace(ANN, path=Path("bob.mp4"), identity="bob", source="bob", group="bob", split="test")


def test_nothing_is_said_of_a_clean_split():
    assert leak_caveats([ANN], [BOB]) == []


def test_crops_of_one_video_in_both_are_a_leak():
    crops = [replace(ANN, crop=crop, num_crops=2) for crop in range(2)]
    assert leak_caveats(crops[:1], [crops[1], BOB]) == [
        "LEAK: the source video of 1 of 2 test clips was trained on"
    ]


def test_a_person_met_in_training_or_only_as_a_donor_is_named():
    swapped = replace(BOB, label=1, category="FaceSwap", donor="ann")
    assert leak_caveats([ANN], [BOB, swapped]) == [
        "the person in 1 of 2 test clips was seen in training as well"
    ]
