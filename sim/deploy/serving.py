"""What stays up: the server and a node, each checked by name before Flower's program is started."""

import ipaddress
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fl.data.own_clips import LAYOUTS
from fl.devices import PROFILES
from fl.errors import RequestError, RunError
from sim.deploy import flower
from sim.deploy.certificates import check_certificate, check_key
from sim.deploy.folder import Deployment, NodeFolder
from sim.provenance import ROOT

START_S = 180
END_S = 15
Tell = Callable[[str], None]


@dataclass(frozen=True)
class NodeOptions:
    """What a node adds of its own.

    Attributes:
        data: folder of its videos.
        layout: how they are laid out, one of `fl.data.own_clips.LAYOUTS`.
        device: name of its profile.
        threads: cores that it may use.
        cache_dir: root of its cache.
        teacher: start of the only teacher's digest that it accepts; empty: any.
    """

    data: Path
    layout: str
    device: str
    threads: int
    cache_dir: Path
    teacher: str


def check_server(deployment: Deployment, bind: str, tell: Tell) -> None:
    """Everything that would keep the server from starting, or will soon.

    Raises:
        FedpinError: the first thing wrong, by name.
    """
    folder = deployment.folder / "server"
    check_key(folder / "server.key")
    remedy = f"python -m sim deploy init {deployment.folder} --renew"
    for warning in (
        check_certificate(folder / "server.pem", remedy),
        check_certificate(folder / "ca.crt", "make a new deployment"),
    ):
        if warning:
            tell(f"Warning: {warning}")
    try:
        ipaddress.IPv4Address(bind)
    except ValueError as error:
        raise RequestError(f"--bind must be an IPv4 address of this machine, got {bind!r}") from error
    flower.check_port(bind, deployment.server.port)


def run_server(deployment: Deployment, bind: str, tell: Tell) -> None:
    """Start the SuperLink, register the allowed keys, and stay until it ends.

    Raises:
        FedpinError: it could not start, or failed.
    """
    check_server(deployment, bind, tell)
    home = flower.server_home(deployment)

    def ready(process: subprocess.Popen[bytes]) -> None:
        _wait_for_port(process, deployment.server.port)
        for line in flower.register_nodes(deployment):
            tell(line)
        nodes = ", ".join(deployment.allowed) or "none"
        tell(f"Server ready at {deployment.server}; nodes that may connect: {nodes}")

    command = flower.superlink_command(deployment, bind)
    code = _stay(command, flower.environment(home, deployment.folder), ready)
    if code is not None:
        raise RunError(f"the server ended with Flower's exit code {code}: its lines above say why")


def run_node(node: NodeFolder, options: NodeOptions, tell: Tell) -> None:
    """Start the SuperNode, and stay until it ends.

    Raises:
        FedpinError: something is wrong at this end, or the server refused the node.
    """
    check_key(node.folder / "node.key")
    remedy = "get a new folder for this node from the server"
    warning = check_certificate(node.folder / "ca.crt", remedy)
    if warning:
        tell(f"Warning: {warning}")
    home = node.folder / "flower"
    home.mkdir(mode=0o700, exist_ok=True)
    command = flower.supernode_command(str(node.server), node.folder, node_config(node, options))
    tell(f"Node {node.name} serves {node.server} as client {node.number}")
    code = _stay(command, flower.environment(home), lambda process: None)
    if code is not None:
        raise RunError(
            f"the node {node.name} ended with Flower's exit code {code}: its lines above say why; "
            "if it could not be activated, its key is unknown or revoked, or it was killed within the last "
            "minute"
        )


def node_config(node: NodeFolder, options: NodeOptions) -> list[tuple[str, str | int]]:
    """What Flower tells the client app of this node.

    Raises:
        RequestError: an option is wrong.
    """
    if not options.data.is_dir():
        raise RequestError(f"--data must be the folder of this node's videos, got {str(options.data)!r}")
    if options.layout not in LAYOUTS:
        raise RequestError(f"--layout must be one of {', '.join(LAYOUTS)}, got {options.layout!r}")
    if options.device and options.device not in PROFILES:
        raise RequestError(f"--device must be one of {', '.join(PROFILES)}, got {options.device!r}")
    if options.threads < 1:
        raise RequestError(f"--threads must be at least 1, got {options.threads}")
    values: dict[str, str | int] = {
        "partition-id": node.number,
        "data-root": str(options.data.resolve()),
        "data-layout": options.layout,
        "device": options.device,
        "threads": options.threads,
        "cache-dir": str(options.cache_dir.resolve()),
        "teacher": options.teacher,
    }
    for key in ("data-root", "cache-dir"):
        if any(letter in str(values[key]) for letter in '"\\\n'):
            raise RequestError(f"{key} must have no quote or backslash in its path, got {values[key]!r}")
    return [(key, value) for key, value in values.items() if value != ""]


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S
    while not flower.listens(port):
        if process.poll() is not None:
            raise RunError(f"the server ended with Flower's exit code {process.returncode} as it started")
        if time.monotonic() > deadline:
            raise RunError(f"the server did not answer at port {port} in {START_S} s")
        time.sleep(0.3)


def _stay(
    command: Sequence[str], environment: Mapping[str, str], ready: Callable[[subprocess.Popen[bytes]], None]
) -> int | None:
    """Run a program until this process is told to end (None), or it ends by itself (its exit code)."""
    process = subprocess.Popen(command, env=dict(environment), cwd=ROOT)
    told_to_end, code = False, None

    def end(*_: object) -> None:
        nonlocal told_to_end
        told_to_end = True
        process.terminate()

    before = {kind: signal.signal(kind, end) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        ready(process)
        code = process.wait()
    except BaseException:
        if not told_to_end:
            raise
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for kind, handler in before.items():
            signal.signal(kind, handler)
    return None if told_to_end else code
