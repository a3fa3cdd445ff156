"""Hints between replicas: whoever takes a webhook writes for the others what it does not read itself, and hears what they write.

Nothing depends on it: a hint that is lost on the way costs freshness. So there are no transactions, no group and no offsets that are kept; who
begins to listen hears what is written from then on, and what cannot be sent at once is dropped.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import anyio
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, TopicPartition

from poller.config import KafkaSettings
from poller.customer_id import refusal
from poller.journal import Journal
from poller.kafka import clients
from poller.kafka.again import again_and_again
from poller.kafka.failures import translated
from poller.kafka.security import connection_arguments
from poller.kafka.topics import prepare_hints_topic
from poller.kafka.workarounds import discard_consumer, discard_producer, retrieving
from poller.model import CustomerId, Hint, Whose

UNSENT_MAX = 1000
"""Hints that wait to be sent, while Kafka does not take them."""

SEND_SECONDS_MAX = 10.0
WAIT_MS = 1000
RECORDS_AT_ONCE_MAX = 500

Hear = Callable[[Hint], Whose]


class Written(msgspec.Struct, frozen=True):
    """A record's value; its key is the customer's id."""

    format: int
    at_ms: int | None = None


FORMAT = 1
VALUE_BYTES_MAX = 1024
_written = msgspec.json.Decoder(Written)


def record_of(hint: Hint) -> tuple[bytes, bytes]:
    """Its key and value."""
    return hint.customer.encode(), msgspec.json.encode(Written(FORMAT, hint.at_ms))


def hint_of(key: bytes | None, value: bytes | None) -> Hint | None:
    """`None` for what is none, or of a later version: whoever may write to the topic may write anything."""
    if key is None or value is None or len(value) > VALUE_BYTES_MAX:
        return None
    try:
        customer, written = key.decode(), _written.decode(value)
    except (UnicodeDecodeError, msgspec.DecodeError):
        return None
    return Hint(CustomerId(customer), written.at_ms) if written.format == FORMAT and refusal(customer) is None else None


class KafkaHints:
    """`send` what is another replica's; `share` sends it, and hears the others."""

    def __init__(self, settings: KafkaSettings, journal: Journal) -> None:
        self._settings = settings
        self._journal = journal
        self._unsent: asyncio.Queue[Hint] = asyncio.Queue(UNSENT_MAX)

    def send(self, hint: Hint) -> bool:
        """At once, or soon; False: dropped. Never waits."""
        try:
            self._unsent.put_nowait(hint)
        except asyncio.QueueFull:
            return False
        return True

    async def share(self, hear: Hear) -> None:
        """Until cancelled, whatever fails meanwhile."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._again_and_again, self._send_all)
            tasks.start_soon(self._again_and_again, self._hear_all, hear)

    async def _again_and_again(self, doing: Callable[..., Awaitable[None]], *args: Any) -> None:
        @wraps(doing)
        async def do() -> None:
            with translated("passing on hints"):
                await doing(*args)

        await again_and_again(do, told=self._journal.hints_unshared)

    async def _send_all(self) -> None:
        """Whether one was taken is looked at when the next is sent: nobody waits for it, but where none is taken that is said."""
        sent: asyncio.Future[Any] | None = None
        async with self._producer() as producer:
            while True:
                key, value = record_of(await self._unsent.get())
                if sent is not None and sent.done():
                    sent.result()
                with anyio.fail_after(SEND_SECONDS_MAX):
                    sent = retrieving(await producer.send(self._settings.hints_topic, value, key))

    async def _hear_all(self, hear: Hear) -> None:
        async with self._consumer() as consumer:
            while True:
                found = await consumer.getmany(timeout_ms=WAIT_MS, max_records=RECORDS_AT_ONCE_MAX)
                for records in found.values():
                    self._hear(records, hear)
                await anyio.lowlevel.checkpoint()

    def _hear(self, records: Sequence[ConsumerRecord[Any, Any]], hear: Hear) -> None:
        for record in records:
            hint = hint_of(record.key, record.value)
            if hint is not None and hear(hint) == "ours":
                self._journal.hint("heard")

    async def _prepare(self) -> int:
        async with clients.admin(self._settings) as admin:
            return await prepare_hints_topic(admin, self._settings)

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        await self._prepare()
        producer = AIOKafkaProducer(**connection_arguments(self._settings), acks=1, request_timeout_ms=int(SEND_SECONDS_MAX * 1000))
        try:
            await clients.start(producer, self._settings)
            yield producer
        finally:
            await discard_producer(producer)

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        """At the end of the topic, and from there on."""
        partitions = [TopicPartition(self._settings.hints_topic, number) for number in range(await self._prepare())]
        consumer = AIOKafkaConsumer(
            **connection_arguments(self._settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            fetch_max_wait_ms=100,
        )
        try:
            await clients.start(consumer, self._settings)
            consumer.assign(partitions)
            await consumer.seek_to_end(*partitions)
            yield consumer
        finally:
            await discard_consumer(consumer)
