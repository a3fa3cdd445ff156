"""What the log does that no contract shows from outside: the order of its steps, on a real Kafka."""

import os
from contextlib import suppress
from typing import Any

import pytest

from poller.errors import LogError
from poller.kafka.topics import Topics
from poller.model import Restored
from tests.integration.kafka_worlds import KafkaWorld, activity, batch, ownership, prepared

pytestmark = pytest.mark.anyio


async def test_a_send_that_fails_is_noticed_before_the_commit_and_nothing_is_committed(kafka: str) -> None:
    world = KafkaWorld(kafka)
    log = await prepared(world.log())
    async with log.open(0) as writer:
        await writer.append((), ownership(world))
        await world.alter(world.settings().activities_topic, "max.message.bytes", "5000")  # of which the writer knows nothing
        with pytest.raises(LogError):
            await writer.append([batch("cust_1", activity("a1", os.urandom(50_000)))], ownership(world))
    async with log.open(0) as writer:
        restored = writer.restored.checkpoints

    assert (restored, await world.committed("activities")) == ({}, [])


async def test_nobody_else_can_commit_once_the_restore_begins(kafka: str) -> None:
    world = KafkaWorld(kafka)
    log, successors = await prepared(world.log()), await prepared(world.log())
    async with log.open(0) as predecessor:
        await predecessor.append((), ownership(world))
        restore = successors._restore

        async def restore_and_be_late(partition: int, topics: Topics) -> Restored:
            restored = await restore(partition, topics)
            with suppress(LogError):
                await predecessor.append([batch("cust_1", activity())], ownership(world))
            return restored

        successors._restore = restore_and_be_late  # type: ignore[method-assign]
        async with successors.open(0) as successor:
            restored: Any = successor.restored.checkpoints

    assert (restored, await world.committed("activities")) == ({}, [])


async def test_a_producer_that_failed_once_is_not_used_again_though_it_would_work(kafka: str) -> None:
    world = KafkaWorld(kafka)
    log = await prepared(world.log())
    async with log.open(0) as writer:
        await writer.append((), ownership(world))
        commit = writer._producer.commit_transaction
        world.fail_next(writer, "before")
        with pytest.raises(LogError):
            await writer.append([batch("cust_1", activity())], ownership(world))
        writer._producer.commit_transaction = commit  # type: ignore[method-assign]
        with pytest.raises(LogError):
            await writer.append([batch("cust_1", activity())], ownership(world))

    assert await world.committed("activities") == []
