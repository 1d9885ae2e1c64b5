"""A deployment's folder: the one place that knows what lies where.

```
FOLDER/deployment.json                the server's address and the names of the nodes, by number
       README.md compose.yaml Dockerfile
       ca/ca.key ca.crt               needed by `init` alone: keep them elsewhere
       server/server.key server.pem ca.crt fedpin-server.service
              allowed/NAME.pub revoked/NAME.pub registered.json
              submissions/ superlink.db flower/
       nodes/NAME/node.json node.key ca.crt fedpin-node.service      goes to the device
```
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl.errors import RequestError
from sim.deploy.certificates import make_ca, make_node_key, make_server_certificate
from sim.deploy.templates import compose_file, dockerfile, node_unit, readme, server_unit

DEPLOYMENT_FILE = "deployment.json"
NODE_FILE = "node.json"
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class Address:
    """Where the server is reached: a DNS name or IPv4 address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class NodeFolder:
    """A node's own folder, on its device.

    Attributes:
        folder: with its key.
        name: as the server knows it.
        number: of its client.
        server: whom it serves.
    """

    folder: Path
    name: str
    number: int
    server: Address


@dataclass(frozen=True)
class Deployment:
    """A deployment's folder, on the server.

    Attributes:
        folder: its root.
        server: address that devices use.
        nodes: names; a node's number is its place.
    """

    folder: Path
    server: Address
    nodes: tuple[str, ...]

    @property
    def allowed(self) -> list[str]:
        """Names of the nodes that may connect."""
        return [name for name in self.nodes if self.public_key(name).is_file()]

    def public_key(self, name: str, kind: str = "allowed") -> Path:
        """The file of a node's public key; ``kind`` is "allowed" or "revoked"."""
        return self.folder / "server" / kind / f"{name}.pub"


def read_address(text: str) -> Address:
    """HOST:PORT.

    Raises:
        RequestError: it is not.
    """
    host, _, port = text.rpartition(":")
    if not _HOST.fullmatch(host) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise RequestError(f"--server must be HOST:PORT, a name or IPv4 address and a port, got {text!r}")
    return Address(host, int(port))


def make_deployment(folder: Path, server: Address, names: Sequence[str], days: int) -> Deployment:
    """Make a deployment's folder with all keys; nothing is left where it cannot be finished.

    Raises:
        RequestError: the folder is there already, or a name is no good.
    """
    if folder.exists():
        raise RequestError(f"{str(folder)!r} exists already: name a new folder, or renew its certificate")
    wrong = next((name for name in names if not _NAME.fullmatch(name)), None)
    if wrong is not None or len(set(names)) != len(names) or not names:
        raise RequestError(
            f"nodes must have different names of a-z, 0-9 and -, at most 40, got {wrong or ' '.join(names)!r}"
        )
    from fl.data.cache import atomic_folder

    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as rising:
        for part in ("ca", "server/allowed", "server/revoked", "nodes"):
            (rising / part).mkdir(parents=True)
        make_ca(rising / "ca")
        make_server_certificate(rising / "ca", rising / "server", certificate_hosts(server), days)
        root = (rising / "ca" / "ca.crt").read_bytes()
        (rising / "server" / "ca.crt").write_bytes(root)
        (rising / "server" / "fedpin-server.service").write_text(server_unit())
        for number, name in enumerate(names):
            _make_node(rising, name, number, server, root)
        texts = {
            DEPLOYMENT_FILE: json.dumps({"server": str(server), "nodes": list(names)}, indent=1),
            "README.md": readme(str(server), names),
            "compose.yaml": compose_file(server.port, names),
            "Dockerfile": dockerfile(),
        }
        for name, text in texts.items():
            (rising / name).write_text(text, encoding="utf-8")
    folder.chmod(0o700)
    return Deployment(folder, server, tuple(names))


def certificate_hosts(server: Address) -> list[str]:
    """What the server's certificate is good for: its address, and this machine for itself."""
    return list(dict.fromkeys([server.host, "localhost", "127.0.0.1"]))


def renew_certificate(deployment: Deployment, days: int) -> None:
    """A new key and certificate of the server, from the same CA: devices need nothing new."""
    make_server_certificate(
        deployment.folder / "ca", deployment.folder / "server", certificate_hosts(deployment.server), days
    )


def open_deployment(folder: Path) -> Deployment:
    """Open what `make_deployment` made.

    Raises:
        RequestError: it is not there.
    """
    told = _read(folder / DEPLOYMENT_FILE, "python -m sim deploy init")
    return Deployment(folder.resolve(), read_address(str(told["server"])), tuple(map(str, told["nodes"])))


def open_node(folder: Path) -> NodeFolder:
    """Open a node's folder.

    Raises:
        RequestError: it is not there.
    """
    told = _read(folder / NODE_FILE, "copying nodes/NAME of the deployment's folder")
    return NodeFolder(
        folder.resolve(), str(told["name"]), int(told["number"]), read_address(str(told["server"]))
    )


def _make_node(root: Path, name: str, number: int, server: Address, ca: bytes) -> None:
    folder = root / "nodes" / name
    folder.mkdir()
    (root / "server" / "allowed" / f"{name}.pub").write_bytes(make_node_key(folder) + f" {name}\n".encode())
    told = {"name": name, "number": number, "server": str(server)}
    (folder / NODE_FILE).write_text(json.dumps(told, indent=1))
    (folder / "ca.crt").write_bytes(ca)
    (folder / "fedpin-node.service").write_text(node_unit(name))


def _read(path: Path, origin: str) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return told
    except (OSError, ValueError) as error:
        raise RequestError(
            f"there is no {path.name} in {str(path.parent)!r}: it is made by {origin}"
        ) from error
