"""Restoring a partition of the checkpoint topic: everything that was committed to it, the last value of each key."""

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.structs import ConsumerRecord, TopicPartition

from poller.config import KafkaSettings
from poller.errors import CheckpointsMoved, LogRefused
from poller.kafka import clients
from poller.kafka.record import Found, Latest
from poller.model import Ownership

RESTORE_SECONDS_MAX = 300.0
"""Enough for some ten million records."""

RECORDS_AT_ONCE_MAX = 5000
"""Read between two turns of the loop, which must answer heartbeats meanwhile."""

OFFSETS_OF_MARK = 10
"""From the mark of a topic that was left to the end of its partition there is nothing but the marker of its transaction, and of some that were aborted."""

WAIT_MS = 100
"""For more to come. Where nothing but aborted records is left nothing comes, and only the position tells that the end is reached."""


async def restore(settings: KafkaSettings, partition: int) -> Latest:
    """The partition as it stands now: call only once the predecessor is fenced."""
    latest = Latest()
    async with clients.reader(settings) as reader:
        with anyio.fail_after(RESTORE_SECONDS_MAX):
            await read_to_end(reader, TopicPartition(settings.checkpoints_topic, partition), partial(take, latest))
    return latest


async def refuse_moved(settings: KafkaSettings) -> None:
    """Raises `CheckpointsMoved` where the topic was left (core/reshard.py), as far as its end tells, where that mark comes last.

    Whoever starts with the settings of before is so refused before it joins the group, and fences who goes on with the new topic.
    """
    latest, tp = Latest(), TopicPartition(settings.checkpoints_topic, 0)
    async with clients.reader(settings) as reader:
        with anyio.fail_after(RESTORE_SECONDS_MAX):
            await read_to_end(reader, tp, partial(take, latest), last=OFFSETS_OF_MARK)
    try:
        latest.ownership()
    except CheckpointsMoved:
        raise
    except LogRefused:
        pass  # whoever opens the partition says so, and tries again


async def read_to_end(
    reader: AIOKafkaConsumer, tp: TopicPartition, take: "Callable[[ConsumerRecord[Any, Any]], None]", *, last: int | None = None
) -> None:
    """Every record that was committed, up to the last stable offset as it is when this is called; or only those of its last offsets."""
    reader.assign([tp])
    end = (await reader.end_offsets([tp]))[tp]
    if last is not None:
        begin = (await reader.beginning_offsets([tp]))[tp]
        reader.seek(tp, max(begin, end - last))
    while await reader.position(tp) < end:
        for records in (await reader.getmany(tp, timeout_ms=WAIT_MS, max_records=RECORDS_AT_ONCE_MAX)).values():
            for record in records:
                take(record)
        await anyio.lowlevel.checkpoint()


def take(latest: Latest, record: ConsumerRecord[Any, Any]) -> None:
    assert record.key is not None, "a compacted topic takes no record without a key"
    latest.take(record.key, None if record.value is None else Found(record.offset, record.value))


async def nothing_but_activities(settings: KafkaSettings, partition: int | None, activities_partitions: int) -> bool:
    """Whether this partition of the checkpoint topic (`None`: there is no such topic) holds nothing, not even a null value, although the
    activities topic has held records.

    Both are written in the same transactions, and the first one is written here: so somebody has deleted what stood here.
    """
    async with clients.reader(settings) as reader:
        with anyio.fail_after(RESTORE_SECONDS_MAX):
            if partition is not None and await holds_records(reader, TopicPartition(settings.checkpoints_topic, partition)):
                return False
            for number in range(activities_partitions):
                if await may_hold_records(reader, TopicPartition(settings.activities_topic, number)):
                    return True
    return False


def from_nothing(settings: KafkaSettings, partition: int) -> str:
    """Why nobody goes on from there, and what to do."""
    checkpoints, activities = settings.checkpoints_topic, settings.activities_topic
    return (
        f"topic {checkpoints} holds nothing, but topic {activities} holds activities: to go on would publish them again, or leave "
        f"out what has happened since. Write back what was deleted; or, to begin anew on purpose, delete {activities} too, or write a record "
        f"with any key and a null value to partition {partition} of {checkpoints}"
    )


async def may_hold_records(reader: AIOKafkaConsumer, tp: TopicPartition) -> bool:
    """As `holds_records`, also without the permission to read: then a topic in which something stands is taken to hold a record."""
    try:
        return await holds_records(reader, tp)
    except TopicAuthorizationFailedError:
        return True


async def holds_records(reader: AIOKafkaConsumer, tp: TopicPartition) -> bool:
    """Whether a record was ever committed to it. Its end does not tell: what was aborted may stand there alone, or the marker that ended it."""
    reader.assign([tp])
    end = (await reader.end_offsets([tp]))[tp]
    if await reader.position(tp) > 0:
        return True  # the oldest were deleted in their time
    while await reader.position(tp) < end:
        if await reader.getmany(tp, timeout_ms=WAIT_MS, max_records=1):
            return True
    return False


async def ownership_elsewhere(settings: KafkaSettings, partition: int, partitions: int) -> Ownership | None:
    """What the owner of another partition has said. A partition that nobody has owned may be new in an old topic, and then its customers have their checkpoints elsewhere."""
    for other in range(partitions):
        if other != partition:
            ownership = (await restore(settings, other)).ownership()
            if ownership is not None:
                return ownership
    return None
