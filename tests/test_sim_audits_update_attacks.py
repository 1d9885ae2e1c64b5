"""Attacks on replayed updates: who is asked about, what is found, and how noise hides it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from attacked_run import EXPERIMENT, clips_of

from fl.attacks.rates import attack_rates
from fl.data.partition import Partition
from fl.settings import PrivacySettings, SystemSettings
from sim.audits.attacked_clips import AttackedClips
from sim.audits.update_attacks import Suspected, attack_updates
from sim.prepare import student_of
from sim.progress import Progress

FEW_CLIPS = np.arange(8), np.arange(8, 16)
"""Four persons for each of two clients: an update of few clips tells of each."""


def run_of(folder: Path, privacy: PrivacySettings, lacks: tuple[str, str] = ("", "")) -> AttackedClips:
    system = SystemSettings(student_layers=1, student_norm="group")
    distill = replace(EXPERIMENT.distill, epochs=2)
    experiment = replace(EXPERIMENT, privacy=privacy, distill=distill, system=system)
    clips = clips_of(folder, experiment, student_of(experiment))
    return replace(clips, partition=Partition(FEW_CLIPS, lacks))


def attacked(clips: AttackedClips) -> dict[str, Suspected]:
    return {told.name: told for told in attack_updates(clips, 2, Progress())}


def auc(told: Suspected) -> float:
    return attack_rates(told.members, told.others, np.random.default_rng(0)).auc


@pytest.mark.slow
def test_gradients_find_the_persons_behind_an_update_unless_it_is_noised(tmp_path: Path) -> None:
    found = attacked(run_of(tmp_path / "clear", PrivacySettings()))
    assert [*found] == ["loss lowered", "gradient match", "match by person"]
    assert {told.sees for told in found.values()} == {"2 updates, round 2"}
    clip, person = found["gradient match"], found["match by person"]
    assert (len(clip.members.scores), len(clip.others.scores)) == (2 * 8, 2 * 48)
    assert (len(person.members.scores), len(person.others.scores)) == (2 * 4, 2 * 24)
    assert clip.members.groups[:2] == (person.members.groups[0],) * 2
    assert person.members.scores[0] == pytest.approx(clip.members.scores[:2].mean(), rel=1e-5)
    assert auc(clip) > 0.6
    assert auc(person) > 0.85
    privacy = PrivacySettings(mechanism="local_gaussian", noise_multiplier=1.0)
    assert auc(attacked(run_of(tmp_path / "noised", privacy))["match by person"]) < 0.75


@pytest.mark.slow
def test_only_updates_of_clients_that_record_everything_are_matched(tmp_path: Path) -> None:
    clips = run_of(tmp_path, PrivacySettings(), ("audio", ""))
    told = clips.run.teacher_folder / "outputs"
    shutil.copytree(told / "clients", told / "clients-no-audio")
    found = attacked(clips)
    assert (found["loss lowered"].sees, found["gradient match"].sees) == (
        "2 updates, round 2",
        "1 updates, round 2",
    )
    shutil.copytree(told / "clients", told / "clients-no-video")
    assert [*attacked(replace(clips, partition=Partition(FEW_CLIPS, ("audio", "video"))))] == ["loss lowered"]
