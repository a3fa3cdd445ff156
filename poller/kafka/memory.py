"""The log in memory: the contract of `KafkaLog`, with its behaviour, for tests in virtual time. On anyio only, without aiokafka.

`MemoryKafka` is what outlives the processes: what was committed, the group, the epochs that fence. A test holds it, reads it and breaks it.
`MemoryLog` is one process's edge to it. What is written are the same records as on Kafka, and checkpoints are restored from their bytes.

What it does as Kafka does: a transaction is seen whole or not at all; opening a partition fences whoever has it open; a failed commit may
have happened; members learn of a rebalance at their next heartbeat, and it ends when all have joined again or their session is over; a
process that is killed keeps its membership until then; a member that was expelled learns it at its next heartbeat and joins anew.

What it does not: brokers of their own, partitions of the activities topic, compaction, time-outs of transactions.
"""

import math
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import anyio
import msgspec

from poller.core.replay import PUBLISHED_IDS_MAX
from poller.errors import Fenced, LogError, LogRefused, LogUnavailable
from poller.kafka.owning import check_ownership
from poller.kafka.published_ids import PublishedIds
from poller.kafka.record import (
    OWNERSHIP_KEY,
    Destination,
    Found,
    Limits,
    Record,
    Topic,
    decode_ownership,
    ownership_of,
    records_of,
    restored_of,
)
from poller.model import Assigned, Batch, Confirmed, CustomerId, MembershipEvent, Ownership, Rebalancing, Restored, WatchEntry
from poller.watch_entry import decode, encode, prevails

APPEND_SECONDS_MAX = 15.0
"""How long a writer waits for its commit, as on Kafka."""

OWNERS_HEARD_SECONDS, OWNER_HEARD_SECONDS = 1.0, 10.0
"""How often what other owners have committed is looked at; and what the only one has, for which nobody waits."""

WATCHED_HEARD_SECONDS, WATCHED_AGAIN_SECONDS = 0.2, 1.0
"""How often the watch topic is looked at, and after how long where that failed."""

EVENTS_MAX = 1000
"""Not yet taken; of more, the oldest are forgotten, for only the last assignment counts."""

Fate = Literal["commits", "fails before", "fails after"]


class Faults(msgspec.Struct, frozen=True):
    """How often something fails, from 0 to 1."""

    before_commit: float = 0.0
    after_commit: float = 0.0
    """The commit happened, but the one who made it is not told."""
    open: float = 0.0
    """One of two such openings has fenced the earlier owner all the same."""


# ----------------------------------------------------------------------------------------------------------------- group


class Member:
    """One member of the group as its process sees it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.events: deque[MembershipEvent] = deque(maxlen=EVENTS_MAX)
        self.something = anyio.Event()
        self.owned: frozenset[int] = frozenset()
        self.heard_at = -math.inf
        self.joining = False
        """Has asked to join the coming generation, and waits for the others."""

    def tell(self, *events: MembershipEvent) -> None:
        self.events.extend(events)
        self.something.set()


class Group:
    """The coordinator: who is a member, and which partitions are whose. Told the time in seconds of the loop's clock."""

    def __init__(self, partitions: int, session_seconds: float) -> None:
        self.partitions = partitions
        self.session_seconds = session_seconds
        self.members: list[Member] = []
        self._rebalancing = False

    def join(self, member: Member, now: float) -> None:
        member.tell(Rebalancing())
        self.members.append(member)
        self.rebalance()
        member.joining = True
        self._settle(now)

    def leave(self, member: Member, now: float) -> None:
        if member in self.members:
            self.members.remove(member)
            self.rebalance()
            self._settle(now)

    def heartbeat(self, member: Member, now: float) -> None:
        self.expire(now)
        if member not in self.members:
            member.owned = frozenset()
            member.tell(Assigned(frozenset()))
            self.join(member, now)
            return
        member.heard_at = now
        if not self._rebalancing:
            member.tell(Confirmed(member.clock()))
        elif not member.joining:
            member.tell(Rebalancing())
            member.joining = True
            self._settle(now)

    def expire(self, now: float) -> None:
        """Who waits to join is not silent."""
        for member in [one for one in self.members if not one.joining and now - one.heard_at > self.session_seconds]:
            self.leave(member, now)

    def rebalance(self) -> None:
        """All must join anew, and learn it at their next heartbeat."""
        if not self._rebalancing:
            self._rebalancing = True
            for member in self.members:
                member.joining = False

    def _settle(self, now: float) -> None:
        if not self._rebalancing or not all(member.joining for member in self.members):
            return
        self._rebalancing = False
        for member, owned in zip(self.members, share(self.partitions, [one.owned for one in self.members]), strict=True):
            member.owned, member.heard_at, member.joining = owned, now, False
            member.tell(Assigned(owned), Confirmed(member.clock()))


def share(partitions: int, owned: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """All partitions over the members, evenly; each keeps as much of its own as it may."""
    if not owned:
        return []
    most = math.ceil(partitions / len(owned))
    free = set(range(partitions))
    shares: list[set[int]] = []
    for before in owned:
        kept = sorted(before & free)[:most]
        free -= set(kept)
        shares.append(set(kept))
    for partition in sorted(free):
        min(shares, key=len).add(partition)
    while max(map(len, shares)) - min(map(len, shares)) > 1:
        fullest = max(shares, key=len)
        partition = max(fullest)
        fullest.remove(partition)
        min(shares, key=len).add(partition)
    return [frozenset(one) for one in shares]


# ---------------------------------------------------------------------------------------------------------------- brokers


class Hold:
    """Set upon the next append: it waits just before its commit until this is over, with all of its records sent."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.over = anyio.Event()


class MemoryKafka:
    """What outlives the processes. The hooks are for tests: break things with them, at any time."""

    def __init__(
        self,
        *,
        partitions: int = 1,
        session_seconds: float = 10.0,
        commit_seconds: float = 0.0,
        faults: Faults = Faults(),
        seed: int = 0,
    ) -> None:
        """`commit_seconds`: how long a transaction takes, and opening; a failure takes as long."""
        self.limits = Limits()
        self.faults = faults
        self.commit_seconds = commit_seconds
        self.group = Group(partitions, session_seconds)
        self.refusing: str | None = None
        """Why `prepare` and `open` are refused; `None`: they are not."""
        self.fates: deque[Fate] = deque()
        """What becomes of the next appends, in order; of those after them, as `faults` says."""
        self.openings: deque[Fate] = deque()
        """The same of openings, whose commit is that they fence."""
        self.hold: Hold | None = None
        self.commits = 0
        self._log: dict[Topic, list[tuple[float, Record]]] = {"activities": [], "checkpoints": [], "dead_letters": []}
        self._latest: list[dict[bytes, Found]] = [{} for _ in range(partitions)]
        self._ends = [0] * partitions
        self._epochs = [0] * partitions
        self.watched: list[tuple[bytes, bytes | None]] = []
        """The records of the watch topic, oldest first, key and value: any producer may write to it."""
        self.watched_readable = True
        self.published_ids_max = PUBLISHED_IDS_MAX
        self._deleted = False
        self._down_until = -math.inf
        self._random = random.Random(seed)  # noqa: S311  # a seeded play of failures, not cryptography

    def __repr__(self) -> str:
        return f"<MemoryKafka {len(self._log['activities'])} activities, {self.commits} commits, {len(self.group.members)} members>"

    @property
    def partitions(self) -> int:
        return len(self._latest)

    def read_committed(self, topic: Topic, start: int = 0) -> list[Record]:
        """What a reader has seen by now, in order, without the first `start`."""
        return [record for _, record in self._log[topic][start:]]

    def read_timed(self, topic: Topic, start: int = 0) -> list[tuple[float, Record]]:
        """The same, with the instant of each one's commit, in seconds of the loop's clock."""
        return self._log[topic][start:]

    def break_down(self, seconds: float = math.inf) -> None:
        """No broker answers from now on, for so long. Sessions do not end meanwhile: the coordinator is away too."""
        self._down_until = anyio.current_time() + seconds

    def mend(self) -> None:
        self._down_until = min(self._down_until, anyio.current_time())

    def expel(self, member: Member) -> None:
        """As if its session were over."""
        self.group.leave(member, anyio.current_time())

    def rebalance(self) -> None:
        """All must join anew."""
        self.group.rebalance()

    def add_partitions(self, partitions: int) -> None:
        """To the checkpoint topic, as an operator should not."""
        added = partitions - self.partitions
        self._latest += [{} for _ in range(added)]
        self._ends += [0] * added
        self._epochs += [0] * added
        self.group.partitions = partitions
        self.rebalance()

    def put(self, partition: int, key: bytes, value: bytes | None) -> int:
        """One record more in the checkpoint topic, as from an operator's hand; `None`: a null value. Returns its offset."""
        offset = self._ends[partition]
        self._ends[partition] += 1
        if value is None:
            self._latest[partition].pop(key, None)
        else:
            self._latest[partition][key] = Found(offset, value)
        return offset

    def watch(self, changes: Mapping[CustomerId, WatchEntry | None]) -> None:
        """Records of the watch topic, as `poller watch` writes them."""
        self.watched += [(customer.encode(), None if entry is None else encode(entry)) for customer, entry in changes.items()]

    def delete_checkpoints(self) -> None:
        """The whole topic, by mistake. It comes back empty with the next `prepare`."""
        self._deleted = True
        self._log["checkpoints"].clear()
        self._latest = [{} for _ in self._latest]
        self._ends = [0] * self.partitions

    # What the edge asks.

    def answers(self) -> bool:
        if anyio.current_time() < self._down_until:
            return False
        for member in self.group.members:
            member.heard_at = max(member.heard_at, self._down_until)
        return True

    async def reach(self) -> None:
        """Raises `LogUnavailable` while no broker answers."""
        await anyio.sleep(self.commit_seconds / 2)
        if not self.answers():
            raise LogUnavailable("no broker answers")

    def prepare(self) -> int:
        """The number of partitions of the checkpoint topic, which is there from now on."""
        self._deleted = False
        return self.partitions

    def verify(self) -> None:
        if self._deleted:
            raise LogRefused("the checkpoint topic is missing, and was there when this process started")

    def fence(self, partition: int) -> int:
        fate = self._opening_fate()
        if fate != "fails before":
            self._epochs[partition] += 1
        if fate != "commits":
            raise LogUnavailable("opening failed")
        return self._epochs[partition]

    def _opening_fate(self) -> Fate:
        if self.openings:
            return self.openings.popleft()
        drawn = self._random.random()
        if drawn >= self.faults.open:
            return "commits"
        return "fails before" if drawn < self.faults.open / 2 else "fails after"

    async def held(self) -> None:
        """Raises `LogUnavailable` when that takes longer than a writer waits."""
        hold, self.hold = self.hold, None
        if hold is not None:
            hold.reached.set()
            with anyio.move_on_after(APPEND_SECONDS_MAX):
                await hold.over.wait()
                return
            raise LogUnavailable(f"no answer within {APPEND_SECONDS_MAX:g} s")

    def fate(self) -> Fate:
        if self.fates:
            return self.fates.popleft()
        drawn = self._random.random()
        if drawn < self.faults.before_commit:
            return "fails before"
        return "fails after" if drawn < self.faults.before_commit + self.faults.after_commit else "commits"

    def commit(self, partition: int, epoch: int, records: Iterable[Record]) -> None:
        """Raises `LogError`, and then nothing happened."""
        if self._deleted:
            raise LogUnavailable("the checkpoint topic is missing")
        if epoch != self._epochs[partition]:
            raise Fenced(f"partition {partition}: epoch {epoch} is over, {self._epochs[partition]} is the current one")
        self.commits += 1
        for record in records:
            self._log[record.topic].append((anyio.current_time(), record))
            if record.topic == "checkpoints":
                assert record.partition == partition
                self.put(partition, record.key, None if record.null else record.value)

    def latest(self, partition: int) -> dict[bytes, Found]:
        return dict(self._latest[partition])

    def nothing_but_activities(self, partition: int) -> bool:
        """Whether somebody has deleted what stood here: both are written in the same transactions."""
        return self._ends[partition] == 0 and bool(self._log["activities"])

    def ownership_elsewhere(self) -> Ownership | None:
        found = (ownership_of(latest) for latest in self._latest)
        return next((ownership for ownership in found if ownership is not None), None)


# ------------------------------------------------------------------------------------------------------------- the process


class MemoryLog:
    """One process's edge to the brokers."""

    def __init__(
        self,
        kafka: MemoryKafka,
        clock: Callable[[], float],
        *,
        application_id: str = "voucherify-activity-poller",
        source_url: str = "https://api.voucherify.io",
    ) -> None:
        self.kafka = kafka
        self.member: Member | None = None
        """While joined."""
        self._clock = clock
        self._application_id = application_id
        self._source_url = source_url
        self._stalled = False
        self._killed = False

    def kill(self) -> None:
        """As kill -9: from now on nothing of this process reaches the brokers, not even that it leaves. Cancel its tasks then."""
        self._killed = True

    def stall(self, stalled: bool = True) -> None:
        """As SIGSTOP (and SIGCONT), as far as the group sees it: no heartbeats, and no news."""
        self._stalled = stalled

    async def prepare(self) -> int:
        """The number of partitions of the checkpoint topic. Raises `LogError`; may be called again."""
        await self._reach()
        return self.kafka.prepare()

    @asynccontextmanager
    async def join(self) -> AsyncIterator[AsyncIterator[MembershipEvent]]:
        """Be a member of the group until the block is left. Raises `LogError`."""
        await self._reach()
        member = self.member = Member(self._clock)
        self.kafka.group.join(member, anyio.current_time())
        try:
            yield MemoryMembership(self, member)
        finally:
            self.member = None
            if not self._killed and self.kafka.answers():
                self.kafka.group.leave(member, anyio.current_time())

    def beat(self, member: Member) -> None:
        if not self._stalled and not self._killed and self.kafka.answers():
            self.kafka.group.heartbeat(member, anyio.current_time())

    @property
    def stalled(self) -> bool:
        return self._stalled

    @asynccontextmanager
    async def open(self, partition: int) -> AsyncIterator["MemoryWriter"]:
        """Fence the partition's earlier owner and restore. Raises `LogError`; leaving the block never raises."""
        await self._reach()
        self.kafka.verify()
        epoch = self.kafka.fence(partition)
        await self._reach()
        restored = restored_of(self.kafka.latest(partition))
        found = restored.ownership or self.kafka.ownership_elsewhere()
        if found is None and self.kafka.nothing_but_activities(partition):
            raise LogRefused("the checkpoint topic holds nothing, but the activities topic holds activities")
        check_ownership(found, self._application_id, self._source_url, self.kafka.partitions)
        yield MemoryWriter(self, partition, epoch, restored)

    async def published(self, customers: Collection[CustomerId], since_ms: int) -> Mapping[CustomerId, Collection[str]]:
        """The ids of what of these customers stands in the activities topic, since whenever. Raises `LogError`."""
        del since_ms  # here nothing is deleted, and nothing takes long
        await self._reach()
        found = PublishedIds(customers, self.kafka.published_ids_max)
        for record in self.kafka.read_committed("activities"):
            found.take(dict(record.headers))
        return found.ids

    @asynccontextmanager
    async def owners(self, partitions: Collection[int]) -> AsyncIterator[AsyncIterator[tuple[int, Ownership]]]:
        """What the owners of these partitions commit about themselves, from now on; of the only one there is also what was said last."""
        await self._reach()
        yield self._said(partitions, len(self.kafka.read_committed("checkpoints")))

    async def _said(self, partitions: Collection[int], start: int) -> AsyncIterator[tuple[int, Ownership]]:
        last = ownership_of(self.kafka.latest(0)) if self.kafka.partitions == 1 else None
        if last is not None:
            yield 0, last
        while True:
            await anyio.sleep(OWNERS_HEARD_SECONDS if self.kafka.partitions > 1 else OWNER_HEARD_SECONDS)
            await self._reach()
            records = self.kafka.read_committed("checkpoints", start)
            start += len(records)
            for record in records:
                if record.key == OWNERSHIP_KEY and record.partition in partitions:
                    assert record.partition is not None
                    yield record.partition, decode_ownership(record.value)

    async def put_watched(self, changes: Mapping[CustomerId, WatchEntry | None]) -> None:
        """To the watch topic, as `KafkaWatch.put`."""
        await self._reach()
        self.kafka.watch(changes)

    async def follow_watched(self, hear: Callable[[Mapping[CustomerId, WatchEntry | None], bool], None]) -> None:
        """The watch topic, as `KafkaWatch.follow` tells of it."""
        told = -1
        known: dict[CustomerId, WatchEntry | None] = {}
        while True:
            try:
                await self._reach()
            except LogError:
                await anyio.sleep(WATCHED_AGAIN_SECONDS)
            else:
                if told < len(self.kafka.watched) and self.kafka.watched_readable:
                    new = self.kafka.watched[max(0, told) :]
                    told = len(self.kafka.watched)
                    changes: dict[CustomerId, WatchEntry | None] = {}
                    for key, value in new:
                        customer, entry = CustomerId(key.decode()), None if value is None else decode(value, False)
                        if entry is None or prevails(entry, known.get(customer)):
                            known[customer] = changes[customer] = entry
                    hear(changes, True)
                await anyio.sleep(WATCHED_HEARD_SECONDS)

    async def _reach(self) -> None:
        await self.kafka.reach()
        if self._killed:
            raise LogUnavailable("this process is dead")
        if self.kafka.refusing is not None:
            raise LogRefused(self.kafka.refusing)

    async def commit(self, partition: int, epoch: int, batches: Sequence[Batch], ownership: Ownership) -> None:
        """One transaction; cancelled, it may have happened or not."""
        records = records_of(batches, ownership, Destination(partition=partition, source_url=self._source_url, limits=self.kafka.limits))
        await self.kafka.held()
        await self._reach()
        fate = self.kafka.fate()
        if fate == "fails before":
            raise LogUnavailable("the transaction was aborted")
        self.kafka.commit(partition, epoch, records)
        await anyio.sleep(self.kafka.commit_seconds / 2)
        if fate == "fails after":
            raise LogUnavailable("no answer to the commit")


class MemoryMembership:
    """The events, without end. Whoever takes them sends the heartbeats, ten in a session."""

    def __init__(self, log: MemoryLog, member: Member) -> None:
        self._log = log
        self._member = member
        self._beat_at = anyio.current_time()

    def __aiter__(self) -> AsyncIterator[MembershipEvent]:
        return self

    async def __anext__(self) -> MembershipEvent:
        while self._log.stalled or not self._member.events:
            self._member.something = anyio.Event()
            with anyio.move_on_after(max(0.0, self._beat_at - anyio.current_time())):
                await self._member.something.wait()
            if anyio.current_time() >= self._beat_at:
                self._beat_at = anyio.current_time() + self._log.kafka.group.session_seconds / 10
                self._log.beat(self._member)
        return self._member.events.popleft()


class MemoryWriter:
    """One owned partition."""

    def __init__(self, log: MemoryLog, partition: int, epoch: int, restored: Restored) -> None:
        self.restored = restored
        self._log = log
        self._partition = partition
        self._epoch = epoch
        self._usable = True

    def __repr__(self) -> str:
        return f"<MemoryWriter partition {self._partition}{'' if self._usable else ', broken'}>"

    def let_go(self) -> None:
        self.restored = Restored(checkpoints={}, ownership=None)

    async def append(self, batches: Sequence[Batch], ownership: Ownership) -> None:
        """Commit in one transaction. Raises `LogError`, and nothing else; then, or when it is cancelled, this writer is of no more use."""
        if not self._usable:
            raise LogUnavailable("this writer failed before, or is in the middle of a transaction: open the partition again")
        self._usable = False
        await self._log.commit(self._partition, self._epoch, batches, ownership)
        self._usable = True
