"""Simulated time of a round by each client's own student; the clients' INT8 agreement by examples."""

from dataclasses import replace

import numpy as np
import pytest

from fl.devices import PROFILES, round_seconds
from fl.task import LOSS_KEYS, ClientReport
from server.reports import client_agreement, simulate_devices


def report(client: int, num_values: int, num_steps: int = 2) -> ClientReport:
    state, losses = np.zeros(num_values, np.float32), dict.fromkeys(LOSS_KEYS, 0.0)
    return ClientReport(client, 10 + client, num_steps, state, "s", losses, 0.0, np.empty(0, np.float32))


def test_each_client_counts_with_the_macs_and_bytes_of_its_own_student() -> None:
    # Clients 0 and 3 are cameras, 1 a laptop; client 3 trains the narrow student, for longer.
    told = simulate_devices(
        [report(0, 1000), report(1, 1000), report(3, 400, num_steps=8)], {0: 900, 1: 900, 3: 100}, 16
    )
    camera = [
        round_seconds(PROFILES["camera"], macs=900, num_examples=32, down_bytes=4000, up_bytes=4000),
        round_seconds(PROFILES["camera"], macs=100, num_examples=128, down_bytes=1600, up_bytes=1600),
    ]
    laptop = round_seconds(PROFILES["laptop"], macs=900, num_examples=32, down_bytes=4000, up_bytes=4000)
    assert told["by_device"] == pytest.approx({"camera": max(camera), "laptop": laptop})
    assert told["round_s"] == pytest.approx(max(*camera, laptop))


def test_agreement_is_a_mean_by_examples_over_those_who_told() -> None:
    silent = report(0, 1)
    told = [replace(report(1, 1), int8_agreement=1.0), replace(report(2, 1), int8_agreement=0.5)]
    assert client_agreement([silent, *told]) == pytest.approx((11 * 1.0 + 12 * 0.5) / 23)
    assert client_agreement([silent]) is None


def test_without_a_report_there_is_no_time() -> None:
    assert simulate_devices([], {}, 16) is None
