"""Who has which device, and the simulated time of a round in closed form."""

import pytest

from fl.devices import PROFILES, DeviceProfile, clients_with, profile_of, round_seconds


def test_the_clients_of_all_devices_are_all_clients_once() -> None:
    owners = [clients_with([name], 8) for name in PROFILES]
    assert sorted(client for part in owners for client in part) == list(range(8))
    assert clients_with(["camera"], 8) == {c for c in range(8) if profile_of(c).name == "camera"}
    assert clients_with([], 8) == clients_with(["camera"], 0) == frozenset()


def test_a_round_is_receiving_training_and_sending() -> None:
    device = DeviceProfile("d", macs_per_s=100.0, uplink_bps=8.0, downlink_bps=16.0)
    seconds = round_seconds(device, macs=50, num_examples=4, down_bytes=6, up_bytes=5)
    assert seconds == pytest.approx(6 * 8 / 16 + 3 * 50 * 4 / 100 + 5 * 8 / 8)
