"""POLLER_WATCH=all on a real Kafka: customers are found while pollers run, one is killed and another takes over; all that they do is published once."""

from collections import Counter
from pathlib import Path

import pytest

from poller.commands.check import listing_findings
from poller.config import KafkaSettings, load
from poller.demo.readings import Readings
from poller.journal import Journal
from poller.kafka.watch import KafkaWatch
from poller.matching import to_match
from poller.model import CustomerId, WatchEntry
from poller.telemetry import Telemetry
from tests.support.processes import Deployment, busy, one_error, served
from tests.support.topics import headers_of, reading
from tests.support.waiting import until
from tests.support.world import Told

pytestmark = pytest.mark.anyio

MATCH = "metadata.tier=gold,metadata.tier=silver"


async def test_customers_of_the_project_are_found_and_read_by_whoever_owns_them(kafka: str, tmp_path: Path) -> None:
    simulator = busy(customers=40, arriving_customers=10, arriving_seconds=6.0, readings=Readings(page_activities_max=20))
    wanted = {one.id for one in simulator.population.customers if one.metadata["tier"] != "bronze"}
    settings = {"watch": "all", "customers_match": MATCH, "customers_file": None, "calls_per_minute": 3000}
    async with one_error(), served(simulator) as api, Deployment(kafka, api.url, [], tmp_path, **settings) as pollers:
        topic = KafkaWatch(KafkaSettings(bootstrap_servers=kafka, activities_topic=pollers.name), Journal(Telemetry(Told())))
        paused = CustomerId(min(wanted))
        await topic.put({paused: WatchEntry(paused=True)})
        one = pollers.start()
        await one.active()
        pollers.start()
        await until(lambda: len({call.customer for call in simulator.calls}) > 10, within_seconds=20)
        one.kill()
        await until(lambda: {call.customer for call in simulator.calls} == {None, *wanted} - {paused}, within_seconds=40)
        simulator.freeze()
        await until(lambda: simulator.clock() > simulator.all_shown_at(), within_seconds=5)
        truth = [activity for activity in simulator.truth(30).activities if activity.customer in wanted - {paused}]
        async with reading(kafka, pollers.name) as reader:

            async def all_there() -> bool:
                return len(await reader.read()) >= len(truth)

            await until(all_there, within_seconds=30)
            published = [headers_of(record) for record in reader.records]

        seen = Counter((headers["ce_subject"], headers["ce_id"]) for headers in published)
        assert seen == Counter((activity.customer, activity.id) for activity in truth)
        digest = to_match(MATCH).digest
        stands = (await topic.read()).entries
        assert {customer for customer, entry in stands.items() if entry.found == digest} == wanted - {paused}
        assert stands[paused] == WatchEntry(paused=True)
        (tried,) = await listing_findings(load(one.settings), to_match(MATCH))
        assert (tried.ok, tried.said.split(";")[0]) == (True, "customers can be listed")
