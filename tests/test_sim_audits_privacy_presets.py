"""Every private preset that ships, played small: canaries never prove more than its accountant says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacked_run import EXPERIMENT, clips_of

from clients import round as clients_round
from fl.privacy.local_gaussian import noised_update
from fl.settings import Experiment, StrategySettings
from sim.audits.attacked_clips import AttackedClips
from sim.audits.client_canaries import audit_client_canaries
from sim.audits.clip_canaries import CanaryAudit, audit_clip_canaries
from sim.audits.shadow_students import draw_pool, first_student, shadow_margins
from sim.config import build, compose, groups
from sim.prepare import student_of
from sim.progress import Progress

NUM_CANARIES, NUM_ROUNDS = 40, 2
REQUESTS = [f"{group}={name}" for group in ("privacy", "experiment") for name in groups()[group]]
PRIVATE = [name for name in REQUESTS if build(compose([name])).privacy.mechanism != "none"]


def small(request: str, **privacy: float) -> Experiment:
    """A preset's mechanism on the small run, with enough learning that what is in can be told."""
    preset = build(compose([request]))
    return replace(
        EXPERIMENT,
        privacy=replace(preset.privacy, **privacy),
        system=replace(preset.system, student="pin_lite", student_layers=1),
        distill=replace(EXPERIMENT.distill, learning_rate=3e-3, epochs=2),
        strategy=StrategySettings(num_rounds=NUM_ROUNDS),
    )


def run_of(folder: Path, experiment: Experiment) -> AttackedClips:
    return clips_of(folder, experiment, student_of(experiment))


def audited(request: str, folder: Path) -> CanaryAudit:
    preset = build(compose([request]))
    if preset.privacy.mechanism == "central_gaussian":
        return audit_client_canaries(preset, preset.strategy.num_rounds, seed=0)
    return audit_clip_canaries(run_of(folder, small(request)), NUM_CANARIES, Progress())


def test_the_presets_that_are_played_are_all_there_are() -> None:
    assert {build(compose([name])).privacy.mechanism for name in PRIVATE} == {
        "central_gaussian",
        "local_gaussian",
        "dp_sgd",
    }
    assert "experiment=privacy_utility" in PRIVATE


@pytest.mark.slow
@pytest.mark.parametrize("request_", PRIVATE)
def test_canaries_never_prove_more_than_a_preset_promises(request_: str, tmp_path: Path) -> None:
    audit = audited(request_, tmp_path)
    assert audit.accounted is not None
    assert audit.accounted > 0
    assert audit.bound.num_guesses > 0
    assert audit.passed, f"{audit.bound.epsilon:.3f} > {audit.accounted:.3f}"


@pytest.mark.slow
@pytest.mark.parametrize(("mechanism", "num_rounds"), [("local_gaussian", 6), ("dp_sgd", 12)])
def test_a_client_that_forgets_its_noise_is_found_out(
    mechanism: str, num_rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same audit, of a promise of 0.2 by clients that hardly cut."""
    monkeypatch.setattr("opacus.optimizers.DPOptimizer.add_noise", _pass_on)
    monkeypatch.setattr(
        clients_round,
        "noised_update",
        lambda *states, **how: noised_update(*states, **{**how, "noise_std": 0}),
    )
    experiment = small(f"privacy={mechanism}", target_epsilon=0.2, clip_norm=1000.0)
    experiment = replace(experiment, strategy=StrategySettings(num_rounds=num_rounds))
    audit = audit_clip_canaries(run_of(tmp_path, experiment), NUM_CANARIES, Progress())
    assert audit.accounted == pytest.approx(0.2, abs=1e-2)
    assert not audit.passed


def _pass_on(optimizer: Any) -> None:
    """The sum of the cut gradients, and nothing else."""
    for parameter in optimizer.params:
        parameter.grad = parameter.summed_grad.view_as(parameter)


@pytest.mark.slow
def test_shadows_of_a_private_run_are_students_as_the_run_has_them(tmp_path: Path) -> None:
    experiment = replace(small("privacy=dp_sgd"), system=build(compose(["privacy=dp_sgd"])).system)
    clips = run_of(tmp_path, experiment)
    architecture, network = first_student(clips, Progress())
    assert architecture == clips.run.architecture
    assert [*network.state_dict()] == [*clips.run.network.state_dict()]
    found, _ = shadow_margins(clips, draw_pool(clips, 20), 2, 1, Progress())
    assert found.shape == (2, 20)
    assert np.isfinite(found).all()
