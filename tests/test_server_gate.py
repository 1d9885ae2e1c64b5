"""The gate: each way a reply can be wrong is refused, with the key in the message."""

from dataclasses import replace

import numpy as np
import pytest

from fl.errors import ReplyError
from fl.task import LOSS_KEYS, ClientReport
from server.gate import Expectation, check_report

EXPECTED = Expectation(num_values=5, schema="abc", num_importances=2, declared_examples={3: 10})
GOOD = ClientReport(
    client_id=3,
    num_examples=10,
    num_steps=2,
    state=np.ones(5, np.float32),
    schema="abc",
    losses=dict.fromkeys(LOSS_KEYS, 0.5),
    seconds=1.0,
    importance=np.ones(2, np.float32),
)


def spoiled(value: float, size: int = 5) -> np.ndarray:
    state = np.ones(size, np.float32)
    state[-1] = value
    return state


def test_a_good_report_passes() -> None:
    assert check_report(GOOD, 3, EXPECTED) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"state": spoiled(np.nan)}, "state must be finite, got 1 of 5"),
        ({"state": spoiled(np.inf)}, "state must be finite"),
        ({"state": spoiled(1e30)}, "state must be within"),
        ({"state": np.ones(1, np.float32)}, r"state must have shape \(5,\), got \(1,\)"),
        ({"importance": spoiled(np.nan, 2)}, "importance must be finite"),
        ({"importance": np.empty(0, np.float32)}, "importance must have shape"),
        ({"num_examples": 10**9}, r"num-examples must be in \[1, 10\]"),
        ({"num_examples": -200}, "num-examples"),
        ({"num_examples": 0}, "num-examples"),
        ({"num_steps": 0}, "num-steps"),
        ({"schema": "abd"}, "schema"),
        ({"client_id": 4}, "client-id"),
        ({"losses": {**GOOD.losses, "loss_soft": float("nan")}}, "loss_soft must be finite"),
    ],
)
def test_a_bad_report_is_refused_by_name(change: dict, told: str) -> None:
    with pytest.raises(ReplyError, match=told):
        check_report(replace(GOOD, **change), 3, EXPECTED)
