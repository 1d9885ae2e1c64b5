"""The thesis's pruning: published counts, and what a step needs."""

import json

import pytest
import torch

from fl.compress.thesis import PrunedCount, prune_globally, pruned_counts
from models.architecture import Architecture
from sim.__main__ import main
from sim.commands.reproduce_counts import PRINTED


@pytest.fixture(scope="module")
def counts() -> list[PrunedCount]:
    return list(pruned_counts(PRINTED, seed=0))


def test_counts_are_within_three_percent_of_the_published(counts: list[PrunedCount]) -> None:
    assert [count.ratio for count in counts] == [0.2, 0.25, 0.3, 0.35]
    for count in counts:
        assert count.num_parameters == pytest.approx(PRINTED[count.ratio], rel=0.03)


def test_ratio_0_is_the_identity() -> None:
    network = Architecture("efficientnet_lite0").build(1)
    before = {key: value.clone() for key, value in network.named_parameters()}
    prune_globally(network.video, 0.0, torch.Generator().manual_seed(0))
    after = dict(network.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_json_holds_ratio_and_parameters_only(
    counts: list[PrunedCount], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fl.compress.thesis.pruned_counts", lambda *_: iter(counts))
    assert main(["reproduce", "thesis_kd_pruning", "--counts-only", "--json"]) == 0
    expected = [{"ratio": count.ratio, "num_parameters": count.num_parameters} for count in counts]
    assert json.loads(capsys.readouterr().out) == expected


def test_the_table_says_what_was_not_the_same(
    counts: list[PrunedCount], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fl.compress.thesis.pruned_counts", lambda *_: iter(counts))
    assert main(["reproduce", "thesis_kd_pruning", "--counts-only"]) == 0
    printed = capsys.readouterr().out
    assert "2,544,127" in printed
    assert f"{counts[0].num_parameters:,}" in printed
    assert f"{counts[0].num_parameters / 2_544_127 - 1:+.2%}" in printed
    assert "random weights, seed 0" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["thesis"], "argument preset: invalid choice: 'thesis'"),
        (["pin_lite", "--counts-only"], "--counts-only is for thesis_kd_pruning, got pin_lite"),
        (
            ["thesis_kd_pruning", "--counts-only", "--weights", "none.safetensors"],
            "--weights must name a file of timm's weights, got none.safetensors: no such file",
        ),
    ],
)
def test_a_wrong_request_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", *arguments]) == 2
    assert message in capsys.readouterr().err
