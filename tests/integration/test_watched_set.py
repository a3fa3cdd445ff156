"""Whom a running poller watches: named by a setting, a file and the watch topic, on a real Kafka; what changes is seen within two seconds."""

from pathlib import Path

import anyio
import pytest

from poller.config import KafkaSettings
from poller.demo.api import Simulator
from poller.journal import Journal
from poller.kafka.watch import KafkaWatch
from poller.model import PLAIN, CustomerId, WatchEntry
from poller.telemetry import Telemetry
from tests.support.processes import Deployment, busy, one_error, served
from tests.support.topics import headers_of, reading
from tests.support.waiting import until
from tests.support.world import Told

pytestmark = pytest.mark.anyio

SEEN_SECONDS = 2.0
NOISE_SECONDS = 1.0
"""The machine's, not the program's."""


def called(simulator: Simulator, since: int = 0) -> set[str]:
    return {str(call.customer) for call in list(simulator.calls)[since:]}


async def test_customers_are_added_altered_and_dropped_while_the_poller_runs(kafka: str, tmp_path: Path) -> None:
    simulator = busy(customers=5)
    one, two, three, four, five = (CustomerId(name) for name in simulator.customers)
    async with one_error(), served(simulator) as api, Deployment(kafka, api.url, [one], tmp_path) as pollers:
        poller = pollers.start(calls_per_minute=3000, customers=two)
        watch = KafkaWatch(KafkaSettings(bootstrap_servers=kafka, activities_topic=pollers.name), Journal(Telemetry(Told())))
        await poller.active()
        await until(lambda: called(simulator) == {one, two}, within_seconds=15)

        listed = anyio.Path(str(pollers.settings["customers_file"]))
        await listed.write_text(f'{one}\n{{"id":"{three}","weight":2}}\n')
        await until(lambda: three in called(simulator), within_seconds=SEEN_SECONDS + NOISE_SECONDS)
        await watch.put({four: WatchEntry(headers=(("tenant", "one"),)), one: WatchEntry(paused=True)})
        await until(lambda: four in called(simulator), within_seconds=SEEN_SECONDS + NOISE_SECONDS)
        await watch.put({four: None, five: PLAIN})
        await listed.write_text(f"{one}\n")
        await anyio.sleep(SEEN_SECONDS + NOISE_SECONDS)
        since = len(simulator.calls)
        await until(lambda: len(simulator.calls) > since + 50, within_seconds=15)

        assert called(simulator, since) == {two, five}
        async with reading(kafka, pollers.name) as reader:
            tenants = {(headers_of(record)["ce_subject"], headers_of(record).get("tenant")) for record in await reader.read()}
        assert tenants == {(one, None), (two, None), (three, None), (four, "one"), (five, None)}
