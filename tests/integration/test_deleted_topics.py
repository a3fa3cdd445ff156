"""Topics that somebody has deleted, by mistake or on purpose: what stood in them is not taken as never having been."""

from pathlib import Path

import pytest

from poller.commands.check import kafka_findings
from poller.demo.broker import broker
from poller.errors import LogError, LogRefused
from poller.kafka.log import KafkaLog
from tests.integration.kafka_worlds import URL, KafkaWorld, activity, appended, batch, in_the_end, ownership, prepared

pytestmark = pytest.mark.anyio


async def published(world: KafkaWorld) -> KafkaLog:
    """A log with one activity, and its checkpoint."""
    log = await prepared(world.log())
    await appended(log, 0, ((), ownership(world)), ([batch("cust_1", activity())], ownership(world)))
    return log


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

    await world.delete(checkpoints)
    with pytest.raises(LogRefused, match=f"topic {checkpoints} is missing"):
        await opened(log)
    assert "holds nothing, but topic" in await checked(world)
    newcomer = world.log()
    await in_the_end(newcomer.prepare, within_seconds=60)
    for one in (log, newcomer):
        with pytest.raises(LogRefused, match=f"topic {checkpoints} holds nothing"):
            await opened(one)
    assert "holds nothing, but topic" in await checked(world)
    await world.put(b"begin anew", None)
    assert await opened(newcomer) == 0


async def test_a_topic_that_came_back_with_other_settings_is_refused_by_who_is_running_too(kafka: str) -> None:
    world = KafkaWorld(kafka)
    log, checkpoints = await published(world), world.settings().checkpoints_topic

    await world.delete(checkpoints)
    await world.create(checkpoints, {"cleanup.policy": "delete"})
    with pytest.raises(LogRefused, match=r"cleanup\.policy"):
        await opened(log)


async def test_activities_that_were_deleted_with_their_checkpoints_are_begun_anew(kafka: str) -> None:
    world = KafkaWorld(kafka)
    log, settings = await published(world), world.settings()

    await world.delete(settings.checkpoints_topic)
    await world.delete(settings.activities_topic)
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
            await world.delete(checkpoints)
            with pytest.raises(LogError):
                await writer.append((), ownership(world))
        with pytest.raises(LogRefused, match=f"topic {checkpoints} is missing"):
            await opened(log)
