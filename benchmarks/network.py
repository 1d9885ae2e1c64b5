"""Hosts of their own on one machine: network namespaces on one switch, each with an address."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

NETWORK = "10.77.0"


def ip(*arguments: str) -> None:
    """Ask iproute2 for something."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20)


def why_not() -> str:
    """Why namespaces cannot be made here; empty if they can."""
    name = f"fedpin-try-{os.getpid()}"
    try:
        ip("netns", "add", name)
    except FileNotFoundError:
        return "network namespaces need the program ip (iproute2)"
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not allowed here: {error.stderr.strip()}"
    ip("netns", "del", name)
    return ""


@dataclass(frozen=True)
class Host:
    """One host.

    Attributes:
        name: of its namespace.
        address: IPv4.
        switch: namespace of the switch.
        port: its plug there.
    """

    name: str
    address: str
    switch: str
    port: str

    @property
    def prefix(self) -> list[str]:
        """What puts a command on this host."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """Pull the plug: nothing comes through, and nobody is told."""
        ip("-n", self.switch, "link", "set", self.port, "down")

    def mend(self) -> None:
        """Put the plug back."""
        ip("-n", self.switch, "link", "set", self.port, "up")


@contextmanager
def network(names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """Hosts with their own addresses, gone with the block."""
    mark = f"fedpin{os.getpid()}"
    switch = f"{mark}-switch"
    with ExitStack() as stack:

        def add(name: str) -> None:
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up")

        add(switch)
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        hosts = {}
        for number, name in enumerate(names, start=1):
            host = Host(f"{mark}-{name}", f"{NETWORK}.{number}", switch, f"port{number}")
            add(host.name)
            ip(
                "-n",
                switch,
                "link",
                "add",
                host.port,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                host.name,
            )
            ip("-n", switch, "link", "set", host.port, "master", "bridge", "up")
            ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            ip("-n", host.name, "link", "set", "eth0", "up")
            hosts[name] = host
        yield hosts
