"""The port for webhooks, asked over a real port."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from anyio.abc import ByteStream, TaskStatus

from poller.admin import webhooks
from poller.admin.http import serve
from poller.admin.webhooks import BODY_BYTES_MAX, CONNECTIONS_MAX, PATH, BoundedConnection, make_app
from poller.errors import Forged, HintError, NotAHint, TooManyHints

pytestmark = pytest.mark.asyncio


class Taking:
    """Whoever takes what comes."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, str]] = []
        self.refuses: HintError | None = None

    def take(self, body: bytes, signature: str) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.taken.append((body, signature))


@asynccontextmanager
async def serving(taking: Taking) -> AsyncIterator[int]:
    async def serve_then_tell(*, task_status: TaskStatus[int]) -> None:
        await serve(make_app(taking.take), "127.0.0.1", 0, started=task_status.started, connection=BoundedConnection)

    async with anyio.create_task_group() as tasks:
        yield await tasks.start(serve_then_tell)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def client_of(taking: Taking) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(taking) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client


async def answered(stream: ByteStream) -> bytes:
    with anyio.fail_after(5):
        return await stream.receive()


async def test_what_comes_is_taken_with_its_signature_and_answered_with_nothing() -> None:
    taking = Taking()
    async with client_of(taking) as client:
        signed = await client.post(PATH, content=b"{ }", headers={"X-Voucherify-Signature": "ab"})
        unsigned = await client.post(PATH, content=b"[]")

    assert [(one.status_code, one.content) for one in (signed, unsigned)] == [(204, b"")] * 2
    assert taking.taken == [(b"{ }", "ab"), (b"[]", "")]


async def test_a_body_in_chunks_is_taken_too() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"{", b"}"):
            yield part

    taking = Taking()
    async with client_of(taking) as client:
        assert (await client.post(PATH, content=parts())).status_code == 204

    assert taking.taken == [(b"{}", "")]


@pytest.mark.parametrize(("error", "status"), [(Forged(), 401), (NotAHint("its id"), 400), (TooManyHints(), 429)], ids=str)
async def test_a_refusal_says_what_it_is_and_no_more(error: HintError, status: int) -> None:
    taking = Taking()
    taking.refuses = error
    async with client_of(taking) as client:
        answer = await client.post(PATH, content=b"{}")

    assert (answer.status_code, answer.json()) == (status, {"error": type(error).__name__})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", PATH, 405), ("PUT", PATH, 405), ("POST", "/", 404), ("POST", f"{PATH}/x", 404), ("GET", "/status", 404)],
)
async def test_nothing_else_is_served(method: str, path: str, status: int) -> None:
    taking = Taking()
    async with client_of(taking) as client:
        answer = await client.request(method, path)

    assert (answer.status_code, taking.taken) == (status, [])


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused_whatever_it_says_of_its_length(chunked: bool) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(BODY_BYTES_MAX // 65_536 + 1):
            yield b" " * 65_536

    taking = Taking()
    async with client_of(taking) as client:
        largest = await client.post(PATH, content=b" " * BODY_BYTES_MAX)
        answer = await client.post(PATH, content=parts() if chunked else b" " * (BODY_BYTES_MAX + 1))

    assert (largest.status_code, answer.status_code, len(taking.taken)) == (204, 413, 1)


@pytest.fixture
def in_a_hurry() -> Iterator[None]:
    """The limits in seconds, a hundredth of them."""
    usual = webhooks.BODY_SECONDS_MAX, webhooks.CONNECTION_SECONDS_MAX
    webhooks.BODY_SECONDS_MAX, webhooks.CONNECTION_SECONDS_MAX = usual[0] / 50, usual[1] / 100
    yield
    webhooks.BODY_SECONDS_MAX, webhooks.CONNECTION_SECONDS_MAX = usual


@pytest.mark.usefixtures("in_a_hurry")
async def test_a_body_that_does_not_come_is_waited_for_no_longer_than_its_limit() -> None:
    async with serving(Taking()) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{{".encode())

        assert (await answered(stream)).startswith(b"HTTP/1.1 408")


@pytest.mark.usefixtures("in_a_hurry")
async def test_a_head_that_does_not_come_is_cut_off() -> None:
    async with serving(Taking()) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"POST")

        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await answered(stream)


async def test_a_body_that_ends_too_soon_is_taken_by_nobody() -> None:
    taking = Taking()
    async with serving(taking) as port:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{{".encode())
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(f"http://127.0.0.1:{port}{PATH}", content=b"{}")

    assert taking.taken == [(b"{}", "")]


async def test_more_connections_than_are_allowed_are_cut_and_those_there_go_on() -> None:
    taking = Taking()
    async with serving(taking) as port:
        streams = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(CONNECTIONS_MAX)]
        await streams[0].send(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        assert (await answered(streams[0])).startswith(b"HTTP/1.1 204")

        async with await anyio.connect_tcp("127.0.0.1", port) as more:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await answered(more)
        for stream in streams:
            await stream.aclose()
