"""A customer's history read by the engine alone: the API is a pure model, the log a dict, the time a number."""

import math
from dataclasses import dataclass, field
from random import Random

from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.demo.readings import Listing, ListQuery, Readings, Refused, Stored, list_activities
from poller.errors import Rejected
from poller.model import Activity, ActivityId, Batch, Checkpoint, Commit, CustomerId, Fetch, Ownership, Page, Query, Restored, Wait

EPOCH = 1_700_000_000.0
CUSTOMER = CustomerId("cust_1")
CALL_SECONDS = 0.2
UNSETTLED_MAX = 5


def stored(id: str, at: float, late: float = 0.0, gone_at: float = math.inf, micros: int = 0) -> Stored:
    """An activity created `at` seconds after the epoch of the test, and shown `late` seconds after that."""
    return Stored(
        id=id,
        type="customer.created",
        created_at_us=round((EPOCH + at) * 1000) * 1000 + micros,
        shown_at=EPOCH + at + late,
        gone_at=gone_at,
    )


def asked(query: Query) -> ListQuery:
    def us(ms: int | None) -> int | None:
        return None if ms is None else ms * 1000

    return ListQuery(
        limit=query.limit,
        order="created_at",
        start_date_us=us(query.start_date_ms),
        starting_after_us=us(query.starting_after_ms),
        starting_after_id=query.starting_after_id,
    )


@dataclass
class Log:
    """What was committed."""

    checkpoints: dict[CustomerId, Checkpoint] = field(default_factory=dict)
    ownership: Ownership | None = None
    published: list[str] = field(default_factory=list)

    def append(self, commit: Commit) -> None:
        for batch in commit.batches:
            assert self.checkpoints.get(batch.customer) == batch.base
            self.checkpoints[batch.customer] = batch.checkpoint
            self.published += [activity.id for activity in batch.records]
        self.ownership = commit.ownership

    def restored(self) -> Restored:
        return Restored(dict(self.checkpoints), self.ownership)

    def copy(self) -> "Log":
        return Log(dict(self.checkpoints), self.ownership, list(self.published))


@dataclass
class Account:
    """One customer's activities, and the API that shows them."""

    activities: list[Stored]
    readings: Readings = field(default_factory=Readings)
    calls: int = 0

    def __post_init__(self) -> None:
        self.activities.sort(key=lambda activity: activity.created_at_us)

    def page(self, query: Query, now: float) -> Page:
        self.calls += 1
        try:
            listing: Listing = list_activities(self.activities, asked(query), self.readings, now, self.calls)
        except Refused as refused:
            raise Rejected(str(refused)) from refused
        date = None if self.readings.date == "absent" else math.floor(now) + self.readings.date_offset_seconds
        entries = tuple(
            Activity(ActivityId(entry.id), entry.type, "", entry.created_at_us // 1000, entry.id.encode()) for entry in listing.activities
        )
        return Page(entries, server_time=date, body_bytes=len(entries))


@dataclass
class Reader:
    """An engine that owns the one partition, and what it has seen."""

    account: Account
    policy: Policy
    now: float
    log: Log = field(default_factory=Log)
    gaps: int = 0
    unfollowable: int = 0
    reads: int = 0
    unsettled: int = 0
    """Reads that told no time to start at."""
    calls: int = 0
    clock_offset: float = 0.0
    """How far the reader's clock is ahead."""
    killed_at: frozenset[int] = frozenset()
    """Calls whose page is lost with the process, as it is killed before the commit."""
    restarted_at: frozenset[int] = frozenset()
    """Calls after whose commit the process is restarted."""

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.engine = Engine(self.policy)
        self.engine.partitioned(1)
        self.engine.watch([CUSTOMER])
        self.engine.confirmed(math.inf)
        self.engine.assigned(0, self.log.restored(), self.time)
        self.commit(at_once=True)

    @property
    def time(self) -> float:
        return self.now + self.clock_offset

    def commit(self, at_once: bool = False) -> None:
        commit = self.engine.commit(0, self.time, at_once=at_once)
        if isinstance(commit, Commit):
            self.log.append(commit)
            self.engine.committed(commit, self.time)

    def step(self) -> Batch | None:
        """One call and the commit of what it brought."""
        order = self.engine.next(self.time)
        while isinstance(order, Wait):
            self.now += 0.5
            self.commit(at_once=True)
            order = self.engine.next(self.time)
        assert isinstance(order, Fetch)
        return self.carry_out(order)

    def carry_out(self, fetch: Fetch) -> Batch | None:
        self.calls += 1
        self.now += CALL_SECONDS / 2
        try:
            page = self.account.page(fetch.query, self.now)
        except Rejected as error:
            batch = self.engine.fetch_failed(fetch, error, self.time)
        else:
            self.now += CALL_SECONDS / 2
            batch = self.engine.page_received(fetch, page, self.time)
        if self.calls in self.killed_at:
            self.restart()
            return None
        if batch is None:
            self.unsettled += 1
        else:
            self.gaps += batch.gap
            self.unfollowable += not batch.followable
            self.reads += batch.walk is None
        self.now += self.policy.commit_seconds
        self.commit()
        if self.calls in self.restarted_at:
            self.restart()
        return batch

    def read(self, times: int = 1, calls_max: int = 2_000) -> None:
        """So many complete reads."""
        until = self.reads + times
        budget = self.calls + calls_max
        while self.reads < until and self.unsettled < UNSETTLED_MAX * until:
            assert self.calls < budget, "the read does not end"
            self.step()


def shuffled(count: int, seed: int) -> list[int]:
    order = list(range(count))
    Random(seed).shuffle(order)
    return order
