"""Resharding on Kafka: the checkpoints of one topic move to a new one, with another number of partitions.

    1. the new topic is made, and each of its partitions marked as `Preparing`
    2. partition by partition the old topic's owner is fenced, and its ownership record replaced by a `Moved`, which holds that record
    3. all members of the group are told that they are none: whoever opens an old partition from now on finds the mark, and ends
    4. each checkpoint is written to its new partition, byte for byte; what stands there is read back and compared
    5. once nobody can make a call by what he owned in the old topic, all new partitions get their ownership records, in one transaction

Whatever ends this on the way, what stands in both topics tells how far it is: to do the same again is to go on. Two at once fence each other.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol

import anyio
import anyio.lowlevel
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import ConsumerRecord, TopicPartition
from msgspec.structs import replace

from poller.config import KafkaSettings
from poller.core import reshard
from poller.core.ownership import murmur2
from poller.core.reshard import Moved, Plan, Preparing, Said, Stand, divided, is_done, last_ownerships
from poller.errors import Fenced, LogRefused, LogUnavailable
from poller.kafka import clients
from poller.kafka.failures import translated
from poller.kafka.permissions import Need, explained, missing_permissions, needs, refusal_of
from poller.kafka.record import OWNERSHIP_KEY, Found, Limits, encode_said, said_of
from poller.kafka.restore import RECORDS_AT_ONCE_MAX, RESTORE_SECONDS_MAX, WAIT_MS
from poller.kafka.topics import prepare_topics
from poller.kafka.workarounds import discard_producer, expel_members, partitions_of, retrieving, tolerate_emptied_markers, wait_for_sends
from poller.model import Ownership

TRANSACTION_RECORDS_MAX = 5_000
TRANSACTION_BYTES_MAX = 8 * 1024 * 1024
TRANSACT_SECONDS_MAX = 15.0
"""Below the transaction's own timeout."""

PREPARE_SECONDS_MAX = 60.0
SEEN_SECONDS_MAX = 10.0
"""A commit returns before readers see it: so long it may take them."""
SEEN_AGAIN_SECONDS = 0.05
AGAIN_SECONDS = 0.2

MARK_TRIES_MAX = 10
"""An owner that was fenced may come back before its partition is marked, and fence us."""

State = Literal["would be moved", "moved", "was moved already", "would be undone", "undone"]
Change = tuple[TopicPartition, bytes, bytes | None]


class Outcome(msgspec.Struct, frozen=True):
    """What was done, or would be."""

    state: State
    origin: str
    origin_partitions: int
    to: str
    partitions: int
    customers: int
    customers_of_each: tuple[int, ...]
    """Of each new partition."""
    marked: int = 0
    """Old partitions that are marked by now."""
    written: int = 0
    """Checkpoints written this time."""
    stopped: int = 0
    """Members of the group that were told that they are none."""


class Told(Protocol):
    """Whoever shows how far it is."""

    def __call__(self, doing: str, done: int, total: int) -> None: ...


def _nobody(doing: str, done: int, total: int) -> None:
    """Is told."""


class Partition:
    """What stands in one partition: the last value of each key, as bytes."""

    def __init__(self, topic: str, number: int) -> None:
        self.tp = TopicPartition(topic, number)
        self.values: dict[bytes, bytes] = {}
        self._owner: Found | None = None
        self._position: int | None = None

    def said(self) -> Said:
        """Raises `LogRefused` where it cannot be understood."""
        return said_of(self._owner)

    def stand(self) -> Stand:
        return Stand(self.said(), len(self.values))

    async def read_on(self, settings: KafkaSettings) -> None:
        """What was committed since the last time, up to now. With a reader of its own: one that has read before still waits for more to come."""
        async with clients.reader(settings) as reader:
            reader.assign([self.tp])
            if self._position is not None:
                reader.seek(self.tp, self._position)
            with anyio.fail_after(RESTORE_SECONDS_MAX):
                self._position = await self._read_to_end(reader)

    async def _read_to_end(self, reader: AIOKafkaConsumer) -> int:
        end: int = (await reader.end_offsets([self.tp]))[self.tp]
        while (position := await reader.position(self.tp)) < end:
            for records in (await reader.getmany(self.tp, timeout_ms=WAIT_MS, max_records=RECORDS_AT_ONCE_MAX)).values():
                for record in records:
                    self._take(record)
            await anyio.lowlevel.checkpoint()
        return int(position)

    def _take(self, record: "ConsumerRecord[Any, Any]") -> None:
        assert record.key is not None, "a compacted topic takes no record without a key"
        if record.key == OWNERSHIP_KEY:
            self._owner = None if record.value is None else Found(record.offset, record.value)
        elif record.value is None:
            self.values.pop(record.key, None)
        else:
            self.values[record.key] = record.value

    def changes_to(self, values: dict[bytes, bytes]) -> Iterator[Change]:
        """What is to be written so that exactly these stand there."""
        for key, value in values.items():
            if self.values.get(key) != value:
                yield self.tp, key, value
        for key in self.values.keys() - values.keys():
            yield self.tp, key, None


class Writer:
    """A transactional producer."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def commit(self, changes: Sequence[Change]) -> None:
        """All of them, in one transaction. Raises what aiokafka raises; then it is of no more use."""
        with anyio.fail_after(TRANSACT_SECONDS_MAX):
            await self._producer.begin_transaction()
            sent = [retrieving(await self._producer.send(tp.topic, value, key=key, partition=tp.partition)) for tp, key, value in changes]
            await wait_for_sends(self._producer, sent)
            await self._producer.commit_transaction()


@asynccontextmanager
async def writing(settings: KafkaSettings, as_: int | Literal["reshard"], limits: Limits) -> AsyncIterator[Writer]:
    """As the owner of this partition, of either topic, or as the one who reshards: whoever was it before is fenced. Raises what aiokafka raises."""
    producer = clients.make_producer(settings, as_, limits)
    try:
        await clients.start(producer, settings)
        yield Writer(producer)
    finally:
        await discard_producer(producer)


class Resharding:
    """One move, from what the settings name. Use it once."""

    def __init__(self, settings: KafkaSettings, to: str, partitions: int, told: Told | None = None) -> None:
        tolerate_emptied_markers()
        self.plan = Plan(settings.application_id, settings.checkpoints_topic, to, partitions)
        self._settings = settings
        self._target = replace(settings, checkpoints_topic=to, checkpoint_partitions=partitions)
        self._told: Told = told or _nobody
        self._old: list[Partition] = []
        self._new: list[Partition] = []
        self._limits = Limits()
        self._wanted: list[dict[bytes, bytes]] = []
        self._stopped = self._written = 0

    async def look(self, *, undo: bool = False) -> Outcome:
        """What would be done. Changes nothing. Raises `LogError`."""
        async with explained("looking at the topics", self._target, self._needs()):
            state = await self._looked(undo)
        return self._outcome(state)

    async def run(self) -> Outcome:
        """Do it, or go on with it. Raises `LogError`; then to do the same again is to go on."""
        async with _alone(), explained("resharding", self._target, self._needs()):
            if await self._looked(undo=False) == "was moved already":
                return self._outcome("was moved already")
            await self._prepare()
            async with writing(self._target, "reshard", self._limits) as writer:
                await self._look_again()
                await self._mark_new(writer)
                for number, partition in enumerate(self._old):
                    self._told("leaving old partitions", number, len(self._old))
                    await self._leave(partition)
                self._told("leaving old partitions", len(self._old), len(self._old))
                calls_end_at = await self._stop_owners()
                await self._copy(writer)
                self._told("waiting for the last call", 0, 1)
                await anyio.sleep_until(calls_end_at)
                self._told("waiting for the last call", 1, 1)
                await self._hand_over(writer)
        return self._outcome("moved")

    async def undo(self) -> Outcome:
        """Take it back, where no poller has owned a new partition. Raises `LogError`; then to do the same again is to go on."""
        async with _alone(), explained("taking it back", self._target, self._needs()):
            await self._looked(undo=True)
            await self._prepare()
            async with writing(self._target, "reshard", self._limits):  # whoever is at it must not go on
                await self._look_again(undo=True)
                for partition in self._new:
                    await self._withdraw(partition)
                for partition in self._old:
                    await self._give_back(partition)
        return self._outcome("undone")

    # -------------------------------------------------------------------------------------------------------------- looking

    def _needs(self) -> tuple[Need, ...]:
        """For the new topic, beside those for the old one."""
        return tuple(need for need in needs(self._target) if need.resource != "topic" or need.name == self.plan.to)

    async def _looked(self, undo: bool) -> State:
        """What may be done, by how the topics stand. Raises `LogRefused` where nothing may."""
        await self._look()
        if is_done(self.plan, self._said(self._old), self._stands(self._new)) and not undo:
            return "was moved already"
        self._refuse(undo)
        await self._refuse_denied()
        return "would be undone" if undo else "would be moved"

    def _refuse(self, undo: bool) -> None:
        """Raises `LogRefused` where this cannot be done, or may not."""
        why = (reshard.refusal_to_undo if undo else reshard.refusal)(self.plan, self._stands(self._old), self._stands(self._new))
        if why is not None:
            raise LogRefused(why)
        twice = _twice(self._old)
        if twice is not None:
            raise LogRefused(f"topic {self.plan.origin} holds {twice!r} in two partitions: delete the one that is in the wrong one")

    async def _refuse_denied(self) -> None:
        """Raises `LogRefused` where this user may not do all of it; of a topic that is missing, that is known only in part."""
        own = [need for need in needs(self._settings) if need.resource != "topic" or need.name == self.plan.origin]
        new = [need for need in self._needs() if need.resource == "topic"]
        async with clients.admin(self._settings) as admin:
            missing = await missing_permissions(admin, self._settings, own) + await missing_permissions(admin, self._target, new)
        if missing:
            raise refusal_of(missing, self._settings, "resharding")

    async def _look(self) -> None:
        async with clients.reader(self._settings) as reader:
            counts = {topic: await partitions_of(reader, topic) for topic in (self.plan.origin, self.plan.to)}
        if not counts[self.plan.origin]:
            raise LogRefused(f"there is no topic {self.plan.origin!r}, or this user may not Read it: `poller check` tells which")
        self._old = [Partition(self.plan.origin, number) for number in range(counts[self.plan.origin])]
        self._new = [Partition(self.plan.to, number) for number in range(counts[self.plan.to])]
        for number, partition in enumerate([*self._old, *self._new]):
            self._told("reading", number, len(self._old) + len(self._new))
            await partition.read_on(self._settings)

    async def _look_again(self, *, undo: bool = False) -> None:
        """Now that nobody else can be at it."""
        self._new = [Partition(self.plan.to, number) for number in range(self.plan.partitions)]
        for partition in (*self._old, *self._new):
            await partition.read_on(self._settings)
        self._refuse(undo)
        await self._refuse_denied()

    def _said(self, partitions: Iterable[Partition]) -> list[Said]:
        return [partition.said() for partition in partitions]

    def _stands(self, partitions: Iterable[Partition]) -> list[Stand]:
        return [partition.stand() for partition in partitions]

    def _outcome(self, state: State) -> Outcome:
        wanted = self._wanted or self._divided()
        return Outcome(
            state=state,
            origin=self.plan.origin,
            origin_partitions=len(self._old),
            to=self.plan.to,
            partitions=self.plan.partitions,
            customers=sum(map(len, wanted)),
            customers_of_each=tuple(map(len, wanted)),
            marked=sum(map(self.plan.moves, self._said(self._old))),
            written=self._written,
            stopped=self._stopped,
        )

    # --------------------------------------------------------------------------------------------------------------- moving

    async def _prepare(self) -> None:
        """The new topic is there, and fit."""
        async with clients.admin(self._target) as admin:
            with anyio.fail_after(PREPARE_SECONDS_MAX):
                topics = await prepare_topics(admin, self._target)
        if topics.checkpoint_partitions != self.plan.partitions:
            raise LogRefused(f"topic {self.plan.to} has {topics.checkpoint_partitions} partitions, not {self.plan.partitions}")
        self._limits = topics.limits

    async def _mark_new(self, writer: Writer) -> None:
        """Nobody may own them until all is there."""
        mark = encode_said(self.plan.preparing)
        unmarked = [(partition.tp, OWNERSHIP_KEY, mark) for partition in self._new if partition.said() is None]
        if unmarked:
            await writer.commit(unmarked)

    async def _leave(self, partition: Partition) -> None:
        """Fence its owner, and say where its checkpoints are from now on. Most of it was read before, so that its owner has no time to come back."""
        for _ in range(MARK_TRIES_MAX):
            if self.plan.moves(partition.said()):
                return
            try:
                with translated(f"leaving partition {partition.tp.partition}"):
                    await self._leave_once(partition)
            except Fenced:
                await partition.read_on(self._settings)
        raise LogUnavailable(
            f"the owner of partition {partition.tp.partition} comes back again and again: stop the pollers, then do the same again"
        )

    async def _leave_once(self, partition: Partition) -> None:
        await partition.read_on(self._settings)
        async with writing(self._settings, partition.tp.partition, self._limits) as writer:
            await partition.read_on(self._settings)
            said = partition.said()
            if not self.plan.moves(said):
                assert not isinstance(said, Moved | Preparing), "it was looked at"
                await self._replace(partition, Moved(self.plan.to, self.plan.partitions, said), writer)

    async def _replace(self, partition: Partition, said: Ownership | Moved | Preparing, writer: Writer) -> None:
        """Done when readers see it."""
        await writer.commit([(partition.tp, OWNERSHIP_KEY, encode_said(said))])
        await self._seen(partition, lambda: partition.said() == said)

    async def _seen(self, partition: Partition, as_wanted: Callable[[], bool]) -> None:
        with anyio.move_on_after(SEEN_SECONDS_MAX):
            while True:
                await partition.read_on(self._settings)
                if as_wanted():
                    return
                await anyio.sleep(SEEN_AGAIN_SECONDS)
        raise LogRefused(
            f"partition {partition.tp.partition} of topic {partition.tp.topic} does not hold what was written to it: somebody else writes to it"
        )

    async def _stop_owners(self) -> float:
        """Tell the group's members that they are none; when the last call by what they were has been made, by the loop's clock.

        A call needs a heartbeat that was answered less than half a session ago. Whoever joins anew finds the marks. That there is no member (any
        more) does not say that none has been told so only now, by another life of this.
        """
        async with clients.admin(self._settings) as admin:
            with anyio.fail_after(PREPARE_SECONDS_MAX):
                self._stopped = await _expelled(admin, self._settings.application_id)
        return anyio.current_time() + self._settings.session_seconds / 2

    async def _copy(self, writer: Writer) -> None:
        """Only to where nobody has owned it yet."""
        wanted = self._wanted = self._divided()
        unowned = [partition for partition in self._new if not isinstance(partition.said(), Ownership)]
        changes = [change for partition in unowned for change in partition.changes_to(wanted[partition.tp.partition])]
        self._told("copying checkpoints", 0, len(changes))
        for part in parts(changes):
            await writer.commit(part)
            self._written += len(part)
            self._told("copying checkpoints", self._written, len(changes))
        for partition in unowned:
            await self._seen(partition, lambda: partition.values == wanted[partition.tp.partition])  # noqa: B023 - asked at once

    def _divided(self) -> list[dict[bytes, bytes]]:
        """What is to stand in each new partition. Takes seconds where there are very many."""
        wanted: list[dict[bytes, bytes]] = [{} for _ in range(self.plan.partitions)]
        for partition in self._old:
            for key, value in partition.values.items():
                wanted[(murmur2(key) & 0x7FFFFFFF) % self.plan.partitions][key] = value
        return wanted

    async def _hand_over(self, writer: Writer) -> None:
        """All of them at once: from here on the new topic is what counts."""
        owned = [partition for partition in self._old if last_ownerships([partition.said()])]
        assert all(map(self.plan.moves, self._said(self._old))), "they were left"
        begin = divided(last_ownerships(self._said(owned)), [len(partition.values) for partition in owned], self.plan.partitions)
        records = [
            (partition.tp, OWNERSHIP_KEY, encode_said(ownership))
            for partition, ownership in zip(self._new, begin, strict=True)
            if not isinstance(partition.said(), Ownership)
        ]
        await writer.commit(records)

    # --------------------------------------------------------------------------------------------------------- taking it back

    async def _withdraw(self, partition: Partition) -> None:
        """Nobody may own a new partition any more, where nobody did."""
        if partition.said() == self.plan.preparing:
            return
        async with writing(self._target, partition.tp.partition, self._limits) as writer:
            await partition.read_on(self._settings)
            why = reshard.used(self.plan, partition.said())
            if why is not None:
                raise LogRefused(why)
            await self._replace(partition, self.plan.preparing, writer)

    async def _give_back(self, partition: Partition) -> None:
        """An old partition is its last owner's again."""
        said = partition.said()
        if not isinstance(said, Moved):
            return
        async with writing(self._settings, partition.tp.partition, self._limits) as writer:
            value = None if said.ownership is None else encode_said(said.ownership)
            await writer.commit([(partition.tp, OWNERSHIP_KEY, value)])
            await self._seen(partition, lambda: partition.said() == said.ownership)


async def _expelled(admin: AIOKafkaAdminClient, group: str) -> int:
    """All members; how many there were. In a new cluster nobody coordinates yet, and in another one the coordinator may change."""
    while True:
        try:
            return await expel_members(admin, group)
        except errors.KafkaError as error:
            if not error.retriable:
                raise
        await anyio.sleep(AGAIN_SECONDS)


@asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Who is fenced is told by whom."""
    try:
        yield
    except Fenced as error:
        raise LogUnavailable("another `poller reshard` is at it, or a poller came in between", *error.args) from error


def _twice(partitions: Iterable[Partition]) -> str | None:
    """Whose checkpoint stands in two partitions, if anybody's."""
    seen: set[bytes] = set()
    for partition in partitions:
        for key in partition.values.keys() & seen:
            return key.decode(errors="replace")
        seen |= partition.values.keys()
    return None


def parts(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """As many of them as one transaction takes."""
    part: list[Change] = []
    part_bytes = 0
    for change in changes:
        part.append(change)
        part_bytes += len(change[1]) + len(change[2] or b"")
        if len(part) == TRANSACTION_RECORDS_MAX or part_bytes >= TRANSACTION_BYTES_MAX:
            yield part
            part, part_bytes = [], 0
    if part:
        yield part
