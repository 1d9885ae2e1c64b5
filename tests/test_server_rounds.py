"""What the server asks of its clients."""

from dataclasses import replace

import pytest

from fl.settings import CompressSettings, Experiment, PrivacySettings, StrategySettings
from models.architecture import Architecture
from server.parts import GlobalStudent
from server.rounds import make_task

EXPERIMENT = Experiment(strategy=StrategySettings(num_rounds=3))


@pytest.mark.parametrize(
    ("experiment", "asked"),
    [
        (EXPERIMENT, [False, False, True]),
        (replace(EXPERIMENT, compress=CompressSettings(client_int8=False)), [False] * 3),
        (replace(EXPERIMENT, privacy=PrivacySettings(mechanism="dp_sgd")), [False] * 3),
    ],
)
def test_clients_quantise_in_the_last_round_unless_told_not_to(
    experiment: Experiment, asked: list[bool]
) -> None:
    architecture = Architecture("tiny_ladeda")
    student = GlobalStudent(architecture, architecture.build())
    tasks = [make_task(experiment, student, index, prunes=False) for index in (1, 2, 3)]
    assert [task.quantize for task in tasks] == asked
