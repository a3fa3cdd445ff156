"""The engine: the one object that the worker talks to.

It is told the time and what happened, and returns orders:

    next(now)                       → Fetch: make this call | Wait
    page_received(fetch, page, now) → Batch: what the page brought, held until it is committed
    fetch_failed(fetch, error, now)   the customer, or every call, waits
    hinted(customer, now)             it is read next; hints come from the change feed (FeedCall, changes_received) and from outside
    commit(partition, now)          → Commit: publish these batches in one transaction | Wait
    committed(commit, now)            the checkpoints move; the customers are scheduled again

A customer is in one place at a time: in its partition's schedule, in flight, or held (its batch awaits the commit). Its checkpoint and
walk move in `committed` and nowhere else. A partition that is taken away, for whatever reason, comes back through `assigned` with what
the log holds; a held batch survives that if it was built on the very checkpoint that was restored, as refetching it would cost a call.
"""

import math
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec.structs import replace

from poller.core import backoff, cursor, dedupe, feed, ownership, replay, walk
from poller.core.arrival import Arrival, each_in_turn, taken_in
from poller.core.budget import Budget
from poller.core.cursor import ServerClock
from poller.core.freshness import Reading
from poller.core.hints import Hints
from poller.core.landing import Landing
from poller.core.lifecycle import Lives, is_unknown, is_way_refused
from poller.core.listing import Lister
from poller.core.owned import Customer, Held, Owned
from poller.core.pauses import Pauses
from poller.core.placing import place
from poller.core.policy import Policy
from poller.core.schedule import Schedule
from poller.core.shares import Shares
from poller.core.view import Parts, View
from poller.core.watched import Changed, Source, Watched, filters_of, settle
from poller.errors import SourceError, TokenRenewed, TooLarge
from poller.model import (
    NO_LESSON,
    PLAIN,
    Activity,
    Batch,
    Changes,
    Checkpoint,
    Commit,
    CustomerId,
    Feed,
    FeedCall,
    Fetch,
    Hindrance,
    Hint,
    Learned,
    Ledger,
    Lesson,
    ListCall,
    Lookup,
    Ownership,
    Page,
    Rates,
    Restored,
    Wait,
    Walk,
    WatchEntry,
)

HELD_PAGES_MAX = 200
"""Batches that await their commit; no call is made beyond."""

HELD_BYTES_MAX = 32 * 1024 * 1024
"""What their pages may take."""

COMMIT_RECORDS_MAX = 5_000
"""Records in one transaction, but for a last page: beyond, larger transactions gain nothing."""

PAGES_REMEMBERED = 20
"""Pages by whose longest a full one is known; short ones are not among them. A server that caps its pages lower is understood after as many;
where it does not, one read in twenty of those that show as much takes a call more.
"""

ERROR_CHARACTERS_MAX = 300
"""What is kept of a customer's last error, for whoever asks."""


class Engine:
    """See the top of this file."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._watched = Watched(found_count=policy.watch_all is not None)
        self._partitions = 0
        self._owned: dict[int, Owned] = {}
        self._suspended: dict[int, Owned] = {}
        self._arriving: dict[int, Arrival] = {}
        self._held: defaultdict[int, Held] = defaultdict(Held)
        self._in_flight: dict[CustomerId, Fetch] = {}
        self._feed = feed.Reader()
        self._calls = 0
        self.hints = Hints(policy.lookback_ms)
        self._server_clock = ServerClock()
        self._page_lengths: deque[int] = deque(maxlen=PAGES_REMEMBERED)
        self._pauses = Pauses()
        self.lister = Lister(policy, self._owned, self._watched, self._pauses)
        self._lives = Lives(policy, self._watched, self._in_flight)
        self.view = View(
            Parts(
                policy=policy,
                watched=self._watched,
                owned=self._owned,
                suspended=self._suspended,
                arriving=self._arriving,
                held=self._held,
                in_flight=self._in_flight,
                feed=self._feed,
                lister=self.lister,
                pauses=self._pauses,
            )
        )
        self._lease_until = -math.inf
        self._draining = False

    def __repr__(self) -> str:
        customers = sum(len(owned.customers) for owned in self._owned.values())
        scheduled = sum(len(owned.schedule) for owned in self._owned.values())
        held = sum(len(held.batches) for held in self._held.values())
        return (
            f"<Engine {customers} customers, {scheduled} scheduled, {len(self._in_flight)} in flight, {held} held, partitions {self.owned}>"
        )

    # What the worker goes by; whatever else may be asked is the view's.

    @property
    def owned(self) -> list[int]:
        """The partitions that are ours and restored."""
        return self.view.owned

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self.view.in_flight

    def watches(self, customer_id: CustomerId) -> bool:
        """Whether it is to be read, by whoever owns its partition."""
        return customer_id in self._watched

    def unpublished(self, partition: int) -> bool:
        """Whether batches of this partition await their commit."""
        return bool(self._held[partition].batches)

    # Who is watched, and what is ours.

    @property
    def awaited(self) -> list[Source]:
        """Sources of the watched set that have not said yet whom they name: no call is made before."""
        return self._watched.awaited

    def expect(self, source: Source) -> None:
        """This source will say whom it names, all at once (`watch`), or by and by, until all of it is `known`."""
        self._watched.expect(source)

    def known(self, source: Source) -> None:
        """It has said whom it names."""
        self._watched.known(source)

    def watch(self, customers: Iterable[CustomerId] | Mapping[CustomerId, WatchEntry], source: Source = "setting") -> Changed:
        """A source names exactly these. The checkpoint of a customer that is no longer watched stays as it is."""
        entries = customers if isinstance(customers, Mapping) else dict.fromkeys(customers, PLAIN)
        return self._rewatched(self._watched.put_all(source, entries))

    def watch_changed(self, source: Source, changes: Mapping[CustomerId, WatchEntry | None]) -> Changed:
        """A source names these so from now on, or (`None`) no longer."""
        return self._rewatched(self._watched.change(source, changes))

    def partitioned(self, partitions: int) -> None:
        """So many partitions divide the work. Raises `SettingsError` where the budget cannot be divided so often."""
        self._shares = self.view.shares = Shares(self._policy, partitions)
        self._partitions = partitions
        self._watched.partitioned(partitions)

    def ownership_refusal(self, restored: Restored) -> str | None:
        """Why a restored partition may not become ours; `None`: it may."""
        return ownership.refusal(restored.ownership, self._ownership(Ledger(level=0)))

    def ownership_differences(self, restored: Restored) -> list[str]:
        """What the operator should hear about how the last owner ran."""
        return ownership.differences(restored.ownership, self._ownership(Ledger(level=0)))

    def undone(self, partition: int, restored: Restored) -> list[CustomerId]:
        """Whose last commit the log does not hold, though it had said so; to be asked before `assigned`. Only who suspended the partition can know.

        What of it was published, if anything, comes again: nothing is lost by that.
        """
        known = self._suspended[partition].customers if partition in self._suspended else {}
        gone = {batch.customer for batch in self._held[partition].batches.values() if batch.removes}
        rest = ((name, customer.checkpoint) for name, customer in known.items() if name not in gone)
        return [name for name, checkpoint in rest if cursor.went_back(checkpoint, restored.checkpoints.get(name))]

    def arriving(self, partition: int, restored: Restored, now: float) -> Iterator[None]:
        """Take a restored partition in, some customers at each step, so that the loop may turn meanwhile; then it may be `assigned`, and until then
        it is not ours.
        """
        assert partition not in self._owned and self._partitions > 0
        self._lives.now = now
        self._arriving.pop(partition, None)
        customers: dict[CustomerId, Customer] = {}
        yield from taken_in(customers, restored.checkpoints, self._watched.of(partition), now)
        ledger = None if restored.ownership is None else restored.ownership.ledger
        learned = Learned() if restored.ownership is None else restored.ownership.learned
        share = None if restored.ownership is None else restored.ownership.share
        terms = self._shares.terms(share)
        schedule = Schedule(learned, terms.calls_per_second, self._policy.staleness_seconds_max)
        owned = Owned(customers, Budget.restore(terms, ledger, now), schedule, share)
        busy = [name for name, fetch in self._in_flight.items() if fetch.partition == partition]
        arrival = self._arriving[partition] = Arrival(restored, owned, (*busy, *self._held[partition].batches))
        yield from each_in_turn(customers, self._watched.of(partition), lambda customer_id: self._settle(owned, partition, customer_id))
        arrival.complete = True

    def assigned(self, partition: int, restored: Restored, now: float) -> list[Batch]:
        """A partition is ours and restored. Returns the held batches that are dropped, as they were built on something else."""
        arrival = self._arriving.get(partition)
        if arrival is None or arrival.restored is not restored or not arrival.complete:
            for _ in self.arriving(partition, restored, now):
                pass
        arrival = self._arriving.pop(partition)
        self._suspended.pop(partition, None)
        self._owned[partition] = owned = arrival.owned
        if partition == 0 and self._policy.change_feed:
            owned.feed = (None if restored.ownership is None else restored.ownership.feed) or Feed()
        owned.listing = self.lister.begin(partition, restored.ownership)
        held = self._held[partition]
        dropped = [batch for batch in held.batches.values() if batch.base != restored.checkpoints.get(batch.customer)]
        for batch in dropped:
            held.pop(batch.customer)
        for customer_id in held.batches:
            owned.customers.setdefault(customer_id, Customer(None))  # nobody may watch it any more, but what was read of it is published
        for customer_id in arrival.busy:
            self._settle(owned, partition, customer_id)
        return dropped

    def suspended(self, partition: int) -> None:
        """The partition stays ours, but its writer is gone: no call is made for it until it is `assigned` anew.

        Its batches are kept, and so is what calls under way bring meanwhile.
        """
        if partition in self._owned:
            self._suspended[partition] = self._owned.pop(partition)

    def revoked(self, partition: int) -> None:
        """The partition is no longer ours: its batches are dropped, and so will be what is in flight."""
        for kept in (self._owned, self._suspended, self._arriving, self._held):
            kept.pop(partition, None)

    def confirmed(self, at: float) -> None:
        """A heartbeat sent at this instant was answered: for a while nobody else can own what is ours."""
        self._lease_until = max(self._lease_until, at + self._policy.lease_seconds)

    def rebalancing(self) -> None:
        """The assignment is being made anew: no call until membership is confirmed again."""
        self._lease_until = -math.inf

    def drain(self) -> None:
        """Order no more calls."""
        self._draining = True

    # Calls.

    def next(self, now: float) -> Fetch | FeedCall | ListCall | Lookup | Wait:
        """The next call, or until when there is none to make; before that, what must be looked up for one."""
        lookup = next(filter(None, (owned.lookups.order(partition) for partition, owned in self._owned.items())), None)
        if lookup is not None and not self._draining:
            return lookup
        wait = self._hindrance(now)
        if wait is not None:
            return wait
        suspended_at = min((self._due_at(owned, now) for owned in self._suspended.values()), default=math.inf)
        until = suspended_at if suspended_at > now else math.inf
        by: Hindrance | None = "commits" if suspended_at <= now else None
        for partition, owned in sorted(self._owned.items(), key=lambda item: (item[1].schedule.due_at(now), item[1].called)):
            owned.budget = owned.budget.refill(now)
            available_at, feed_at, list_at = owned.budget.available_at(now), self._feed.due_at(owned), self.lister.due_at(owned, now)
            if available_at <= now and min(feed_at, list_at) <= now:
                self._spend(owned, now)
                asked = self._feed if feed_at <= now else self.lister
                return asked.order(owned, partition, self._server_clock.earliest(now) or now, now)
            due_at = min(feed_at, list_at, owned.schedule.due_at(now))
            if max(available_at, due_at) <= now:
                return self._fetch(partition, owned, now)
            until = min(until, available_at if due_at <= now else due_at)
            by = owned.budget.hindrance(now) if due_at <= now else by
        return Wait(until, "the budget, or until somebody is due", by)

    def page_received(self, fetch: Fetch, page: Page, now: float) -> Batch | None:
        """What the page brought, held until it is committed; `None`: nothing to commit, or its partition was taken meanwhile."""
        fetch = self._landed(fetch)
        shown, longest = self._observe(page, now)
        customer = self._standing(fetch)
        self._lives.answered(customer, now)
        if customer is None:
            return None
        customer.failures, customer.error = 0, ""
        landing = self._landing(fetch, cursor.timed(fetch, page, now))
        start = landing.baseline()
        if start is None:
            customer.walk, customer.last_read = None, now
            self._schedule(fetch.partition, fetch.customer, customer)
            return None
        outcome = walk.follow(landing.going, shown, longest, start.cursor_ms, start.stepped_ms)
        return self._hold(landing, start, landing.sift(page, start), landing.outcome(start, outcome), page.body_bytes)

    def fetch_failed(self, fetch: Fetch, error: SourceError, now: float) -> Batch | None:
        """The call brought nothing. A batch is returned only where the failure itself ends the read."""
        fetch = self._landed(fetch)
        if isinstance(error, TokenRenewed):
            self._again(fetch)
            return None
        if isinstance(error, TooLarge) and (smaller := walk.fewer(fetch.walk)) is not None:
            self._go_on(fetch, smaller)
            return None
        said = self._policy.told(error, fetch.customer)
        self._pauses.failed(error, now, said)
        customer = self._standing(fetch)
        if customer is None:
            return None
        if is_way_refused(fetch, error):
            return self._way_refused(fetch)
        gone = self._lives.unknown(fetch, customer, now) if is_unknown(fetch, error) else None
        wait = backoff.customer_wait_seconds(error, customer.failures + 1, fetch.customer)
        customer.failures, customer.error = customer.failures + (wait > 0), said[:ERROR_CHARACTERS_MAX]
        if gone is None:
            self._schedule(fetch.partition, fetch.customer, customer, now + wait if wait > 0 else None)
        else:
            self._held[fetch.partition].put(gone)
        return gone

    def looked_up(self, lookup: Lookup, published: Mapping[CustomerId, Collection[str]]) -> list[CustomerId]:
        """What stands in the activities topic of these customers: their replays go on. Returned is of whom there is too much, so that theirs cannot."""
        owned = self._owned.get(lookup.partition)
        if owned is None or (refused := owned.lookups.answered(lookup, published)) is None:
            return []
        for customer_id in sorted(lookup.customers):
            self._settle(owned, lookup.partition, customer_id)
        return refused

    # Hints.

    def hinted(self, customer_id: CustomerId, now: float, at_ms: int | None = None) -> bool:
        """It may have done something, at that instant of the server's: it is read next, as far as hints are worth it. False: it is not ours."""
        owned = self._owned.get(ownership.partition_of(customer_id, self._partitions)) if self._owned else None
        if owned is None or customer_id not in self._watched:
            return False
        if customer_id in owned.schedule:  # or it is not to be read: paused, say
            self.hints.hinted(owned, customer_id, now, at_ms, self._calls)
        return True

    def changes_received(self, call: FeedCall, changes: Changes, now: float) -> list[Hint]:
        """What the change feed says: who of ours is hinted at. Returned are hints at those that are watched and not ours."""
        self._feed.landed(call)
        self._pauses.answered(changes.quota, changes.server_time, now)
        owned = self._owned.get(call.partition)
        happened = {} if owned is None else self._feed.heard(owned, call, changes)
        watched = {name: at_ms for name, at_ms in happened.items() if name in self._watched}
        ours = {name: at_ms for name, at_ms in watched.items() if self.hinted(name, now, at_ms)}
        self._feed.prompted(ours)
        return [Hint(name, at_ms) for name, at_ms in watched.items() if name not in ours]

    def feed_failed(self, call: FeedCall, error: SourceError, now: float) -> None:
        """The change feed was not answered. What concerns every call stops them, as with any."""
        self._feed.landed(call)
        if isinstance(error, backoff.OF_ALL_CALLS):
            self._pauses.failed(error, now)
        if call.partition in self._owned:
            self._feed.failed(self._owned[call.partition], error, now)

    # Commits.

    def commit(self, partition: int, now: float, *, at_once: bool = False, last: bool = False) -> Commit | Wait:
        """What to publish next, or until when there is nothing (`at_once`: in any case, as the first and the last commit carry the ledger).

        The last one before a drain gives back what was granted.
        """
        owned = self._owned[partition]
        for customer_id in [] if self._draining else self._lives.tend(partition, owned, self._held[partition], self._server_clock, now):
            self._settle(owned, partition, customer_id)
        at = now if at_once else self._commit_at(partition, owned, now)
        if at > now:
            return Wait(at, "commits")
        owned.commit_at = now + self._policy.commit_seconds
        self._shares.settle(partition, owned, now)
        owned.budget, ledger, grant = owned.budget.prepare(now, last)
        said = replace(self._ownership(ledger), learned=owned.schedule.learned, feed=owned.feed, listing=owned.listing, share=owned.share)
        return Commit(partition, self._held[partition].first(COMMIT_RECORDS_MAX), said, grant)

    def committed(self, commit: Commit, now: float) -> None:
        """The transaction stands: the checkpoints move, and the customers are scheduled again."""
        owned = self._owned[commit.partition]
        owned.budget, owned.committed_at = owned.budget.committed(), now
        self._shares.heard(commit.partition, commit.ownership.share, now)
        for batch in commit.batches:
            held = self._held[commit.partition].pop(batch.customer)
            assert held is batch
            if batch.why is not None:
                self._lives.noted(owned, batch, now)
                self._settle(owned, commit.partition, batch.customer)
                continue
            customer = owned.customers[batch.customer]
            assert customer.checkpoint == batch.base
            customer.checkpoint, customer.walk = batch.checkpoint, batch.walk
            if batch.checkpoint.last_read is not None:
                customer.last_read = batch.checkpoint.last_read
            self._feed.read(self._owned.get(0), batch, prompted=self.hints.prompted(batch.customer))
            if batch.checkpoint.rates is not None and batch.customer in owned.schedule:
                owned.schedule.read(batch.customer, Reading(batch.checkpoint.rates, batch.lesson))
            self._schedule(commit.partition, batch.customer, customer, self.hints.looked(batch, now, self._calls))

    def owner_said(self, partition: int, ownership: Ownership, now: float) -> None:
        """What an owner of another partition has committed."""
        if partition not in self._owned:
            self._shares.heard(partition, ownership.share, now)

    # Inside.

    def _spend(self, owned: Owned, now: float) -> None:
        owned.budget = owned.budget.spend(now)
        self._calls += 1
        owned.called = self._calls

    def _rewatched(self, changed: Changed) -> Changed:
        settled = self._owned | {partition: arrival.owned for partition, arrival in self._arriving.items()}
        for customer_id in changed.customers if settled else ():
            partition = ownership.partition_of(customer_id, self._partitions)
            if partition in settled:
                self._settle(settled[partition], partition, customer_id)
                self._lives.changed(settled[partition], customer_id)
                if customer_id in settled[partition].schedule:
                    settled[partition].schedule.welcome(customer_id)
        return changed

    def _settle(self, owned: Owned, partition: int, customer_id: CustomerId) -> None:
        """It is called as it is watched now."""
        busy = self.view.busy(partition, customer_id) is not None
        self._lives.settled(owned, customer_id)
        entry = self._watched.entry(customer_id)
        customer = settle(owned, customer_id, entry, busy=busy)
        if customer is None or owned.lookups.waits(customer_id, replay.current(entry, customer.checkpoint)):
            return
        if not customer.scheduled and not busy:
            self._put(owned, customer_id, customer)

    def _schedule(self, partition: int, customer_id: CustomerId, customer: Customer, failed_until: float | None = None) -> None:
        """Put a customer back into its schedule: in its turn, or after a failure not before an instant."""
        owned = self._owned.get(partition)  # `None`: its writer is gone, and it is scheduled when the partition is restored
        if owned is not None and customer_id in owned.schedule:
            self._put(owned, customer_id, customer, failed_until)
        elif owned is not None:  # it is not to be read any more
            self._lives.free(owned, customer_id)

    def _put(self, owned: Owned, customer_id: CustomerId, customer: Customer, failed_until: float | None = None) -> None:
        entry = self._watched.entry(customer_id) or PLAIN
        place(owned, customer_id, customer, entry, self._lives.not_before(customer, entry, failed_until))

    def _hindrance(self, now: float) -> Wait | None:
        """What stops every call, whoever is due."""
        if self._draining:
            return Wait(math.inf, "draining")
        if self._watched.awaited:
            return Wait(math.inf, "who is watched is not known yet", "watched_set" if self._owned else None)
        if self.in_flight >= self._policy.calls_in_flight_max:
            return self._held_up(math.inf, "calls in flight", "in_flight", now)
        if now >= self._lease_until:
            return self._held_up(math.inf, "membership is not confirmed", "membership", now)
        if now < self._pauses.until:
            return self._held_up(self._pauses.until, self._pauses.why, self._pauses.by, now)
        pages = sum(len(held.batches) for held in self._held.values())
        if pages >= HELD_PAGES_MAX or sum(held.bytes for held in self._held.values()) >= HELD_BYTES_MAX:
            return self._held_up(math.inf, "commits", "commits", now)
        return None

    def _held_up(self, until: float, why: str, by: Hindrance, now: float) -> Wait:
        """Where no call is due there is none to hold up, and it is asked again when one is."""
        due_at = min((self._due_at(owned, now) for owned in self.view.ours.values()), default=math.inf)
        return Wait(until, why, by) if due_at <= now else Wait(min(until, due_at), why)

    def _due_at(self, owned: Owned, now: float) -> float:
        """When a call of whatever purpose is worth making, if the budget allows it."""
        return min(self._feed.due_at(owned), self.lister.due_at(owned, now), owned.schedule.due_at(now))

    def _fetch(self, partition: int, owned: Owned, now: float) -> Fetch:
        owned.schedule.pace(owned.budget.calls_per_second(now))
        customer_id = owned.schedule.take(now)
        customer = owned.customers[customer_id]
        customer.scheduled = False
        self._spend(owned, now)
        entry = self._watched.entry(customer_id) or PLAIN
        start = replay.started(customer.checkpoint, entry) or self._policy.begin(self._policy.start_of(entry), self._server_clock, now)
        going = walk.begun(customer.walk, customer.checkpoint, start, filters_of(entry), now)
        published = owned.lookups.found(customer_id, start.replay)
        fetch = Fetch(customer_id, partition, walk.query_of(going), now, going, customer.checkpoint, start, entry, published)
        self._in_flight[customer_id] = fetch
        return fetch

    def _observe(self, page: Page, now: float) -> tuple[walk.Shown, int]:
        """Take note of what any page tells of the API, whoever it is about. The page as the walk sees it, and the longest of late."""
        once = dedupe.once(page.entries)  # an entry that is shown twice may make a page longer than any other will be
        longest = max(self._page_lengths, default=walk.PAGE_ACTIVITIES_SHORT)
        if len(once) >= walk.PAGE_ACTIVITIES_SHORT:
            self._page_lengths.append(len(once))
        self._server_clock = self._server_clock.observe(page, now)
        self._pauses.answered(page.quota, page.server_time, now)
        return walk.shown_of(once, len(page.entries)), longest

    def _landing(self, fetch: Fetch, going: Walk) -> Landing:
        """Where nobody watches the customer any more, its call is judged as it was watched then."""
        return Landing(fetch, going, self._watched.entry(fetch.customer) or fetch.entry, self._server_clock, self._policy)

    def _landed(self, fetch: Fetch) -> Fetch:
        """As it counts by now."""
        known = self._in_flight.pop(fetch.customer, None)
        assert known is not None and known.walk is fetch.walk, "an answer to a call that was not ordered"
        return known

    def _standing(self, fetch: Fetch) -> Customer | None:
        """The customer, if its partition is still ours and its checkpoint is the one that the call was made on."""
        owned = self._owned.get(fetch.partition) or self._suspended.get(fetch.partition)
        customer = None if owned is None else owned.customers.get(fetch.customer)
        if customer is not None and customer.checkpoint != fetch.base:
            self._schedule(fetch.partition, fetch.customer, customer)
            return None
        return customer

    def _go_on(self, fetch: Fetch, going: Walk) -> None:
        """Ask for the same page in another manner: nothing was shown, so there is nothing to commit."""
        customer = self._standing(fetch)
        if customer is not None:
            customer.walk = going
            self._schedule(fetch.partition, fetch.customer, customer)

    def _again(self, fetch: Fetch) -> None:
        """Order the same anew, before all others: in its turn, where every second call goes into a token, it might meet each and never be read."""
        customer, owned = self._standing(fetch), self._owned.get(fetch.partition)
        if customer is not None and owned is not None and fetch.customer in owned.schedule:
            place(owned, fetch.customer, customer, self._watched.entry(fetch.customer) or PLAIN, first=True)

    def _way_refused(self, fetch: Fetch) -> Batch | None:
        outcome = walk.stuck(replace(fetch.walk, calls=fetch.walk.calls + 1))
        if isinstance(outcome, Walk):
            self._go_on(fetch, outcome)
            return None
        nothing = dedupe.Sifted((), (), fetch.start.recent, 0)
        return self._hold(self._landing(fetch, fetch.walk), fetch.start, nothing, outcome, 0)

    def _hold(self, landing: Landing, start: Checkpoint, sifted: dedupe.Sifted, outcome: Walk | walk.End, body_bytes: int) -> Batch:
        fetch = landing.fetch
        batch = landing.batch(start, sifted, outcome)
        rates, lesson = self._learn(fetch, start, batch.new, outcome)
        checkpoint = replace(batch.checkpoint, rates=rates)
        batch = replace(batch, checkpoint=checkpoint, lesson=lesson, body_bytes=body_bytes)
        self._held[fetch.partition].put(batch)
        return batch

    def _learn(
        self, fetch: Fetch, start: Checkpoint, records: tuple[Activity, ...], outcome: Walk | walk.End
    ) -> tuple[Rates | None, Lesson]:
        """What the page's new activities say of how often this customer acts. What another clock says lies ahead of ours happened now."""
        owned = self._owned.get(fetch.partition) or self._suspended.get(fetch.partition)
        if owned is None or fetch.customer not in owned.schedule or (start.replay is not None and isinstance(outcome, Walk)):
            return start.rates, NO_LESSON  # how a replay goes on says nothing but of the past
        until = fetch.walk.sent if isinstance(outcome, walk.End) else min(fetch.walk.sent, outcome.low_ms / 1000)
        times = sorted(min(record.created_at_ms / 1000, until) for record in records)
        since = self._policy.known_since(self._policy.start_of(fetch.entry), times, until)
        reading = owned.schedule.reading(fetch.customer, times, until, since)
        return reading.rates, reading.lesson

    def _commit_at(self, partition: int, owned: Owned, now: float) -> float:
        held = self._held[partition]
        if held.batches:
            return now if held.records >= COMMIT_RECORDS_MAX else owned.commit_at  # to wait makes no transaction larger than that
        owned.budget = owned.budget.refill(now)
        grant_at = max(owned.budget.grant_due_at(now), self.lister.wanted_at(owned, now), self._pauses.until, owned.commit_at)
        return min(grant_at, self._shares.say_at(owned), owned.leaving.next_look_at)

    def _ownership(self, ledger: Ledger) -> Ownership:
        return self._policy.ownership(self._partitions, self._watched.configured_hash, ledger)
