"""Simulated devices: how long a round would take on them. Simulated, never measured."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class DeviceProfile:
    """An edge device, by round numbers of its class.

    Attributes:
        name: the class of device.
        macs_per_s: sustained multiply-accumulates per second in training.
        uplink_bps: bits per second to the server.
        downlink_bps: bits per second from the server.
    """

    name: str
    macs_per_s: float
    uplink_bps: float
    downlink_bps: float


PROFILES: Mapping[str, DeviceProfile] = MappingProxyType(
    {
        "camera": DeviceProfile("camera", 2e9, 5e6, 20e6),
        "phone": DeviceProfile("phone", 10e9, 10e6, 50e6),
        "laptop": DeviceProfile("laptop", 50e9, 20e6, 100e6),
    }
)
"""Assumed orders of magnitude, chosen by us; no device was measured."""

BACKWARD_FACTOR = 3
"""A training step costs about three forward passes."""


def profile_of(client_id: int) -> DeviceProfile:
    """The device of a client: the classes take turns."""
    names = sorted(PROFILES)
    return PROFILES[names[client_id % len(names)]]


def clients_with(
    devices: Collection[str], num_clients: int, device_of: Callable[[int], DeviceProfile] = profile_of
) -> frozenset[int]:
    """Ids of the clients whose device is one of those named; ``device_of`` tells a client's."""
    return frozenset(client for client in range(num_clients) if device_of(client).name in devices)


def round_seconds(
    device: DeviceProfile, *, macs: int, num_examples: int, down_bytes: int, up_bytes: int
) -> float:
    """Simulated time of one client's round: receive, train, send.

    Args:
        device: where it runs.
        macs: of one clip's forward pass.
        num_examples: clips trained on, repeats counted.
        down_bytes: received.
        up_bytes: sent.
    """
    train_s = BACKWARD_FACTOR * macs * num_examples / device.macs_per_s
    return 8 * down_bytes / device.downlink_bps + train_s + 8 * up_bytes / device.uplink_bps
