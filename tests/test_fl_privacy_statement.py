"""The privacy statement says what the record says, and leaves no assumption out."""

import math

import pytest

from fl.privacy.accountant import Epsilon
from fl.privacy.data_flow import MECHANISMS
from fl.privacy.statement import TRUSTED, privacy_statement, spent_line
from fl.settings import Experiment
from sim.round_record import complete_round

RECORD = {
    "mechanism": "central_gaussian",
    "unit": "client",
    "epsilon": 2.0,
    "delta": 1e-5,
    "epsilon_pld": 2.0,
    "epsilon_rdp": 2.3,
    "noise_multiplier": 1.5,
    "sampling_rate": 0.25,
    "expected_clients": 10.0,
    "clip_norm": 0.3,
}
SETTINGS = {"privacy.mechanism": "central_gaussian", "privacy.secret_noise": False}


def said(privacy: dict | None, **settings: object) -> dict[str, str]:
    rounds = [complete_round({"round_index": index, "privacy": privacy}) for index in (1, 2, 3)]
    return dict(privacy_statement(rounds, SETTINGS | settings))


def test_a_central_run_says_whom_it_protects_how_far_and_whom_one_must_trust():
    text = said(RECORD)
    assert text["unit of privacy"] == "one client, with all its clips"
    assert text["trusted"].startswith("the server")
    assert text["epsilon, delta"].startswith("epsilon 2 at delta 1e-05 after 3 rounds, by privacy loss")
    assert "2.3 by Rényi divergence" in text["epsilon, delta"]
    assert "at most 7.39 times as likely with one client as without" in text["meaning"]
    assert "1.5 times the sensitivity (clip_norm" in text["noise"]
    assert "clip_norm 0.3 in the last round" in text["noise"]
    assert "probability 0.25" in text["noise"]


def test_a_known_seed_is_named_as_a_gap_until_the_noise_is_secret():
    assert "noise came from its seed" in said(RECORD)["not covered"]
    assert "came from its seed" not in said(RECORD, **{"privacy.secret_noise": True})["not covered"]


def test_who_took_part_is_only_secret_where_sampling_is_paid_for():
    assert "who took part" in said(RECORD)["not covered"]
    clip = RECORD | {"mechanism": "dp_sgd", "unit": "clip"}
    text = said(clip, **{"privacy.mechanism": "dp_sgd"})
    assert "who took part" not in text["not covered"]
    assert "with one clip as without" in text["meaning"]


def test_without_noise_or_mechanism_nothing_is_promised():
    assert said(RECORD | {"epsilon": None, "epsilon_pld": None})["meaning"] == "nothing is promised"
    plain = said(None, **{"privacy.mechanism": "none"})
    assert plain["epsilon"] == "none is accounted"
    assert dict(privacy_statement([], {})) == plain  # a run of before there was privacy
    assert spent_line("client", Epsilon(math.inf, math.inf), 1e-5).endswith("none, as there was no noise")


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism_has_its_words(mechanism: str):
    assert mechanism in TRUSTED
    assert Experiment().privacy.mechanism in MECHANISMS
    assert (
        said(RECORD | {"mechanism": mechanism}, **{"privacy.mechanism": mechanism})["mechanism"] == mechanism
    )
