"""The admin server, asked over a real port."""

import logging
import signal
import socket
from contextlib import AsyncExitStack, suppress

import anyio
import httpx
import pytest

from poller.admin.http import CONNECTIONS_MAX, REQUEST_HEAD_BYTES_MAX, REQUEST_SECONDS_MAX, Impatient, make_app, serve
from tests.support.admin import Process, client_of, running

pytestmark = pytest.mark.asyncio


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


async def test_it_has_started_once_the_loop_has_turned_whatever_kafka_does_and_then_for_good() -> None:
    process = Process()
    process.live = (False, "the loop turned long ago")
    async with client_of(process) as client:
        before = await client.get("/startupz")
        process.live = (True, "the loop turns")
        waiting = await client.get("/startupz")
        process.live, process.ready = (False, "the loop turned 121 s ago"), (True, "standing by")
        later = await client.get("/startupz")

    assert (before.status_code, before.json()) == (503, {"started": False, "reason": "the loop has not turned yet"})
    assert (waiting.status_code, waiting.json()) == (200, {"started": True, "reason": "the loop turns; not ready: waiting for Kafka"})
    assert (later.status_code, later.json()) == (200, {"started": True, "reason": "the loop turned 121 s ago"})


async def test_the_status_comes_as_it_is_and_the_metrics_as_prometheus_wants_them() -> None:
    async with client_of(Process()) as client:
        status, metrics = await client.get("/status"), await client.get("/metrics")

    assert (status.headers["content-type"], status.content) == ("application/json", b'{"at":1.5}')
    assert metrics.headers["content-type"].startswith("text/plain") and "poller_ready 0.0" in metrics.text


async def test_a_customer_is_asked_after_by_any_id_that_can_be_asked_for() -> None:
    async with client_of(Process()) as client:
        found = await client.get("/customers/a%2Fb")
        odd = await client.get("/customers/%00")

    assert (found.status_code, found.json()["owner"]) == (200, "a/b")
    assert (odd.status_code, list(odd.json())) == (400, ["error"])


async def test_head_is_answered_like_get_and_ends_at_once_even_where_get_would_not() -> None:
    async with client_of(Process()) as client:
        answers = [(await client.head(path)).status_code for path in ("/readyz", "/", "/events")]

    assert answers == [503, 200, 200]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/livez/x", 404), ("POST", "/livez", 405)])
async def test_anything_else_is_refused_in_json(method: str, path: str, status: int) -> None:
    async with client_of(Process()) as client:
        answer = await client.request(method, path)

    assert answer.status_code == status
    assert "error" in answer.json()


async def test_a_request_head_without_end_is_cut_off() -> None:
    async with running(Process()) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET /livez HTTP/1.1\r\nx: " + b"x" * (2 * REQUEST_HEAD_BYTES_MAX))
        with anyio.fail_after(5):
            assert (await stream.receive()).startswith(b"HTTP/1.1 400")


async def test_connections_that_say_nothing_or_half_of_it_are_ended_and_hold_up_nobody() -> None:
    async with running(Process()) as port, AsyncExitStack() as silent:
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


class Hasty(Impatient):
    stall_seconds_max = 0.2


async def test_a_reader_who_does_not_take_what_it_asked_for_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    process = Process(connection=Hasty)
    process.status = b"x" * 30_000_000
    async with running(process) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read = 0
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            with anyio.move_on_after(0.5):
                await anyio.sleep_forever()
            answer = await client.get(f"http://127.0.0.1:{port}/livez")
        with anyio.fail_after(5), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                read += len(await stream.receive())

    assert answer.status_code == 200 and read < len(process.status)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_cancelled_it_closes_its_port_and_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with running(Process()) as port:
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
        await serve(make_app(Process().admin()), "127.0.0.1", taken.getsockname()[1])


async def test_it_handles_no_signals() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    async with running(Process()):
        during = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]

    assert during == before
