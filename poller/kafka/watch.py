"""The watch topic: who is to be watched and how, one record a customer, of which the last one counts; written by `poller watch`, or by anybody.

It has one partition, which every replica reads whole and then follows; in no group, and no offsets are kept. What cannot be used is told of and passed
over: the customer's last good entry stays. So does all of it while the topic cannot be read; afterwards it is read whole again, since the record by which a
customer vanished may have been compacted away meanwhile.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from itertools import islice
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import ConsumerRecord, TopicPartition

from poller.config import KafkaSettings
from poller.customer_id import ID_CHARACTERS_MAX
from poller.errors import LogError, LogRefused, LogUnavailable
from poller.kafka import clients
from poller.kafka.again import SOON, again_and_again
from poller.kafka.permissions import explained, watch_needs
from poller.kafka.restore import RECORDS_AT_ONCE_MAX, RESTORE_SECONDS_MAX, read_to_end
from poller.kafka.topics import prepare_watch_topic, watch_topic_exists
from poller.kafka.workarounds import discard_producer, partitions_of, retrieving, tolerate_emptied_markers
from poller.model import CustomerId, WatchEntry
from poller.watch_entry import decode, encode, prevails, to_customer

FOLLOW_WAIT_MS = 1000
CHANGES_AT_ONCE_MAX = 5000
"""Told between two turns of the loop."""

KEY_BYTES_SHOWN_MAX = 4 * ID_CHARACTERS_MAX
"""Of a record that cannot be used; no id is longer."""

PREPARE_SECONDS_MAX = 60.0
WRITE_SECONDS_MAX = 30.0
"""For one batch, an election of a leader included."""

Changes = Mapping[CustomerId, WatchEntry | None]
"""How each of these is watched from now on; `None`: not by this topic any more."""

Hear = Callable[[Changes, bool], None]


class Told(Protocol):
    """Whoever is told of what is wrong: the journal."""

    def watch_entries_ignored(self, ignored: Mapping[str, str]) -> None:
        """By the records' keys: why."""

    def watch_unread(self, error: LogError, retry_seconds: float) -> None: ...


class Watched(msgspec.Struct, frozen=True):
    """What the topic says."""

    entries: dict[CustomerId, WatchEntry]
    ignored: dict[str, str]
    """By the records' keys, those that cannot be used, and why."""


class Reading:
    """What records say, taken in their order: of each customer the last one that can be used counts."""

    def __init__(self) -> None:
        self.changes: dict[CustomerId, WatchEntry | None] = {}
        self.ignored: dict[str, str] = {}
        self.removed: set[CustomerId] = set()
        """Whom a null value took out, and somebody found after that."""

    def take(self, record: "ConsumerRecord[Any, Any]") -> None:
        key = (record.key or b"")[:KEY_BYTES_SHOWN_MAX].decode(errors="replace")
        self.ignored.pop(key, None)
        try:
            customer, entry = change_of(record.key, record.value)
        except ValueError as error:
            if record.value is not None:  # a null value is how somebody takes such a record away
                self.ignored[key] = str(error)
            return
        before = self.changes.get(customer)
        if entry is not None and not prevails(entry, before):
            return
        if entry is not None and before is None and customer in self.changes:
            self.removed.add(customer)
        self.changes[customer] = entry

    def forget(self) -> None:
        """What it holds may be the whole topic."""
        self.changes.clear()
        self.ignored.clear()
        self.removed.clear()

    def watched(self) -> Watched:
        """Where everything was taken, from the topic's beginning."""
        return Watched({customer: entry for customer, entry in self.changes.items() if entry is not None}, self.ignored)


def change_of(key: bytes | None, value: bytes | None) -> tuple[CustomerId, WatchEntry | None]:
    """Raises `ValueError` with what is wrong: whoever may write to the topic may write anything."""
    if not key:
        raise ValueError("has no key: it should be the customer's id")
    try:
        customer = to_customer(key.decode())
    except UnicodeDecodeError:
        raise ValueError("has a key that is not UTF-8") from None
    return customer, None if value is None else decode(value, False)


def learned(known: dict[CustomerId, WatchEntry], reading: Reading, whole: bool) -> Iterator[tuple[Changes, bool]]:
    """Bring what is known in line with what was read; what that changes, in parts that are small enough to be told at once, some of them empty, and
    whether it is the last; at least one.

    `whole`: all of the topic was read. Who does not stand there any more is gone; of whom nothing stands there but what cannot be used, what is known stays.
    """
    part: Changes | None = None
    read = _chunks(_all_of(known, reading) if whole else reading.changes.items())
    for chunk in read:
        if part is not None:
            yield part, False
        part = {
            customer: entry for customer, entry in chunk if known.get(customer) != entry and (whole or _counts(customer, reading, known))
        }
        for customer, entry in part.items():
            if entry is None:
                known.pop(customer, None)
            else:
                known[customer] = entry
    yield part or {}, True


def _counts(customer: CustomerId, reading: Reading, known: Mapping[CustomerId, WatchEntry]) -> bool:
    """Whether what was read of it takes the place of what is known."""
    entry = reading.changes[customer]
    return entry is None or customer in reading.removed or prevails(entry, known.get(customer))


def _all_of(known: Mapping[CustomerId, WatchEntry], reading: Reading) -> Iterator[tuple[CustomerId, WatchEntry | None]]:
    before = list(known)
    yield from reading.changes.items()
    for customer in before:
        there = customer in reading.changes or customer in reading.ignored
        yield customer, known.get(customer) if there else None


def _chunks(pairs: Iterable[tuple[CustomerId, WatchEntry | None]]) -> Iterator[list[tuple[CustomerId, WatchEntry | None]]]:
    remaining = iter(pairs)
    while chunk := list(islice(remaining, CHANGES_AT_ONCE_MAX)):
        yield chunk


class KafkaWatch:
    """The watch topic, to follow, to read once, and to write to."""

    def __init__(self, settings: KafkaSettings, told: Told) -> None:
        tolerate_emptied_markers()
        self._settings = settings
        self._told = told
        self._tp = TopicPartition(settings.watch_topic, 0)
        self._known: dict[CustomerId, WatchEntry] = {}
        self._begun = False
        """The topic was read to its end once: from then on one that is missing is not created, as it would be empty."""

    # -------------------------------------------------------------------------------------------------------------- following

    async def follow(self, hear: Hear) -> None:
        """Tell how the topic stands, and then every change, until cancelled and whatever fails.

        `hear(changes, complete)`: what differs from all that was told before, so that whoever adds it up has the topic as it is; also after a failure,
        when it is read whole again. `complete`: with this it stands as the topic did at one instant; what is much comes in parts, of which only
        the last is. It is told at least once, at the first end, if only that there is nothing.
        """
        await again_and_again(self._follow, hear, told=self._told.watch_unread, backoff=SOON)

    async def _follow(self, hear: Hear) -> None:
        async with aclosing(self._readings()) as readings:
            async for whole, reading in readings:
                await self._tell(whole, reading, hear)
                reading.forget()  # the next one may be long in coming

    async def _tell(self, whole: bool, reading: Reading, hear: Hear) -> None:
        if reading.ignored:
            self._told.watch_entries_ignored(reading.ignored)
        for part, last in learned(self._known, reading, whole):
            if part or last:
                hear(part, last)
            await anyio.lowlevel.checkpoint()

    async def _readings(self) -> AsyncGenerator[tuple[bool, Reading], None]:
        """Everything up to the end, then what comes, as it comes; whether it is the former. Raises `LogError`; what is made of it raises outside."""
        async with explained(f"reading {self._tp.topic}", self._settings):
            await self._verify()
            async with clients.reader(self._settings) as reader:
                reading = await self._read_whole(reader)
                self._begun = True
                yield True, reading
                offset = await reader.position(self._tp)
                while True:
                    reading, offset = await self._read_on(reader, offset)
                    if reading.changes or reading.ignored:
                        yield False, reading

    async def _verify(self) -> None:
        async with clients.admin(self._settings) as admin:
            with anyio.fail_after(PREPARE_SECONDS_MAX):
                await prepare_watch_topic(admin, self._settings, create_missing=not self._begun)

    async def _read_whole(self, reader: AIOKafkaConsumer) -> Reading:
        reading = Reading()
        with anyio.fail_after(RESTORE_SECONDS_MAX):
            await read_to_end(reader, self._tp, reading.take)
        return reading

    async def _read_on(self, reader: AIOKafkaConsumer, offset: int) -> tuple[Reading, int]:
        """What comes from this offset on, within a while, and the next one.

        aiokafka says nothing of a topic that was deleted, and begins at the beginning of another in its place.
        """
        reading = Reading()
        found = await reader.getmany(self._tp, timeout_ms=FOLLOW_WAIT_MS, max_records=RECORDS_AT_ONCE_MAX)
        for record in found.get(self._tp, ()):
            if record.offset < offset:
                raise LogUnavailable(f"topic {self._tp.topic} begins anew: it was deleted, or lost its end")
            reading.take(record)
        position = await reader.position(self._tp)
        if position < offset or not reader.partitions_for_topic(self._tp.topic):
            raise LogUnavailable(f"topic {self._tp.topic} begins anew, or is missing: it was deleted, or lost its end")
        return reading, position

    # ------------------------------------------------------------------------------------------------------ for whoever changes it

    async def exists(self) -> bool:
        """Raises `LogError`."""
        wanted = watch_needs(self._settings, "DescribeConfigs")
        async with explained(f"looking for {self._tp.topic}", self._settings, wanted), clients.admin(self._settings) as admin:
            return await watch_topic_exists(admin, self._settings)

    async def prepare(self) -> int:
        """Create or verify the topic; its `max.message.bytes`. Raises `LogError`."""
        wanted = watch_needs(self._settings)
        async with explained(f"preparing {self._tp.topic}", self._settings, wanted), clients.admin(self._settings) as admin:
            with anyio.fail_after(PREPARE_SECONDS_MAX):
                return await prepare_watch_topic(admin, self._settings, create_missing=self._begun is False)

    async def read(self) -> Watched:
        """All of it. Raises `LogError`, also where the topic is missing."""
        wanted = watch_needs(self._settings, "Read")
        async with explained(f"reading {self._tp.topic}", self._settings, wanted), clients.reader(self._settings) as reader:
            if not await partitions_of(reader, self._tp.topic):
                raise LogRefused(
                    f"there is no topic {self._tp.topic!r}: `poller watch add`, `poller watch import` and `poller run` create it; or {wanted[0].line(self._settings)}"
                )
            return (await self._read_whole(reader)).watched()

    async def put(self, changes: Changes, written: Callable[[int], None] = lambda _: None) -> None:
        """Write these, in their order; done when all brokers in sync have them. `written` is told how many are, now and then. Raises `LogError`."""
        bytes_max = await self.prepare()
        wanted = watch_needs(self._settings, "Write")
        async with explained(f"writing {self._tp.topic}", self._settings, wanted):
            producer = clients.make_table_producer(self._settings, bytes_max)
            try:
                await clients.start(producer, self._settings)
                await self._write(producer, changes, written)
            finally:
                await discard_producer(producer)

    async def _write(self, producer: AIOKafkaProducer, changes: Changes, written: Callable[[int], None]) -> None:
        """One batch after the other: what is written when one fails is then known, and a hundred thousand take a second."""
        done = 0
        for batch in _filled(producer, changes.items()):
            with anyio.fail_after(WRITE_SECONDS_MAX):
                await retrieving(await producer.send_batch(batch, self._tp.topic, partition=self._tp.partition))
            done += batch.record_count()
            written(done)


def _filled(producer: AIOKafkaProducer, changes: Iterable[tuple[CustomerId, WatchEntry | None]]) -> Iterator[BatchBuilder]:
    """Batches of these records, each as full as it may be."""
    batch = producer.create_batch()
    for customer, entry in changes:
        key, value = customer.encode(), None if entry is None else encode(entry)
        if batch.append(timestamp=None, key=key, value=value) is None:
            yield batch
            batch = producer.create_batch()
            fits = batch.append(timestamp=None, key=key, value=value)
            assert fits, "the first record of a batch may be of any size"
    if batch.record_count():
        yield batch
