"""Flower's own programs: beside this Python, quiet, offline, with a home in the deployment's folder."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fl.errors import RequestError, RunError
from sim.deploy.folder import Deployment
from sim.deploy.submission import DEPLOYMENT
from sim.provenance import ROOT

CONNECTION = "here"
TIMEOUT_S = 300


def program(name: str) -> str:
    """One of Flower's programs."""
    return str(Path(sys.executable).parent / name)


def environment(home: Path, deployment: Path | None = None) -> dict[str, str]:
    """Of this process, with Flower's home; Flower looks for its programs in PATH."""
    told = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(home),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    if deployment is not None:
        told[DEPLOYMENT] = str(deployment)
    return {**os.environ, **told}


def server_home(deployment: Deployment) -> Path:
    """Flower's home on the server, which names this machine's SuperLink."""
    home = deployment.folder / "server" / "flower"
    home.mkdir(mode=0o700, exist_ok=True)
    certificate = json.dumps(str(deployment.folder / "server" / "ca.crt"))  # JSON's strings are TOML's too
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
        f'address = "127.0.0.1:{deployment.server.port}"\nroot-certificates = {certificate}\n',
        encoding="utf-8",
    )
    return home


def ask(deployment: Deployment, *arguments: str) -> dict[str, Any]:
    """What `flwr` answers, as JSON.

    Raises:
        RunError: it could not do it; the message is Flower's own.
    """
    try:
        done = subprocess.run(
            [program("flwr"), *arguments, "--format", "json"],
            env=environment(server_home(deployment)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(f"flwr {arguments[0]} did not answer in {TIMEOUT_S} s") from error
    told = _last_object(done.stdout)
    if done.returncode or told is None or told.get("success") is False:
        reason = (told or {}).get("error-message") or done.stderr.strip() or done.stdout.strip()
        raise RunError(f"flwr {arguments[0]}: {' '.join(str(reason).split())[-400:]}")
    return told


def _last_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text ends with."""
    start = text.find("{")
    try:
        told = json.loads(text[start:]) if start >= 0 else None
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody answers at a port of this machine."""
    with socket.socket() as sock:
        sock.settimeout(2)
        return sock.connect_ex((host, port)) == 0


def check_port(host: str, port: int) -> None:
    """Refuse a port that cannot be opened.

    Raises:
        RequestError: it is in use, or not ours to open.
    """
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            raise RequestError(
                f"port {port} at {host} cannot be opened ({error.strerror}): end what uses it (ss -tlnp), or "
                "make a deployment with another port"
            ) from error


def free_port() -> int:
    """A port of the loopback address that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def register_nodes(deployment: Deployment) -> list[str]:
    """Bring the SuperLink's list of keys in line with the folder's: allowed ones in, others out.

    Returns:
        A line for each change.
    """
    path = deployment.folder / "server" / "registered.json"
    registered: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known = set(node_states(deployment))
    lines = []
    for name in deployment.nodes:
        there, wanted = registered.get(name) in known, name in deployment.allowed
        if wanted and not there:
            key = str(deployment.public_key(name))
            registered[name] = str(ask(deployment, "supernode", "register", key)["node-id"])
            lines.append(f"{name} may connect")
        elif there and not wanted:
            ask(deployment, "supernode", "unregister", registered.pop(name))
            lines.append(f"{name} may no longer connect")
        path.write_text(json.dumps(registered, indent=1), encoding="utf-8")
    return lines


def node_states(deployment: Deployment) -> dict[str, str]:
    """Flower's id -> "registered" (never seen), "online" or "offline" of every node that may connect."""
    told = ask(deployment, "supernode", "list")["nodes"]
    return {str(node["node-id"]): str(node["status"]) for node in told if node["status"] != "unregistered"}


def names_of_nodes(deployment: Deployment) -> dict[str, str]:
    """Flower's id -> name of every registered node."""
    path = deployment.folder / "server" / "registered.json"
    registered = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {str(node_id): name for name, node_id in registered.items()}


def superlink_command(deployment: Deployment, bind: str) -> list[str]:
    """The server, with TLS and node authentication."""
    folder = deployment.folder / "server"
    return [
        *(sys.executable, "-m", "sim.deploy.superlink"),
        *("--host", bind, "--port", str(deployment.server.port)),
        *("--ssl-ca-certfile", str(folder / "ca.crt")),
        *("--ssl-certfile", str(folder / "server.pem")),
        *("--ssl-keyfile", str(folder / "server.key")),
        "--enable-supernode-auth",
        *("--database", str(folder / "superlink.db")),
        "--disable-runtime-dependency-installation",
    ]


def supernode_command(server: str, folder: Path, node_config: Sequence[tuple[str, str | int]]) -> list[str]:
    """A device; its own API, for its own processes, is at the loopback address."""
    told = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in node_config)
    return [
        program("flower-supernode"),
        *("--root-certificates", str(folder / "ca.crt")),
        *("--superlink", server),
        *("--auth-supernode-private-key", str(folder / "node.key")),
        *("--host", "127.0.0.1", "--port", str(free_port())),
        *("--node-config", told),
    ]
