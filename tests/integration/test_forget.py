"""`poller forget` with pollers and a real Kafka: what is left of a customer, whoever runs, and that it does not come back by itself."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from poller.cli import FAILED, OK, run_command
from poller.config import KafkaSettings
from poller.hashed import hashed
from poller.journal import Journal
from poller.kafka.lookup import look_up
from poller.kafka.watch import KafkaWatch
from poller.model import PLAIN, CustomerId, WatchEntry
from poller.telemetry import Telemetry
from tests.support.processes import Deployment, busy, one_error, served
from tests.support.topics import headers_of, reading
from tests.support.waiting import until
from tests.support.world import Told

pytestmark = pytest.mark.anyio

QUIET_SECONDS = 2.0
DAYS_30 = 30 * 86_400


class Operator:
    """Who runs `poller forget` with the settings of a deployment."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self.set = monkeypatch.setenv

    async def forgets(self, *arguments: str, code: int = OK) -> Any:
        self._capsys.readouterr()
        ended = await anyio.to_thread.run_sync(run_command, ["forget", *arguments, "--json"])
        said = self._capsys.readouterr()
        assert ended == code, said
        return json.loads(said.out)


@pytest.fixture
def operator(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(capsys, monkeypatch)


def outcome(customer: str, what: str, *named_by: str, checkpoint: bool = True) -> dict[str, Any]:
    return {"id": customer, "outcome": what, "checkpoint": checkpoint, "named_by": list(named_by)}


async def test_customers_are_forgotten_by_whoever_runs_or_will_and_start_afresh(kafka: str, tmp_path: Path, operator: Operator) -> None:
    simulator = busy(customers=4, activities_per_customer_minute=10.0)
    one, two, three, four = (CustomerId(name) for name in simulator.customers)
    async with one_error(), served(simulator) as api, Deployment(kafka, api.url, [], tmp_path) as pollers:
        operator.set("POLLER_KAFKA_BOOTSTRAP_SERVERS", kafka)
        operator.set("POLLER_KAFKA_ACTIVITIES_TOPIC", pollers.name)
        operator.set("POLLER_CUSTOMERS", one)
        settings = KafkaSettings(bootstrap_servers=kafka, activities_topic=pollers.name)
        watch = KafkaWatch(settings, Journal(Telemetry(Told())))

        async def is_kept(customer: CustomerId) -> bool:
            return (await look_up(settings, customer)).checkpoint is not None

        async def entries() -> dict[CustomerId, WatchEntry]:
            return (await watch.read()).entries

        def calls(customer: str) -> int:
            return sum(call.customer == customer for call in simulator.calls)

        async def times_published(customer: str) -> int:
            """The most of one of its activities."""
            async with reading(kafka, pollers.name) as reader:
                ids = [said["ce_id"] for said in map(headers_of, await reader.read()) if said["ce_subject"] == customer]
            return max(map(ids.count, ids))

        poller = pollers.start(customers=one, customers_file=None, log_customers="hashed")
        await poller.active()
        await watch.put({two: PLAIN, three: PLAIN})
        for customer in (one, two, three):
            await until(partial(is_kept, customer), within_seconds=15)

        would = await operator.forgets(two, "--dry-run")
        assert (would["customers"], await is_kept(two)) == ([outcome(two, "would be forgotten")], True)

        done = await operator.forgets(two, one, four)
        before = {customer: calls(customer) for customer in (one, two)}
        await anyio.sleep(QUIET_SECONDS)
        assert done["customers"] == [
            outcome(two, "forgotten"),
            outcome(one, "kept out", "POLLER_CUSTOMERS"),
            outcome(four, "forgotten", checkpoint=False),
        ]
        assert done["remains_seconds"] == {pollers.name: DAYS_30, f"{pollers.name}.dead-letters": DAYS_30}
        assert {customer: calls(customer) for customer in (one, two)} == before
        assert [await is_kept(customer) for customer in (one, two, three)] == [False, False, True]
        assert {customer: entry.forget for customer, entry in (await entries()).items()} == {one: True, three: False}
        assert await times_published(two) == 1

        await watch.put({two: PLAIN})
        await until(lambda: is_kept(two), within_seconds=10)
        assert await times_published(two) == 2, "from its beginning, as POLLER_START says"

        poller.kill()
        not_yet = await operator.forgets(three, "--wait", "1", code=FAILED)
        assert (not_yet["customers"], await is_kept(three)) == ([outcome(three, "not yet")], True)
        successor = pollers.start(customers=one, customers_file=None, log_customers="hashed")
        await until(lambda: successor.count("customer_forgotten") >= 1, within_seconds=30)
        assert not await is_kept(three)
        assert (await operator.forgets(three))["customers"] == [outcome(three, "forgotten", checkpoint=False)]
        assert three not in await entries()

        logged = poller.output() + successor.output()
        assert [id for id in simulator.customers if id in logged] == []
        assert {event["customer"] for event in poller.events("customer_forgotten")} == {hashed(id) for id in (one, two, four)}
