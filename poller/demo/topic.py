"""A reader of the activities topic that shares nothing with the pollers: a plain aiokafka consumer, read_committed, in no group."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError

from poller.demo.judge import Identity, Seen, digest
from poller.errors import PollerError

START_SECONDS_MAX = 30.0
ANSWER_SECONDS_MAX = 10.0
STOP_SECONDS_MAX = 5.0
RECORDS_AT_ONCE_MAX = 1_000


class TopicUnreadable(PollerError):
    """The activities topic cannot be read."""


class TopicReader:
    """All that is committed to the topic, from its beginning on."""

    def __init__(self, consumer: Any, clock: Callable[[], float]) -> None:
        self._consumer = consumer
        self._clock = clock

    async def read(self, within_seconds: float) -> list[Seen]:
        """What has come since; waits so long for it at most. Raises `TopicUnreadable`."""
        try:
            batches = await self._consumer.getmany(timeout_ms=round(within_seconds * 1000), max_records=RECORDS_AT_ONCE_MAX)
        except KafkaError as error:
            raise TopicUnreadable(error) from error
        now = self._clock()
        return [seen(record, now) for records in batches.values() for record in records]

    async def at_end(self) -> bool:
        """Whether all that is committed by now has been read; no longer true a moment later while somebody publishes. Raises `TopicUnreadable`."""
        try:
            with anyio.fail_after(ANSWER_SECONDS_MAX):
                ends = await self._consumer.end_offsets(self._consumer.assignment())
                return all([await self._consumer.position(partition) >= end for partition, end in ends.items()])
        except (KafkaError, TimeoutError) as error:
            raise TopicUnreadable(error) from error


@asynccontextmanager
async def reading(bootstrap_servers: str, topic: str, clock: Callable[[], float]) -> AsyncIterator[TopicReader]:
    """A reader of a topic that exists. Raises `TopicUnreadable`."""
    consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]  # most of its methods are not annotated
        topic,
        bootstrap_servers=bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
    )
    try:
        try:
            with anyio.fail_after(START_SECONDS_MAX):
                await consumer.start()
        except (KafkaError, TimeoutError) as error:
            raise TopicUnreadable(error) from error
        yield TopicReader(consumer, clock)
    finally:
        with anyio.move_on_after(STOP_SECONDS_MAX, shield=True):
            await consumer.stop()


def seen(record: "ConsumerRecord[Any, Any]", now: float) -> Seen:
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    return Seen(
        identity=Identity(headers.get("ce_subject", ""), headers.get("ce_id", "")),
        type=(record.key or b"").decode(errors="replace"),
        digest=digest(record.value or b""),
        at=now,
    )
