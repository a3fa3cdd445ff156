"""One customer's checkpoint, and who owns its partition: read for an operator, in no group, changing nothing."""

from typing import Any

import anyio
import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from poller.config import KafkaSettings
from poller.core.ownership import partition_of
from poller.errors import LogRefused
from poller.kafka import clients
from poller.kafka.permissions import explained
from poller.kafka.record import OWNERSHIP_KEY, Found, checkpoint_of, ownership_of
from poller.kafka.restore import RESTORE_SECONDS_MAX, read_to_end
from poller.kafka.workarounds import partitions_of, tolerate_emptied_markers
from poller.model import Checkpoint, CustomerId, Ownership


class LookedUp(msgspec.Struct, frozen=True):
    """What the checkpoint topic says of a customer. Instants are Unix time in seconds, of the brokers' or the writer's clock."""

    partition: int
    partitions: int
    checkpoint: Checkpoint | None
    written_at: float | None
    """When the checkpoint was committed."""
    ownership: Ownership | None
    owned_at: float | None
    """When the owner last committed."""


async def look_up(settings: KafkaSettings, customer: CustomerId) -> LookedUp:
    """Raises `LogError`."""
    tolerate_emptied_markers()
    topic = settings.checkpoints_topic
    async with explained(f"reading {topic}", settings), clients.reader(settings) as reader:
        partitions = await _partitions(reader, topic)
        partition = partition_of(customer, partitions)
        with anyio.fail_after(RESTORE_SECONDS_MAX):
            latest = await _latest(reader, TopicPartition(topic, partition), {customer.encode(), OWNERSHIP_KEY})
    return looked_up(customer, partition, partitions, latest)


def looked_up(customer: CustomerId, partition: int, partitions: int, latest: dict[bytes, "ConsumerRecord[Any, Any]"]) -> LookedUp:
    """What these records say. Raises `LogRefused` where that cannot be understood."""
    own, owner = latest.get(customer.encode()), latest.get(OWNERSHIP_KEY)
    return LookedUp(
        partition=partition,
        partitions=partitions,
        checkpoint=None if own is None else checkpoint_of(customer.encode(), _found(own)),
        written_at=None if own is None else own.timestamp / 1000,
        ownership=None if owner is None else ownership_of({OWNERSHIP_KEY: _found(owner)}),
        owned_at=None if owner is None else owner.timestamp / 1000,
    )


def _found(record: "ConsumerRecord[Any, Any]") -> Found:
    assert record.value is not None, "tombstones are left out"
    return Found(record.offset, record.value)


async def _partitions(reader: AIOKafkaConsumer, topic: str) -> int:
    """Raises `LogRefused` where the topic is missing: to ask for its partitions might create it."""
    partitions = await partitions_of(reader, topic)
    if not partitions:
        raise LogRefused(f"there is no topic {topic!r}, or this user may not Read it: `poller run` creates it, `poller check` tells which")
    return partitions


async def _latest(reader: AIOKafkaConsumer, tp: TopicPartition, keys: set[bytes]) -> dict[bytes, "ConsumerRecord[Any, Any]"]:
    """The last record of each of these keys; none where that is a tombstone."""
    latest: dict[bytes, ConsumerRecord[Any, Any]] = {}

    def take(record: "ConsumerRecord[Any, Any]") -> None:
        if record.key in keys:
            latest[record.key] = record

    await read_to_end(reader, tp, take)
    return {key: record for key, record in latest.items() if record.value is not None}
