"""Studies: specifications hold together, verdicts are right, and a page says what was not the same."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fl.errors import RequestError
from sim.__main__ import main
from sim.commands.reproduce import PRESETS
from sim.config import build, compose
from sim.studies.auditing import _cell
from sim.studies.claiming import OPEN, OTHER, SAME, judge_claims
from sim.studies.measuring import measured_row, row_of, scores_of_test
from sim.studies.published import PUBLISHED
from sim.studies.replaying import side_by_side
from sim.studies.rows import PublishedTable, row
from sim.studies.running import JobResult, plan_jobs, run_jobs
from sim.studies.studies import STUDIES
from sim.studies.study import SCALES, Claim, Job, Match, Replay, Study, Subject, check_study, experiment_of
from sim.studies.writing import Outcome, as_json, markdown

NUM_CLIPS = 40
ALPHAS = "thesis_kd_pruning/table_6_2_5_1_1"
FULL_DATA = ("data=synthetic", "data.clip.window_s=1.6", "data.clip.num_frames=2")
"""In place of data sets that are not here; the checks of their folders come first otherwise."""


def test_the_presets_are_the_studies() -> None:
    assert tuple(STUDIES) == PRESETS


@pytest.mark.parametrize("preset", PRESETS)
def test_a_study_names_only_what_is_there(preset: str) -> None:
    """And without any one of the runs that its tables show it would not."""
    study = STUDIES[preset]
    check_study(study)
    subjects = [s for replay in study.replays for match in replay.matches for s in match.subjects.values()]
    shown = {subject.job for subject in subjects} | {audited.job for audited in study.audited}
    assert shown
    for name in shown:
        others = tuple(job for job in study.jobs if job.name != name)
        assert len(others) == len(study.jobs) - 1
        with pytest.raises(KeyError, match=f"{preset} has no run {name}"):
            check_study(replace(study, jobs=others))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_run_of_a_study_can_be(preset: str, scale: str, tmp_path: Path) -> None:
    study = STUDIES[preset]
    extra = FULL_DATA if scale == "full" else ()
    plans = plan_jobs(study.jobs, experiment_of(study, scale), extra, tmp_path)
    settings = [replace(build(compose(plan.overrides)), name="") for plan in plans]
    assert len({repr(each) for each in settings}) == len(study.jobs)  # no two runs are the same
    for plan, each in zip(plans, settings, strict=True):
        assert (each.partition.num_clients == 1) == ("partition=central" in plan.job.overrides)


def test_a_typing_error_in_a_specification_is_found() -> None:
    job = Job("a")
    wrong_row = Replay(ALPHAS, (Match("alpha 7", {"central": Subject("a")}),))
    with pytest.raises(KeyError, match="alpha 7"):
        check_study(Study("p", "t", (job,), (wrong_row,), ()))
    wrong_job = Replay(ALPHAS, (Match("alpha 0", {"central": Subject("b")}),))
    with pytest.raises(KeyError, match="no run b"):
        check_study(Study("p", "t", (job,), (wrong_job,), ()))
    with pytest.raises(ValueError, match="one name"):
        check_study(Study("p", "t", (job, job), (), ()))


def fake_run(folder: Path, scores: np.ndarray, labels: np.ndarray) -> Path:
    """What a finished run leaves of itself, as far as a study reads it."""
    folder.mkdir(parents=True)
    correct = (scores > 0.5) == labels
    quality = {"accuracy": float(correct.mean()), "f1": 0.5, "auc": 0.75}
    onnx = {**quality, "size_bytes": 2_000_000, "latency_ms_p50": 2.0, "eps": 0.5, "flips": 0}
    record: dict[str, Any] = {
        "student": {"num_parameters": 1234, "macs": 5_000_000},
        "global": {**quality, "by_category": {"Deepfakes": {"accuracy": 0.25}}},
        "eps": {"mean": 0.6, "shuffled": 0.5, "ci95": [0.57, 0.63]},
        "onnx": {"fp32": onnx, "int8": {**onnx, "size_bytes": 500_000}, "teacher_latency_ms_p50": 8.0},
    }
    teacher = {**quality, "num_parameters": 99, "macs": 10**9, "size_bytes": 10**7, "latency_ms_p50": 8.0}
    (folder / "summary.json").write_text(json.dumps({"last_round": record, "teacher": teacher}))
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "label", "category", "score", "score_int8", "score_teacher", "split"])
        for i, (score, label) in enumerate(zip(scores, labels, strict=True)):
            writer.writerow([f"{i}.mp4", int(label), "c", score, score, score, "test"])
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    labels = np.arange(NUM_CLIPS) % 2 == 1
    right, wrong = np.where(labels, 0.9, 0.1), np.where(labels, 0.1, 0.9)
    half = np.where(np.arange(NUM_CLIPS) < NUM_CLIPS // 2, right, wrong)
    one_less = right.copy()
    one_less[0] = 0.9
    runs = {"right": right, "half": half, "one-less": one_less}
    return {name: fake_run(tmp_path / name, scores, labels) for name, scores in runs.items()}


def test_a_row_has_the_units_of_the_published_ones(folders: dict[str, Path]) -> None:
    student = measured_row(folders["half"], "student")
    assert student["accuracy"] == 50
    assert student["accuracy/Deepfakes"] == 25
    assert student["size_mb"] == 2
    assert student["size_mib"] == pytest.approx(2e6 / 2**20)
    assert student["speedup"] == 4
    assert student["eps_shuffled"] == 0.5
    int8 = measured_row(folders["half"], "int8")
    assert (int8["size_mb"], int8["eps"]) == (0.5, 0.5)
    assert "eps_shuffled" not in int8  # an older record has none
    teacher = measured_row(folders["half"], "teacher")
    assert (teacher["macs_g"], teacher["speedup"], teacher["eps"]) == (1, 1, 1)
    assert scores_of_test(folders["half"], "teacher").labels.sum() == NUM_CLIPS // 2


def test_where_the_audit_of_classical_models_failed_their_cells_say_so(folders: dict[str, Path]) -> None:
    assert row_of(Subject("half", "classical:hog"), folders, {}) is None
    replay = claim_of("right", "half")
    assert judge_claims(replay, folders)
    classical = Match("alpha 0", {"central": Subject("half", "classical:hog")})
    assert judge_claims(replace(replay, matches=(replay.matches[0], classical)), folders) == []


def claim_of(better: str, worse: str) -> Replay:
    """The published claim that alpha .25 is ahead of 0, of these two runs."""
    matches = (
        Match("alpha 0.25", {"central": Subject(better)}),
        Match("alpha 0", {"central": Subject(worse)}),
    )
    return Replay(ALPHAS, matches, (Claim("it helps", "alpha 0.25", "alpha 0"),))


@pytest.mark.parametrize(
    ("better", "worse", "gain", "expected"),
    [("right", "half", 50, SAME), ("half", "right", -50, OTHER), ("right", "one-less", 2.5, OPEN)],
)
def test_a_claim_holds_fails_or_stays_open(
    folders: dict[str, Path], better: str, worse: str, gain: float, expected: str
) -> None:
    (verdict,) = judge_claims(claim_of(better, worse), folders)
    assert verdict.published == pytest.approx(91.44 - 87.68)
    assert verdict.measured == pytest.approx(gain)
    assert verdict.verdict == expected


def test_eps_that_differs_less_than_its_intervals_decides_nothing(folders: dict[str, Path]) -> None:
    replay = Replay(
        "pin_lite/table_2",
        (
            Match("Distilled", {"central": Subject("right")}),
            Match("Pruned", {"central": Subject("half")}),
        ),
        (Claim("pruning costs EPS", "Distilled", "Pruned", "eps"),),
    )
    (verdict,) = judge_claims(replay, folders)
    assert (verdict.measured, verdict.verdict) == (0, OPEN)
    assert verdict.high == pytest.approx(0.03 * 2**0.5)


def test_int8_over_float_is_a_speed_alone_and_the_common_timing_wins(folders: dict[str, Path]) -> None:
    student, int8 = Subject("half"), Subject("half", "int8")
    times = {student: {"latency_ms": 6.0, "speedup": 2.0}, int8: {"latency_ms": 4.0, "speedup": 3.0}}
    assert row_of(Subject("half", "int8 over float"), folders, times) == {"speedup": 1.5}
    timed = row_of(student, folders, times)
    assert timed is not None
    assert (timed["latency_ms"], timed["speedup"], timed["accuracy"]) == (6, 2, 50)
    assert row_of(student, {}, times) is None


def test_no_verdict_without_both_runs(folders: dict[str, Path]) -> None:
    del folders["half"]
    assert judge_claims(claim_of("right", "half"), folders) == []


def test_the_page_shows_both_sides_the_difference_and_what_failed(folders: dict[str, Path]) -> None:
    replay = claim_of("right", "gone")
    side = side_by_side(replay, folders, {})
    text = markdown(Outcome("T", {"command": "`x`"}, (side,), (), ("the data",), {"gone": "no memory"}))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    published, central, other, failed = cells[2:6]
    assert published[:2] == ["alpha 0.25", "published"]
    assert central[1] == "here, central"
    assert "100.00 (+8.56)" in central
    assert other[:2] == ["alpha 0", "published"]
    assert set(failed[2:]) == {"failed"}
    assert "- the data" in text
    assert "- gone: no memory" in text
    told = as_json(Outcome("T", {}, (side,), (), (), {}))
    assert told["tables"][0]["rows"][0]["central"]["accuracy"] == 100
    json.dumps(told, allow_nan=False)


def test_a_row_that_is_only_ours_has_no_published_line(folders: dict[str, Path]) -> None:
    match = Match("ours", {"central": Subject("right")}, published=False)
    lines = markdown(Outcome("T", {}, (side_by_side(Replay(ALPHAS, (match,)), folders, {}),), (), (), {}))
    assert "ours (not in the source)" in lines
    assert "| published |" not in lines


def test_cells_of_an_audit() -> None:
    told = {"a": [{"b": 0.12345678}], "ok": True, "none": None}
    assert _cell(told, ("a", "0", "b")) == "0.1235"
    assert _cell(told, ("a", "0", "b", "%")) == "12.3"
    assert _cell(told, ("ok",)) == "yes"
    assert _cell(told, ("none", "b", "%")) == ""


def test_a_run_that_cannot_be_is_refused_before_any_starts(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"data\.root"):
        plan_jobs([Job("one"), Job("two", ("data.root=x",))], "smoke", (), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_run_leaves_its_reason_and_the_others_are_done(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"  # without the table that names its clips
    corpus.mkdir()
    jobs = (Job("first"), Job("second", ("seed=1",)))
    plans = plan_jobs(jobs, "smoke", ("data=table", f"data.root={corpus}"), tmp_path)
    told: list[JobResult] = []
    results = run_jobs(plans, 2, told.append)
    assert told == results
    assert [result.job.name for result in results] == ["first", "second"]
    for result in results:
        assert "clips.csv" in result.failure
        assert (tmp_path / f"{result.job.name}.run.log").is_file()


def test_what_an_earlier_call_finished_is_kept_if_its_settings_are_the_same(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    data = ("data=table", f"data.root={corpus}")
    jobs = [Job("first"), *(Job(f"other{seed}", (f"seed={seed}",)) for seed in range(1, 4))]
    for plan in plan_jobs(jobs, "smoke", data, tmp_path):
        (plan.folder / ".hydra").mkdir(parents=True)
        (plan.folder / ".hydra" / "config.yaml").touch()
        told = {"config_digest": plan.config_digest, "num_rounds": plan.num_rounds}
        (plan.folder / "summary.json").write_text(json.dumps(told))
    results = run_jobs(plan_jobs(jobs, "smoke", data, tmp_path), 2, lambda result: None)
    assert [(result.job.name, result.kept) for result in results] == [(job.name, True) for job in jobs]
    (changed,) = run_jobs(plan_jobs(jobs[:1], "smoke", (*data, "seed=9"), tmp_path), 1, lambda result: None)
    assert not changed.kept
    assert "clips.csv" in changed.failure


def test_bad_requests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "pin_lite", "scale=huge"]) == 2
    assert "scale must be one of small, full" in capsys.readouterr().err
    assert main(["reproduce", "pin_lite", "--jobs", "0"]) == 2
    assert main(["reproduce", "pin_lite", "--counts-only"]) == 2
    assert main(["reproduce", "pin_lite", "scale=full"]) == 2
    assert "data.root must name the folder" in capsys.readouterr().err
    assert main(["reproduce", "nothing"]) == 2


def test_a_published_row_nobody_can_change() -> None:
    table = PublishedTable("p/t", "t", "s", (row("a", accuracy=1.0),))
    with pytest.raises(TypeError):
        table.rows[0].values["accuracy"] = 2.0  # type: ignore[index]
    assert PUBLISHED[ALPHAS].row("alpha 0").values["soft_weight"] == 0
