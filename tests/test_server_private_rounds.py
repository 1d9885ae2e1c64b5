"""Central privacy in the strategy, over real Flower messages: who is sampled, and what is released."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Message
from flwr.clientapp import ClientApp

from fl.errors import RunError
from fl.privacy.central_gaussian import CentralGaussian
from fl.settings import DistillSettings, PrivacySettings, StrategySettings
from fl.task import LOSS_KEYS, ClientReport, RoundTask
from fl.wire import read_array, read_task, report_records, task_records
from models.architecture import Architecture
from server.gate import Expectation
from server.sampling import sample_clients
from server.strategy import DeterministicFedProx
from sim.grids.inprocess import InProcessGrid

EXAMPLES = {0: 1, 1: 2, 2: 5}
ALL = StrategySettings(straggler_share=0.0, dropout_share=0.0)
START = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
OFF = PrivacySettings(mechanism="central_gaussian", noise_multiplier=0.0, clip_norm=0.0)
CLIPPED = replace(OFF, clip_norm=1.0)
NOISED = replace(CLIPPED, noise_multiplier=1.0)

Behaviour = Callable[[int, RoundTask], ClientReport]


def far(client: int, task: RoundTask) -> ClientReport:
    """A client whose training moves the first value by ten to the power of its id."""
    moved = task.state.copy()
    moved[0] += np.float32(10**client)
    return ClientReport(
        client, EXAMPLES[client], 1, moved, "s", dict.fromkeys(LOSS_KEYS, 1.0), 0.0, np.empty(0, np.float32)
    )


def run_round(
    privacy: PrivacySettings | None, behave: Behaviour = far, settings: StrategySettings = ALL
) -> tuple[DeterministicFedProx, np.ndarray, dict[str, float]]:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: object) -> Message:
        report = behave(message.metadata.dst_node_id - 2, read_task(message.content))
        return Message(report_records(report), reply_to=message)

    mechanism = privacy and CentralGaussian(privacy, 0, settings.fraction, len(EXAMPLES), num_rounds=3)
    strategy = DeterministicFedProx(settings, 0, DistillSettings(), EXAMPLES, privacy=mechanism)
    strategy.expected = Expectation(4, "s", 0, EXAMPLES)
    strategy.learnt = np.ones(4, bool)
    grid = InProcessGrid(app, len(EXAMPLES))
    task = RoundTask(1, Architecture("pin_lite"), START, "s", 1e-3)
    replies = list(grid.send_and_receive(list(strategy.configure_train(1, *task_records(task), grid))))
    arrays, losses = strategy.aggregate_train(1, replies)
    assert arrays is not None
    assert losses is not None
    return strategy, read_array(arrays, "state"), dict(losses)  # type: ignore[arg-type]


@pytest.mark.parametrize("straggler_share", [0.0, 0.5])
def test_without_noise_and_clipping_the_round_is_the_plain_one_to_the_bit(straggler_share: float):
    settings = replace(ALL, straggler_share=straggler_share, dropout_share=0.3)
    (plain, expected, _), (private, state, _) = run_round(None, far, settings), run_round(OFF, far, settings)
    assert state.tobytes() == expected.tobytes()
    assert private.ledger == plain.ledger


def test_every_client_moves_the_mean_by_at_most_its_share():
    _, state, losses = run_round(CLIPPED)
    assert state == pytest.approx(START + np.array([(1 + 1 + 1) / 3, 0, 0, 0]))
    assert losses == {}  # they are outside the account


def test_who_is_refused_or_crashes_adds_nothing_and_the_denominator_stays():
    def behave(client: int, task: RoundTask) -> ClientReport:
        if client == 1:
            raise RuntimeError("distil: out of memory")
        report = far(client, task)
        return replace(report, state=report.state * np.float32(np.nan)) if client == 2 else report

    strategy, state, _ = run_round(CLIPPED, behave)
    assert [failure.client_id for failure in strategy.ledger.failed] == [1, 2]
    assert state == pytest.approx(START + np.array([1 / 3, 0, 0, 0]))


def test_a_round_without_anyone_sampled_is_noise_and_one_in_which_all_fail_ends_the_run():
    rare = replace(ALL, fraction=0.01)
    strategy, state, _ = run_round(NOISED, far, rare)
    assert strategy.ledger.sampled == []
    assert (state != START).all()
    assert strategy.privacy is not None
    assert strategy.privacy.spent[0].count == 1

    def crash(client: int, task: RoundTask) -> ClientReport:
        raise RuntimeError("distil: out of memory")

    with pytest.raises(RunError, match="no valid reply: 3 failed"):
        run_round(NOISED, crash)


def test_poisson_sampling_is_a_coin_for_each_client():
    settings = replace(ALL, fraction=0.3, dropout_share=0.2, straggler_share=0.2)
    draws = [sample_clients(settings, 0, index, 10, poisson=True) for index in range(4000)]
    sizes = np.array([len(sampled) for sampled, _, _ in draws])
    assert sizes.mean() == pytest.approx(3.0, abs=0.1)
    assert sizes.var() == pytest.approx(10 * 0.3 * 0.7, rel=0.1)  # a fixed number would have none
    together = np.mean([{0, 1} <= set(sampled) for sampled, _, _ in draws])
    assert together == pytest.approx(0.09, abs=0.02)  # independent
    assert sizes.min() == 0
    assert all(set(slow) | set(gone) <= set(sampled) for sampled, slow, gone in draws)


def test_secret_sampling_does_not_follow_the_seed():
    settings = replace(ALL, fraction=0.5)
    seeded = [sample_clients(settings, 0, 1, 64, poisson=True) for _ in range(2)]
    secret = [sample_clients(settings, 0, 1, 64, poisson=True, secret=True) for _ in range(2)]
    assert seeded[0] == seeded[1]
    assert secret[0] != secret[1]
