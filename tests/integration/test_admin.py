"""The admin server of real pollers: the probes, the orders, and the end of a stream."""

import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from poller.demo.broker import free_port
from tests.support.processes import Deployment, Poller, busy, one_error, served
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

TOKEN = "0123456789abcdef"


def client_of(poller: Poller) -> httpx.AsyncClient:
    url = f"http://127.0.0.1:{poller.settings['POLLER_ADMIN_PORT']}"
    return httpx.AsyncClient(base_url=url, trust_env=False, headers={"authorization": f"Bearer {TOKEN}"}, timeout=5)


async def test_orders_are_carried_out_and_a_stream_does_not_hold_up_the_end(kafka: str, tmp_path: Path) -> None:
    async with (
        one_error(),
        served(busy()) as api,
        Deployment(kafka, api.url, api.simulator.customers, tmp_path, admin_token=TOKEN) as replicas,
    ):
        poller = replicas.start(log_level="info")
        await poller.active()
        async with client_of(poller) as client:
            assert poller.count("read") == 0
            louder = await client.post("/log-level", json={"level": "debug", "seconds": 2})
            await poller.has_said("read")
            await until(lambda: time.time() > louder.json()["until"] + 0.2, within_seconds=5)
            quiet = poller.count("read")
            hinted = await client.post(f"/customers/{api.simulator.customers[0]}/hint")
            unknown = await client.post("/customers/cust_nobody/hint")
            forged = await client.post("/log-level", json={"level": "error"}, headers={"authorization": "Bearer x"})
            status: dict[str, Any] = (await client.get("/status")).json()
            metrics = (await client.get("/metrics")).text
            async with client.stream("GET", "/events") as stream:
                heard = stream.aiter_text()
                first = await anext(heard)
                calls = await _made_calls(client)
                began = time.monotonic()
                poller.send(signal.SIGTERM)
                last = [text async for text in heard][-1]
                exit_code = await poller.ended()
                took = time.monotonic() - began

        assert (louder.status_code, hinted.status_code, unknown.status_code, forged.status_code) == (200, 202, 404, 401)
        assert hinted.json() == {"whose": "ours"}
        assert poller.count("read") == quiet < calls
        assert [event["what"] for event in poller.events("ordered")] == ["the log level is debug for 2 seconds", "it is read next"]
        assert [event["refused"] for event in poller.events("order_refused")] == [1]
        assert TOKEN not in poller.output()
        assert status["counters"]['poller_calls_total{purpose="read"}'] > 0 and status["ready"] is True
        assert "poller_partitions_owned 1.0" in metrics
        assert first.startswith("retry: 1000\n\nevent: status\ndata: {")
        assert last.endswith("event: end\ndata: {}\n\n")
        assert (exit_code, took < 5) == (0, True)


async def _made_calls(client: httpx.AsyncClient) -> int:
    """More than were told of."""
    calls: int = (await client.get("/status")).json()["freshness"]["calls"]
    return calls


@pytest.fixture
async def lonely(tmp_path: Path) -> AsyncIterator[Poller]:
    """One that cannot reach Kafka."""
    async with Deployment(f"127.0.0.1:{free_port()}", "http://127.0.0.1:9", ["c1"], tmp_path) as replicas:
        yield replicas.start()


async def test_without_kafka_it_has_started_and_lives_and_shows_why_it_is_not_ready(lonely: Poller) -> None:
    await lonely.has_said("waiting_for_kafka")
    async with client_of(lonely) as client:
        answers = {path: (await client.get(f"/{path}")).status_code for path in ("startupz", "livez", "readyz", "", "metrics")}
        status: dict[str, Any] = (await client.get("/status")).json()

    assert answers == {"startupz": 200, "livez": 200, "readyz": 503, "": 200, "metrics": 200}
    assert (status["ready"], status["overview"]["partitions"], status["owners"]) == (False, 0, {})
    assert ("waiting_for_kafka", "warning") in [(trouble["event"], trouble["level"]) for trouble in status["troubles"]]
