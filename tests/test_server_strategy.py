"""Sampling, the ledger, and the ordered weighted mean, over real Flower messages in a real Grid."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Message
from flwr.clientapp import ClientApp

from fl.compress.nesting import NestedWidth
from fl.errors import FailedRoundError
from fl.settings import DistillSettings, StrategySettings
from fl.task import LOSS_KEYS, ClientReport, RoundTask
from fl.wire import read_array, read_task, report_records, task_records
from models.architecture import Architecture
from server.aggregation import mean_of_holders, weighted_mean
from server.fleet import WeakPart
from server.gate import Expectation
from server.poisoning import aggregation_part
from server.replies import gather
from server.sampling import sample_clients, sample_spares
from server.strategy import DeterministicFedProx
from sim.grids.inprocess import InProcessGrid

EXAMPLES = {0: 1, 1: 2, 2: 5}
Drawn = tuple[list[int], list[int], list[int]]
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


# The narrow student holds values 0, 2 and 3 of four; the last is a running statistic.
NESTED = NestedWidth(
    Architecture("pin_lite", {"num_frames": 2}), "narrow", np.array([0, 2, 3]), np.array([True, True, False])
)
START = np.array([10, 20, 30, 40], np.float32)


def weak(*clients: int) -> WeakPart:
    """The narrow student's part of a round, for these clients."""
    task = RoundTask(1, NESTED.architecture, START[NESTED.positions], "narrow", 1e-3)
    return WeakPart(frozenset(clients), task, Expectation(3, "narrow", 0, EXAMPLES), NESTED)


def run_round(
    behave: Callable[[int, RoundTask], ClientReport],
    settings: StrategySettings = ALL,
    part: WeakPart | None = None,
) -> tuple[DeterministicFedProx, np.ndarray]:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: object) -> Message:
        client = message.metadata.dst_node_id - 2
        return Message(report_records(behave(client, read_task(message.content))), reply_to=message)

    task = RoundTask(
        1, Architecture("pin_lite"), np.zeros(4, np.float32) if part is None else START, "s", 1e-3
    )
    strategy = DeterministicFedProx(settings, 0, DistillSettings(), EXAMPLES)
    strategy.expected = Expectation(4, "s", 0, EXAMPLES)
    strategy.weak = part
    grid = InProcessGrid(app, len(EXAMPLES))
    messages = list(strategy.configure_train(1, *task_records(task), grid))
    # Each width's state is one object, however many clients it goes to.
    assert len({id(message.content["arrays"]) for message in messages}) == (2 if part else 1)
    replies = gather(grid, messages, 60, strategy.closing, strategy.hear)[::-1]  # order must not matter
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


def test_a_huge_reply_and_a_reason_that_speaks_to_terminals_do_no_harm() -> None:
    def behave(client: int, task: RoundTask) -> ClientReport:
        if client == 0:
            raise RuntimeError("distil: \x1b[2Jcannot read '/home/ann/ann.mp4'\r\n" + "x" * 10**6)
        report = good_report(client, task)
        return replace(report, importance=np.zeros(2**19, np.float32)) if client == 1 else report

    strategy, _ = run_round(behave)
    crash, huge = strategy.ledger.failed
    assert len(crash.reason) <= 300
    assert crash.reason.startswith("[2Jcannot read <path> xxx")
    assert huge.reason.startswith("a message may have 1048592 bytes here, got 2097")


def test_a_round_without_a_valid_reply_ends_the_run() -> None:
    def behave(client: int, task: RoundTask) -> ClientReport:
        raise RuntimeError("distil: disk full")

    with pytest.raises(FailedRoundError, match=r"round 1 has no valid reply: 3 failed.*distil: disk full"):
        run_round(behave)


def test_a_round_with_too_few_valid_replies_has_failed() -> None:
    settings = replace(ALL, min_replies=2)
    assert run_round(nan_from(2), settings)[0].ledger.replied == [0, 1]
    told = r"round 1 has 2 valid replies, 3 are needed: 1 failed, 0 missing of 3 sampled. client 2"
    with pytest.raises(FailedRoundError, match=told):
        run_round(nan_from(2), replace(ALL, min_replies=3))


def test_a_spare_takes_the_place_of_a_client_that_failed_and_is_else_not_needed() -> None:
    settings = replace(ALL, fraction=0.67, over_sampling=0.5)
    (planned, _, _), (spares, _, _) = drawn(settings)
    ledger = run_round(good_report, settings)[0].ledger
    assert (ledger.replied, ledger.unused, ledger.spares) == (planned, spares, spares)
    assert ledger.sampled == [0, 1, 2]
    strategy, state = run_round(nan_from(planned[0]), settings)
    assert [failure.client_id for failure in strategy.ledger.failed] == planned[:1]
    assert strategy.ledger.replied == sorted([planned[1], *spares])
    assert strategy.ledger.unused == strategy.ledger.missing == []
    plain = run_round(good_report, replace(settings, over_sampling=0))[1]
    assert run_round(good_report, settings)[1].tobytes() == plain.tobytes() != state.tobytes()


def drawn(settings: StrategySettings) -> tuple[Drawn, Drawn]:
    """Who is planned in round 1, and who is asked beyond the plan."""
    planned = sample_clients(settings, 0, 1, len(EXAMPLES))
    return planned, sample_spares(settings, 0, 1, len(EXAMPLES), planned[0])


def test_a_spare_takes_the_place_of_one_that_drops_out() -> None:
    settings = StrategySettings(fraction=0.5, over_sampling=0.3, dropout_share=0.2)
    for round_index in range(50):
        planned, _, dropped = sample_clients(settings, 5, round_index, 20)
        spares, slow, lost = sample_spares(settings, 5, round_index, 20, planned)
        assert len(spares) == 3
        assert not set(spares) & set(planned)
        assert set(slow) | set(lost) <= set(spares)
        same = sample_clients(replace(settings, over_sampling=0), 5, round_index, 20)
        assert (planned, dropped) == (same[0], same[2])
    assert sample_spares(replace(settings, over_sampling=0), 5, 1, 20, planned) == ([], [], [])


def test_dropped_clients_are_missing_and_get_no_message() -> None:
    strategy, _ = run_round(good_report, replace(ALL, dropout_share=0.6))
    assert strategy.ledger.missing
    assert sorted(strategy.ledger.missing + strategy.ledger.replied) == [0, 1, 2]


def test_each_value_is_the_mean_over_those_who_hold_it() -> None:
    strategy, state = run_round(good_report, part=weak(0, 2))
    everybody, wide_only = (0 * 1 + 1 * 2 + 2 * 5) / 8, 1.0
    assert state == pytest.approx(START + np.array([everybody, wide_only, everybody, wide_only]))
    assert strategy.ledger.replied == [0, 1, 2]
    assert strategy.ledger.down_bytes == strategy.ledger.up_bytes == 4 * (3 + 4 + 3)
    assert [report.client_id for report in strategy.voters] == [1]


def test_what_nobody_holds_stays_as_it_was() -> None:
    def behave(client: int, task: RoundTask) -> ClientReport:
        if client != 2:
            raise RuntimeError("distil: battery empty")
        return good_report(client, task)

    strategy, state = run_round(behave, part=weak(0, 2))
    assert state.tolist() == [12, 20, 32, 40]
    assert strategy.voters == []


def test_a_reply_of_the_other_width_is_refused() -> None:
    def behave(client: int, task: RoundTask) -> ClientReport:
        report = good_report(client, task)
        return replace(report, state=START, schema="s") if client == 0 else report

    strategy, state = run_round(behave, part=weak(0))
    assert [(f.client_id, f.stage) for f in strategy.ledger.failed] == [(0, "gate")]
    assert "schema must be narrow, got s" in strategy.ledger.failed[0].reason
    assert state == pytest.approx(START + (1 * 2 + 2 * 5) / 7)


def test_where_all_hold_everything_the_mean_is_bit_for_bit_the_plain_one() -> None:
    rng = np.random.default_rng(0)
    task = RoundTask(1, NESTED.architecture, rng.normal(size=4).astype(np.float32), "s", 1e-3)
    reports = [replace(good_report(c, task), state=rng.normal(size=4).astype(np.float32)) for c in EXAMPLES]
    plain = weighted_mean([report.state for report in reports], reports)
    assert mean_of_holders(START, reports, None).tobytes() == plain.tobytes()
    assert mean_of_holders(START, reports, weak(7)).tobytes() == plain.tobytes()


def test_a_robust_rule_takes_the_place_of_the_mean_and_says_what_counts() -> None:
    strategy, state = run_round(good_report, replace(ALL, aggregator="median", num_byzantine=1))
    assert state.tolist() == [1, 1, 1, 1]
    assert strategy.combined is not None
    assert strategy.combined.weights.tolist() == [0, 1, 0]
    assert aggregation_part(strategy) == {
        "aggregator": "median",
        "num_byzantine": 1,
        "fewest_replies": 3,
        "weights": [0, 1, 0],
        "left_out": [0, 2],
    }
    assert [report.client_id for report in strategy.voters] == [0, 1, 2]


def test_with_too_few_replies_for_the_rules_theory_the_round_fails() -> None:
    with pytest.raises(FailedRoundError, match=r"round 1 has 2 valid replies, 3 are needed"):
        run_round(nan_from(2), replace(ALL, aggregator="median", num_byzantine=1))
    _, state = run_round(nan_from(2), replace(ALL, aggregator="median"))
    assert state.tolist() == [0.5] * 4


def test_the_mean_tells_of_no_rule() -> None:
    assert aggregation_part(run_round(good_report)[0]) is None


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
