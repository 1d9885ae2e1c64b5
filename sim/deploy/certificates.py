"""Keys and certificates of a deployment: P-384 throughout, a CA of its own, by Flower's own library."""

import ipaddress
import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fl.errors import RequestError, RunError

CA_DAYS = 3650
SOON_DAYS = 30
"""A certificate that ends within so many days is warned of at every start."""


def make_ca(folder: Path) -> None:
    """Write ``ca.key`` and ``ca.crt``."""
    key = new_key(folder / "ca.key")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedpin deployment CA")])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = (
        _certificate(name, name, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def make_server_certificate(ca: Path, folder: Path, hosts: Sequence[str], days: int) -> None:
    """Write ``server.key`` and ``server.pem``, good for these names and addresses.

    Args:
        ca: folder with the CA.
        folder: where they go.
        hosts: DNS names and IP addresses.
        days: how long the certificate is good.
    """
    ca_key = serialization.load_pem_private_key((ca / "ca.key").read_bytes(), None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise RequestError(f"{ca / 'ca.key'} must be an EC key, as deploy init makes it")
    issuer = read_certificate(ca / "ca.crt")
    key = new_key(folder / "server.key")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    made = (
        _certificate(name, issuer.subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA384())
    )
    (folder / "server.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def make_node_key(folder: Path) -> bytes:
    """Write ``node.key`` (OpenSSH) and give the public key, a line as in authorized_keys."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    write_private(folder / "node.key", private)
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Draw a key and write it to ``path``, for its owner's eyes only."""
    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(path, pem)
    return key


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on; an old one is replaced."""
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    aside.replace(path)


def read_certificate(path: Path) -> x509.Certificate:
    """A PEM certificate.

    Raises:
        RequestError: there is none.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{path} must be a certificate in PEM, as deploy init makes it: {error}"
        ) from error


def check_key(path: Path) -> None:
    """Refuse a private key that others than its owner may read.

    Raises:
        RequestError: it is missing or open.
    """
    if not path.is_file():
        raise RequestError(f"there is no key {path}: copy it from the folder that deploy init made")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise RequestError(f"{path} must be for its owner only, its mode is {mode:04o}: chmod 600 {path}")


def check_certificate(path: Path, remedy: str, now: datetime | None = None) -> str:
    """Refuse a certificate that is not good now.

    Args:
        path: PEM.
        remedy: what to do if it is not.
        now: the time; None: the clock's.

    Returns:
        A warning if it ends soon, else an empty text.

    Raises:
        RunError: it has expired, or is not good yet.
    """
    certificate = read_certificate(path)
    moment = now or datetime.now(UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if moment > end:
        raise RunError(f"the certificate {path} expired on {end:%Y-%m-%d}: {remedy}")
    if moment < begin:
        raise RunError(
            f"the certificate {path} is good from {begin:%Y-%m-%d %H:%M} UTC: set this clock right"
        )
    left = (end - moment).days
    if left < SOON_DAYS:
        return f"the certificate {path} expires on {end:%Y-%m-%d}, in {left} days: {remedy}"
    return ""


def _certificate(
    name: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks of devices differ a little
        .not_valid_after(now + timedelta(days=days))
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
