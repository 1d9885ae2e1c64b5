"""Whole runs with a malicious client, on a tiny corpus: what is recorded, and the same bits on both grids."""

from pathlib import Path

import pytest

from sim.config import build, compose, validate
from sim.record import read_rounds
from sim.round_record import RoundRecord
from sim.run import run_experiment

TINY = ["experiment=smoke", "adversary.share=0.34"]
ROBUST = ["strategy.aggregator=median", "strategy.num_byzantine=1"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # Ray's own children
]


def rounds_of(folder: Path, *overrides: str) -> list[RoundRecord]:
    folder.mkdir()
    experiment = build(compose([*TINY, *overrides]))
    validate(experiment)
    run_experiment(experiment, folder, overrides)
    return read_rounds(folder)


def weights_of(rounds: list[RoundRecord]) -> list[str]:
    return [record["student"]["weights_sha256"] for record in rounds]


@pytest.mark.ray
def test_a_backdoor_is_recorded_and_both_grids_give_the_same_weights(tmp_path: Path) -> None:
    asked = ("adversary=backdoor", *ROBUST)
    here = rounds_of(tmp_path / "here", *asked)
    rays = rounds_of(tmp_path / "ray", *asked, "grid=ray")
    assert weights_of(here) == weights_of(rays)
    for ours, theirs in zip(here, rays, strict=True):
        assert ours["adversary"] == theirs["adversary"]
        assert ours["aggregation"] == theirs["aggregation"]
    told, rule = here[0]["adversary"], here[0]["aggregation"]
    assert told["kind"] == "backdoor"
    assert len(told["malicious"]) == 1
    assert 0 <= told["attack_success"] <= 1
    assert sorted(told["malicious_left_out"] + told["malicious_counted"]) == told["malicious"]
    assert sorted(told["malicious_left_out"] + told["honest_left_out"]) == rule["left_out"]
    assert rule["fewest_replies"] == 3
    assert sum(rule["weights"]) == pytest.approx(1)
    assert here[0]["prune"]["voters"] == [0, 1, 2]


def test_the_gate_keeps_out_what_is_no_number_and_with_too_few_left_a_rules_round_fails(
    tmp_path: Path,
) -> None:
    unpruned = ("adversary=not_a_number", "compress.prune_rounds=[]", "strategy.max_failed_rounds=2")
    mean = rounds_of(tmp_path / "mean", *unpruned)
    (bad,) = mean[0]["adversary"]["malicious"]
    for record in mean:
        assert record["adversary"]["malicious_refused"] == [bad]
        assert record["adversary"]["honest_refused"] == []
        assert record["aggregation"] is None
        assert "state must be finite" in record["clients"]["failed"][0]["reason"]
        assert bad not in record["clients"]["replied"]
    robust = rounds_of(tmp_path / "robust", *unpruned, *ROBUST)
    assert [record["clients"]["aggregated"] for record in robust] == [False, False]
    assert len(set(weights_of(robust))) == 1
    assert robust[0]["aggregation"]["weights"] is None
