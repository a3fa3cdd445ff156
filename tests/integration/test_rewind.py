"""`poller watch rewind` with a real Kafka and a running poller: what comes again is marked, and what is missing only is told by the topic itself."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic, RecordsToDelete

from poller.config import KafkaSettings
from poller.kafka.published import published
from poller.model import CustomerId
from tests.support.processes import Deployment, busy, inherited, one_error, served
from tests.support.topics import Name, Record, TopicReader, administering, headers_of, name_of, reading
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def poller_does(pollers: Deployment, *arguments: str) -> Any:
    """What a command says as JSON, with the deployment's settings of Kafka."""
    kafka = {f"POLLER_{name.upper()}": str(value) for name, value in pollers.settings.items() if name.startswith("kafka_")}
    done = await anyio.run_process([sys.executable, "-m", "poller", *arguments, "--json"], env={**inherited(), **kafka}, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def rewind(pollers: Deployment, customer: str, *arguments: str) -> str:
    """Its id."""
    (changed,) = (await poller_does(pollers, "watch", "rewind", customer, *arguments))["customers"]
    return str(changed["entry"]["replay"]["id"])


def replay_of(record: Record) -> str | None:
    return headers_of(record).get("replay")


def of(records: list[Record], customer: str, replay: str | None) -> Counter[Name]:
    return Counter(name_of(record) for record in records if name_of(record)[0] == customer and replay_of(record) == replay)


async def done(pollers: Deployment, customer: str, replay: str) -> None:
    async def told() -> bool:
        checkpoint = (await poller_does(pollers, "inspect", customer))["checkpoint"]
        return (checkpoint["replayed"], checkpoint["replay"]) == (replay, None)

    await until(told, within_seconds=30)


async def test_a_customer_is_rewound_while_the_poller_runs_and_again_for_what_is_missing(kafka: str, tmp_path: Path) -> None:
    simulator = busy(customers=3)
    one, two, three = simulator.customers
    async with one_error(), served(simulator) as api, Deployment(kafka, api.url, [one, two, three], tmp_path) as pollers:
        poller = pollers.start(calls_per_minute=3000)
        await poller.active()
        await until(lambda: poller.count("published") > 10, within_seconds=20)
        async with reading(kafka, pollers.name) as reader:
            before = {name_of(record) for record in await reader.read()}
            replay = await rewind(pollers, one, "--to", "2026-01-01")
            await done(pollers, one, replay)
            again = of(await reader.read(), one, replay)

            assert {name for name in before if name[0] == one} <= again.keys()
            assert set(again.values()) == {1}
            assert again.keys() <= of(reader.records, one, None).keys()

            simulator.freeze()
            await until(lambda: simulator.clock() >= simulator.all_shown_at(), within_seconds=20)
            await delete_half(kafka, reader)
            missing_before = await standing(kafka, pollers.name, two)
            repaired = await rewind(pollers, two, "--to", "2026-01-01", "--missing-only")
            await done(pollers, two, repaired)
            truth = {(given.customer, given.id) for given in simulator.truth(30, raw=True).activities if given.customer == two}
            wanted = {name for name in truth if name[1] not in missing_before}

            assert of(await reader.read(), two, repaired) == Counter(wanted)
            assert (len(wanted) > 0, len(wanted) < len(truth)) == (True, True)
            assert {name for name, count in of(reader.records, two, None).items() if count != 1} == set()
        assert poller.count("looked_up") == 1


async def delete_half(kafka: str, reader: TopicReader) -> None:
    """The older records of each partition, as its retention would."""
    await reader.read()
    ends = await reader.ends()
    async with administering(kafka) as admin:
        await admin.delete_records({tp: RecordsToDelete(before_offset=end // 2) for tp, end in ends.items()})


async def standing(kafka: str, topic: str, customer: str) -> set[str]:
    found = await published(KafkaSettings(bootstrap_servers=kafka, activities_topic=topic), [CustomerId(customer)], 0)
    return set(found[CustomerId(customer)])


async def test_what_was_written_and_is_not_committed_yet_is_waited_for(kafka: str) -> None:
    topic = f"rewound-{uuid4().hex[:8]}"
    headers = [("ce_subject", b"a"), ("ce_id", b"1")]
    async with administering(kafka) as admin:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    found: list[set[str]] = []

    async def look_up() -> None:
        found.append(await standing(kafka, topic, "a"))

    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic) as producer, anyio.create_task_group() as tasks:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"{}", headers=headers)
        tasks.start_soon(look_up)
        await anyio.sleep(2)
        before = list(found)
        await producer.commit_transaction()

    assert (before, found) == ([], [{"1"}])
