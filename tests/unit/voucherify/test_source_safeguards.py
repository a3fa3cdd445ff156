"""What the source does not do, by example: follow an id elsewhere, collect cookies, inflate without end and call that something else."""

import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from poller.config import VoucherifySettings
from poller.errors import TooLarge
from poller.model import CustomerId, Query
from poller.secret import Secret
from poller.voucherify.body import Body
from poller.voucherify.client import VoucherifySource
from poller.voucherify.route import target

SETTINGS = VoucherifySettings(url="http://api.invalid", app_id=Secret("an-app-id"), app_token=Secret("an-app-token"))


@pytest.mark.parametrize(
    ("id", "segment"),
    [
        ("../../oauth/token", "..%2F..%2Foauth%2Ftoken"),
        ("a/b", "a%2Fb"),
        ("a\\b", "a%5Cb"),
        ("a?limit=1#b", "a%3Flimit%3D1%23b"),
        ("a%2fb", "a%252fb"),
        ("a;b&c=d e+f", "a%3Bb%26c%3Dd%20e%2Bf"),
        ("@evil.invalid:80", "%40evil.invalid%3A80"),
        ("...", "..."),
    ],
)
def test_an_id_that_would_lead_elsewhere_stays_one_segment(id: str, segment: str) -> None:
    asked = target("activities", CustomerId(id), Query())

    assert asked == f"/v1/customers/{segment}/activities?order=created_at&limit=100"
    assert httpx.URL(f"http://api.invalid{asked}").raw_path == asked.encode()


@pytest.mark.anyio
async def test_an_api_that_sets_ever_new_cookies_fills_no_jar() -> None:
    numbers = iter(range(10))

    async def api(_scope: object, _receive: object, send: Callable[[Any], Awaitable[None]]) -> None:
        cookie = f"c{next(numbers)}=x; Path=/".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", cookie)]})
        await send({"type": "http.response.body", "body": b'{"data":[]}'})

    async with VoucherifySource(SETTINGS, httpx.ASGITransport(app=api)) as source:
        for _ in range(3):
            await source.ask("/v1/anything")

        assert len(source._client.cookies.jar) == 0


@pytest.mark.parametrize("spare", [0, 1000])
def test_a_body_that_inflates_beyond_its_limit_is_too_large_and_nothing_else(spare: int) -> None:
    bomb = gzip.compress(bytes(100_000))
    body = Body("gzip", None, 99_000 + spare - 1)

    with pytest.raises(TooLarge, match="inflated"):
        body.take(bomb)
