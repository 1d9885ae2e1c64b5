import csv
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.errors import RunError
from fl.metrics.detection import detection_metrics
from fl.metrics.explanation import eps
from sim.provenance import commit, digest, hardware, versions
from sim.record import (
    Prediction,
    append_round,
    best_round,
    keep_rounds,
    read_rounds,
    summarise,
    write_predictions,
    write_summary,
)
from sim.round_record import complete_round, plain

# The keys of ARCHITECTURE.md, which other programs read.
KEYS: dict[str, str] = {
    "seconds": "train evaluate wall",
    "clients": "sampled replied failed missing",
    "train": "loss loss_hard loss_soft loss_attention loss_proximal",
    "student": "architecture_sha256 weights_sha256 num_parameters macs size_bytes",
    "global": "accuracy precision recall f1 auc eer by_category",
    "eps": "mean rho iou p10 ci95 shuffled num_constant",
    "onnx": "fp32 int8 speedup_int8 teacher_latency_ms_p50",
    "bytes": "down up",
    "simulated": "round_s by_device",
    "privacy": "epsilon delta",
}
VARIANT = {"size_bytes", "latency_ms_p50", "latency_ms_p95", "accuracy", "auc"}


def test_a_record_has_every_key_of_the_public_interface() -> None:
    record: dict[str, Any] = dict(complete_round({"round_index": 1}))
    assert record == {"round_index": 1, **dict.fromkeys(KEYS)}
    filled: dict[str, Any] = dict(complete_round({"round_index": 1, **{key: {} for key in KEYS}}))
    assert {key: set(filled[key]) for key in KEYS} == {key: set(KEYS[key].split()) for key in KEYS}
    onnx: dict[str, Any] = dict(complete_round({"round_index": 1, "onnx": {"fp32": {}, "int8": {}}}))["onnx"]
    assert set(onnx["fp32"]) == VARIANT
    assert set(onnx["int8"]) == VARIANT | {"eps", "flips"}


def test_results_of_the_metrics_fit_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((4, 5, 3))
    found = detection_metrics([0, 1, 1], [0.2, 0.9, 0.4], ["real", "Dub", "Dub"])
    score = eps(maps, maps, [5] * 4, rng)
    append_round(tmp_path, {"round_index": np.int64(1), "global": found, "eps": score.as_record()})
    (record,) = read_rounds(tmp_path)
    assert record["global"] == found.as_record()
    assert record["global"]["by_category"]["Dub"] == {"num_clips": 2, "accuracy": 0.5, "auc": 1.0}
    assert record["eps"] is not None
    assert record["eps"]["ci95"] == [1.0, 1.0]


def test_numpy_numbers_are_written_as_plain_numbers(tmp_path: Path) -> None:
    train = {"loss": np.float32(0.5), "loss_hard": np.float64(0.25)}
    append_round(tmp_path, {"round_index": 1, "train": train, "bytes": {"down": np.int64(7)}})
    text = (tmp_path / "rounds.jsonl").read_text()
    assert '"loss": 0.5, "loss_hard": 0.25,' in text
    assert '"down": 7, "up": null' in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_what_is_not_finite_is_refused_by_name_and_nothing_is_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(RunError, match=r"onnx\.int8\.accuracy must be finite"):
        append_round(tmp_path, {"round_index": 1, "onnx": {"int8": {"accuracy": value}}})
    assert not (tmp_path / "rounds.jsonl").exists()


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"round_index": 1, "epss": {}}, "no key epss"),
        ({"round_index": 1, "eps": {"average": 1.0}}, r"no key eps\.average"),
        ({"round_index": 1, "eps": 0.5}, "eps must be an object"),
        ({}, "round_index must be a whole number, got None"),
        ({"round_index": 1.5}, "round_index must be a whole number"),
        ({"round_index": 1, "train": {"loss": {1, 2}}}, r"train\.loss must be a JSON value, got set"),
    ],
)
def test_records_that_break_the_interface_are_refused(record: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError, match=says):
        complete_round(record)


def test_a_torn_last_line_is_left_out_and_then_overwritten(tmp_path: Path) -> None:
    for index in (1, 2, 3):
        append_round(tmp_path, {"round_index": index})
    path = tmp_path / "rounds.jsonl"
    whole = path.read_bytes()
    for cut in (1, 2, 40):
        path.write_bytes(whole[:-cut])
        assert [record["round_index"] for record in read_rounds(tmp_path)] == [1, 2]
    append_round(tmp_path, {"round_index": 3})
    assert path.read_bytes() == whole


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    append_round(tmp_path, {"round_index": 1})
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"{]\n" + path.read_bytes())
    with pytest.raises(RunError, match="line 1 is not JSON"):
        read_rounds(tmp_path)


def test_rounds_go_up_and_a_resumed_run_drops_what_it_repeats(tmp_path: Path) -> None:
    for index in (1, 2, 3):
        append_round(tmp_path, {"round_index": index})
    with pytest.raises(RunError, match="must be above 3"):
        append_round(tmp_path, {"round_index": 3})
    assert [record["round_index"] for record in keep_rounds(tmp_path, 1)] == [1]
    append_round(tmp_path, {"round_index": 2})
    assert [record["round_index"] for record in read_rounds(tmp_path)] == [1, 2]


def test_every_line_is_flushed_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    append_round(tmp_path, {"round_index": 1})
    append_round(tmp_path, {"round_index": 2})
    assert len(synced) == 2


def test_no_rounds(tmp_path: Path) -> None:
    assert read_rounds(tmp_path) == []
    assert best_round([]) is None
    assert keep_rounds(tmp_path, 5) == []


def test_the_best_round_is_by_auc_then_eps_then_the_latest() -> None:
    qualities = [(None, 0.9), (0.9, 0.1), (0.9, 0.6), (0.9, 0.6), (0.8, 0.9), (0.9, None)]
    rounds = [
        complete_round({"round_index": index, "global": {"auc": auc}, "eps": {"mean": mean}})
        for index, (auc, mean) in enumerate(qualities, start=1)
    ]
    best = best_round(rounds)
    assert best is not None
    assert best["round_index"] == 4


def test_the_summary_says_where_the_numbers_come_from(tmp_path: Path) -> None:
    append_round(tmp_path, {"round_index": 1, "global": {"auc": 0.9}})
    append_round(tmp_path, {"round_index": 2, "global": {"auc": 0.8}})
    summary = summarise(tmp_path, {"auc": np.float64(0.97)}, {"seed": 0}, seconds={"all": 1.5})
    path = write_summary(tmp_path, summary)
    read = json.loads(path.read_text())
    assert (read["last_round"]["round_index"], read["best_round"]["round_index"]) == (2, 1)
    assert read["teacher"] == {"auc": 0.97}
    assert read["name"] == tmp_path.name
    assert read["seconds"] == {"all": 1.5}
    assert read["config_digest"] == digest({"seed": 0})
    assert set(read["versions"]) == {"python", "torch", "flwr", "ray", "onnxruntime", "fedpin"}
    assert None not in read["versions"].values()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_summary_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = write_summary(tmp_path, {"name": "a"})
    with pytest.raises(RunError, match=r"summary\.teacher\.auc must be finite"):
        write_summary(tmp_path, {"name": "b", "teacher": {"auc": float("nan")}})
    assert json.loads(path.read_text()) == {"name": "a"}


def test_predictions_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [
        Prediction('a "b", c.mp4', 1, "FaceSwap", 0.1 + 0.2, 0.25, 1.0),
        Prediction("d.mp4#1", 0, "real", 1e-9, video="d.mp4"),
    ]
    path = write_predictions(tmp_path, rows)
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))
    columns = ["clip", "label", "category", "score", "score_int8", "score_teacher", "split", "video"]
    assert list(read[0]) == columns
    assert read[0]["clip"] == 'a "b", c.mp4'
    assert float(read[0]["score"]) == 0.1 + 0.2
    assert (read[1]["score_int8"], read[1]["score_teacher"], read[1]["split"]) == ("", "", "test")
    assert (read[0]["video"], read[1]["video"]) == ("", "d.mp4")
    with pytest.raises(RunError, match="prediction of e"):
        write_predictions(tmp_path, [Prediction("e", 1, "Dub", float("nan"))])


def test_hardware_and_versions_are_those_of_this_machine() -> None:
    found = hardware()
    assert found["cpu"]
    assert 1 <= found["num_usable_cores"] <= found["num_cores"]
    assert found["memory_bytes"] > 2**28
    assert versions()["torch"] is not None


def test_the_commit_is_that_of_the_checkout_and_null_elsewhere(tmp_path: Path) -> None:
    assert commit(tmp_path) == {"commit": None, "uncommitted_changes": None}

    def git(*arguments: str) -> str:
        call = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "one")
    assert commit(tmp_path) == {"commit": git("rev-parse", "HEAD"), "uncommitted_changes": False}
    (tmp_path / "file").write_text("2")
    assert commit(tmp_path)["uncommitted_changes"] is True
    inside = tmp_path / "installed"
    inside.mkdir()
    assert commit(inside)["commit"] is None  # a library inside somebody else's checkout


def test_the_digest_of_a_configuration_does_not_depend_on_order() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_plain_values_stay_as_they_are(value: object) -> None:
    assert plain(value, "x") == value
    assert json.loads(json.dumps(plain(value, "x"), allow_nan=False)) == value
