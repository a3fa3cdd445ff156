"""What stands in the topics, as a read_committed reader sees it, and how it compares with the truth."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import anyio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.structs import ConsumerRecord, TopicPartition

from poller.core.budget import ARRIVAL_SECONDS, Terms
from poller.demo.api import Simulator
from poller.demo.truth import Expected
from tests.support.waiting import until

Record = ConsumerRecord[bytes, bytes]
Name = tuple[str, str]
"""A customer's id, and an activity's."""


class TopicReader:
    """Reads a topic as far as it is committed, again and again."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self.records: list[Record] = []
        """All that was read so far, in each partition's order."""

    async def read(self) -> list[Record]:
        """All up to the last stable offset."""
        ends = await self.ends()
        while [tp for tp in self._partitions if await self._consumer.position(tp) < ends[tp]]:
            for records in (await self._consumer.getmany(timeout_ms=100)).values():
                self.records += records
        return self.records

    async def ends(self) -> dict[TopicPartition, int]:
        """Each partition's last stable offset; for a read_uncommitted reader, its end."""
        return dict(await self._consumer.end_offsets(self._partitions))

    async def more(self) -> list[Record]:
        """What comes next, or nothing after a moment; it is not kept."""
        return [record for records in (await self._consumer.getmany(timeout_ms=1000)).values() for record in records]


@asynccontextmanager
async def reading(
    bootstrap_servers: str, topic: str, isolation_level: Literal["read_committed", "read_uncommitted"] = "read_committed"
) -> AsyncIterator[TopicReader]:
    """A reader of a topic that is there."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        isolation_level=isolation_level,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=8 << 20,
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    try:
        found = await _partitions(bootstrap_servers, topic)
        consumer.assign(found)
        yield TopicReader(consumer, found)
    finally:
        with anyio.CancelScope(shield=True):
            await consumer.stop()


async def _partitions(bootstrap_servers: str, topic: str) -> list[TopicPartition]:
    async with administering(bootstrap_servers) as admin:
        (described,) = await admin.describe_topics([topic])
        return [TopicPartition(topic, partition["partition"]) for partition in described["partitions"]]


@asynccontextmanager
async def administering(bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        with anyio.CancelScope(shield=True):
            await admin.close()


@asynccontextmanager
async def writing(bootstrap_servers: str) -> AsyncIterator[AIOKafkaProducer]:
    """A plain producer, as an operator's tool has it."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        with anyio.CancelScope(shield=True):
            await producer.stop()


async def forget_members(bootstrap_servers: str, group: str) -> int:
    """Put an end to the sessions of all members, as an operator may do for the dead; how many there were."""
    async with administering(bootstrap_servers) as admin:
        (response,) = await admin.describe_consumer_groups([group])
        members = [member[0] for described in response.groups for member in described[5]]  # type: ignore[attr-defined]
        coordinator = await admin.find_coordinator(group)
        for member in members:
            await admin._send_request(LeaveGroupRequest(group, member), coordinator)
        return len(members)


# ------------------------------------------------------------------------------------------------------------------ comparing


def headers_of(record: Record) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


def name_of(record: Record) -> Name:
    headers = headers_of(record)
    return headers["ce_subject"], headers["ce_id"]


def expected_of(simulator: Simulator, lookback_seconds: float = 30.0) -> dict[Name, Expected]:
    """What may be in the activities topic, and what must."""
    truth = simulator.truth(lookback_seconds, raw=True)
    return {(one.customer, one.id): one for one in truth.activities if one.topic == "activities"}


async def all_published(reader: TopicReader, simulator: Simulator, within_seconds: float) -> list[Record]:
    """Freeze the API, wait until everything is there, and prove that it is there once and as it was sent."""
    simulator.freeze()
    shown_at = simulator.all_shown_at()

    async def complete() -> bool:
        missing = {name for name, one in expected_of(simulator).items() if one.must} - set(map(name_of, await reader.read()))
        return not missing and simulator.clock() >= shown_at

    await until(complete, within_seconds)
    return exactly_once(reader.records, simulator)


def exactly_once(records: Sequence[Record], simulator: Simulator) -> list[Record]:
    """The records, if each stands there once, and as it was sent; nothing is said of what is missing."""
    expected = expected_of(simulator)
    counted = Counter(map(name_of, records))
    assert {name: count for name, count in counted.items() if count > 1} == {}, "published twice"
    assert counted.keys() - expected.keys() == set(), "published, but never shown"
    differing = [record.value for record in records if record.value != expected[name_of(record)].raw]
    assert differing == [], "not byte for byte what was sent"
    return list(records)


def within_budget(simulator: Simulator, calls_per_minute: float, partitions: int = 1) -> bool:
    """No minute holds more calls than allowed; nor does a shorter time hold more than a bucket allows that no kill has filled again."""
    terms = Terms.of(calls_per_minute, 60, None, partitions)
    for seconds in (5.0, 10.0, 20.0):
        allowed = partitions * (terms.capacity + terms.calls_per_second * (seconds + ARRIVAL_SECONDS))
        counted = simulator.calls_in_window_max(seconds)
        assert counted <= allowed + 1, f"{counted} calls in {seconds} s, where {allowed:.1f} are allowed"
    counted = simulator.calls_in_window_max(60.0)
    assert counted <= calls_per_minute, f"{counted} calls in a minute"
    return counted > 0
