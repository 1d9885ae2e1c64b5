"""What a private run refuses before it starts: key, limit, value and remedy in one line."""

import subprocess
import sys

import pytest

from fl.errors import RequestError
from fl.privacy.central_gaussian import central_mechanism
from sim.config import build, compose, validate

PRIVATE = "privacy=central_gaussian"
BAD = [
    (["compress.voters=all"], r"compress\.voters must be server or random .* got 'all': .*; add compress\.v"),
    (["fleet=mixed"], r"fleet must be uniform with privacy=central_gaussian, got 'mixed': .*; add fleet=uni"),
    (
        ["privacy.delta=0.2"],
        r"privacy\.delta must be below 1 / .* = 0\.125, got 0\.2: .*; set privacy\.delta=",
    ),
    (["privacy.noise_multiplier=0.01"], r"privacy\.noise_multiplier must be 0 or at least 0\.02, got 0\.01"),
    (
        ["privacy.clip_norm=0"],
        r"privacy\.clip_norm must be above 0 with noise, got 0: .*; set privacy\.clip_n",
    ),
    (
        ["privacy.noise_multiplier=0", "privacy.target_epsilon=2", "privacy.clip_norm=0"],
        r"privacy\.clip_norm must be above 0 with noise, got 0",
    ),
    (
        ["privacy.noise_multiplier=0", "privacy.clip_norm=0", "privacy.clipping=adaptive"],
        r"privacy\.clip_norm must be above 0 with privacy\.clipping=adaptive",
    ),
    (
        ["privacy.noise_multiplier=0", "privacy.budget_epsilon=3"],
        r"privacy\.budget_epsilon must be 0 without noise, .* got 3; set privacy\.noise_multiplier",
    ),
    (["privacy.clip_quantile=1"], r"privacy\.clip_quantile must be in \(0, 1\), got 1"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD)
def test_what_cannot_be_accounted_for_is_refused(overrides: list[str], message: str):
    with pytest.raises(RequestError, match=message):
        validate(build(compose([PRIVATE, *overrides])))


OWN = [
    (
        "system.student_norm=batch",
        r"system\.student_norm must be group with privacy=.*; add system",
    ),
    ("compress.voters=all", r"compress\.voters must be server or random .* got 'all'"),
    ("privacy.clip_norm=0", r"privacy\.clip_norm must be above 0"),
    ("privacy.clipping=adaptive", r"privacy\.clipping must be fixed with privacy=.*, got 'adaptive'"),
    ("privacy.noise_multiplier=0.01", r"privacy\.noise_multiplier must be 0 or at least 0\.02, got 0\.01"),
]


@pytest.mark.parametrize("mechanism", ["local_gaussian", "dp_sgd"])
@pytest.mark.parametrize(("override", "message"), OWN)
def test_clients_that_make_their_own_noise_need_what_they_need(mechanism: str, override: str, message: str):
    with pytest.raises(RequestError, match=message):
        validate(build(compose([f"privacy={mechanism}", override])))


def test_what_makes_a_clip_depend_on_others_is_refused():
    with pytest.raises(RequestError, match=r"distill\.class_weights must be none with privacy=dp_sgd"):
        validate(build(compose(["privacy=dp_sgd", "distill.class_weights=balanced"])))
    with pytest.raises(RequestError, match=r"compress\.round_to must be a multiple of 8, .* got 4; set"):
        validate(build(compose(["system.student_norm=group", "compress.round_to=4"])))


@pytest.mark.parametrize("mechanism", ["local_gaussian", "dp_sgd"])
def test_the_presets_of_clients_noise_fit_the_default_experiment(mechanism: str):
    experiment = build(compose([f"privacy={mechanism}"]))
    validate(experiment)
    assert experiment.privacy.mechanism == mechanism
    assert experiment.system.student_norm == "group"


@pytest.mark.parametrize(
    ("overrides", "one_more", "refused", "noise_multiplier", "clip_norm"),
    [
        ([], "compress.voters=all", "compress.voters", 1.0, 1.0),
        (
            ["compress=none", "compress.voters=all"],
            "compress.prune_rounds=[1]",
            "compress.voters",
            1.0,
            1.0,
        ),
        (
            ["compress.voters=random", "privacy.clipping=adaptive"],
            "privacy.clip_norm=0",
            "privacy.clip_norm",
            1.0,
            1.0,
        ),
        (
            ["privacy.noise_multiplier=0", "privacy.clip_norm=0"],
            "privacy.clipping=adaptive",
            "privacy.clip_norm",
            0.0,
            0.0,
        ),
    ],
)
def test_what_can_be_is_not_refused_but_is_with_one_more_override(
    overrides: list[str], one_more: str, refused: str, noise_multiplier: float, clip_norm: float
):
    experiment = build(compose([PRIVATE, *overrides]))
    validate(experiment)
    mechanism = central_mechanism(experiment)
    assert mechanism is not None
    assert (mechanism.noise_multiplier, mechanism.clip_norm) == (noise_multiplier, clip_norm)
    with pytest.raises(RequestError, match=f"^{refused} must be "):
        validate(build(compose([PRIVATE, *overrides, one_more])))


def test_a_run_without_privacy_does_not_pay_for_its_libraries():
    code = (
        "import sys, sim.run; from fl.privacy.central_gaussian import central_mechanism; "
        "from fl.settings import Experiment; assert central_mechanism(Experiment()) is None; "
        "print(sorted({'dp_accounting', 'opacus'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
