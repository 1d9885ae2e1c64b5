"""A server and three nodes on hosts of their own: who may ask what, and one node cut off and back."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from deployed import Deployed
from flower_processes import wait_for_text
from network import Host, network, why_not

from sim.deploy.certificates import make_node_key

NODES = ("node-0", "node-1", "node-2")
DEVICES = ("laptop", "camera", "phone")
PORT = 9443
REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=REASON)]
ASK = """
import sys, httpx, ssl
context = ssl.create_default_context(cafile=sys.argv[1])
for path in sys.argv[3:]:
    print(httpx.post(sys.argv[2] + path, content=b"", verify=context, timeout=20).status_code)
"""


@dataclass
class Cluster:
    """Hosts on a switch, a server on one of them, and what the nodes on the others are given."""

    deployed: Deployed
    hosts: dict[str, Host]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cache, videos = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("videos")
    folder = tmp_path_factory.mktemp("deployed") / "dep"
    for name in NODES:
        (videos / name).mkdir()
    with network(("server", *NODES, "stranger")) as hosts, ExitStack() as stack:
        prefixes = {name: host.prefix for name, host in hosts.items()}
        made = Deployed(folder, videos, cache, stack, prefixes)
        address = f"{hosts['server'].address}:{PORT}"
        assert made.ask("init", str(folder), "--server", address, "--nodes", "3").returncode == 0
        log = made.start("server", "server", str(folder))
        wait_for_text(log, "Server ready", 300, made.running["server"])
        for name, device in zip(NODES, DEVICES, strict=True):
            made.start_node(name, folder / "nodes" / name, "--device", device)
        yield Cluster(made, hosts)


def wait_for_states(deployed: Deployed, wanted: dict[str, str], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while (states := deployed.status()) != wanted:
        assert time.monotonic() < deadline, f"{states} and not {wanted} in {timeout_s:g} s"
        time.sleep(5)


def test_other_hosts_reach_the_devices_api_only(cluster: Cluster) -> None:
    certificate = cluster.deployed.folder / "ca" / "ca.crt"
    server = f"https://{cluster.hosts['server'].address}:{PORT}"
    paths = [
        "/v1/control/list-nodes",
        "/v1/control/start-run",
        "/v1/runtime/acquire-task",
        "/v1/fleet/get-run",
    ]
    asked = [sys.executable, "-c", ASK, str(certificate), server, *paths]
    told = subprocess.run(
        [*cluster.hosts["stranger"].prefix, *asked], capture_output=True, text=True, timeout=60, check=True
    )
    statuses = told.stdout.split()
    assert statuses[:3] == ["403", "403", "403"]
    assert statuses[3] not in ("200", "403")  # let through, and refused there: it is not signed


def test_a_stranger_is_refused(cluster: Cluster) -> None:
    deployed = cluster.deployed
    stranger = deployed.videos / "keys" / "node-1"
    shutil.copytree(deployed.folder / "nodes" / "node-1", stranger)
    make_node_key(stranger)
    log = deployed.start_node("stranger", stranger)
    assert deployed.running["stranger"].wait(90) == 1
    assert "Failed to activate SuperNode" in log.read_text()


def test_the_server_sees_who_is_cut_off_and_who_is_back(cluster: Cluster) -> None:
    online = dict.fromkeys(NODES, "online")
    wait_for_states(cluster.deployed, online, 300)
    cluster.hosts["node-1"].cut()
    wait_for_states(cluster.deployed, {**online, "node-1": "offline"}, 300)
    cluster.hosts["node-1"].mend()
    wait_for_states(cluster.deployed, online, 300)
