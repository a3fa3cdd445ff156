"""Which activities of some customers stand in the activities topic: asked before what is missing of them is published again. In no group, changing nothing.

A record's timestamp is the time of its publication, which comes after the activity was created, but for clocks that differ. So the topic is read
from some time before the instant that is asked about, to where it ends now: not as far as readers see it, which is a moment behind what was committed,
but as far as it was written.
"""

from collections.abc import Collection, Mapping
from typing import Any

import anyio
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition
from anyio.lowlevel import checkpoint

from poller.config import KafkaSettings
from poller.errors import LogRefused
from poller.kafka import clients
from poller.kafka.permissions import explained, published_needs
from poller.kafka.published_ids import PublishedIds
from poller.kafka.restore import RECORDS_AT_ONCE_MAX, WAIT_MS
from poller.kafka.workarounds import partitions_of
from poller.model import CustomerId

LOOKUP_SECONDS_MAX = 900.0
"""Enough for tens of millions of records."""

CLOCKS_DIFFER_MS = 3_600_000
"""By how much the clock that wrote a timestamp may be behind the one that an activity was created by."""


async def published(settings: KafkaSettings, customers: Collection[CustomerId], since_ms: int) -> Mapping[CustomerId, Collection[str]]:
    """By customer the ids of what was published since that instant, as far as the topic's retention reaches; without those of whom there is too
    much. Raises `LogError`.
    """
    found = PublishedIds(customers)
    topic = settings.activities_topic
    async with (
        explained(f"reading {topic}", settings, published_needs(settings)),
        clients.reader(settings) as reader,
        clients.reader(settings, "read_uncommitted") as looking,  # to a reader of what is committed, offsets end where it does
    ):
        partitions = [TopicPartition(topic, number) for number in range(await partitions_of(reader, topic))]
        if not partitions:
            raise LogRefused(f"there is no topic {topic!r}, or this user may not Read it")
        with anyio.fail_after(LOOKUP_SECONDS_MAX):
            ends = await looking.end_offsets(partitions)
            begins = await looking.offsets_for_times(dict.fromkeys(partitions, max(0, since_ms - CLOCKS_DIFFER_MS)))
            for tp in partitions:
                begin = begins[tp]
                if begin is not None:
                    await _read(reader, tp, begin.offset, ends[tp], found)
    return found.ids


async def _read(reader: AIOKafkaConsumer, tp: TopicPartition, begin: int, end: int, found: PublishedIds) -> None:
    """Every record that is committed; where a transaction is open, once it has ended."""
    reader.assign([tp])
    reader.seek(tp, begin)
    while await reader.position(tp) < end:
        for records in (await reader.getmany(tp, timeout_ms=WAIT_MS, max_records=RECORDS_AT_ONCE_MAX)).values():
            for record in records:
                found.take(_headers(record))
        await checkpoint()


def _headers(record: "ConsumerRecord[Any, Any]") -> dict[str, bytes]:
    return dict(record.headers)
