"""Topics that somebody has deleted, by mistake or on purpose: what stood in them is not taken as never having been."""

from pathlib import Path

import pytest
from aiokafka.admin import NewTopic

from poller.commands.check import kafka_findings
from poller.demo.broker import broker
from poller.errors import LogError, LogRefused
from poller.kafka.log import KafkaLog
from poller.model import Activity, ActivityId, Batch, Checkpoint, CustomerId, Ledger, Ownership
from tests.integration.kafka_worlds import URL, KafkaWorld, in_the_end
from tests.support.topics import administering, writing

pytestmark = pytest.mark.anyio

ACTIVITY = Activity(ActivityId("a1"), "customer.created", "2024-05-01T12:00:00.000Z", 1714564800000, b"{}")
BATCH = Batch(CustomerId("cust_1"), 0, None, Checkpoint(1714564800000, {"a1": 1714564800000}), (ACTIVITY,))


def owner_of(world: KafkaWorld) -> Ownership:
    return Ownership(world.application_id(), URL, "activities", 1, "00ff", "pod-1", Ledger(level=0))


async def published(world: KafkaWorld) -> KafkaLog:
    """A log with one activity, and its checkpoint."""
    log = world.log()
    assert isinstance(log, KafkaLog)
    await log.prepare()
    async with log.open(0) as writer:
        await writer.append((), owner_of(world))
        await writer.append((BATCH,), owner_of(world))
    return log


async def delete(world: KafkaWorld, topic: str) -> None:
    async with administering(world.bootstrap_servers) as admin:
        await admin.delete_topics([topic])


async def opened(log: KafkaLog) -> int:
    """How many checkpoints were restored."""
    async with log.open(0) as writer:
        return len(writer.restored.checkpoints)


async def checked(world: KafkaWorld) -> str:
    """What `poller check` says of the ownership."""
    return next(one.said for one in await kafka_findings(world.settings(), URL) if one.check == "ownership")


async def test_without_its_checkpoints_nobody_goes_on_until_somebody_says_how(kafka: str) -> None:
    world = KafkaWorld(kafka)
    log, checkpoints = await published(world), world.settings().checkpoints_topic

    await delete(world, checkpoints)
    with pytest.raises(LogRefused, match=f"topic {checkpoints} is missing"):
        await opened(log)
    assert "holds nothing, but topic" in await checked(world)
    newcomer = world.log()
    assert isinstance(newcomer, KafkaLog)
    await in_the_end(newcomer.prepare, within_seconds=60)
    for one in (log, newcomer):
        with pytest.raises(LogRefused, match=f"topic {checkpoints} holds nothing"):
            await opened(one)
    assert "holds nothing, but topic" in await checked(world)
    async with writing(kafka) as producer:
        await producer.send_and_wait(checkpoints, None, key=b"begin anew", partition=0)
    assert await opened(newcomer) == 0


async def test_a_topic_that_came_back_with_other_settings_is_refused_by_who_is_running_too(kafka: str) -> None:
    world = KafkaWorld(kafka)
    log, checkpoints = await published(world), world.settings().checkpoints_topic

    await delete(world, checkpoints)
    async with administering(kafka) as admin:
        await admin.create_topics([NewTopic(checkpoints, 1, 1)])
    with pytest.raises(LogRefused, match=r"cleanup\.policy"):
        await opened(log)


async def test_activities_that_were_deleted_with_their_checkpoints_are_begun_anew(kafka: str) -> None:
    world = KafkaWorld(kafka)
    log, settings = await published(world), world.settings()

    await delete(world, settings.checkpoints_topic)
    await delete(world, settings.activities_topic)
    await in_the_end(log.prepare, within_seconds=60)  # a topic that is being deleted may still be said to exist
    assert await opened(log) == 0


async def test_asking_for_a_topic_that_was_deleted_does_not_bring_it_back(tmp_path: Path) -> None:
    """As brokers do by themselves, unless they are told not to: it would be empty, and have settings that lose something."""
    creating = {"auto.create.topics.enable": "true"}
    async with broker(data_dir=tmp_path, properties=creating, log=print) as running:
        world = KafkaWorld(running.bootstrap_servers)
        log, checkpoints = await published(world), world.settings().checkpoints_topic
        async with log.open(0) as writer, log.join() as events:
            await anext(events)
            await delete(world, checkpoints)
            with pytest.raises(LogError):
                await writer.append((), owner_of(world))
        with pytest.raises(LogRefused, match=f"topic {checkpoints} is missing"):
            await opened(log)
