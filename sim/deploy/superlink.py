"""Flower's SuperLink, of which other machines reach the devices' API only.

Flower serves three APIs on one port: the devices' (``/v1/fleet/``), whose requests are signed by registered
keys; and Control and Runtime, which ask nobody who he is: with them anyone may register a key or start a
run, that is, run code here and on every device. Here they answer to this machine alone.

Run as ``python -m sim.deploy.superlink ARGUMENTS OF flower-superlink``.
"""

import ipaddress

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

DEVICES = "/v1/fleet/"
OPEN_TO_ALL = ("/health",)
MAX_REQUEST_BYTES = 64 * 2**20
"""Of one request of another machine: Flower cuts arrays into smaller pieces."""


def refusal(path: str, host: str, length: str | None) -> tuple[int, str] | None:
    """Why a request is not let through: status and a line; None if it is.

    Args:
        path: of the URL.
        host: address of whoever asks.
        length: its Content-Length header.
    """
    if is_local(host):
        return None
    if not path.startswith(DEVICES) and path not in OPEN_TO_ALL:
        return 403, "only the server's own machine may ask this"
    if path in OPEN_TO_ALL:
        return None
    if length is None or not length.isdecimal():
        return 411, "say how long the request is"
    if int(length) > MAX_REQUEST_BYTES:
        return 413, f"a request may have {MAX_REQUEST_BYTES} bytes"
    return None


def is_local(host: str) -> bool:
    """Whether an address is this machine's loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


class DevicesOnly:
    """ASGI middleware: refuses what `refusal` says before anything else sees it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "lifespan":
            headers = dict(scope.get("headers", ()))
            length = headers.get(b"content-length")
            host = (scope.get("client") or ("", 0))[0]
            refused = refusal(scope["path"], host, length.decode("latin-1") if length else None)
            if scope["type"] != "http" and not is_local(host):
                return  # no API of the devices is a websocket: uvicorn closes it
            if refused:
                await PlainTextResponse(refused[1], refused[0])(scope, receive, send)
                return
        await self.app(scope, receive, send)


def main() -> None:
    """Start the SuperLink with the middleware around everything that it serves."""
    from flwr.superlink import main as superlink
    from flwr.superlink.cli.flower_superlink import flower_superlink

    create_app = superlink.create_app

    def create_guarded_app(*arguments: object, **named: object) -> object:
        app = create_app(*arguments, **named)  # type: ignore[arg-type]
        app.add_middleware(DevicesOnly)
        return app

    superlink.create_app = create_guarded_app  # type: ignore[assignment]
    flower_superlink()


if __name__ == "__main__":
    main()
