"""The poisoning study: its runs can be, seeds become ranges, and page and curves say what the runs said."""

import json
from pathlib import Path
from typing import Any

import pytest

from sim.__main__ import main
from sim.studies.poisoning import Poisoning, Spread, as_json, measure, page, rows_of
from sim.studies.poisoning_figure import PANELS, STYLES, poisoning_figure
from sim.studies.poisoning_runs import (
    ATTACKS,
    BAD,
    CELLS,
    JOBS,
    NUM_CLIENTS,
    SEEDS,
    WITHSTANDS,
    Cell,
    cell_of,
)
from sim.studies.running import JobResult, plan_jobs
from sim.studies.study import Job


def fake_run(folder: Path, accuracy: float, bad: int, left_out: tuple[list[int], list[int]]) -> Path:
    """What a finished run leaves of itself, as far as the study reads it."""
    folder.mkdir(parents=True)
    record: dict[str, Any] = {
        "round_index": 1,
        "global": {"accuracy": accuracy, "auc": 0.75},
        "eps": {"mean": 0.5},
        "adversary": {
            "malicious": list(range(bad)),
            "malicious_refused": [],
            "malicious_left_out": left_out[0],
            "honest_refused": [],
            "honest_left_out": left_out[1],
            "attack_success": 0.6,
            "without_trigger": 0.2,
        },
    }
    (folder / "rounds.jsonl").write_text(json.dumps(record) + "\n")
    (folder / "summary.json").write_text(json.dumps({"commit": "c" * 40, "uncommitted_changes": False}))
    return folder


@pytest.fixture
def outcome(tmp_path: Path) -> Poisoning:
    """Each rule's accuracy falls by a tenth for each two bad clients, the second seed's is lower by .02."""
    results = []
    for cell in CELLS:
        accuracy = 0.9 - 0.05 * cell.num_bad - 0.02 * cell.seed
        if cell.rule == "mean" and cell.num_bad == 4:
            results.append(JobResult(Job(cell.name), tmp_path, 1.0, failure="no finite number"))
            continue
        out = (list(range(cell.num_bad // 2)), [10])
        folder = fake_run(tmp_path / cell.name, accuracy, cell.num_bad, out)
        results.append(JobResult(Job(cell.name), folder, 1.0))
    failures = {result.job.name: result.failure for result in results if result.failure}
    return Poisoning({"command": "`x`"}, rows_of(results), failures)


def test_no_two_runs_are_the_same_and_each_question_has_one() -> None:
    assert len({job.name for job in JOBS}) == len({job.overrides for job in JOBS}) == len(JOBS)
    asked = {
        cell_of(attack, rule, bad, seed)
        for attack in ATTACKS
        for rule in WITHSTANDS
        for bad in BAD
        for seed in SEEDS
    }
    assert asked == set(CELLS)
    assert [round(bad / NUM_CLIENTS, 2) for bad in BAD] == [0, 0.18, 0.36]


@pytest.mark.parametrize("rule", WITHSTANDS)
def test_every_run_can_be(rule: str, tmp_path: Path) -> None:
    jobs = [Job(cell.name, cell.overrides) for cell in CELLS if cell.rule == rule and cell.seed == 0]
    plans = plan_jobs(jobs, "poisoning", (), tmp_path)
    assert len({plan.config_digest for plan in plans}) == len(jobs) == 1 + 2 * len(ATTACKS)


def test_a_run_is_measured_in_percent(tmp_path: Path) -> None:
    found = measure(fake_run(tmp_path / "a", 0.8, 4, ([0, 1], [9, 10])), "backdoor")
    assert found == {
        "accuracy": 80,
        "auc": 0.75,
        "eps": 0.5,
        "success": 60,
        "kept_out": 50,
        "wronged": pytest.approx(100 * 2 / 7),
    }
    assert "success" not in measure(tmp_path / "a", "sign_flip")


def test_seeds_become_a_mean_and_a_range_and_a_failed_run_is_missing(outcome: Poisoning) -> None:
    rows = {(row.attack, row.rule, row.num_bad): row for row in outcome.rows}
    assert len(rows) == len(ATTACKS) * len(WITHSTANDS) * len(BAD)
    found = rows["sign_flip", "median", 2].spreads["accuracy"]
    assert (found.mean, found.low, found.high) == pytest.approx((79, 78, 80))
    plain = dict(rows["backdoor", "median", 0].spreads)
    assert plain.pop("success") == Spread(60, 60, 60)
    assert rows["sign_flip", "median", 0].spreads == plain
    assert rows["backdoor", "mean", 4].num_seeds == 0
    assert "kept_out" not in rows["backdoor", "mean", 0].spreads


def test_the_page_shows_every_row_and_names_what_failed(outcome: Poisoning) -> None:
    text = page(outcome)
    assert "| median | 2 | 79.0 (78.0 to 80.0) | 0.750 | 0.50 | 60.0 | 50.0 | 11.1 |" in text
    assert "| mean | 4 | failed | failed |" in text
    assert "- backdoor-mean-bad4-seed1: no finite number" in text
    assert "bulyan 2. Bulyan's theory allows no more than 2 of 11:" in text
    told = json.loads(as_json(outcome))
    assert len(told["rows"]) == len(outcome.rows)
    assert told["rows"][1]["spreads"]["auc"] == {"mean": 0.75, "low": 0.75, "high": 0.75}


def test_the_curves_are_the_rows(outcome: Poisoning) -> None:
    assert set(STYLES) == set(WITHSTANDS)
    figure = poisoning_figure(outcome)
    for axes, (attack, key, _, _) in zip(figure.axes, PANELS, strict=True):
        assert len(axes.containers) == len(WITHSTANDS)
        for bars, rule in zip(axes.containers, WITHSTANDS, strict=True):
            heights = bars.lines[0].get_ydata().tolist()  # type: ignore[attr-defined]
            rows = [row for row in outcome.rows if (row.attack, row.rule) == (attack, rule)]
            assert heights == [row.spreads[key].mean for row in rows if key in row.spreads]


def test_a_size_is_refused_and_nothing_is_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "poisoning", "scale=full", "--out", str(tmp_path / "x")]) == 2
    assert "reproduce poisoning has one size, got scale=full" in capsys.readouterr().err
    assert main(["reproduce", "poisoning", "strategy.fraction=0.5", "--out", str(tmp_path / "x")]) == 2
    assert "clients a round for strategy.num_byzantine" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_cells_name_tells_what_it_is() -> None:
    assert Cell("backdoor", "krum", 2, 1).name == "backdoor-krum-bad2-seed1"
    assert "strategy.num_byzantine=4" in Cell("backdoor", "krum", 2, 1).overrides
