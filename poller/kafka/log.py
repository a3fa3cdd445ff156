"""The log on Kafka: fence, restore, own, append. See `worker.py` for the contract.

For each owned partition of the checkpoint topic there is one transactional producer, whose transactional id is the partition's:

    1. start it: this fences whoever wrote for the partition before, and settles the transaction that they left
    2. restore: only now is the partition's end final
    3. the worker's first `append` commits an ownership record, with no batches
    4. each `append` is one transaction: begin, send everything, await every send, commit
    5. after any error the producer is discarded: the next one's restore tells whether an unknown commit happened
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from typing import Any

import anyio
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import TopicPartition

from poller.config import KafkaSettings
from poller.core.ownership import murmur2
from poller.errors import LogRefused, LogUnavailable
from poller.kafka import clients, membership, owners
from poller.kafka.owning import check_ownership
from poller.kafka.permissions import explained
from poller.kafka.published import published
from poller.kafka.record import Destination, Record, records_of
from poller.kafka.restore import from_nothing, nothing_but_activities, ownership_elsewhere, refuse_moved, restore
from poller.kafka.topics import Topics, prepare_topics, verify_topics
from poller.kafka.workarounds import discard_producer, retrieving, tolerate_emptied_markers, wait_for_sends
from poller.model import Batch, CustomerId, MembershipEvent, Ownership, Restored

APPEND_SECONDS_MAX = 15.0
"""Below the transaction's own timeout, so that we know of it first."""

PREPARE_SECONDS_MAX = 60.0

CHOICES_KNOWN_MAX = 10_000


class KafkaLog:
    """Topics, membership and writers on one Kafka cluster. Use it on the asyncio loop that it was first used on, and join once at a time."""

    def __init__(self, settings: KafkaSettings, source_url: str, clock: Callable[[], float]) -> None:
        tolerate_emptied_markers()
        self._settings = settings
        self._source_url = source_url
        self._clock = clock
        self._topics: Topics | None = None

    def __repr__(self) -> str:
        return f"<KafkaLog {self._settings.bootstrap_servers} {self._settings.activities_topic}>"

    async def prepare(self) -> int:
        """Create or verify the topics; the number of partitions of the checkpoint topic. Raises `LogError`; may be called again."""
        async with explained("preparing the topics", self._settings):
            async with clients.admin(self._settings) as admin:
                with anyio.fail_after(PREPARE_SECONDS_MAX):
                    self._topics = await prepare_topics(admin, self._settings)
            await refuse_moved(self._settings)
        return self._topics.checkpoint_partitions

    def join(self) -> AbstractAsyncContextManager[AsyncIterator[MembershipEvent]]:
        """Be a member of the group until the block is left. Raises `LogError`; leaving the block is bounded in time."""
        return membership.join(self._settings, self._clock)

    def owners(self, partitions: Collection[int]) -> AbstractAsyncContextManager[AsyncIterator[tuple[int, Ownership]]]:
        """What the owners of these partitions commit about themselves, from now on. Raises `LogError`, as its iterator does."""
        assert self._topics is not None, "prepare() comes first"
        return owners.owners(self._settings, partitions, last=self._topics.checkpoint_partitions == 1)

    async def published(self, customers: Collection[CustomerId], since_ms: int) -> Mapping[CustomerId, Collection[str]]:
        """The ids of what of these customers stands in the activities topic. Raises `LogError`."""
        return await published(self._settings, customers, since_ms)

    @asynccontextmanager
    async def open(self, partition: int) -> AsyncIterator["KafkaWriter"]:
        """Fence the partition's earlier owner and restore. Raises `LogError`; leaving the block never raises and is bounded in time."""
        topics = self._topics
        assert topics is not None, "prepare() comes first"
        doing = f"opening partition {partition}"
        async with explained(doing, self._settings):
            producer = clients.make_producer(self._settings, partition, topics.limits)
        try:
            async with explained(doing, self._settings):
                await self._verify()
                await clients.start(producer, self._settings)
                restored = await self._restore(partition, topics)
            to = Destination(
                partition=partition, source_url=self._source_url, partition_by=self._settings.partition_by, limits=topics.limits
            )
            yield KafkaWriter(producer, restored, to, self._settings)
        finally:
            await discard_producer(producer)

    async def _restore(self, partition: int, topics: Topics) -> Restored:
        restored = (await restore(self._settings, partition)).restored()
        found = restored.ownership
        if found is None:
            # In this order: whatever stands in the activities topic by now was written by an owner who can be found afterwards.
            emptied = await nothing_but_activities(self._settings, partition, topics.activities_partitions)
            found = await ownership_elsewhere(self._settings, partition, topics.checkpoint_partitions)
            if found is None and emptied:
                raise LogRefused(from_nothing(self._settings, partition))
        check_ownership(found, self._settings.application_id, self._source_url, topics.checkpoint_partitions)
        return restored

    async def _verify(self) -> None:
        async with clients.admin(self._settings) as admin:
            with anyio.fail_after(PREPARE_SECONDS_MAX):
                await verify_topics(admin, self._settings)


class KafkaWriter:
    """One owned partition, and the transactional producer that fences every other owner of it."""

    def __init__(self, producer: AIOKafkaProducer, restored: Restored, to: Destination, settings: KafkaSettings) -> None:
        self.restored = restored
        self._producer = producer
        self._to = to
        self._settings = settings
        self._names = {
            "activities": settings.activities_topic,
            "checkpoints": settings.checkpoints_topic,
            "dead_letters": settings.dead_letters_topic,
        }
        self._usable = True

    def __repr__(self) -> str:
        return f"<KafkaWriter partition {self._to.partition}{'' if self._usable else ', broken'}>"

    def let_go(self) -> None:
        self.restored = Restored(checkpoints={}, ownership=None)

    async def append(self, batches: Sequence[Batch], ownership: Ownership) -> None:
        """Commit records, dead letters, checkpoints and the ownership record in one transaction.

        Raises `LogError`, and nothing else; then it is not known whether it was committed, and this writer is of no more use. The same
        holds when it is cancelled.
        """
        if not self._usable:
            raise LogUnavailable("this writer failed before, or is in the middle of a transaction: open the partition again")
        self._usable = False  # until the commit is known: an error leaves a gap in the sequence that no abort closes
        async with explained("committing", self._settings):
            records = records_of(batches, ownership, self._to)
            with anyio.fail_after(APPEND_SECONDS_MAX):
                await self._transact(records)
        self._usable = True

    async def _transact(self, records: Sequence[Record]) -> None:
        await self._producer.begin_transaction()
        counts = {topic: len(await self._producer.partitions_for(name)) for topic, name in self._names.items()}
        sent = await self._send(self._spread(records, counts))
        # A commit succeeds after a failed send, with the rest: so every one of them is awaited first.
        await wait_for_sends(self._producer, sent)
        assert all(future.done() for future in sent)
        await self._producer.commit_transaction()

    def _spread(self, records: Sequence[Record], partitions: Mapping[str, int]) -> Mapping[TopicPartition, list[Record]]:
        """Where each goes."""
        spread: defaultdict[TopicPartition, list[Record]] = defaultdict(list)
        for record in records:
            chosen = chosen_partition(record.spread_by, partitions[record.topic]) if record.partition is None else record.partition
            spread[TopicPartition(self._names[record.topic], chosen)].append(record)
        return spread

    async def _send(self, spread: Mapping[TopicPartition, list[Record]]) -> "list[asyncio.Future[Any]]":
        """All of it, in batches of our own making: with a future for each record, as `producer.send` has it, a backfill takes half as much CPU again.

        The partitions take turns, as each takes one batch at a time.
        """
        sent = []
        waiting = deque((to, self._filled(records)) for to, records in spread.items())
        while waiting:
            to, batches = waiting.popleft()
            batch = next(batches, None)
            if batch is not None:
                sent.append(retrieving(await self._producer.send_batch(batch, to.topic, partition=to.partition)))
                waiting.append((to, batches))
        return sent

    def _filled(self, records: Iterable[Record]) -> Iterator[BatchBuilder]:
        """Batches of these records, in their order, each as full as it may be."""
        batch = self._producer.create_batch()
        for record in records:
            if not _put(record, batch):
                yield batch
                batch = self._producer.create_batch()
                fits = _put(record, batch)
                assert fits, "the first record of a batch may be of any size"
        yield batch


def _put(record: Record, batch: BatchBuilder) -> bool:
    """Whether the batch has room for it. Its timestamp is now, the time of publication."""
    value = None if record.null else record.value
    return batch.append(timestamp=None, key=record.key, value=value, headers=list(record.headers)) is not None


@lru_cache(maxsize=CHOICES_KNOWN_MAX)
def chosen_partition(spread_by: bytes, partitions: int) -> int:
    """As Kafka's default partitioner chooses, whose hash is slow in Python and asked for few values."""
    return (murmur2(spread_by) & 0x7FFFFFFF) % partitions
