"""What becomes of a customer beside its activities: the API does not know it, it is deleted, nobody watches it any more, or it is to be forgotten.

    unknown     the API answers 404: it is tried ever less often, down to once a day (core/backoff.py)
    retired     it was deleted, or is unknown after it was known, and all that it did is published: it is called once a day, as another may take its id
    unwatched   its checkpoint is marked with when that was noticed, and removed once the mark is old enough
    forgotten   its checkpoint is removed at once, and what was read of it meanwhile is dropped

All of it stands in the checkpoint (`Life`), or is the checkpoint's absence, and moves as checkpoints do: by a batch that says on which it is built. Such
batches without records are made when a commit is (`tend`), a few at a time, and made anew for the next one: so what one says is still so when its
transaction begins, and it waits for no call of its customer, as those under way are left to land first.

What protects a checkpoint from being removed too soon: it must be old by two clocks, ours and the server's, of which the one that is behind counts, and is
marked by the one that is ahead; without a word of the server's nothing is marked or removed; and nothing is while a source of the watched set has yet to
say whom it names.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import msgspec
from msgspec.structs import replace

from poller.core import replay
from poller.core.cursor import ServerClock
from poller.core.owned import Customer, Held, Owned
from poller.core.policy import Policy
from poller.core.walk import Way
from poller.core.watched import Watched
from poller.errors import CustomerUnknown, Rejected, SourceError
from poller.model import ALIVE, NO_CHECKPOINT, Activity, Batch, Checkpoint, CustomerId, Fetch, Life, WatchEntry, Why

CREATED, DELETED = "customer.created", "customer.deleted"

DAY_SECONDS = 86_400.0
"""Between two calls of whoever is retired."""

UNKNOWN_SECONDS_MIN = 300.0
"""The API may be wrong for a moment."""

NOTED_AT_ONCE_MAX = 100
"""Checkpoints that are marked or removed by one commit: of a hundred thousand that are dropped, none holds up a read."""
NOTED_AT_ONCE_MIN = 10
"""Where very much is to be committed beside them."""

LOOKED_AT_ONCE = 2_000
LOOK_AGAIN_SECONDS = 0.05
LOOK_SECONDS = 3_600.0
"""How often all customers are looked through for marks that are old enough."""
PENDING_MAX = 10_000
"""Found, and not yet noted; before more are looked for."""

MARK_AHEAD_SECONDS_MAX = DAY_SECONDS
"""A mark that lies further ahead was made by clocks that were wrong, and would last for ever."""

OWNED_SECONDS_MIN = 3_600.0
"""An owner has known for so long that nobody watches a customer, before it removes its checkpoint."""

NOT_OF_A_READ: tuple[Why, ...] = ("unwatched", "watched again", "kept long enough", "forgotten")
"""What is decided when a commit is made."""


# ------------------------------------------------------------------------------------------------------------ deleted, unknown


def is_way_refused(fetch: Fetch, error: SourceError) -> bool:
    """Whether it may be the id in the query that is not known, and not the customer."""
    return isinstance(error, Rejected | CustomerUnknown) and fetch.walk.way in (Way.AFTER_ID, Way.AFTER_DATE)


def is_unknown(fetch: Fetch, error: SourceError) -> bool:
    """Whether the API does not know the customer."""
    return isinstance(error, CustomerUnknown) and not is_way_refused(fetch, error)


def lived(before: Life, records: Iterable[Activity], recent: Mapping[str, int], read: tuple[float | None, int], lookback_ms: int) -> Life:
    """What is known of a customer after a page that showed these for the first time. `recent`: the instants of all that is remembered; `read`: when
    the read was begun that is complete with this page (`None`: it is not), and the cursor.

    What happens within the lookback of the deletion may be a consequence of it; but a customer that is created is one. Whoever is retired as it was not
    known is known now.
    """
    deleted_ms = before.deleted_ms
    retired_at = None if deleted_ms is None else before.retired_at
    for record in sorted(records, key=lambda record: record.created_at_ms):
        if record.type == DELETED:
            deleted_ms, retired_at = record.created_at_ms, None
        elif retired_at is not None or record.type == CREATED:
            deleted_ms = retired_at = None
    if deleted_ms is not None and retired_at is None:
        complete_at, cursor_ms = read
        if max(recent.values(), default=0) > deleted_ms + lookback_ms:
            deleted_ms = None
        elif complete_at is not None and cursor_ms >= deleted_ms + lookback_ms:
            retired_at = complete_at
    return ALIVE if deleted_ms is None else Life(deleted_ms, retired_at)


def next_call_at(life: Life, now: float) -> float | None:
    """When whoever is retired is called next, a whole number of days after; `None`: it is not retired."""
    return None if life.retired_at is None else now + DAY_SECONDS - (now - life.retired_at) % DAY_SECONDS


# ------------------------------------------------------------------------------------------------------------------- unwatched


class Clocks(msgspec.Struct, frozen=True):
    """What time it is, rather too early, and rather too late: by our clock and the server's."""

    earliest: float
    latest: float


def clocks_of(clock: ServerClock, now: float) -> Clocks | None:
    """`None`: the server has not told what time it is."""
    return None if clock.by_date is None else Clocks(now + min(0.0, clock.by_date), now + max(0.0, clock.by_date))


def kept(
    checkpoint: Checkpoint, *, watched: bool, dropped: bool, clocks: Clocks | None, retention_seconds: float
) -> tuple[Checkpoint | None, Why] | None:
    """The checkpoint as it should be, and why; `None`: as it is. `dropped`: it was watched a moment ago. Without clocks nothing is marked or removed."""
    life = checkpoint.life
    since = life.unwatched_at
    if watched:
        return None if since is None else (replace(checkpoint, life=_as_one(replace(life, unwatched_at=None))), "watched again")
    if clocks is None:
        return None
    if since is None or dropped or since > clocks.latest + MARK_AHEAD_SECONDS_MAX:
        return replace(checkpoint, life=replace(life, unwatched_at=clocks.latest)), "unwatched"
    return (None, "kept long enough") if clocks.earliest - since >= retention_seconds else None


def _as_one(life: Life) -> Life:
    return ALIVE if life == ALIVE else life


# ------------------------------------------------------------------------------------------------------------------ the keeper


class Lives:
    """Tends to all of it for an engine, whose watched set and calls under way it looks at."""

    def __init__(self, policy: Policy, watched: Watched, in_flight: dict[CustomerId, Fetch]) -> None:
        self._retention_seconds = policy.checkpoint_retention_seconds
        self._unknown_seconds_min = max(UNKNOWN_SECONDS_MIN, policy.lookback_ms / 1000)
        self._watched = watched
        self._in_flight = in_flight
        self._answered_at = -math.inf
        self.now = -math.inf
        """As was last told; some of what happens is told without."""

    # What happens.

    def answered(self, customer: Customer | None, now: float) -> None:
        """A page came: whoever it is about is known to the API, and so are our credentials and the route."""
        self._answered_at = self.now = now
        if customer is not None:
            customer.unknown_since = None

    def unknown(self, fetch: Fetch, customer: Customer, now: float) -> Batch | None:
        """The API does not know it; what retires it, where it was known, and that lasts while others are known, or for a day."""
        self.now = now
        if customer.unknown_since is None:
            customer.unknown_since = now
        known, lasts = customer.checkpoint, now - customer.unknown_since
        if known is None or known.last_read is None or known.life.retired_at is not None or lasts < self._unknown_seconds_min:
            return None
        if self._answered_at < customer.unknown_since and lasts < DAY_SECONDS:
            return None  # perhaps it is another project that is asked, in which nobody is known
        after = replace(known, life=Life(known.life.deleted_ms, retired_at=now))
        return Batch(fetch.customer, fetch.partition, known, after, why="gone")

    def changed(self, owned: Owned, customer_id: CustomerId) -> None:
        """It is watched otherwise than before, or no longer."""
        dropped = customer_id not in self._watched
        owned.leaving.pending[customer_id] = dropped
        if dropped:
            owned.leaving.look_at = min(owned.leaving.look_at, self.now + LOOK_SECONDS)

    def free(self, owned: Owned, customer_id: CustomerId) -> None:
        """A call of it has landed, or a batch is committed, though it is not to be read."""
        owned.leaving.pending.setdefault(customer_id, False)

    def settled(self, owned: Owned, customer_id: CustomerId) -> None:
        """Who is to be forgotten is, at the next commit; a call under way comes to nothing."""
        if not self._to_be_forgotten(customer_id):
            owned.leaving.forgotten.pop(customer_id, None)
            return
        fetch = self._in_flight.get(customer_id)
        if fetch is not None:
            self._in_flight[customer_id] = replace(fetch, base=NO_CHECKPOINT)
        owned.leaving.pending.setdefault(customer_id, False)

    def not_before(self, customer: Customer, entry: WatchEntry, failed_until: float | None) -> float | None:
        """When it may be called next: whoever is retired only once a day, but for pages that follow, and where it was another failure."""
        checkpoint = customer.checkpoint
        retired = None if checkpoint is None or replay.goes_on(entry, checkpoint) else next_call_at(checkpoint.life, self.now)
        unknown = customer.unknown_since is not None
        if retired is None or (not unknown and (failed_until is not None or customer.walk is not None)):
            return failed_until
        return retired

    def noted(self, owned: Owned, batch: Batch, now: float) -> None:
        """A batch without a read is committed. Of whom nothing is left but that somebody may watch it, nothing is known."""
        self.now = now
        customer = owned.customers[batch.customer]
        assert customer.checkpoint == batch.base
        if not batch.removes:
            customer.checkpoint = batch.checkpoint
            owned.leaving.pending.update({} if batch.customer in self._watched else {batch.customer: False})
            return
        if batch.customer in owned.schedule:
            owned.schedule.remove(batch.customer)
        del owned.customers[batch.customer]
        entry = self._watched.entry(batch.customer)
        if batch.why == "forgotten" and entry is not None and entry.forget:
            owned.leaving.forgotten[batch.customer] = entry

    # What is to be committed.

    def tend(self, partition: int, owned: Owned, held: Held, clock: ServerClock, now: float) -> list[CustomerId]:
        """Put into what is held whatever is to be noted with the next commit, which has not begun. Returned are those of whom it was no longer so."""
        self.now = now
        owned.leaving.since = min(owned.leaving.since, now)
        withdrawn = [batch.customer for batch in held.batches.values() if batch.why in NOT_OF_A_READ]
        for customer_id in withdrawn:
            held.pop(customer_id)
            owned.leaving.pending.setdefault(customer_id, False)
        clocks = None if self._watched.awaited else clocks_of(clock, now)
        owned.leaving.next_look_at = math.inf if clocks is None else self._look(owned, clocks, now)
        room = max(NOTED_AT_ONCE_MIN, NOTED_AT_ONCE_MAX - len(held.batches))
        while room and owned.leaving.pending:
            batch = self._note(partition, owned, held, clocks)
            if batch is not None:
                held.put(batch)
                room -= 1
        return [customer_id for customer_id in withdrawn if customer_id not in held.batches]

    def _note(self, partition: int, owned: Owned, held: Held, clocks: Clocks | None) -> Batch | None:
        """What is to be noted of the one who waits longest."""
        customer_id, dropped = owned.leaving.pending.popitem(last=False)
        if self._to_be_forgotten(customer_id):
            return self._forgets(partition, owned, held, customer_id)
        customer = owned.customers.get(customer_id)
        if customer is None or customer.checkpoint is None or self._is_busy(owned, held, customer_id):
            return None
        after = kept(
            customer.checkpoint,
            watched=customer_id in self._watched,
            dropped=dropped,
            clocks=clocks,
            retention_seconds=self._retained_seconds(owned),
        )
        if after is None:
            return None
        checkpoint, why = after
        removes = checkpoint is None
        return Batch(customer_id, partition, customer.checkpoint, checkpoint or NO_CHECKPOINT, walk=customer.walk, why=why, removes=removes)

    def _forgets(self, partition: int, owned: Owned, held: Held, customer_id: CustomerId) -> Batch | None:
        """A tombstone, also where there is no checkpoint, as it tells whoever asked for it that none will come; once for each time that it is asked."""
        if owned.leaving.forgotten.get(customer_id) == self._watched.entry(customer_id):
            return None
        if customer_id in held.batches:
            held.pop(customer_id)
        customer = owned.customers.setdefault(customer_id, Customer(None))
        return Batch(customer_id, partition, customer.checkpoint, NO_CHECKPOINT, why="forgotten", removes=True)

    def _retained_seconds(self, owned: Owned) -> float:
        """Nothing is removed by whoever came but now: somebody may have watched it, and dropped it again, while nobody noted that."""
        is_new = self.now - owned.leaving.since < min(self._retention_seconds, OWNED_SECONDS_MIN)
        return math.inf if is_new else self._retention_seconds

    def _to_be_forgotten(self, customer_id: CustomerId) -> bool:
        entry = self._watched.entry(customer_id)
        return entry is not None and entry.forget

    def _is_busy(self, owned: Owned, held: Held, customer_id: CustomerId) -> bool:
        """Then it is free later; or it is read in its turn, which takes the mark away."""
        return customer_id in self._in_flight or customer_id in held.batches or customer_id in owned.schedule

    def _look(self, owned: Owned, clocks: Clocks, now: float) -> float:
        """Look through some of the customers for what is to be noted; when to look on."""
        leaving = owned.leaving
        if now < leaving.look_at:
            return leaving.look_at
        if len(leaving.pending) < PENDING_MAX:
            if leaving.looking is None:
                leaving.looking, leaving.found = iter(list(owned.customers)), False
            if self._look_on(owned, leaving.looking, clocks):
                leaving.looking = None
                leaving.look_at = now + LOOK_SECONDS if leaving.found else math.inf
                return leaving.look_at
        leaving.look_at = now + LOOK_AGAIN_SECONDS
        return leaving.look_at

    def _look_on(self, owned: Owned, looking: Iterator[CustomerId], clocks: Clocks) -> bool:
        """Whether that was the last of them."""
        some = list(islice(looking, LOOKED_AT_ONCE))
        for customer_id in some:
            customer, watched = owned.customers.get(customer_id), customer_id in self._watched
            if customer is None or customer.checkpoint is None:
                continue
            owned.leaving.found |= not watched
            if kept(customer.checkpoint, watched=watched, dropped=False, clocks=clocks, retention_seconds=self._retained_seconds(owned)):
                owned.leaving.pending.setdefault(customer_id, False)
        return len(some) < LOOKED_AT_ONCE
