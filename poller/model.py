"""The values that cross module boundaries: what was read, what is to be published, and what is ordered next.

All are frozen: state is replaced, never edited. Instants of the API are whole milliseconds since the Unix epoch (`…_ms`), rounded down;
instants of our own clock are seconds (`float`) of the one clock that the worker is given (see `worker.py`).
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Literal, NewType

import msgspec

CustomerId = NewType("CustomerId", str)
"""A Voucherify id (`cust_…`) or a source id, as configured: any non-empty text without control characters, but `.` and `..`."""

ActivityId = NewType("ActivityId", str)
"""Opaque; compared byte for byte, never ordered."""


PAGE_ACTIVITIES_MAX = 100
"""Activities on a page: the most that the API documents."""


class Activity(msgspec.Struct, frozen=True, gc=False):
    """One event that Voucherify recorded for a customer: the head that we read, and the whole as received."""

    id: ActivityId
    type: str
    created_at: str
    created_at_ms: int
    raw: bytes


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """One entry of a page that cannot be published; it goes to its own topic as received."""

    reason: str
    raw: bytes
    created_at_ms: int | None = None
    """When it happened, where the entry still says so."""


class Quota(msgspec.Struct, frozen=True, gc=False):
    """What the server says that it grants; observed, not obeyed, unless nothing remains. `None`: not said."""

    limit: int | None = None
    remaining: int | None = None
    resets_at: float | None = None
    """Unix time in seconds when the next call may be made (`X-Rate-Limit-Retry`)."""


class Response(msgspec.Struct, frozen=True, gc=False):
    """One successful answer of the API, not yet decoded."""

    body: bytes
    quota: Quota = Quota()
    server_time: float | None = None
    """The `Date` header, Unix time in seconds; `None` where it is absent or no date."""


class Page(msgspec.Struct, frozen=True, gc=False):
    """One response, decoded: its entries in the order of the body, the good ones and the others."""

    entries: tuple[Activity | DeadLetter, ...]
    quota: Quota = Quota()
    server_time: float | None = None
    body_bytes: int = 0


class Query(msgspec.Struct, frozen=True, gc=False):
    """Where a page shall begin; at most one `start…` is set. None set: at the customer's first activity. Always ascending by `created_at`."""

    start_date_ms: int | None = None
    starting_after_id: ActivityId | None = None
    starting_after_ms: int | None = None
    limit: int = PAGE_ACTIVITIES_MAX
    filters: tuple[tuple[str, str], ...] = ()
    """Names and values: only such activities are asked for."""


Whose = Literal["ours", "another's", "nobody's"]
"""Who reads a customer: this process, another replica, or nobody."""


class Hint(msgspec.Struct, frozen=True, gc=False):
    """A sign that a customer did something: a reason to read it sooner, and nothing else."""

    customer: CustomerId
    at_ms: int | None
    """When that was, by the server's time; `None`: not said."""


class Rewind(msgspec.Struct, frozen=True, gc=False):
    """The order to publish again what was created from an instant on."""

    id: str
    """Names the replay that it asks for: in the records' header, and so that it is begun once."""
    from_ms: int
    missing_only: bool = False
    """What stands in the activities topic is not published again."""


class WatchEntry(msgspec.Struct, frozen=True, gc=False):
    """How one customer is to be watched, as a source of the watched set says; a bare id stands for the defaults."""

    start: Literal["now", "earliest"] | int | None = None
    """Where it begins, in place of `POLLER_START`, while it has no checkpoint: milliseconds for an instant."""
    until_ms: int | None = None
    """What was created at or after this instant is not published, and once that is certain it is no longer read."""
    weight: float = 1.0
    """How many others' activities one of its own counts for, when calls are divided."""
    paused: bool = False
    """It is not read for now; what happens meanwhile is published once it is resumed."""
    campaign_type: str | None = None
    """Only activities that the API gives for this filter, as for the two others."""
    campaign_id: str | None = None
    product_id: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Copied to its records, beside those that each record has."""
    replay: Rewind | None = None
    """The last rewind that was ordered, whether it is done or not."""
    forget: bool = False
    """It is not read, and its checkpoint is removed."""
    found: str | None = None
    """Nobody named it: it was found among the project's customers, by patterns of this digest."""


PLAIN = WatchEntry()


class Rates(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of how often one customer acts, as of its last read; `core/rates.py` alone knows what to make of it."""

    at: float
    """Everything up to this instant is known."""
    due: float | None = None
    """When the next read is worth the price of a call, as found at the last one; `None`: never read to the end."""
    running: float = 0.0
    """x: visits expected to be running."""
    visits: float = 0.0
    """Visits seen to start, the older ones counting less."""
    exposure: float = 0.0
    """The seconds over which they were seen, likewise."""
    last: float = 0.0
    """When the last activity was created; before the first one it says nothing."""


class Lesson(msgspec.Struct, frozen=True, gc=False):
    """What the activities of one read teach about how visits go: p and g of `core/rates.py`."""

    activities: int
    follows: float
    """Σr: how many of them are expected to have followed another of the same visit."""
    gap_seconds: float
    """Σr·gap: after how long, all together."""


NO_LESSON = Lesson(0, 0.0, 0.0)


class Pool(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What all customers of a partition have shown together: sums of lessons, the older ones counting less. At first what is taken for likely."""

    activities: float = 20.0
    follows: float = 10.0
    gap_seconds: float = 3_000.0


class Learned(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a partition's owner has learned beside its customers' rates; it rides with the partition."""

    pool: Pool = Pool()
    price: float = 1.0
    """Of a call, in units of what a customer at the mean rate is worth one round after its last read; so it outlives new customers and budgets."""
    slots: float = 1.0
    """The mean time between calls, where that of the budget's pace is 1."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """One entry of the change feed: a customer that was changed."""

    names: tuple[CustomerId, ...]
    """Its ids, Voucherify's and the source's: it may be watched under either."""
    updated_at_ms: int


class Changes(msgspec.Struct, frozen=True, gc=False):
    """One answer of the change feed."""

    changes: tuple[Change, ...]
    quota: Quota = Quota()
    server_time: float | None = None


class Feed(msgspec.Struct, frozen=True, gc=False):
    """How the change feed stands; `core/feed.py` alone knows what to make of it. It rides with partition 0."""

    read_to_ms: int | None = None
    """The newest `updated_at` that was seen; `None`: it was never read."""
    called_at: float | None = None
    announced: float = 0.0
    """New activities that the reads have brought which it prompted, the older ones counting less."""
    seconds: float = 0.0
    """The time over which they were counted, likewise."""
    not_before: float = 0.0
    """It could not be read, and is not asked before then."""
    caught_up: bool = False
    """The last answer told nothing new."""


class Life(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of a customer itself; `core/lifecycle.py` alone knows what to make of it. Unix time in seconds, but for `deleted_ms`."""

    deleted_ms: int | None = None
    """When it was deleted, by its own activities."""
    retired_at: float | None = None
    """Since when it is called no more than once a day, as it is gone and all that it did is published."""
    unwatched_at: float | None = None
    """When it was noticed that nobody watches it any more."""


ALIVE = Life()
"""One for nearly all."""


class Listed(msgspec.Struct, frozen=True, gc=False):
    """One customer of the project, as it is listed."""

    id: CustomerId
    source_id: CustomerId | None = None
    created_at_ms: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    """Names and values, as text; where a value is a list, each of its values."""


class ListPage(msgspec.Struct, frozen=True, gc=False):
    """One answer of the list of customers."""

    customers: tuple[Listed, ...]
    entries: int
    """With those that cannot be read."""
    quota: Quota = Quota()
    server_time: float | None = None


class Listing(msgspec.Struct, frozen=True, gc=False):
    """How far the project's customers are listed; `core/listing.py` alone knows what to make of it. It rides with partition 0."""

    match: str = ""
    """The digest of the patterns by which it is judged who is watched."""
    began_ms: int | None = None
    """The server's time at its first call."""
    look_ms: int | None = None
    """The same of this look: since it last began at its beginning."""
    after_ms: int | None = None
    """Who was created after this instant is listed next; `None`: it begins."""
    newest_ms: int | None = None
    """The newest `created_at` that was seen."""
    whole: bool = False
    """Its end was seen: from then on what is new is looked for."""
    ended: bool = False
    """The last answer showed the end."""
    gap: bool = False
    """Some may not have been shown."""
    entries_max: int = 0
    """Of its answers, the most entries of one."""
    known: int = 0
    """Whom it has found."""
    shown: Mapping[str, int] = {}
    """Who was shown and will be again by the next look, and when each was created, in milliseconds."""
    called_at: float | None = None
    found: float = 0.0
    """New customers since it was whole, the older ones counting less."""
    seconds: float = 0.0
    """The time over which they were counted, likewise."""
    not_before: float = 0.0
    """It could not be read, and is not asked before then."""


NO_IDS: Mapping[str, int] = MappingProxyType({})
"""One for all customers who did nothing lately, as nearly all are."""


class Replay(msgspec.Struct, frozen=True, gc=False):
    """A rewind under way; `core/replay.py` alone knows what to make of it."""

    rewind: Rewind
    until_ms: int
    """What was created before this instant had been published before it began …"""
    recent: Mapping[str, int] = NO_IDS
    """… and so had these, created since; without those that this replay has met."""
    stalled: bool = False
    """Its last read ended for want of more, and more is to come all the same: it goes on in its customer's turn."""


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """How far one customer has been read; committed in the same transaction as the records that it covers."""

    cursor_ms: int
    """Everything created before this instant is taken as published or will never be; 0: nothing is."""
    recent: Mapping[str, int] = NO_IDS
    """Ids published (or known) at or after the cursor, and when each was created, in milliseconds."""
    last_read: float | None = None
    """Unix time in seconds of the last complete read; `None`: never read to the end."""
    baseline_ms: int | None = None
    """Set until the first read of a customer that starts now is complete: what was created up to this instant is remembered, not published."""
    stepped_ms: int | None = None
    """The last instant whose ties could not be walked through: the next reads step over it at once."""
    rates: Rates | None = None
    """How often the customer acts; `None`: nothing was learned of it yet."""
    life: Life = ALIVE
    replay: Replay | None = None
    """Under way: the cursor was set back, and what is met anew is published again."""
    replayed: str | None = None
    """The id of the last replay that was begun."""


NO_CHECKPOINT = Checkpoint(cursor_ms=-1)
"""No customer has it."""


class Ledger(msgspec.Struct, frozen=True, gc=False):
    """The durable state of one partition's budget. What may be spent before the next commit is already spent in it."""

    level: float
    """Calls in the rate's bucket; may be below zero."""
    cycle: str | None = None
    """The day on which the counted cycle began, `YYYY-MM-DD`; `None` where no cycle is configured."""
    cycle_spent: int = 0


class Share(msgspec.Struct, frozen=True, gc=False):
    """A partition's part of the budget, where several divide it; `core/shares.py` alone knows what to make of it. Maps are by partition."""

    demand: float = 0.0
    """What its customers are worth in calls, as a proportion to others' demand."""
    customers: int = 0
    calls_per_second: float = 0.0
    """What it may spend now, by the rate and by what is left in the cycle."""
    given: Mapping[int, int] = {}
    """Parts that it ever gave."""
    taken: Mapping[int, int] = {}
    """Parts that it ever took of what was given to it."""
    cycle: str | None = None
    """The cycle that the rest is about."""
    cycle_parts: int = 0
    """What it had when that began."""
    cycle_given: Mapping[int, int] = {}
    """Of the cycle itself, in the same parts: what was left in it and went along."""
    cycle_taken: Mapping[int, int] = {}


class Ownership(msgspec.Struct, frozen=True, gc=False):
    """What an owner of a partition of the checkpoint topic says of itself, rewritten by each of its commits."""

    application_id: str
    url: str
    endpoint: str
    partitions: int
    watched_hash: str
    """Of the configured list, so that replicas with different lists are noticed."""
    owner: str
    ledger: Ledger
    learned: Learned = Learned()
    feed: Feed | None = None
    """Of partition 0's owner, where the change feed is read."""
    listing: Listing | None = None
    """Of partition 0's owner, where every customer of the project is watched."""
    share: Share | None = None
    """Where several partitions divide the budget."""


class Restored(msgspec.Struct, frozen=True):
    """What a partition of the checkpoint topic held when it was opened."""

    checkpoints: Mapping[CustomerId, Checkpoint]
    ownership: Ownership | None
    """`None`: nobody has owned this partition before."""


class Walk(msgspec.Struct, frozen=True, gc=False):
    """One read of a customer under way; `core/walk.py` alone knows what to make of it."""

    sent: float
    """When the read's first request was sent."""
    low_ms: int
    """Everything in [cursor, low) has been shown to this walk; the instant `low` itself is not certain."""
    limit: int = PAGE_ACTIVITIES_MAX
    """How many activities are asked for at once: fewer where so many were too large."""
    way: int = 0
    """Which of the ways on is tried at this `low`."""
    calls: int = 0
    """Pages received so far."""
    server_time: float | None = None
    """The first response's `Date`, less the time that the call took."""
    page_ids: tuple[str, ...] = ()
    """Ids of the last page that could be trusted, in its order."""
    low_keys: tuple[str, ...] = ()
    """What was shown at `low`, in the order of the page that showed it last."""
    start_date_ignored: bool = False
    stepped_ms: int | None = None
    """The last instant that was stepped over."""
    gap: bool = False
    """Something may have been missed on the way."""
    filters: tuple[tuple[str, str], ...] = ()
    """Of each of its queries."""
    replay: str | None = None
    """The id of the replay that it is part of."""


class Fetch(msgspec.Struct, frozen=True, gc=False):
    """The order to make one call."""

    customer: CustomerId
    partition: int
    query: Query
    at: float
    """When it was ordered: the call is taken as sent then."""
    walk: Walk
    base: Checkpoint | None
    """The customer's checkpoint; `None`: it has none yet."""
    start: Checkpoint
    """What the walk stands on: `base`, or for a new customer where it begins."""
    entry: WatchEntry = PLAIN
    """How the customer was watched then."""
    published: Collection[str] = frozenset()
    """Of a replay that publishes only what is missing: the ids that stand in the activities topic."""


class FeedCall(msgspec.Struct, frozen=True, gc=False):
    """The order to ask the change feed, in one call."""

    partition: int
    """In whose budget it is spent."""
    since_ms: int
    """Who was changed after this instant."""
    at: float
    limit: int = PAGE_ACTIVITIES_MAX


class ListCall(msgspec.Struct, frozen=True, gc=False):
    """The order to list customers of the project, in one call."""

    partition: int
    """In whose budget it is spent."""
    after_ms: int | None
    """Who was created after this instant, the oldest first; `None`: from the first one on."""
    at: float
    limit: int = PAGE_ACTIVITIES_MAX


class Lookup(msgspec.Struct, frozen=True, gc=False, eq=False):
    """The order to find out which activities of some customers stand in the activities topic."""

    partition: int
    customers: frozenset[CustomerId]
    since_ms: int
    """What was published before this instant does not matter."""


Hindrance = Literal["budget", "cycle", "quota", "failures", "in_flight", "membership", "commits", "watched_set"]
"""What holds up a call that is due: the rate's pace, the cycle's, the API's refusal, a pause after the API failed, the calls under way, the group, what
Kafka has not committed, or that it is not known yet who is watched.
"""


class Wait(msgspec.Struct, frozen=True, gc=False):
    """The order to do nothing until an instant (`inf`: until something else happens)."""

    until: float
    why: str
    """For the operator: `nobody due`, `budget`, `quota`, …"""
    by: Hindrance | None = None
    """What holds up the calls; `None`: none is due, or none is to be made any more."""


Why = Literal["unwatched", "watched again", "gone", "kept long enough", "forgotten"]
"""Why a checkpoint is written or removed without a read; see `core/lifecycle.py`."""


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Records, and the checkpoint that covers them: published together or not at all."""

    customer: CustomerId
    partition: int
    base: Checkpoint | None
    checkpoint: Checkpoint
    records: tuple[Activity, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    walk: Walk | None = None
    """Where this read goes on after the commit; `None`: it is complete."""
    lesson: Lesson = NO_LESSON
    """What its records teach beyond this customer; counts once they are committed."""
    known: int = 0
    """Activities of the page that had been published before."""
    gap: bool = False
    """Something may have been missed, and nothing that we know to ask would show it."""
    followable: bool = True
    """False: the endpoint ignores what it is asked, so that this customer cannot be followed."""
    dropped: int = 0
    """Recent ids forgotten because there were too many."""
    body_bytes: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    """Of each of its records, beside those that each record has."""
    why: Why | None = None
    """Where nothing was read."""
    removes: bool = False
    """The checkpoint is removed, with a tombstone; then `checkpoint` is `NO_CHECKPOINT`, and is not written."""
    again: frozenset[str] = frozenset()
    """The ids of those records that the checkpoint's last replay publishes again."""

    @property
    def new(self) -> tuple[Activity, ...]:
        """The other records: published for the first time."""
        return tuple(record for record in self.records if record.id not in self.again) if self.again else self.records


class Commit(msgspec.Struct, frozen=True):
    """The order to publish: one transaction on one partition."""

    partition: int
    batches: tuple[Batch, ...]
    ownership: Ownership
    grant: int
    """Calls that may start between this commit's beginning and the next one's."""


class Assigned(msgspec.Struct, frozen=True, gc=False):
    """Membership: from now on exactly these partitions are ours."""

    partitions: frozenset[int]


class Rebalancing(msgspec.Struct, frozen=True, gc=False):
    """Membership: the assignment is being made anew; what is ours stays ours until the next `Assigned`, but no call may start."""


class Confirmed(msgspec.Struct, frozen=True, gc=False):
    """Membership: the group's coordinator answered a heartbeat that was sent at this instant of the worker's clock."""

    at: float


MembershipEvent = Assigned | Rebalancing | Confirmed
