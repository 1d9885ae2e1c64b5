"""Certificates that OpenSSL accepts, for the names asked and no others; keys for their owner only."""

import re
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_connection, create_server

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from fl.errors import RequestError, RunError
from sim.deploy.certificates import (
    check_certificate,
    check_key,
    make_ca,
    make_node_key,
    make_server_certificate,
    write_private,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("keys")
    make_ca(made)
    make_server_certificate(made, made, ["127.0.0.1", "server.example", "localhost"], 90)
    return made


def shake_hands(folder: Path, ca: Path, name: str) -> str:
    """A TLS handshake over loopback; gives the protocol's version."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem", folder / "server.key")
    client = ssl.create_default_context(cafile=str(ca))
    with create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            raw, _ = listening.accept()
            with raw:
                try:
                    server.wrap_socket(raw, server_side=True).close()
                except (ssl.SSLError, OSError):
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                create_connection(listening.getsockname()) as raw,
                client.wrap_socket(raw, server_hostname=name) as wrapped,
            ):
                return str(wrapped.version())
        finally:
            thread.join()


@pytest.mark.parametrize("name", ["127.0.0.1", "server.example", "localhost"])
def test_clients_accept_the_server_by_its_names(folder: Path, name: str) -> None:
    assert shake_hands(folder, folder / "ca.crt", name) == "TLSv1.3"


@pytest.mark.parametrize("name", ["127.0.0.2", "other.example"])
def test_clients_refuse_other_names(folder: Path, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(folder, folder / "ca.crt", name)


def test_clients_refuse_another_ca(folder: Path, tmp_path: Path) -> None:
    make_ca(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(folder, tmp_path / "ca.crt", "localhost")


def test_a_nodes_public_key_belongs_to_its_private_one(tmp_path: Path) -> None:
    public = load_ssh_public_key(make_node_key(tmp_path))
    private = load_ssh_private_key((tmp_path / "node.key").read_bytes(), None)
    assert private.public_key() == public


def test_keys_are_for_their_owner_only(folder: Path, tmp_path: Path) -> None:
    for name in ("ca.key", "server.key"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
        check_key(folder / name)
    write_private(tmp_path / "open.key", b"k")
    (tmp_path / "open.key").chmod(0o640)
    with pytest.raises(
        RequestError, match=r"open.key must be for its owner only, its mode is 0640: chmod 600"
    ):
        check_key(tmp_path / "open.key")
    write_private(tmp_path / "open.key", b"new")
    assert (tmp_path / "open.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(RequestError, match="there is no key"):
        check_key(tmp_path / "none.key")


@pytest.mark.parametrize(
    ("days", "warned"),
    [(0, ""), (59, ""), (61, "expires on 20.*, in 2. days: renew it"), (89, "in 0 days: renew it")],
)
def test_a_certificate_is_warned_of_before_it_ends(folder: Path, days: int, warned: str) -> None:
    told = check_certificate(folder / "server.pem", "renew it", datetime.now(UTC) + timedelta(days=days))
    assert re.search(warned, told) if warned else told == ""


def test_a_certificate_that_is_not_good_now_is_refused(folder: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with pytest.raises(RunError, match=r"server.pem expired on 20\d\d-\d\d-\d\d: renew it"):
        check_certificate(folder / "server.pem", "renew it", now + timedelta(days=91))
    with pytest.raises(RunError, match=r"is good from .* UTC: set this clock right"):
        check_certificate(folder / "server.pem", "renew it", now - timedelta(hours=1))
    (tmp_path / "x.pem").write_text("no certificate")
    with pytest.raises(RequestError, match="must be a certificate in PEM"):
        check_certificate(tmp_path / "x.pem", "")
