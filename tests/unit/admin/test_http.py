"""The admin server, asked over a real port."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import httpx
import pytest
from anyio.abc import TaskStatus
from starlette.applications import Starlette

from poller.admin.http import CONNECTIONS_MAX, REQUEST_HEAD_BYTES_MAX, REQUEST_SECONDS_MAX, Status, make_app, serve
from poller.core.budget import CycleStands
from poller.core.standing import Standing
from poller.model import CustomerId

pytestmark = pytest.mark.asyncio


def unasked(_customer: CustomerId) -> Standing:
    raise AssertionError("nobody asks after a customer here")


def nothing() -> Status:
    """There is nothing to say."""
    return {}


class Process:
    """What the questions are asked of."""

    live = (True, "the loop turns")
    ready = (False, "waiting for Kafka")


@asynccontextmanager
async def running(app: Starlette) -> AsyncIterator[int]:
    async def serve_then_tell(*, task_status: TaskStatus[int]) -> None:
        await serve(app, "127.0.0.1", 0, started=task_status.started)

    async with anyio.create_task_group() as tasks:
        yield await tasks.start(serve_then_tell)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def client_of(process: Process) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(lambda: process.live, lambda: process.ready, unasked, nothing)
    async with running(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client


async def test_live_and_ready_answer_each_with_its_reason() -> None:
    async with client_of(Process()) as client:
        live, ready = await client.get("/livez"), await client.get("/readyz")

    assert (live.status_code, live.json()) == (200, {"live": True, "reason": "the loop turns"})
    assert (ready.status_code, ready.json()) == (503, {"ready": False, "reason": "waiting for Kafka"})


async def test_the_answer_is_that_of_now() -> None:
    process = Process()
    async with client_of(process) as client:
        before = await client.get("/readyz")
        process.ready = (True, "standing by")
        after = await client.get("/readyz")

    assert [before.status_code, after.status_code] == [503, 200]


async def test_the_status_counts_the_tasks_of_the_loop() -> None:
    async with client_of(Process()) as client, anyio.create_task_group() as tasks:
        before = (await client.get("/status")).json()["tasks"]
        for _ in range(3):
            tasks.start_soon(anyio.sleep_forever)
        after = (await client.get("/status")).json()
        tasks.cancel_scope.cancel()

    assert after == {"tasks": before + 3}


async def test_the_status_tells_how_the_cycle_stands() -> None:
    stands = CycleStands(begun="2026-11-01", ends=1.5, calls=100, spent=7, left=92, calls_per_minute=0.25)
    app = make_app(lambda: Process.live, lambda: Process.ready, unasked, lambda: {"cycle": stands})
    async with running(app) as port, httpx.AsyncClient(trust_env=False) as client:
        cycle = (await client.get(f"http://127.0.0.1:{port}/status")).json()["cycle"]

    assert cycle == {"begun": "2026-11-01", "ends": 1.5, "calls": 100, "spent": 7, "left": 92, "calls_per_minute": 0.25}


async def test_head_is_answered_like_get() -> None:
    async with client_of(Process()) as client:
        assert (await client.head("/readyz")).status_code == 503


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("GET", "/livez/x", 404), ("POST", "/livez", 405)])
async def test_anything_else_is_refused_in_json(method: str, path: str, status: int) -> None:
    async with client_of(Process()) as client:
        answer = await client.request(method, path)

    assert answer.status_code == status
    assert "error" in answer.json()


async def test_a_request_head_without_end_is_cut_off() -> None:
    app = make_app(lambda: Process.live, lambda: Process.ready, unasked, nothing)
    async with running(app) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET /livez HTTP/1.1\r\nx: " + b"x" * (2 * REQUEST_HEAD_BYTES_MAX))
        with anyio.fail_after(5):
            assert (await stream.receive()).startswith(b"HTTP/1.1 400")


async def test_connections_that_say_nothing_or_half_of_it_are_ended_and_hold_up_nobody() -> None:
    app = make_app(lambda: Process.live, lambda: Process.ready, unasked, nothing)
    async with running(app) as port, AsyncExitStack() as silent:
        streams = [await silent.enter_async_context(await anyio.connect_tcp("127.0.0.1", port)) for _ in range(CONNECTIONS_MAX)]
        for stream in streams[::2]:
            await stream.send(b"GET /livez HTTP/1.1\r\nHost: ")
        with anyio.fail_after(2 * REQUEST_SECONDS_MAX):
            for stream in streams:
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/livez")

    assert answer.status_code == 200


async def test_cancelled_it_closes_its_port_and_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    app = make_app(lambda: Process.live, lambda: Process.ready, unasked, nothing)
    async with running(app) as port:
        idle = await anyio.connect_tcp("127.0.0.1", port)
        half = await anyio.connect_tcp("127.0.0.1", port)
        await half.send(b"GET /livez HTTP/1.1\r\n")

    assert not caplog.records
    with pytest.raises(OSError, match=r"."):
        await anyio.connect_tcp("127.0.0.1", port)
    await idle.aclose()
    await half.aclose()


async def test_an_address_in_use_is_an_error_and_not_the_end_of_the_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        await serve(make_app(lambda: Process.live, lambda: Process.ready, unasked, nothing), "127.0.0.1", taken.getsockname()[1])


async def test_it_handles_no_signals() -> None:
    import signal

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    async with running(make_app(lambda: Process.live, lambda: Process.ready, unasked, nothing)):
        during = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]

    assert during == before
