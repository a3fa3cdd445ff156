"""A world of engines without a worker: two processes, one group, one log and one API, and every order carried out by hand.

The log fences: a commit of a writer that was replaced is never applied. The group gives a partition to somebody else only when its owner
has said that it let go, or has not been heard of for a session. Whatever the engines do is checked as it happens.
"""

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal

from poller.core.engine import HELD_PAGES_MAX, Engine
from poller.core.ownership import partition_of
from poller.core.policy import Policy
from poller.demo.readings import Readings, Stored
from poller.errors import Rejected, SourceError
from poller.model import PLAIN, Checkpoint, Commit, CustomerId, Fetch, Lookup, Ownership, Restored, Wait, WatchEntry
from tests.support.history import Account, stored

CUSTOMERS = tuple(CustomerId(f"cust_{i}") for i in range(7))
LEASE_SECONDS = 5.0
SESSION_SECONDS = 10.0
LOOKBACK_SECONDS = 60.0
RETENTION_SECONDS = 100.0
DAY_SECONDS = 86_400.0
CALLS_IN_FLIGHT_MAX = 3
WINDOW_SECONDS = 60.0

Outcome = Literal["stands", "fails", "stands unheard"]


@dataclass
class Partition:
    """What is durable of one partition, and who may write it."""

    checkpoints: dict[CustomerId, Checkpoint] = field(default_factory=dict)
    ownership: Ownership | None = None
    epoch: int = 0

    def restored(self) -> Restored:
        return Restored(dict(self.checkpoints), self.ownership)


@dataclass
class Process:
    """One life of an engine, and what it is waiting for."""

    engine: Engine
    fetches: list[Fetch] = field(default_factory=list)
    commits: dict[int, Commit] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    """Of its writers, one for each partition that it has open."""
    assigned: set[int] = field(default_factory=set)
    """What it believes to be its own."""
    confirmed_at: float = -math.inf
    lease_until: float = -math.inf


class Group:
    """See the top of this file."""

    def __init__(self, partitions: int, calls_limit: float, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.calls_limit = calls_limit
        self.partitions = partitions
        self.log = [Partition() for _ in range(partitions)]
        self.owner: list[int | None] = [None] * partitions
        """Who owns each partition, as the group sees it."""
        self.accounts = {customer: Account([], Readings(page_activities_max=6)) for customer in CUSTOMERS}
        self.published: Counter[str] = Counter()
        """But for what is published again."""
        self.topic: defaultdict[CustomerId, set[str]] = defaultdict(set)
        """The ids that stand in the activities topic."""
        self.calls: list[float] = []
        self.watched = set(CUSTOMERS)
        self.said: dict[CustomerId, WatchEntry] = {}
        """By the watch topic."""
        self.unwatched: dict[CustomerId, float] = {}
        """Since when nobody watches these."""
        self.forgotten: set[CustomerId] = set()
        """Whose checkpoint was removed as they are to be forgotten, and who still are."""
        self.removals = 0
        self.created = 0
        self.gaps = 0
        self.processes = [self.process(), self.process()]

    def process(self) -> Process:
        engine = Engine(
            Policy(
                start="earliest",
                lookback_ms=round(LOOKBACK_SECONDS * 1000),
                calls_limit=self.calls_limit,
                calls_window_seconds=WINDOW_SECONDS,
                calls_in_flight_max=CALLS_IN_FLIGHT_MAX,
                lease_seconds=LEASE_SECONDS,
                checkpoint_retention_seconds=RETENTION_SECONDS,
            )
        )
        engine.partitioned(self.partitions)
        engine.watch(self.watched)
        engine.watch_changed("topic", self.said)
        return Process(engine)

    # What happens in the world.

    def create(self, customer: CustomerId, count: int, late: float) -> None:
        """Activities happen now, two in each millisecond, and are shown a little later."""
        account = self.accounts[customer]
        for _ in range(count):
            at = self.now + self.created // 2 * 0.001
            self.created += 1
            account.activities.append(stored(f"a{self.created}", at - 1_700_000_000.0, late=late))
        account.activities.sort(key=lambda activity: activity.created_at_us)

    def watch(self, watched: set[CustomerId]) -> None:
        self.watched = watched
        self.note_watched()
        for process in self.processes:
            process.engine.watch(watched)

    def say(self, customer: CustomerId, entry: WatchEntry | None) -> None:
        """A record in the watch topic."""
        if entry is None:
            self.said.pop(customer, None)
        else:
            self.said[customer] = entry
        self.forgotten.discard(customer)
        self.note_watched()
        for process in self.processes:
            process.engine.watch_changed("topic", {customer: entry})

    def note_watched(self) -> None:
        unwatched = set(CUSTOMERS) - self.watched - self.said.keys()
        self.unwatched = {customer: self.unwatched.get(customer, self.now) for customer in unwatched}

    def is_to_be_read(self, customer: CustomerId, checkpoint: Checkpoint | None) -> bool:
        entry = self.said.get(customer, PLAIN)
        ended = checkpoint is not None and entry.until_ms is not None and checkpoint.cursor_ms >= entry.until_ms
        return (customer in self.watched or customer in self.said) and not entry.paused and not entry.forget and not ended

    # What happens to a process.

    def kill(self, index: int) -> None:
        """The group forgets it when its session has ended; it comes back at once, as another member."""
        self.processes[index] = self.process()

    def confirm(self, index: int) -> None:
        process = self.processes[index]
        process.confirmed_at = self.now
        process.lease_until = self.now + LEASE_SECONDS
        process.engine.confirmed(self.now)

    def rebalance(self, index: int) -> None:
        self.processes[index].lease_until = -math.inf
        self.processes[index].engine.rebalancing()

    def let_go(self, index: int, partition: int) -> None:
        process = self.processes[index]
        process.commits.pop(partition, None)
        process.epochs.pop(partition, None)
        process.assigned.discard(partition)
        process.engine.revoked(partition)

    def assign(self, index: int, partition: int) -> bool:
        """Give a partition to a process, if its owner has let go or must be taken for dead; whether it was given."""
        owner = self.owner[partition]
        if owner is not None and owner != index:
            if partition in self.processes[owner].assigned and self.now < self.processes[owner].confirmed_at + SESSION_SECONDS:
                return False
            self.owner[partition] = None
        self.owner[partition] = index
        self.processes[index].assigned.add(partition)
        return True

    def open(self, index: int, partition: int) -> None:
        """Fence the earlier writer, restore, and commit the ownership record."""
        process, log = self.processes[index], self.log[partition]
        if partition not in process.assigned or partition in process.epochs or self.owner[partition] != index:
            return
        log.epoch += 1
        process.epochs[partition] = log.epoch
        assert process.engine.ownership_refusal(log.restored()) is None
        process.engine.assigned(partition, log.restored(), self.now)
        self.begin_commit(index, partition, at_once=True)
        self.end_commit(index, partition, "stands")

    # What a process does.

    def order(self, index: int) -> bool:
        """Whether a call was ordered."""
        process = self.processes[index]
        order = process.engine.next(self.now)
        if isinstance(order, Wait):
            assert order.until > self.now
            return False
        if isinstance(order, Lookup):
            self.look_up(index, order)
            return True
        assert isinstance(order, Fetch) and self.now < process.lease_until, "a call without a lease"
        assert self.is_to_be_read(order.customer, order.base)
        assert order.partition == partition_of(order.customer, self.partitions)
        assert order.partition in process.epochs
        self.calls.append(self.now)
        process.fetches.append(order)
        return True

    def look_up(self, index: int, order: Lookup) -> None:
        """What stands in the activities topic."""
        self.processes[index].engine.looked_up(order, {customer: set(self.topic[customer]) for customer in order.customers})

    def answer(self, index: int, number: int) -> None:
        process = self.processes[index]
        if not process.fetches:
            return
        fetch = process.fetches.pop(number % len(process.fetches))
        try:
            page = self.accounts[fetch.customer].page(fetch.query, self.now)
        except Rejected as error:
            process.engine.fetch_failed(fetch, error, self.now)
        else:
            process.engine.page_received(fetch, page, self.now)

    def fail(self, index: int, number: int, error: SourceError) -> None:
        process = self.processes[index]
        if process.fetches:
            process.engine.fetch_failed(process.fetches.pop(number % len(process.fetches)), error, self.now)

    def begin_commit(self, index: int, partition: int, at_once: bool = False) -> None:
        process = self.processes[index]
        if partition not in process.epochs or partition in process.commits:
            return
        order = process.engine.commit(partition, self.now, at_once=at_once)
        if isinstance(order, Commit):
            process.commits[partition] = order
            for batch in order.batches:
                assert not batch.removes or self.may_be_removed(batch.customer), "removed though it is watched, or too soon"

    def may_be_removed(self, customer: CustomerId) -> bool:
        """As things are when a commit begins; what a process was told last is what was said last."""
        to_be_forgotten = self.said.get(customer, PLAIN).forget
        return to_be_forgotten or (customer in self.unwatched and self.now >= self.unwatched[customer] + RETENTION_SECONDS)

    def end_commit(self, index: int, partition: int, outcome: Outcome) -> None:
        process = self.processes[index]
        commit = process.commits.pop(partition, None)
        if commit is None:
            return
        fenced = process.epochs[partition] != self.log[partition].epoch
        if not fenced and outcome != "fails":
            self.apply(commit)
        if fenced or outcome != "stands":
            del process.epochs[partition]
            process.engine.suspended(partition)
        else:
            process.engine.committed(commit, self.now)

    def apply(self, commit: Commit) -> None:
        log = self.log[commit.partition]
        for batch in commit.batches:
            assert log.checkpoints.get(batch.customer) == batch.base, "a batch built on another checkpoint"
            if batch.removes:
                self.remove(batch.customer)
                continue
            log.checkpoints[batch.customer] = batch.checkpoint
            self.gaps += batch.gap
            self.published.update(record.id for record in batch.new)
            self.topic[batch.customer].update(record.id for record in batch.records)
        log.ownership = commit.ownership

    def remove(self, customer: CustomerId) -> None:
        """It starts afresh, if ever."""
        self.log[partition_of(customer, self.partitions)].checkpoints.pop(customer, None)
        self.removals += 1
        if self.said.get(customer, PLAIN).forget:
            self.forgotten.add(customer)
        for activity in self.accounts[customer].activities:
            self.published.pop(activity.id, None)

    def turn(self, index: int) -> None:
        """Everything that can be done now, without a fault."""
        process = self.processes[index]
        for partition in sorted(process.assigned):
            self.open(index, partition)
        while self.order(index):
            pass
        while process.fetches:
            self.answer(index, 0)
        for partition in sorted(process.epochs):
            self.begin_commit(index, partition)
            self.end_commit(index, partition, "stands")

    # What must hold.

    def check(self) -> None:
        assert all(times == 1 for times in self.published.values()), "published twice"
        known = {customer for log in self.log for customer in log.checkpoints}
        assert not self.forgotten & known, "brought back"
        for process in self.processes:
            self.check_engine(process.engine)

    def check_engine(self, engine: Engine) -> None:
        assert engine.in_flight <= CALLS_IN_FLIGHT_MAX
        held = [batch.customer for held in engine._held.values() for batch in held.batches.values()]
        assert len(held) + engine.in_flight < HELD_PAGES_MAX + CALLS_IN_FLIGHT_MAX
        for partition in engine.owned:
            places = Counter(places_in(engine, partition))
            assert all(count == 1 for count in places.values()), "a customer in two places"
            known = engine._owned[partition].customers
            missing = [
                customer
                for customer in CUSTOMERS
                if partition_of(customer, self.partitions) == partition
                and customer not in places
                and self.is_to_be_read(customer, known[customer].checkpoint if customer in known else None)
            ]
            assert not missing, "a customer in no place"

    def most_calls_in_a_window(self) -> int:
        return max((bisect_left(self.calls, at + WINDOW_SECONDS) - i for i, at in enumerate(self.calls)), default=0)

    def finish(self, turns_max: int = 1_000) -> None:
        """The faults end: the first process owns everything, and reads until nothing is new."""
        self.now += SESSION_SECONDS
        self.watch(set(CUSTOMERS))
        for customer in CUSTOMERS:
            self.say(customer, None)
        self.kill(1)
        for partition in range(self.partitions):
            while not self.assign(0, partition):
                self.now += SESSION_SECONDS
        for turn in range(turns_max):
            if turn % 200 == 199:
                self.now += DAY_SECONDS  # whoever was unknown for long is tried once a day
            if self.missing() == set():
                return
            for partition in list(self.processes[0].commits):
                self.end_commit(0, partition, "stands")
            self.confirm(0)
            self.turn(0)
            self.check()
            self.now += (
                1.0 if self.processes[0].engine.view.paused_until <= self.now else self.processes[0].engine.view.paused_until - self.now
            )
        raise AssertionError(f"lost: {sorted(self.missing())}, gaps counted: {self.gaps}")

    def missing(self) -> set[str]:
        return {activity.id for activity in self.activities()} - self.published.keys()

    def activities(self) -> list[Stored]:
        return [activity for account in self.accounts.values() for activity in account.activities]


def places_in(engine: Engine, partition: int) -> list[CustomerId]:
    """Where the partition's customers stand: in its schedule, in flight, or held."""
    schedule = engine._owned[partition].schedule
    standing = [place.customer for place in schedule._freshness._places.values() if place.entry]
    scheduled = standing + list(schedule._pages) + list(schedule._backfills)
    in_flight = [customer for customer, fetch in engine._in_flight.items() if fetch.partition == partition]
    return scheduled + in_flight + list(engine._held[partition].batches) + list(engine._owned[partition].lookups._asked)
