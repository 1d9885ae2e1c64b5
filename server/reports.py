"""What the clients' reports tell of a round beside their weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fl.devices import DeviceProfile, profile_of, round_seconds
from fl.task import ClientReport


def simulate_devices(
    reports: Sequence[ClientReport],
    macs: Mapping[int, int],
    batch_size: int,
    device_of: Callable[[int], DeviceProfile] = profile_of,
) -> dict[str, Any] | None:
    """Simulated time of the round: each device class's slowest client, and the slowest of all.

    Args:
        reports: of the round; of none, there is no time.
        macs: client id -> multiply-accumulates of one clip through the student that it trained.
        batch_size: clips in a step.
        device_of: client id -> its device.
    """
    by_device: dict[str, float] = {}
    for report in reports:
        device = device_of(report.client_id)
        size = 4 * report.state.size
        seconds = round_seconds(
            device,
            macs=macs[report.client_id],
            num_examples=report.num_steps * batch_size,
            down_bytes=size,
            up_bytes=size + 4 * report.importance.size,
        )
        by_device[device.name] = max(by_device.get(device.name, 0.0), seconds)
    if not by_device:
        return None
    return {"round_s": max(by_device.values()), "by_device": dict(sorted(by_device.items()))}


def client_agreement(reports: Sequence[ClientReport]) -> float | None:
    """Mean agreement of the clients' own INT8 copies with their float ones, by examples."""
    told = [r for r in reports if r.int8_agreement is not None]
    if not told:
        return None
    total = sum(report.num_examples for report in told)
    return sum((r.int8_agreement or 0.0) * r.num_examples for r in told) / total
