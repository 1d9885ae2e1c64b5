"""The privacy study: runs that can be, ranges over seeds, a page and curves that say what was found."""

import json
from pathlib import Path
from typing import Any

import pytest

from sim.config import build, compose
from sim.studies.privacy_utility import EXPERIMENT, PrivacyUtility, Row, as_json, measure, page
from sim.studies.privacy_utility_figure import PANELS, privacy_figure
from sim.studies.privacy_utility_runs import EPSILONS, JOBS, PARTS, SEEDS, Cell
from sim.studies.running import plan_jobs
from sim.studies.spreads import Spread, spread_cell, spreads_of


def finished(folder: Path, epsilon: float | None) -> Path:
    """What a finished run leaves of itself, as far as the study reads it."""
    folder.mkdir(parents=True)
    record = {
        "round_index": 1,
        "global": {"accuracy": 0.9, "auc": 0.95},
        "eps": {"mean": 0.3, "shuffled": 0.1},
        "onnx": {"int8": {"latency_ms_p50": 0.5}},
        "privacy": {"epsilon_pld": epsilon, "epsilon_rdp": epsilon, "noise_multiplier": 1.5},
    }
    (folder / "rounds.jsonl").write_text(json.dumps(record) + "\n")
    return folder


def audited(tpr: float | None) -> dict[str, Any]:
    rates = {"auc": 0.52, "at": [{"fpr": 0.001, "tpr": None}, {"fpr": 0.01, "tpr": tpr}]}
    return {
        "passed": True,
        "attacks": [
            {"name": "blind control", "members": "clients", "rates": {}},
            {"name": "loss", "members": "public", "rates": {"auc": 0.9, "at": []}},
            {"name": "loss", "members": "clients", "rates": rates},
            {"name": "match by person", "members": "clients", "rates": {**rates, "auc": 0.8}},
        ],
        "canaries": [{"bound": {"epsilon": 0.4, "auc": 0.6}}],
    }


def test_each_run_can_be_and_has_its_noise(tmp_path: Path) -> None:
    plans = plan_jobs(JOBS, EXPERIMENT, (), tmp_path)
    assert len(plans) == len(PARTS) * len(EPSILONS) * len(SEEDS)
    privacy = {plan.job.name: build(compose(plan.overrides)).privacy for plan in plans}
    for part, mechanism in (("central", "central_gaussian"), ("local", "local_gaussian")):
        plain, noised = (privacy[Cell(part, epsilon, 2).name] for epsilon in (None, 1.0))
        assert plain.mechanism == noised.mechanism == mechanism
        assert plain.noise_multiplier == plain.target_epsilon == 0
        assert plain.clip_norm == noised.clip_norm > 0
        assert noised.target_epsilon == 1


def test_what_runs_and_audits_said_is_what_is_measured(tmp_path: Path) -> None:
    private = measure(finished(tmp_path / "private", 1.0), audited(0.02))
    assert private["accuracy"] == 90
    assert (private["attack_auc"], private["attack_tpr"], private["empirical"]) == (0.52, 2, 0.4)
    assert private["epsilon"] == 1
    assert (private["person_auc"], private["person_tpr"], private["canary_auc"]) == (0.8, 2, 0.6)
    assert "clip_auc" not in private
    plain = measure(finished(tmp_path / "plain", None), audited(None))
    assert not {"epsilon", "epsilon_rdp", "attack_tpr"} & plain.keys()


def test_seeds_become_means_with_ranges() -> None:
    spreads = spreads_of([{"auc": 0.9}, {"auc": 0.8, "eps": 0.5}], ("auc", "eps", "accuracy"))
    assert spreads["auc"].mean == pytest.approx(0.85)
    assert (spreads["auc"].low, spreads["auc"].high) == (0.8, 0.9)
    assert spread_cell("auc", spreads["auc"]) == "0.850 (0.800 to 0.900)"
    assert spread_cell("eps", spreads["eps"]) == "0.50"
    equal = spreads_of([{"noise": 0.1}] * 3, ("noise",))["noise"]
    assert equal.low == equal.mean == equal.high  # .1 + .1 + .1 is more than .3
    assert spread_cell("accuracy", spreads.get("accuracy")) == ""


def test_page_json_and_curves_tell_of_failures_and_broken_promises(tmp_path: Path) -> None:
    spread = Spread(0.5, 0.4, 0.6)
    rows = [
        Row(part, epsilon, 2, dict.fromkeys(told.measures, spread))
        for part, told in PARTS.items()
        for epsilon in EPSILONS[:-1]
    ]
    outcome = PrivacyUtility({"command": "`x`"}, (*rows, Row("local", None, 0, {})), {"a": "why"}, ("b",))
    text = page(outcome)
    assert "- a: why" in text
    assert "more than was accounted:** b" in text
    assert text.count("| no noise | 0 | failed |") == 1
    assert text.index(PARTS["central"].title) < text.index(PARTS["local"].title)
    assert max(map(len, (line for line in text.splitlines() if line[:1] not in "|#"))) <= 110
    assert json.loads(as_json(outcome))["broken"] == ["b"]
    figure = privacy_figure(outcome)
    assert [axes.get_title() for axes in figure.axes] == [title for title, _, _ in PANELS]
    figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
