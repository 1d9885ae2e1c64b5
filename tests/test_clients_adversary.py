"""What each kind of malicious client sends, beside the honest client with the same clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shards import BOTH, FACE, REAL, VOICE, shard
from torch import nn

import clients.adversary
from clients.adversary import DEEDS, STATISTICS, act
from clients.round import EdgeClient, run_round
from fl.data.shards import take
from fl.distill.batches import TeacherOutputs
from fl.distill.predict import predict
from fl.errors import ReplyError
from fl.poisoning.views import NoisyView
from fl.settings import AdversarySettings, AugmentSettings, CompressSettings, DistillSettings
from fl.settings.adversary import KINDS
from fl.state import flatten, load_flat, schema_digest, value_mask
from fl.task import ClientReport, RoundTask
from models.architecture import Architecture
from server.gate import Expectation, check_report

LITE = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13})
NETWORK = LITE.build(1)
SENT = flatten(NETWORK)
KEPT = value_mask(NETWORK, STATISTICS)


def task(**changes: object) -> RoundTask:
    return replace(RoundTask(1, LITE, SENT, schema_digest(NETWORK), 2e-3), **changes)


def edge_client(kind: str = "", tmp: Path = Path("nowhere"), **settings: object) -> EdgeClient:
    view = take(shard([REAL, FACE, VOICE, BOTH] * 3))
    return EdgeClient(
        client_id=2,
        view=view,
        teacher=TeacherOutputs(*predict(LITE.build(3), view)),
        augment=AugmentSettings(),
        distill=DistillSettings(batch_size=4, epochs=1),
        compress=CompressSettings(),
        seed=0,
        cache_dir=tmp,
        adversary=AdversarySettings(kind, **settings) if kind else None,
    )


def report(kind: str = "", **settings: object) -> ClientReport:
    return act(task(), edge_client(kind, **settings), LITE.build(1))


@pytest.fixture(scope="module")
def honest() -> ClientReport:
    return report()


def expectation(importances: int = 0) -> Expectation:
    variances = value_mask(NETWORK, ("running_var",))
    return Expectation(
        SENT.size, schema_digest(NETWORK), importances, {2: 12}, sent=SENT, variances=variances
    )


def test_there_is_a_deed_for_every_kind() -> None:
    assert {"none", *DEEDS} == set(KINDS)


def test_an_honest_client_does_the_honest_work_to_the_bit(honest: ClientReport) -> None:
    assert honest.state.tobytes() == run_round(task(), edge_client(), LITE.build(1)).state.tobytes()


@pytest.mark.parametrize(("kind", "factor"), [("sign_flip", -4.0), ("scaling", 4.0)])
def test_an_update_is_turned_or_enlarged_and_its_statistics_are_not(
    kind: str, factor: float, honest: ClientReport
) -> None:
    found = report(kind, scale=4.0)
    expected = SENT + factor * (honest.state - SENT)
    np.testing.assert_allclose(found.state[~KEPT], expected[~KEPT], atol=1e-5)
    assert (found.state[KEPT] == honest.state[KEPT]).all()
    check_report(found, 2, expectation())


def test_the_gate_refuses_what_is_no_number_and_what_is_ten_million_times_too_large() -> None:
    with pytest.raises(ReplyError, match="state must be finite"):
        check_report(report("not_a_number"), 2, expectation())
    with pytest.raises(ReplyError, match="state must be within"):
        check_report(report("scaling", scale=1e7), 2, expectation())


def test_the_gate_refuses_a_negative_variance(honest: ClientReport) -> None:
    state = honest.state.copy()
    state[np.flatnonzero(value_mask(NETWORK, ("running_var",)))[3]] = -1e-3
    with pytest.raises(ReplyError, match="no negative variance, got 1"):
        check_report(replace(honest, state=state), 2, expectation())


def test_a_free_rider_sends_back_what_it_got(honest: ClientReport) -> None:
    assert report("free_rider").state.tobytes() == SENT.tobytes()
    noisy = report("free_rider", noise=0.01)
    moved = noisy.state - SENT
    assert moved[~KEPT].std() == pytest.approx(0.01, rel=0.02)
    assert not moved[KEPT].any()
    check_report(noisy, 2, expectation())
    asked = act(task(measure_importance=True), edge_client("free_rider"), LITE.build(1))
    honest_vote = act(task(measure_importance=True), edge_client(), LITE.build(1)).importance
    assert asked.importance.shape == honest_vote.shape


def test_turned_votes_rank_the_units_the_other_way_round(honest: ClientReport) -> None:
    asked = task(measure_importance=True)
    fair = act(asked, edge_client(), LITE.build(1))
    turned = act(asked, edge_client("poisoned_votes"), LITE.build(1))
    assert turned.state.tobytes() == fair.state.tobytes()
    voted = fair.importance > 0
    assert np.corrcoef(turned.importance[voted], fair.importance[voted])[0, 1] == pytest.approx(-1, abs=1e-3)
    assert turned.importance.mean() == pytest.approx(fair.importance.mean(), rel=1e-3)
    check_report(turned, 2, expectation(turned.importance.size))
    assert report("poisoned_votes").state.tobytes() == honest.state.tobytes()


def test_a_backdoor_is_honest_work_on_poisoned_clips_and_the_update_is_boosted(honest: ClientReport) -> None:
    plain, boosted = report("backdoor"), report("backdoor", scale=3.0)
    assert plain.losses["loss_hard"] != honest.losses["loss_hard"]
    expected = SENT + 3 * (plain.state - SENT)
    np.testing.assert_allclose(boosted.state[~KEPT], expected[~KEPT], atol=1e-5)
    nothing = report("backdoor", poisoned_share=0.0)
    np.testing.assert_allclose(nothing.state, honest.state, atol=1e-6)


@pytest.mark.slow
def test_turned_labels_teach_the_opposite() -> None:
    gaps = []
    for kind in ("", "label_flip"):
        client = edge_client(kind)
        client = replace(client, distill=DistillSettings(batch_size=12, epochs=20, soft_weight=0.0))
        network = LITE.build(1)
        load_flat(network, act(task(), client, network).state)
        logits, _ = predict(network, client.view)
        gaps.append(logits[client.view.labels == 1].mean() - logits[client.view.labels == 0].mean())
    assert gaps[0] > 0 > gaps[1]


@pytest.mark.slow
def test_calibration_on_noise_is_reported_and_changes_no_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, seen = task(quantize=True), []
    measure = clients.adversary.quantized_agreement

    def watched(task: RoundTask, client: EdgeClient, network: nn.Module) -> float | None:
        seen.append((client.view, measure(task, client, network)))
        return seen[-1][1]

    monkeypatch.setattr(clients.adversary, "quantized_agreement", watched)
    static = CompressSettings(int8="static", calibration_clips=32)
    view = take(shard([REAL, FACE, VOICE, BOTH] * 8))
    teacher = TeacherOutputs(*predict(LITE.build(3), view))
    reports = []
    for kind in ("", "poisoned_calibration"):
        client = replace(edge_client(kind, tmp_path), compress=static, view=view, teacher=teacher)
        reports.append(act(asked, client, LITE.build(1)))
    assert reports[1].state.tobytes() == reports[0].state.tobytes()
    ((noisy, agreement),) = seen
    assert isinstance(noisy, NoisyView)
    assert reports[1].int8_agreement == agreement
    assert agreement is not None
