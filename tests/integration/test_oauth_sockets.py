"""OAuth over real sockets: what is sent, and a token endpoint that leads elsewhere, drips, or never ends."""

from typing import Any

import anyio
import anyio.abc
import pytest

from poller.errors import SourceError, TokenRefused, TokenRenewed, TokenUnavailable
from tests.integration.test_source_sockets import PAGE, Behave, always, answer, fetch, serving, source
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

TOKEN = b'{"access_token":"the-bearer","expires_in":900,"token_type":"Bearer"}'
POST = b"POST /v1/oauth/token"
FORM = b"grant_type=client_credentials&scope=customers"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def issuing(token: bytes) -> Behave:
    """Answers whoever asks for a token with this, whoever reads with an empty page. The form is not awaited: it stands before the next head."""

    async def behave(stream: anyio.abc.ByteStream, head: bytes) -> None:
        await stream.send(token if POST in head else answer())

    return behave


def headers(head: bytes) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])}


async def test_a_token_is_asked_for_with_the_credentials_and_read_with_without_them_over_one_connection() -> None:
    async with serving(issuing(answer(TOKEN))) as server, source(server, auth="oauth") as api:
        with pytest.raises(TokenRenewed):
            await api.fetch(fetch())
        assert (await api.fetch(fetch())).body == PAGE
        asking, reading = (headers(head) for head in server.heads)
        assert server.heads[1].startswith(FORM + b"GET /v1/customers/")

    assert server.targets == [b"/v1/oauth/token", b"/v1/customers/cust_1/activities?order=created_at&limit=100"]
    assert server.connections == 1
    assert (asking[b"x-app-id"], asking[b"x-app-token"], b"authorization" in asking) == (b"the-app-id", b"the-app-token", False)
    assert asking[b"content-length"] == b"%d" % len(FORM)
    assert reading[b"authorization"] == b"Bearer the-bearer"
    assert not {b"x-app-id", b"x-app-token", b"content-type"} & reading.keys()


@pytest.mark.parametrize("status", [b"301 Moved", b"307 Temporary Redirect", b"308 Permanent Redirect"])
async def test_neither_credentials_nor_token_follow_a_redirect(status: bytes) -> None:
    async with serving(issuing(answer(TOKEN))) as elsewhere:
        led = answer(b"", b"Location: http://127.0.0.1:%d/v1/oauth/token" % elsewhere.port, status=status)
        async with serving(issuing(led)) as server, source(server, auth="oauth") as api:
            with pytest.raises(TokenRefused):
                await api.fetch(fetch())
            server.behave = issuing(answer(TOKEN))
            with pytest.raises(TokenRenewed):
                await api.fetch(fetch())
            server.behave = always(led)
            with pytest.raises(SourceError):
                await api.fetch(fetch())

        assert elsewhere.connections == 0


async def drip(stream: anyio.abc.ByteStream, _head: bytes) -> None:
    await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        await stream.send(b" ")
        await anyio.sleep(0.02)


async def pour(stream: anyio.abc.ByteStream, _head: bytes) -> None:
    await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await stream.send(b" " * 65_536)


async def reset(stream: anyio.abc.ByteStream, _head: bytes) -> None:
    await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    await stream.aclose()


@pytest.mark.parametrize(
    ("behave", "said"), [(drip, "no whole answer within 1 s"), (pour, "more than 65536 bytes"), (reset, "RemoteProtocolError|ReadError")]
)
async def test_a_token_that_does_not_come_whole_ends_in_bounds_and_the_next_one_is_had(behave: Any, said: str) -> None:
    async with serving(behave) as server, source(server, auth="oauth", timeout_seconds=1) as api:
        with pytest.raises(TokenUnavailable, match=said):
            await api.fetch(fetch())
        await until(lambda: server.open == 0, within_seconds=5)
        server.behave = issuing(answer(TOKEN))
        with pytest.raises(TokenRenewed):
            await api.fetch(fetch())

        assert (await api.fetch(fetch())).body == PAGE
