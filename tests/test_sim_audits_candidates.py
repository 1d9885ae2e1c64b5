"""A run's dense student pruned and fine-tuned at the server, and the audit of it all, on real networks."""

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from trained_student import LITE, Trained, train_student

from fl.compress.export import save_model
from fl.data.shards import take
from fl.distill.predict import predict
from fl.errors import RequestError
from fl.metrics.cost import count_parameters
from fl.settings import Experiment
from fl.state import flatten
from models.architecture import Architecture
from server.checkpoint import save_checkpoint
from sim.__main__ import main
from sim.audits.candidates import Workshop, dense_student, make_candidates
from sim.commands.audit_compression import audit_compression
from sim.finished import FinishedRun
from sim.record import append_round
from sim.report.compression import print_compression
from sim.report.compression_figure import draw_compression


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_student(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def run(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run that never pruned; its teacher is the student itself."""
    folder = tmp_path_factory.mktemp("compressed")
    outputs = folder / "teacher" / "outputs" / trained.store.digest
    outputs.mkdir(parents=True)
    logits, maps = predict(trained.network, take(trained.store))
    logits.astype("<f4").tofile(outputs / "logits.f32")
    maps.astype("<f4").tofile(outputs / "maps.f32")
    (outputs / "outputs.json").write_text(json.dumps({"maps": list(maps.shape)}))
    save_model(trained.graph, folder / "teacher" / "teacher.onnx")
    costs = {"num_parameters": 5, "macs": 6}
    (folder / "summary.json").write_text(json.dumps({"teacher": costs}))
    save_checkpoint(folder, 1, LITE, trained.network, {})
    return FinishedRun(folder, Experiment(), folder, LITE, trained.network, folder / "teacher")


def workshop_of(run: FinishedRun, trained: Trained, num_epochs: int, **compress: object) -> Workshop:
    settings = replace(run.experiment.compress, targets="all", batchnorm_batches=2, **compress)
    return Workshop(run, trained.store, run.teacher_answers(trained.store), settings, num_epochs)


def test_each_share_is_pruned_from_the_dense_student(run: FinishedRun, trained: Trained) -> None:
    workshop = workshop_of(run, trained, 0, ratio_of="parameters")
    dense, small, smaller = make_candidates(workshop, (0.3, 0.6), lambda *_: None)
    assert (dense.name, small.name, smaller.name) == ("dense", "pruned 30 %", "pruned 60 %")
    assert (flatten(dense.network) == flatten(trained.network)).all()
    total = count_parameters(dense.network)
    for found, share in ((small, 0.3), (smaller, 0.6)):
        assert share <= 1 - count_parameters(found.network) / total < share + 0.08
        rebuilt = Architecture.from_json(found.architecture.to_json()).build()
        rebuilt.load_state_dict(found.network.state_dict())
        logits, _ = predict(found.network, take(trained.store))
        assert (predict(rebuilt, take(trained.store))[0] == logits).all()


def test_the_control_is_trained_alike_and_twice_the_same(run: FinishedRun, trained: Trained) -> None:
    notes: list[str] = []
    workshop = workshop_of(run, trained, 1)
    names, states = [], []
    for candidate in make_candidates(workshop, (0.65,), lambda _, note: notes.append(note)):
        names.append(candidate.name)
        states.append(flatten(candidate.network))
    assert names == ["dense", "dense, tuned", "pruned 65 %"]
    assert [note.partition(":")[0] for note in notes] == names[1:]
    assert not np.array_equal(states[0], states[1])
    again = list(make_candidates(workshop, (0.65,), lambda *_: None))
    assert all((flatten(found.network) == state).all() for found, state in zip(again, states, strict=True))


def test_a_share_that_the_floors_forbid_is_refused(run: FinishedRun, trained: Trained) -> None:
    with pytest.raises(RequestError, match=r"compress\.prune_ratio must be at most"):
        list(make_candidates(workshop_of(run, trained, 0), (0.99,), lambda *_: None))


def test_the_dense_student_is_the_last_before_any_pruning(trained: Trained, tmp_path: Path) -> None:
    for index in (1, 2, 3):
        network = LITE.build(index)
        save_checkpoint(tmp_path, index, LITE, network, {})
        append_round(tmp_path, {"round_index": index, "prune": {"ratio": 0.5} if index == 3 else None})
    run = FinishedRun(tmp_path, Experiment(), tmp_path, LITE, trained.network, tmp_path)
    architecture, network, index = dense_student(run)
    assert (architecture, index) == (LITE, 2)
    assert torch.equal(network.head.weight, LITE.build(2).head.weight)


def test_a_run_that_pruned_at_once_has_no_dense_student(trained: Trained, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, LITE, trained.network, {})
    append_round(tmp_path, {"round_index": 1, "prune": {"ratio": 0.5}})
    run = FinishedRun(tmp_path, Experiment(), tmp_path, LITE, trained.network, tmp_path)
    with pytest.raises(RequestError, match="pruned its own in round 1; name a run made with compress=none"):
        dense_student(run)


@pytest.mark.slow
def test_the_audit_holds_every_network_against_teacher_and_dense(
    run: FinishedRun, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    int8 = ["dynamic", "static"]
    asked = {"ratios": [0.35], "epochs": 1, "variants": int8, "qat": 1}
    asked = {**asked, "targets": "all", "round_to": 0, "ratio_of": "channels"}
    told = audit_compression(run, {"public": trained.store, "test": trained.store}, Namespace(**asked))
    rows = {(row.network, row.variant): row for row in told.rows}
    assert list(rows) == [
        ("teacher", "float"),
        *(("dense", variant) for variant in ("float", *int8)),
        ("dense, tuned", "float"),
        *(("pruned 35 %", variant) for variant in ("float", *int8, "qat")),
    ]
    dense, pruned = rows["dense", "float"], rows["pruned 35 %", "float"]
    assert rows["teacher", "float"].num_parameters == 5
    assert (dense.eps, dense.speedup_dense, dense.num_flips) == (pytest.approx(1), 1.0, 0)
    assert pruned.num_parameters < dense.num_parameters
    assert pruned.macs < dense.macs
    assert rows["pruned 35 %", "static"].size_bytes < rows["pruned 35 %", "dynamic"].size_bytes
    print_compression(replace(told, figure="f.png"))
    text = capsys.readouterr().out
    assert "dense student of round 1, 40 test clips" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines() if "EPS >=" not in line) <= 100
    assert "…" not in text
    path = draw_compression(told, tmp_path / "figures")
    assert imread(path).shape[:2] == (648, 1440)
    assert [file.name for file in path.parent.iterdir()] == ["compression.png"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--ratios", "35"], "--ratios must be shares in (0, 1), got 35; 35 % is 0.35"),
        (["--ratios", "0.5", "0.5"], "--ratios must differ, got 0.5 0.5"),
        (["--epochs", "-1"], "--epochs must be at least 0, got -1"),
        (["--qat", "-1"], "--qat must be at least 0, got -1"),
        (["--round-to", "-8"], "--round-to must be at least 0, got -8"),
        (["--targets", "heads"], "argument --targets: invalid choice: 'heads'"),
        ([], "RUN must be the folder of a finished run, with summary.json"),
    ],
)
def test_wrong_requests_exit_with_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "compression", "/no/such", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"fedpin: {line}")
    assert err.count("\n") == 1
