"""The loop. On anyio only, so that it runs on trio in virtual time and on asyncio in production.

    run
    ├── _order_calls          asks the engine for the next call, and starts it
    │   └── _carry_out        one call: fetch, decode, tell the engine             (at most `calls_in_flight_max`)
    ├── _hear_owners          who owns what is not ours, and, where several partitions divide the budget, what they need and give
    ├── _survey               looks at every customer that is ours, now and then, for whoever runs the process
    └── _stay_member          joins the group, again and again
        ├── _follow           what the group says: what is ours, and that it still is
        └── _own              one for each partition that is ours: open, restore, publish, again after any failure

Every decision is the engine's; what changes it rings the bell, and whoever waits asks the engine again.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled
from msgspec.structs import replace

from poller.contracts import Log, Source, Writer
from poller.core.backoff import Backoff
from poller.core.engine import Engine
from poller.core.overview import Overview, Surveyed
from poller.core.standing import Standing
from poller.core.watched import Changed
from poller.core.watched import Source as WatchSource
from poller.errors import Fenced, LogError, LogRefused, NotOurs, SourceError
from poller.journal import Journal
from poller.model import (
    Assigned,
    Commit,
    Confirmed,
    CustomerId,
    FeedCall,
    Fetch,
    Hint,
    ListCall,
    Lookup,
    MembershipEvent,
    Rebalancing,
    Wait,
    WatchEntry,
    Whose,
)
from poller.telemetry import EventName

Clock = Callable[[], float]
"""Seconds since the Unix epoch as this process counts them: the wall clock when it started, and the monotonic clock from there on."""

Forward = Callable[[Hint], bool]
"""Takes a hint for another replica, or drops it (False); never waits."""

LOG_FAILED = Backoff(first_seconds=0.2, longest_seconds=10)
"""Kafka failed: usually it is back soon."""

LOG_REFUSED = Backoff(first_seconds=5, longest_seconds=60)
"""Kafka refuses: somebody must mend something."""

Enter = Callable[[Mapping[CustomerId, WatchEntry | None]], Awaitable[None]]
"""Writes to the watch topic; done when it stands there. Raises `LogError`."""

TURN_SECONDS_MAX = 5.0
"""The loop turns at least so often, so that one that does not is noticed."""

SURVEY_SECONDS, SURVEY_ASKED_SECONDS = 10.0, 120.0
"""From the beginning of one look at every customer to the next, at least; and for how long this goes on after somebody asked for an overview."""

SURVEY_RESTS, SURVEY_REST_SECONDS_MAX = 49, 1.0
"""Between two slices of such a look so many times as long passes as one took: it takes a fiftieth of the loop's time. But no longer, as it is not
the look that takes seconds.
"""

TURN_LATE_SECONDS = 120.0
"""A loop that has not turned for so long is taken for dead. Preparing the topics may take most of it, with brokers that do not answer."""


class Bell:
    """Wakes all who wait for a change."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event = anyio.Event()

    async def wait(self, seconds: float) -> None:
        """Until it rings, at most so long. Nothing is missed by who asks the engine and then waits, as both happen in one step."""
        with anyio.move_on_after(_timer_seconds(seconds)):
            await self._event.wait()


class Worker:
    """Reads, publishes, and stays a member, until it is told to drain."""

    def __init__(self, engine: Engine, source: Source, log: Log, clock: Clock, journal: Journal, drain_seconds: float = 25.0) -> None:
        self._engine = engine
        self._source = source
        self._log = log
        self._clock = clock
        self._journal = journal
        self._drain_seconds = drain_seconds
        self._forward: Forward = _dropped
        self._enter: Enter = _unwritten
        self._partitions: int | None = None
        self._bell = Bell()
        self._assigned: frozenset[int] | None = None
        self._owners: dict[int, anyio.CancelScope] = {}
        self._assigned_at: dict[int, float] = {}
        """Of those partitions that were not committed to since."""
        self._others = anyio.CancelScope()
        """While the owners of others' partitions are heard."""
        self._heard: dict[int, str] = {}
        """Who said last to own a partition that is not ours."""
        self._surveyed: Surveyed | None = None
        self._asked = anyio.Event()
        """For an overview."""
        self._asked_at = -math.inf
        self._confirmed_at = -math.inf
        self._join_failures = 0
        self._turned_at = -math.inf
        self._draining = False
        self._not_ours: NotOurs | None = None

    async def run(self) -> None:
        """Work until `drain`. Raises `LogRefused` where the topics or their owner are not what the settings say."""
        self._turned_at = self._clock()
        partitions = await self._prepare()
        if partitions is None:
            return
        self._engine.partitioned(partitions)
        self._partitions = partitions
        self._bell.ring()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stay_member)
            tasks.start_soon(self._hear_owners, frozenset(range(partitions)))
            tasks.start_soon(self._survey)
            await self._order_calls(tasks)
            await self._finish()
            tasks.cancel_scope.cancel()
        self._journal.event("drained", in_flight=self._engine.in_flight)
        if self._not_ours is not None:
            raise self._not_ours

    def drain(self) -> None:
        """Make no more calls, publish what is there, and end. May be called at any time, also twice."""
        self._draining = True
        self._engine.drain()
        self._bell.ring()

    def watch(self, customers: Iterable[CustomerId] | Mapping[CustomerId, WatchEntry], source: WatchSource) -> None:
        """A source of the watched set names exactly these. May be called at any time, as what follows."""
        self._rewatched(source, self._engine.watch(customers, source))

    def watch_changed(self, changes: Mapping[CustomerId, WatchEntry | None], complete: bool, source: WatchSource = "topic") -> None:
        """A source of the watched set names these so from now on, or no longer; `complete`: with this, all that it says is told."""
        changed = self._engine.watch_changed(source, changes)
        if complete:
            self._engine.known(source)
        self._rewatched(source, changed)

    def _rewatched(self, source: WatchSource, changed: Changed) -> None:
        if changed:
            self._journal.watched_set_changed(source, changed, self._clock())
        self._bell.ring()

    def hinted(self, hint: Hint) -> Whose:
        """A customer may have something new. May be called at any time; where it is read by another replica, nothing is done about it here."""
        ours = self._engine.hinted(hint.customer, self._clock(), hint.at_ms)
        self._journal.hints_stand(self._engine.hints)
        self._bell.ring()
        return "ours" if ours else "another's" if self._engine.watches(hint.customer) else "nobody's"

    def forward_by(self, forward: Forward) -> None:
        """What the change feed tells of another replica's customers is handed to this from now on; before, it is dropped."""
        self._forward = forward

    def enter_by(self, enter: Enter) -> None:
        """Whom the listing finds is handed to this."""
        self._enter = enter

    async def partitions(self) -> int:
        """How many divide the work, once that is known."""
        while self._partitions is None:
            await self._bell.wait(math.inf)
        return self._partitions

    def live(self) -> tuple[bool, str]:
        """Whether the loop turns."""
        late = self._clock() - self._turned_at
        return late < TURN_LATE_SECONDS, f"the loop turned {max(0.0, late):.1f} s ago"

    def standing(self, customer: CustomerId) -> Standing:
        """How a customer stands here."""
        return self._engine.view.standing(customer, self._clock())

    def overview(self) -> Overview:
        """How everything that is owned here stands; cheap. What is surveyed goes on being so while somebody asks: the first time it may be missing."""
        self._asked_at = self._clock()
        self._asked.set()
        return replace(self.stands(), surveyed=self._surveyed if self._engine.view.ours else None)

    def stands(self) -> Overview:
        """The same without what is surveyed; nothing is for its sake."""
        stands = self._engine.view.overview(self._clock())
        restoring = (self._assigned or frozenset()) - set(stands.owned)
        return replace(stands, partitions=self._partitions or 0, restoring=tuple(sorted(restoring)))

    def owners(self) -> dict[int, str]:
        """Who owns each partition, as far as it was heard; what is ours is not asked."""
        ours = dict.fromkeys(self._engine.view.ours, self._engine.view.owner)
        return dict(sorted({**self._heard, **ours}.items()))

    def ready(self) -> tuple[bool, str]:
        """Whether what is ours is restored; a member that owns nothing stands by, which is ready too."""
        if self._draining:
            return False, "draining"
        if self._assigned is None:
            return False, "not yet a member of the group"
        if self._engine.view.refused:
            return False, self._engine.view.refused
        if self._engine.awaited:
            return False, f"not yet told whom the {' and the '.join(self._engine.awaited)} of the watched set names"
        waiting = sorted(self._assigned - set(self._engine.owned))
        if waiting:
            return False, f"restoring partitions {waiting}"
        return True, f"owning partitions {sorted(self._assigned)}" if self._assigned else "standing by"

    async def _prepare(self) -> int | None:
        """The number of partitions; `None`: drained before Kafka could be reached."""
        failures = 0
        while not self._draining:
            self._turned_at = self._clock()
            try:
                partitions = await self._log.prepare()
            except LogRefused:
                raise
            except LogError as error:
                failures += 1
                await self._wait_for_log("waiting_for_kafka", error, failures)
            else:
                self._journal.kafka_ready(partitions)
                return partitions
        return None

    async def _order_calls(self, tasks: TaskGroup) -> None:
        while not self._draining:
            self._turned_at = now = self._clock()
            match self._engine.next(now):
                case Fetch() as fetch:
                    tasks.start_soon(self._carry_out, fetch)
                    await checkpoint()
                case FeedCall() as call:
                    tasks.start_soon(self._ask_feed, call)
                    await checkpoint()
                case ListCall() as call:
                    tasks.start_soon(self._list_customers, call)
                    await checkpoint()
                case Lookup() as lookup:
                    tasks.start_soon(self._look_up, lookup)
                    await checkpoint()
                case Wait(until=until, by=by):
                    await self._bell.wait(min(until - now, TURN_SECONDS_MAX))
                    if by is not None:
                        self._journal.throttled(by, self._clock() - now)

    async def _carry_out(self, fetch: Fetch) -> None:
        try:
            response = await self._source.fetch(fetch)
            page = self._source.decode(response)
        except SourceError as error:
            now = self._clock()
            batch = self._engine.fetch_failed(fetch, error, now)
            self._journal.call_failed(fetch, error, now, self._engine.view.paused_until)
        else:
            now = self._clock()
            batch = self._engine.page_received(fetch, page, now)
            self._journal.page_received(fetch, page, batch, now)
        if batch is not None:
            self._journal.batch_held(batch)
        self._bell.ring()

    async def _look_up(self, lookup: Lookup) -> None:
        """What stands in the activities topic, however often it takes to find out."""
        failures = 0
        while not self._draining:
            try:
                published = await self._log.published(lookup.customers, lookup.since_ms)
            except LogError as error:
                failures += 1
                await self._wait_for_log("lookup_failed", error, failures)
            else:
                self._journal.looked_up(published, self._engine.looked_up(lookup, published))
                self._bell.ring()
                return

    async def _ask_feed(self, call: FeedCall) -> None:
        try:
            changes = self._source.decode_changes(await self._source.fetch_changes(call))
        except SourceError as error:
            now = self._clock()
            self._engine.feed_failed(call, error, now)
            self._journal.feed_failed(call, error, now, self._engine.view.paused_until)
        else:
            now = self._clock()
            others = self._engine.changes_received(call, changes, now)
            self._journal.feed_read(call, now)
            for hint in others:
                self._journal.hint("forwarded" if self._forward(hint) else "dropped")
        self._bell.ring()

    async def _list_customers(self, call: ListCall) -> None:
        """One call, which lands once what it found stands in the watch topic."""
        lister = self._engine.lister
        try:
            page = self._source.decode_list(await self._source.fetch_list(call))
            now = self._clock()
            self._journal.list_answered(call, now)
            found = lister.received(call, page, now)
            if found is not None:
                if found.changes:
                    await self._enter(found.changes)
                lister.written(found)
                self._journal.customers_listed(found)
        except (SourceError, LogError) as error:
            now = self._clock()
            lister.failed(call, error, now)
            self._journal.listing_failed(call, error, now, self._engine.view.paused_until)
        self._bell.ring()

    async def _finish(self) -> None:
        """Let calls under way land and owners publish what they brought, as far as there is time."""
        self._journal.event("draining", in_flight=self._engine.in_flight)
        with anyio.move_on_after(self._drain_seconds):
            while self._owners or self._engine.in_flight:
                self._turned_at = self._clock()
                await self._bell.wait(TURN_SECONDS_MAX)

    async def _survey(self) -> None:
        while True:
            await self._asked.wait()
            began = self._clock()
            if began - self._asked_at > SURVEY_ASKED_SECONDS:
                self._asked = anyio.Event()
                continue
            surveyed = await self._look_at_all()
            self._surveyed = surveyed if self._engine.view.ours else None
            await anyio.sleep(max(0.0, began + SURVEY_SECONDS - self._clock()))

    async def _look_at_all(self) -> Surveyed:
        look = self._engine.view.survey(self._clock())
        while True:
            began = self._clock()
            try:
                next(look)
            except StopIteration as end:
                surveyed: Surveyed = end.value
                return surveyed
            await anyio.sleep(min(SURVEY_RESTS * (self._clock() - began), SURVEY_REST_SECONDS_MAX))

    async def _hear_owners(self, partitions: frozenset[int]) -> None:
        """Of those partitions that are not ours; anew with each assignment."""
        failures = 0
        while not self._draining:
            others = frozenset() if self._assigned is None else partitions - self._assigned
            try:
                with anyio.CancelScope() as self._others:
                    if not others:
                        await anyio.sleep_forever()
                    async with self._log.owners(others) as owners:
                        async for partition, ownership in owners:
                            failures = 0
                            self._heard[partition] = ownership.owner
                            self._engine.owner_said(partition, ownership, self._clock())
            except LogError as error:
                failures += 1
                await self._wait_for_log("owners_unheard", error, failures)

    async def _stay_member(self) -> None:
        while not self._draining:
            try:
                async with self._log.join() as events, anyio.create_task_group() as owners:
                    error = await self._follow(events, owners)
                    owners.cancel_scope.cancel()
            except LogError as not_joined:
                error = not_joined
            self._assign(frozenset())
            self._join_failures += 1
            await self._wait_for_log("membership_failed", error, self._join_failures)

    async def _follow(self, events: AsyncIterator[MembershipEvent], owners: TaskGroup) -> LogError:
        """What the group says, until it can no longer be heard."""
        try:
            async for event in events:
                self._hear(event, owners)
        except LogError as error:
            return error
        raise AssertionError("membership ended without a word")

    def _hear(self, event: MembershipEvent, owners: TaskGroup) -> None:
        match event:
            case Assigned(partitions=partitions):
                self._assign(partitions, owners)
            case Rebalancing():
                self._engine.rebalancing()
                self._journal.rebalancing()
            case Confirmed(at=at):
                self._join_failures = 0
                self._journal.heartbeat(self._clock())
                self._confirmed_at = at
                self._engine.confirmed(at)
        self._bell.ring()

    def _assign(self, partitions: frozenset[int], owners: TaskGroup | None = None) -> None:
        """What stays goes on untouched; what is gone is cancelled, and taken from the engine at once."""
        for partition in sorted(self._owners.keys() - partitions):
            self._owners.pop(partition).cancel()
            self._assigned_at.pop(partition, None)
            self._engine.revoked(partition)
            self._journal.event("partition_lost", partition=partition)
        if owners is not None and not self._draining:
            for partition in sorted(partitions - self._owners.keys()):
                scope = self._owners[partition] = anyio.CancelScope()
                self._assigned_at[partition] = self._clock()
                self._heard.pop(partition, None)
                owners.start_soon(self._own, partition, scope)
        if partitions != self._assigned:
            self._assigned = partitions
            self._others.cancel()
            self._journal.event("assigned", partitions=sorted(partitions))

    async def _own(self, partition: int, scope: anyio.CancelScope) -> None:
        failures = 0
        with scope:
            while self._wanted(partition):
                began = self._clock()
                try:
                    async with self._log.open(partition) as writer:
                        await self._restore(partition, writer, began)
                        failures = 0
                        await self._publish(partition, writer)
                        break
                except NotOurs as error:
                    self._not_ours = error
                    self.drain()
                    break
                except LogError as error:
                    await checkpoint_if_cancelled()  # a partition that was taken may be ours anew, in another task
                    self._engine.suspended(partition)
                    failures += 1
                    await self._wait_for_partition(partition, error, failures)
        if self._owners.get(partition) is scope:
            del self._owners[partition]
            self._bell.ring()

    def _wanted(self, partition: int) -> bool:
        """Whether there is something to do for it: while draining only what calls under way bring, and what awaits its commit."""
        return not self._draining or self._engine.in_flight > 0 or self._engine.unpublished(partition)

    async def _restore(self, partition: int, writer: Writer, began: float) -> None:
        """`began`: when its last owner began to be fenced."""
        await checkpoint_if_cancelled()  # taken in the very moment in which it was opened
        restored = writer.restored
        refusal = self._engine.ownership_refusal(restored)
        if refusal is not None:
            raise NotOurs(refusal)
        for _ in self._engine.arriving(partition, restored, self._clock()):
            await checkpoint()  # heartbeats are answered meanwhile
        now = self._clock()
        undone = self._engine.undone(partition, restored)
        dropped = self._engine.assigned(partition, restored, now)
        self._journal.restored(partition, restored, dropped, self._engine.ownership_differences(restored), now - began)
        writer.let_go()
        if undone:
            self._journal.commit_undone(partition, undone)
        commit = self._engine.commit(partition, now, at_once=True)  # the ownership record, whether there is anything to publish or not
        assert isinstance(commit, Commit)
        await self._append(commit, writer)

    async def _publish(self, partition: int, writer: Writer) -> None:
        """Publish what is held, and renew the grant of calls, until drained."""
        while True:
            now = self._clock()
            last = self._draining and not self._engine.in_flight
            match self._engine.commit(partition, now, at_once=last, last=last):
                case Commit() as commit:
                    await self._append(commit, writer)
                    if last and not self._engine.unpublished(partition):
                        return
                case Wait(until=until):
                    await self._bell.wait(until - now)
                    await checkpoint_if_cancelled()  # a bell that rang just before the partition was taken hides that it was

    async def _append(self, commit: Commit, writer: Writer) -> None:
        began = self._clock()
        with anyio.CancelScope(shield=True):
            try:
                await writer.append(commit.batches, commit.ownership)
            except LogError:
                self._journal.transaction_failed(self._clock() - began)
                raise
        await checkpoint_if_cancelled()  # taken meanwhile: the engine has forgotten this partition
        now = self._clock()
        self._engine.committed(commit, now)
        self._journal.committed(commit, began, now)
        assigned_at = self._assigned_at.pop(commit.partition, None)
        if assigned_at is not None:
            self._journal.handed_over(commit.partition, now - assigned_at)
        self._journal.hints_stand(self._engine.hints)
        self._journal.cycle(self._engine.view.cycle_stands(now))
        self._bell.ring()

    async def _wait_for_partition(self, partition: int, error: LogError, failures: int) -> None:
        """After a failed append or open. Who was fenced waits until the group confirms that the partition is still ours."""
        self._journal.partition_failed(partition, error, failures)
        failed_at = self._clock()
        while isinstance(error, Fenced) and self._confirmed_at <= failed_at:
            await self._bell.wait(math.inf)
        await self._rest(_retry_seconds(error, failures, f"partition {partition}"), lambda: self._wanted(partition))

    async def _wait_for_log(self, event: EventName, error: LogError, failures: int) -> None:
        seconds = _retry_seconds(error, failures, event)
        self._journal.event(event, error=str(error), retry_seconds=round(seconds, 1))
        await self._rest(seconds, lambda: not self._draining)

    async def _rest(self, seconds: float, wanted: Callable[[], bool]) -> None:
        """Wait before another try, as long as one is wanted."""
        until = self._clock() + seconds
        while wanted() and self._clock() < until:
            await self._bell.wait(until - self._clock())


def _dropped(_hint: Hint) -> bool:
    return False


async def _unwritten(_changes: Mapping[CustomerId, WatchEntry | None]) -> None:
    raise AssertionError("nobody takes whom the listing finds")


def _timer_seconds(seconds: float) -> float:
    """As long, or up to two milliseconds longer: uvloop rounds a timer to whole ones, and where that is too early it spins until the next.

    Just above the half, it rounds up.
    """
    if seconds <= 0 or math.isinf(seconds):
        return max(0.0, seconds)
    return (math.ceil(seconds * 1000) + 0.6) / 1000


def _retry_seconds(error: LogError, failures: int, who: str) -> float:
    return (LOG_REFUSED if isinstance(error, LogRefused) else LOG_FAILED).wait_seconds(failures, who)
