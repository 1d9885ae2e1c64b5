"""Other machines reach the devices' API and nothing else."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sim.deploy.superlink import MAX_REQUEST_BYTES, DevicesOnly, is_local, refusal

PATHS = ("/v1/fleet/pull-messages", "/v1/control/start-run", "/v1/runtime/acquire-task", "/docs", "/health")


async def served(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.url.path)


def post(host: str, path: str, **headers: str) -> int:
    """The status that a machine gets."""
    app = Starlette(routes=[Route(known, served, methods=["POST"]) for known in PATHS])
    app.add_middleware(DevicesOnly)
    transport = httpx.ASGITransport(app, client=(host, 50000))

    async def ask() -> int:
        async with httpx.AsyncClient(transport=transport, base_url="https://server") as client:
            return (await client.post(path, content=b"x", headers=headers)).status_code

    return asyncio.run(ask())


@pytest.mark.parametrize("host", ["10.0.0.7", "203.0.113.9", "2001:db8::1", "::ffff:10.0.0.7"])
def test_another_machine_reaches_devices_api_only(host: str) -> None:
    asked = {path: post(host, path) for path in PATHS}
    assert asked == dict(zip(PATHS, (200, 403, 403, 403, 200), strict=True))
    assert post(host, "/v1/fleet/%2e%2e/control/start-run") == 404  # the router takes it as it is
    assert post(host, "/V1/CONTROL/start-run") == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_reaches_all(host: str) -> None:
    assert {post(host, path) for path in PATHS} == {200}


def test_a_claim_to_be_forwarded_changes_nothing() -> None:
    headers = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    assert post("10.0.0.7", "/v1/control/start-run", **headers) == 403


@pytest.mark.parametrize(
    ("length", "status"),
    [
        ("0", None),
        (str(MAX_REQUEST_BYTES), None),
        (str(MAX_REQUEST_BYTES + 1), 413),
        (None, 411),
        ("-1", 411),
    ],
)
def test_a_request_says_how_long_it_is(length: str | None, status: int | None) -> None:
    refused = refusal("/v1/fleet/push-object", "10.0.0.7", length)
    assert (refused[0] if refused else None) == status
    assert refusal("/v1/fleet/push-object", "127.0.0.1", length) is None


def test_who_has_no_address_is_not_local() -> None:
    assert not is_local("")
    assert not is_local("localhost")
