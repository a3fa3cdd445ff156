"""What the log does that no contract shows from outside: the order of its steps, on a real Kafka."""

import os
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from poller.errors import LogError
from poller.kafka.log import KafkaLog
from poller.kafka.topics import Topics
from poller.model import Activity, ActivityId, Batch, Checkpoint, CustomerId, Ledger, Ownership, Restored
from tests.integration.kafka_worlds import URL, KafkaWorld
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


def batch(raw: bytes = b"{}") -> Batch:
    activity = Activity(ActivityId("a1"), "customer.created", "2024-05-01T12:00:00.000Z", 1714564800000, raw)
    return Batch(CustomerId("cust_1"), 0, None, Checkpoint(1714564800000, {"a1": 1714564800000}), (activity,))


def owner_of(world: KafkaWorld) -> Ownership:
    return Ownership(world.application_id(), URL, "activities", 1, "00ff", "pod-1", Ledger(level=0))


async def prepared(world: KafkaWorld) -> KafkaLog:
    log = world.log()
    assert isinstance(log, KafkaLog)
    await log.prepare()
    return log


async def test_a_send_that_fails_is_noticed_before_the_commit_and_nothing_is_committed(kafka: str) -> None:
    world = KafkaWorld(kafka)
    log = await prepared(world)
    async with log.open(0) as writer:
        await writer.append((), owner_of(world))
        await lower_the_limit(world)
        with pytest.raises(LogError):
            await writer.append([batch(os.urandom(50_000))], owner_of(world))
    async with log.open(0) as writer:
        restored = writer.restored.checkpoints

    assert (restored, await world.committed("activities")) == ({}, [])


async def lower_the_limit(world: KafkaWorld) -> None:
    """Of the activities topic, behind the writer's back: the broker refuses what the writer takes for small enough."""
    topic, limit = world.settings().activities_topic, "5000"
    async with world.admin() as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": limit})])

    async def known() -> bool:
        return (await world.configs(topic))["max.message.bytes"] == limit

    await until(known, within_seconds=5)


async def test_nobody_else_can_commit_once_the_restore_begins(kafka: str) -> None:
    world = KafkaWorld(kafka)
    log, successors = await prepared(world), await prepared(world)
    async with log.open(0) as predecessor:
        await predecessor.append((), owner_of(world))
        restore = successors._restore

        async def restore_and_be_late(partition: int, topics: Topics) -> Restored:
            restored = await restore(partition, topics)
            with suppress(LogError):
                await predecessor.append([batch()], owner_of(world))
            return restored

        successors._restore = restore_and_be_late  # type: ignore[method-assign]
        async with successors.open(0) as successor:
            restored: Any = successor.restored.checkpoints

    assert (restored, await world.committed("activities")) == ({}, [])


async def test_a_producer_that_failed_once_is_not_used_again_though_it_would_work(kafka: str) -> None:
    world = KafkaWorld(kafka)
    log = await prepared(world)
    async with log.open(0) as writer:
        await writer.append((), owner_of(world))
        commit = writer._producer.commit_transaction
        world.fail_next(writer, "before")
        with pytest.raises(LogError):
            await writer.append([batch()], owner_of(world))
        writer._producer.commit_transaction = commit  # type: ignore[method-assign]
        with pytest.raises(LogError):
            await writer.append([batch()], owner_of(world))

    assert await world.committed("activities") == []
