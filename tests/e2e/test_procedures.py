"""What the procedures of docs/runbook.md promise of the data, done as they say."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from aiokafka.admin import NewTopic

from poller.config import KafkaSettings
from poller.demo.broker import broker
from poller.kafka.topics import wanted_topics
from tests.support.processes import Deployment, Poller, busy, inherited, one_error, served
from tests.support.topics import (
    administering,
    all_published,
    exactly_once,
    expected_of,
    headers_of,
    name_of,
    reading,
    within_budget,
    writing,
)
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

CALLS_PER_MINUTE = 1200


async def ended_after_publishing(poller: Poller) -> None:
    await poller.has_said("published", times=10)
    poller.send(signal.SIGTERM)
    assert await poller.ended() == 0


async def made(bootstrap_servers: str, settings: KafkaSettings) -> None:
    """The compacted topics, by hand."""
    compacted = [one for one in wanted_topics(settings) if one.compacted]
    async with administering(bootstrap_servers) as admin:
        await admin.create_topics([NewTopic(one.name, one.partitions, 1, topic_configs=one.configs) for one in compacted])


async def copied(old: str, new: str, topic: str) -> int:
    """What is committed, each partition's records in their order; how many there were. An empty value stays none."""
    async with reading(old, topic) as reader, writing(new) as producer:
        records = await reader.read()
        for record in records:
            await producer.send_and_wait(topic, record.value, key=record.key, partition=record.partition)
    return len(records)


async def test_moved_with_its_checkpoints_each_activity_is_in_one_of_the_two_clusters_once(kafka: str, tmp_path: Path) -> None:
    async with (
        one_error(),
        broker(data_dir=tmp_path / "kafka", log=print) as other,
        served(busy()) as api,
        Deployment(
            kafka, api.url, api.simulator.customers, tmp_path, calls_per_minute=CALLS_PER_MINUTE, kafka_checkpoint_partitions=2
        ) as pollers,
    ):
        await ended_after_publishing(pollers.start())
        settings = KafkaSettings(bootstrap_servers=kafka, activities_topic=pollers.name, checkpoint_partitions=2)
        await made(other.bootstrap_servers, settings)
        assert await copied(kafka, other.bootstrap_servers, settings.checkpoints_topic) > len(api.simulator.customers)

        moved = pollers.start(kafka_bootstrap_servers=other.bootstrap_servers)
        await moved.has_said("published", times=10)

        async with reading(kafka, pollers.name) as before, reading(other.bootstrap_servers, pollers.name) as after:
            api.simulator.freeze()
            shown_at = api.simulator.all_shown_at()

            async def complete() -> bool:
                there = set(map(name_of, [*await before.read(), *await after.read()]))
                missing = {name for name, one in expected_of(api.simulator).items() if one.must} - there
                return not missing and api.simulator.clock() >= shown_at

            await until(complete, within_seconds=20)
            exactly_once([*before.records, *after.records], api.simulator)
            assert min(len(before.records), len(after.records)) > 10
        assert within_budget(api.simulator, CALLS_PER_MINUTE, partitions=2)


async def test_with_its_checkpoints_lost_begun_anew_and_rewound_what_is_missing_is_published_and_nothing_twice(
    kafka: str, tmp_path: Path
) -> None:
    async with one_error(), served(busy()) as api, Deployment(kafka, api.url, api.simulator.customers, tmp_path) as pollers:
        await ended_after_publishing(pollers.start())
        settings = KafkaSettings(bootstrap_servers=kafka, activities_topic=pollers.name)
        await deleted(kafka, settings.checkpoints_topic)
        await made(kafka, settings)
        refused = pollers.start(start="now")
        await refused.has_said("partition_failed")
        assert "holds nothing, but" in refused.events("partition_failed")[0]["error"]
        refused.kill()

        async with writing(kafka) as producer:
            await producer.send_and_wait(settings.checkpoints_topic, None, key=b"begin-anew", partition=0)
        begun = pollers.start(start="now")
        await begun.has_said("published")
        await rewound(pollers, api.simulator.customers)
        await begun.has_said("replay_done", times=len(api.simulator.customers), within_seconds=60)

        async with reading(kafka, pollers.name) as reader:
            records = await all_published(reader, api.simulator, within_seconds=30)
        assert 0 < sum("replay" in headers_of(record) for record in records) < len(records)


async def deleted(bootstrap_servers: str, topic: str) -> None:
    async with administering(bootstrap_servers) as admin:
        await admin.delete_topics([topic])

        async def gone() -> bool:
            return topic not in await admin.list_topics()

        await until(gone, within_seconds=10)


async def rewound(pollers: Deployment, customers: Sequence[str]) -> None:
    """All of them, to a day before any of their activities, for what is missing."""
    kafka = {"bootstrap_servers": pollers.bootstrap_servers, "activities_topic": pollers.name, "application_id": pollers.name}
    environment = {**inherited(), **{f"POLLER_KAFKA_{name.upper()}": value for name, value in kafka.items()}}
    command = [sys.executable, "-m", "poller", "watch", "rewind", *customers, "--to", "2020-01-01", "--missing-only"]
    await anyio.run_process(command, env=environment)
