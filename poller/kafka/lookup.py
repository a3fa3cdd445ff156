"""One customer's checkpoint, and who owns its partition: read for an operator, in no group, changing nothing."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
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

HEARD_WAIT_MS = 500


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


class Removals:
    """Hears when checkpoints of some customers are removed."""

    def __init__(self, reader: AIOKafkaConsumer, begun: dict[TopicPartition, int], kept: frozenset[CustomerId]) -> None:
        self.kept = kept
        """Those that there were when it began."""
        self._reader = reader
        self._begun = begun

    async def heard(self, customers: Collection[CustomerId], seconds: float) -> frozenset[CustomerId]:
        """Of whom a tombstone was written since this began; as soon as it is so of all, and after so long in any case. Raises what aiokafka raises."""
        wanted = {customer.encode(): customer for customer in customers}
        gone: set[CustomerId] = set()
        self._reader.assign(list(self._begun))
        for tp, offset in self._begun.items():
            self._reader.seek(tp, offset)
        with anyio.move_on_after(seconds):
            while len(gone) < len(wanted):
                for records in (await self._reader.getmany(timeout_ms=HEARD_WAIT_MS)).values():
                    gone |= {wanted[record.key] for record in records if record.value is None and record.key in wanted}
        return frozenset(gone)


@asynccontextmanager
async def removals(settings: KafkaSettings, customers: Collection[CustomerId]) -> AsyncIterator[Removals]:
    """From now on. Raises `LogError`."""
    tolerate_emptied_markers()
    topic = settings.checkpoints_topic
    async with explained(f"reading {topic}", settings), clients.reader(settings) as reader:
        partitions = await _partitions(reader, topic)
        tps: defaultdict[TopicPartition, set[bytes]] = defaultdict(set)
        for customer in customers:
            tps[TopicPartition(topic, partition_of(customer, partitions))].add(customer.encode())
        begun: dict[TopicPartition, int] = {}
        kept: set[bytes] = set()
        with anyio.fail_after(RESTORE_SECONDS_MAX):
            for tp, keys in tps.items():
                kept |= (await _latest(reader, tp, keys)).keys()
                begun[tp] = await reader.position(tp)
        yield Removals(reader, begun, frozenset(customer for customer in customers if customer.encode() in kept))


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
