"""What goes wrong on purpose, in virtual time."""

import json
from collections import Counter
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from poller.demo.api import Simulator
from poller.demo.faults import GARBAGE, garbage, with_duplicate
from poller.demo.options import SimulatorOptions
from poller.demo.population import Scripted
from poller.demo.readings import Stored
from poller.demo.transport import SimulatorTransport
from tests.support.virtual_time import pass_time

pytestmark = pytest.mark.anyio

CREDENTIALS = {"X-App-Id": "simulator-app-id", "X-App-Token": "simulator-app-token"}
START = 1_800_000_000.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def clock() -> float:
    return START + trio.current_time()


def simulator(**options: Any) -> Simulator:
    activities = [Stored(id=f"a{at}", type="customer.created", created_at_us=at * 1_000_000, shown_at=at) for at in range(1, 6)]
    return Simulator(SimulatorOptions(**({"calls_per_window": None} | options)), clock, Scripted({"c": activities}))


def client(simulator: Simulator) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=SimulatorTransport(simulator), base_url="http://simulator", headers=CREDENTIALS)


async def outcomes(calls: int = 200, **options: Any) -> list[str]:
    """What each call got."""
    found = []
    async with client(simulator(**options)) as it:
        for _ in range(calls):
            try:
                response = await it.get("/v1/customers/c/activities")
                found.append(str(response.status_code))
            except httpx.TransportError as error:
                found.append(type(error).__name__)
    return found


async def test_nothing_goes_wrong_unasked() -> None:
    assert set(await outcomes()) == {"200"}


async def test_errors_come_at_their_rate_and_in_three_kinds() -> None:
    counts = Counter(await outcomes(error_rate=0.5))

    assert set(counts) == {"200", "500", "502", "503"}
    assert counts["200"] == pytest.approx(100, abs=25)


async def test_connections_break_at_their_rate() -> None:
    counts = Counter(await outcomes(disconnect_rate=0.5))

    assert set(counts) == {"200", "ConnectError"}
    assert counts["200"] == pytest.approx(100, abs=25)


async def test_a_hanging_call_ends_as_a_timeout_after_its_time() -> None:
    async with client(simulator(hang_rate=1.0, hang_seconds=45)) as it:
        with pytest.raises(httpx.ReadTimeout):
            await it.get("/v1/customers/c/activities")

    assert trio.current_time() == pytest.approx(45)


async def test_the_same_seed_fails_the_same_way() -> None:
    rates: dict[str, Any] = {"error_rate": 0.2, "disconnect_rate": 0.2, "hang_rate": 0.1}

    assert await outcomes(**rates) == await outcomes(**rates) != await outcomes(seed=2, **rates)


async def test_calls_take_their_time() -> None:
    async with client(simulator(latency_seconds=2.0)) as it:
        times = []
        for _ in range(50):
            before = trio.current_time()
            await it.get("/v1/customers/c/activities")
            times.append(trio.current_time() - before)

    assert all(1.0 <= seconds <= 3.0 for seconds in times)
    assert sum(times) / 50 == pytest.approx(2.0, abs=0.3)


async def test_a_slow_call_is_answered_in_the_end() -> None:
    async with client(simulator(slow_rate=1.0, slow_seconds=20)) as it:
        assert (await it.get("/v1/customers/c/activities")).status_code == 200

    assert trio.current_time() == pytest.approx(20)


async def test_a_call_is_noted_when_it_arrives_though_its_client_gives_up() -> None:
    api = simulator(slow_rate=1.0, slow_seconds=20)
    async with client(api) as it:
        await pass_time(7)
        with trio.move_on_after(1):
            await it.get("/v1/customers/c/activities")

    assert [(call.at, call.outcome) for call in api.calls] == [(START + 7, "accepted")]


async def test_garbage_is_no_page() -> None:
    async with client(simulator(garbage_rate=1.0)) as it:
        bodies = {(await it.get("/v1/customers/c/activities")).content for _ in range(200)}

    assert len(bodies) == len(GARBAGE) + 1
    for body in bodies:
        assert not is_page(body), body


def is_page(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body)["data"], list)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def test_garbage_can_be_a_page_cut_off() -> None:
    assert garbage(b"123456789", len(GARBAGE)) == b"123456"


async def test_a_page_may_hold_an_activity_twice() -> None:
    async with client(simulator(duplicate_rate=1.0)) as it:
        pages = [[entry["id"] for entry in (await it.get("/v1/customers/c/activities")).json()["data"]] for _ in range(50)]

    assert all(len(page) == 6 and len(set(page)) == 5 for page in pages)
    assert len({tuple(page) for page in pages}) > 5


def test_an_empty_page_stays_empty() -> None:
    assert with_duplicate([], 7) == []


async def test_faults_can_begin_and_end_while_it_runs() -> None:
    api = simulator()
    async with client(api) as it:
        statuses = []
        for rate in (0.0, 1.0, 0.0):
            api.change(error_rate=rate)
            statuses.append((await it.get("/v1/customers/c/activities")).is_success)

    assert statuses == [True, False, True]
