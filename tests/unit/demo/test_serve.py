"""The simulator on a port of loopback."""

import socket
import time

import anyio
import httpx
import pytest

from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.serve import bind, serve, serve_simulator

pytestmark = pytest.mark.anyio

OPTIONS = SimulatorOptions(customers=2)
CREDENTIALS = {"X-App-Id": "simulator-app-id", "X-App-Token": "simulator-app-token"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_it_answers_on_its_port_until_it_is_cancelled() -> None:
    simulator, listening = Simulator(OPTIONS, time.time), bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with anyio.create_task_group() as tasks, httpx.AsyncClient(base_url=url, headers=CREDENTIALS) as client:
        tasks.start_soon(serve_simulator, simulator, listening)
        response = await client.get(f"/v1/customers/{simulator.customers[0]}/activities")
        tasks.cancel_scope.cancel()

    assert response.status_code == 200
    assert set(response.headers) == {
        "content-type",
        "content-length",
        "x-rate-limit-limit",
        "x-rate-limit-remaining",
        "x-rate-limit-retry",
        "date",
    }
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)


async def test_a_connection_breaks_as_it_does_in_process() -> None:
    simulator, listening = Simulator(SimulatorOptions(customers=2, disconnect_rate=1.0), time.time), bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/customers/{simulator.customers[0]}/activities"
    async with anyio.create_task_group() as tasks, httpx.AsyncClient(headers=CREDENTIALS) as client:
        tasks.start_soon(serve_simulator, simulator, listening)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(url)
        tasks.cancel_scope.cancel()


async def test_a_port_in_use_is_an_error_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            await serve(OPTIONS, "127.0.0.1", taken.getsockname()[1], time.time)
