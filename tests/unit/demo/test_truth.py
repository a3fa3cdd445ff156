"""What must be in the topics by now."""

from typing import Any

import httpx
import pytest

from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.population import Scripted
from poller.demo.readings import Stored
from poller.demo.transport import SimulatorTransport
from poller.demo.truth import Expected, Truth

pytestmark = pytest.mark.anyio

START = 1_800_000_000.0
CREDENTIALS = {"X-App-Id": "simulator-app-id", "X-App-Token": "simulator-app-token"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    """A clock that stands where it is put."""

    now = START

    def __call__(self) -> float:
        return self.now


def activity(at: float, *, late: float = 0.0, **fields: Any) -> Stored:
    """An activity `at` seconds after the start."""
    values: dict[str, Any] = {
        "id": f"a{at:g}",
        "type": "customer.created",
        "created_at_us": round((START + at) * 1_000_000),
        "shown_at": START + at + late,
    }
    return Stored(**(values | fields))


def simulator(*activities: Stored, now: float = 100.0, **options: Any) -> Simulator:
    clock = Clock()
    clock.now = START + now
    return Simulator(SimulatorOptions(**options), clock, Scripted({"c": activities, "d": []}))


def must(truth: Truth) -> list[str]:
    return [expected.id for expected in truth.must]


def may(truth: Truth) -> list[str]:
    return [expected.id for expected in truth.activities if not expected.must]


def test_what_is_shown_must_be_there_and_what_is_not_cannot_be() -> None:
    truth = simulator(activity(10), activity(95, late=6), activity(101)).truth()

    assert (must(truth), may(truth)) == (["a10"], [])


def test_what_was_shown_too_recently_may_be_there() -> None:
    truth = simulator(activity(10), activity(90), activity(80, late=15)).truth(by=START + 90)

    assert (must(truth), may(truth)) == (["a10", "a90"], ["a80"])


def test_what_was_shown_after_the_lookback_may_be_there() -> None:
    truth = simulator(activity(10, late=5), activity(20, late=5.5)).truth(lookback_seconds=5)

    assert (must(truth), may(truth)) == (["a10"], ["a20"])


def test_the_start_can_be_an_instant_for_all_or_for_each() -> None:
    api = simulator(activity(10), activity(20))

    assert must(api.truth(start="earliest")) == ["a10", "a20"]
    assert must(api.truth(start=START + 20)) == ["a20"]
    assert must(api.truth(start={"c": START + 10.001})) == ["a20"]
    assert must(api.truth(start={"d": START})) == []


async def test_the_start_can_be_the_first_call() -> None:
    api = simulator(activity(10), activity(50), activity(60), now=50)
    async with httpx.AsyncClient(transport=SimulatorTransport(api), base_url="http://simulator", headers=CREDENTIALS) as client:
        before = api.truth(start="first_call")
        await client.get("/v1/customers/c/activities")
        api.clock.now = START + 70  # type: ignore[attr-defined]
        await client.get("/v1/customers/c/activities")

    assert must(before) == []
    assert must(api.truth(start="first_call")) == ["a50", "a60"]


def test_of_an_erased_customer_nothing_must_be_there() -> None:
    api = simulator(activity(10))
    api.erase("c")

    assert (must(api.truth()), may(api.truth())) == ([], ["a10"])


def test_an_activity_that_is_gone_may_be_there() -> None:
    assert may(simulator(activity(10, gone_at=START + 20)).truth()) == ["a10"]


def test_defects_belong_among_the_dead_letters_but_for_an_odd_time() -> None:
    truth = simulator(activity(1, defect="no_id"), activity(2, defect="odd_created_at"), activity(3)).truth()

    assert [(expected.topic, expected.defect) for expected in truth.activities] == [
        ("dead-letters", "no_id"),
        ("activities", "odd_created_at"),
        ("activities", None),
    ]


def test_the_truth_tells_the_bytes_when_asked() -> None:
    api = simulator(activity(10, raw=b'{"id" : "a10"}'))

    assert api.truth(raw=True).activities == (
        Expected(
            "a10",
            "c",
            "customer.created",
            "2027-01-15T08:00:10.000Z",
            1_800_000_010_000,
            START + 10,
            True,
            "activities",
            None,
            b'{"id" : "a10"}',
        ),
    )
    assert api.truth().activities[0].raw is None


def test_a_population_of_visits_has_a_truth_of_all_its_activities() -> None:
    clock = Clock()
    api = Simulator(SimulatorOptions(customers=10, activities_per_customer_minute=2, customer_ids="source"), clock)
    clock.now += 600
    truth = api.truth()

    assert len(truth.must) > 50
    assert {expected.customer for expected in truth.activities} <= set(api.customers)
    assert api.customers[0] == "shopper+0@example.com"
    assert all(expected.shown_at <= clock.now for expected in truth.activities)
    api.freeze()
    assert api.all_shown_at() >= max(expected.shown_at for expected in truth.activities)


async def test_the_truth_can_be_asked_over_http() -> None:
    api = simulator(activity(10, raw=b"{}"), activity(20, raw=b"{}", late=5), activity(30, raw=b"{}"))
    async with httpx.AsyncClient(transport=SimulatorTransport(api), base_url="http://simulator") as client:
        everything = (await client.get("/simulator/truth", params={"raw": 1})).json()
        asked = (await client.get("/simulator/truth", params={"lookback_seconds": 4, "start": START + 15, "by": START + 40})).json()
        by_date = (await client.get("/simulator/truth", params={"start": "2027-01-15T08:00:30Z"})).json()
        posted = (await client.post("/simulator/truth", json={"start": {"c": START + 30}})).json()
        refused = [await client.get("/simulator/truth", params=bad) for bad in ({"start": "never"}, {"colour": "red"}, {"by": "noon"})]

    assert everything["activities"][0] == {
        "id": "a10",
        "customer": "c",
        "type": "customer.created",
        "created_at": "2027-01-15T08:00:10.000Z",
        "created_at_ms": 1_800_000_010_000,
        "shown_at": START + 10,
        "must": True,
        "topic": "activities",
        "raw": "e30=",
    }
    assert [[entry["must"] for entry in body["activities"]] for body in (asked, by_date, posted)] == [
        [False, False, True],
        [False, False, True],
        [False, False, True],
    ]
    assert (asked["now"], asked["by"], asked["lookback_seconds"]) == (START + 100, START + 40, 4)
    assert [response.status_code for response in refused] == [400, 400, 400]
