"""Sampling, the ledger, and the ordered weighted mean, over real Flower messages in a real Grid."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Message
from flwr.clientapp import ClientApp

from fl.errors import RunError
from fl.settings import DistillSettings, StrategySettings
from fl.task import LOSS_KEYS, ClientReport, RoundTask
from fl.wire import read_array, read_task, report_records, task_records
from models.architecture import Architecture
from server.gate import Expectation
from server.strategy import DeterministicFedProx, sample_clients
from sim.grids.inprocess import InProcessGrid

EXAMPLES = {0: 1, 1: 2, 2: 5}
ALL = StrategySettings(straggler_share=0.0, dropout_share=0.0)


def good_report(client: int, task: RoundTask) -> ClientReport:
    """A client whose local training adds its id to every weight."""
    return ClientReport(
        client_id=client,
        num_examples=EXAMPLES[client],
        num_steps=1,
        state=task.state + np.float32(client),
        schema=task.schema,
        losses=dict.fromkeys(LOSS_KEYS, float(client)),
        seconds=0.0,
        importance=np.empty(0, np.float32),
    )


def run_round(
    behave: Callable[[int, RoundTask], ClientReport], settings: StrategySettings = ALL
) -> tuple[DeterministicFedProx, np.ndarray]:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: object) -> Message:
        client = message.metadata.dst_node_id - 2
        return Message(report_records(behave(client, read_task(message.content))), reply_to=message)

    task = RoundTask(1, Architecture("pin_lite"), np.zeros(4, np.float32), "s", 1e-3)
    strategy = DeterministicFedProx(settings, 0, DistillSettings(), EXAMPLES)
    strategy.expected = Expectation(4, "s", 0, EXAMPLES)
    grid = InProcessGrid(app, len(EXAMPLES))
    messages = strategy.configure_train(1, *task_records(task), grid)
    replies = list(grid.send_and_receive(messages))[::-1]  # arrival order must not matter
    arrays, _ = strategy.aggregate_train(1, replies)
    assert arrays is not None
    return strategy, read_array(arrays, "state")


def test_the_aggregate_is_the_mean_weighted_by_examples() -> None:
    strategy, state = run_round(good_report)
    assert state == pytest.approx(np.full(4, (0 * 1 + 1 * 2 + 2 * 5) / 8))
    assert strategy.ledger.sampled == strategy.ledger.replied == [0, 1, 2]
    assert strategy.ledger.failed == strategy.ledger.missing == []
    assert strategy.ledger.down_bytes == 3 * 16


def nan_from(bad: int) -> Callable[[int, RoundTask], ClientReport]:
    def behave(client: int, task: RoundTask) -> ClientReport:
        report = good_report(client, task)
        return replace(report, state=report.state * np.float32(np.nan)) if client == bad else report

    return behave


def test_a_nan_reply_is_refused_and_the_round_goes_on() -> None:
    strategy, state = run_round(nan_from(2))
    assert state == pytest.approx(np.full(4, (0 * 1 + 1 * 2) / 3))
    assert [(f.client_id, f.stage) for f in strategy.ledger.failed] == [(2, "gate")]
    assert "finite" in strategy.ledger.failed[0].reason
    assert strategy.ledger.replied == [0, 1]


def test_a_wrong_shape_and_a_crash_are_refused_with_their_stage() -> None:
    def behave(client: int, task: RoundTask) -> ClientReport:
        if client == 0:
            raise RuntimeError("distil: out of memory")
        report = good_report(client, task)
        return replace(report, state=report.state[:1]) if client == 1 else report

    strategy, state = run_round(behave)
    assert state == pytest.approx(np.full(4, 2.0))
    assert [(f.client_id, f.stage) for f in strategy.ledger.failed] == [(0, "distil"), (1, "gate")]


def test_a_round_without_a_valid_reply_ends_the_run() -> None:
    def behave(client: int, task: RoundTask) -> ClientReport:
        raise RuntimeError("distil: disk full")

    with pytest.raises(RunError, match=r"round 1 has no valid reply: 3 failed.*distil: disk full"):
        run_round(behave)


def test_dropped_clients_are_missing_and_get_no_message() -> None:
    strategy, _ = run_round(good_report, replace(ALL, dropout_share=0.6))
    assert strategy.ledger.missing
    assert sorted(strategy.ledger.missing + strategy.ledger.replied) == [0, 1, 2]


def test_sampling_depends_on_seed_and_round_only() -> None:
    settings = StrategySettings(fraction=0.5, straggler_share=0.3, dropout_share=0.3)
    first = [sample_clients(settings, 1, r, 40) for r in range(5)]
    assert first == [sample_clients(settings, 1, r, 40) for r in range(5)]
    assert len({tuple(sampled) for sampled, _, _ in first}) == 5
    for sampled, stragglers, dropped in first:
        assert len(sampled) == 20
        assert set(stragglers) | set(dropped) <= set(sampled)
        assert not set(stragglers) & set(dropped)


def test_shares_of_stragglers_and_dropouts_are_as_configured() -> None:
    settings = StrategySettings(straggler_share=0.25, dropout_share=0.1)
    rounds = [sample_clients(settings, 3, r, 50) for r in range(100)]
    assert sum(len(d) for _, _, d in rounds) / 5000 == pytest.approx(0.1, abs=0.02)
    assert sum(len(s) for _, s, _ in rounds) / 5000 == pytest.approx(0.25 * 0.9, abs=0.03)


def test_even_when_all_would_drop_out_one_client_is_left() -> None:
    _, _, dropped = sample_clients(StrategySettings(dropout_share=0.999), 0, 1, 5)
    assert len(dropped) == 4
