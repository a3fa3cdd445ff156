"""The stream of the status, heard over a real port."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import httpx
import pytest

from poller.admin.events import EVERY_SECONDS, LISTENERS_MAX, Pace, Streams
from poller.admin.http import Impatient
from tests.support.admin import Process, client_of, running

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def listening(client: httpx.AsyncClient) -> AsyncIterator[AsyncIterator[str]]:
    async with client.stream("GET", "/events", timeout=10) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        yield answer.aiter_text()


async def event(heard: AsyncIterator[str]) -> str:
    with anyio.fail_after(5):
        return await anext(heard)


async def test_it_says_how_it_stands_at_once_and_again_as_soon_as_the_readiness_changes() -> None:
    process = Process()
    async with client_of(process) as client, listening(client) as heard:
        first = await event(heard)
        process.ready, process.status = (True, "standing by"), b"{}"
        began = anyio.current_time()
        second = await event(heard)
        took = anyio.current_time() - began

    assert [first, second] == ['retry: 1000\n\nevent: status\ndata: {"at":1.5}\n\n', "event: status\ndata: {}\n\n"]
    assert took < EVERY_SECONDS / 2


class Hasty(Impatient):
    request_seconds_max = 0.3


async def test_it_says_so_now_and_again_for_longer_than_a_connection_may_ask_nothing() -> None:
    async with client_of(Process(pace=Pace(every_seconds=0.2), connection=Hasty)) as client, listening(client) as heard:
        began = anyio.current_time()
        for _ in range(4):
            await event(heard)
        took = anyio.current_time() - began

    assert Hasty.request_seconds_max < took < 5


async def test_it_ends_with_the_process_at_once_and_quietly(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    process = Process()
    async with AsyncExitStack() as open_to_the_end:
        async with running(process) as port:
            client = await open_to_the_end.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False))
            heard = await open_to_the_end.enter_async_context(listening(client))
            await event(heard)
            began = anyio.current_time()
        took = anyio.current_time() - began
        last = [text async for text in heard]

    assert last == ["event: end\ndata: {}\n\n"]
    assert took < 0.6 and not caplog.records


async def test_a_reader_who_takes_nothing_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    process = Process()
    process.status = b"x" * 30_000_000
    async with AsyncExitStack() as open_to_the_end:
        async with running(process) as port:
            stream = await open_to_the_end.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
            await stream.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await stream.receive()
            began = anyio.current_time()
        took = anyio.current_time() - began

    assert took < 1 and not caplog.records


async def test_it_is_put_together_once_for_all_who_listen() -> None:
    process, asked = Process(), []
    process.streams = Streams(lambda: asked.append(1) or process.status, lambda: process.ready)  # type: ignore[func-returns-value]
    async with client_of(process) as client, listening(client) as one, listening(client) as other:
        told = [await event(one), await event(other)]

    assert told[0] == told[1] and len(asked) == 1


async def test_only_so_many_listen_and_who_left_makes_room() -> None:
    async with client_of(Process()) as client:
        async with AsyncExitStack() as many:
            streams = [await many.enter_async_context(listening(client)) for _ in range(LISTENERS_MAX)]
            for heard in streams:
                await event(heard)
            refused = await client.get("/events")
        with anyio.fail_after(5):
            while (answer := await client.send(client.build_request("GET", "/events"), stream=True)).status_code == 503:
                await answer.aclose()
        await answer.aclose()

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")


async def test_a_stream_ends_after_a_while_and_says_nothing_of_it() -> None:
    async with client_of(Process(pace=Pace(seconds_max=0.1))) as client, listening(client) as heard:
        told = [text async for text in heard]

    assert len(told) == 1
