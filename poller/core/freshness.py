"""Whom to call next, so that a budget of calls buys the freshest data.

*The rule.* A customer is due when the time that its unpublished activities have waited, all together and in expectation, reaches the price of a
call (`rates.Forecast.waiting`). The due time is found once for each read and put in a heap. Calls are what is scarce, so whoever is due
first is called whenever a call may be made, early or late; and what customers were worth when they were called moves the price. A new price
moves all due times alike, so what stands in the heap keeps its order.

*The bound.* Nobody shall go unread for longer than M. Customers stand in a queue too, in the order of their last calls; its head is called
when one more slot (the time between two calls) would make it too late. As calls are a slot apart so are deadlines, and while M ≥ N/B (N
customers, B calls a second) each finds its slot. After an outage the queue takes every second call for a round of N/B, so that the due are not
forgotten, and then every call until the bound holds again. Who was never called is overdue, and comes first in the queue.

*The pace.* B is what the budget allows, or less where calls do not come as fast: the API is slow, tells us to wait as others use up the quota, or
pages of the past take their part. With a B that is never reached everybody would be overdue all the time, and the queue would take every call.
So it is learned from the time between calls.

A customer that is called is away, and comes back with what was read (`put`), or to wait after a failure (`put_failed`).
"""

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush

import msgspec

from poller.core.rates import Forecast, forecast, habits_of, observed, taught
from poller.model import NO_LESSON, CustomerId, Learned, Lesson, Rates

ROUNDS_STALENESS = 2.0
"""M, where none is set: so many rounds of N/B."""

ROUNDS_STALENESS_MIN = 1.1
"""Below one round M could not be held, and just above there would be no call left for whoever is due."""

LATE = 1.05
"""Who is overdue by more than a twentieth of M is so after an outage; by less, because others had many pages."""

PRICE_WINDOW_CALLS, PRICE_WINDOW_ROUNDS = 1000, 2
"""The price follows what calls are worth over so many of them, and so many rounds of all customers: a quicker one misjudges who comes first."""

PRICE_MIN, PRICE_MAX = 1e-6, 1e6
"""In the unit of `Learned.price`."""

PACE_CALLS_FIRST, PACE_CALLS_MIN = 20, 100
"""The pace of calls is what it was over so many, more and more with each, up to a round of all customers; but at least so many then."""

PACE_GAP_MAX, PACE_GAP_SLOTS_MAX = 0.1, 20
"""As long as that part of all these calls should take, or so many of them, and no longer, is a gap between two of them taken for: after an outage they are
as before, also where the bound leaves no more than a tenth to spare.
"""

NEVER_CALLED_DUE = -1e15
"""When whoever was never called has been due."""

VOID_MAX = 1_000
"""Void entries of a heap, beside twice those that count: of more it is made anew."""

START_VISITS, START_EXPOSURE_SECONDS = 1.0, 28_800.0
"""What the fleet's rate of visits is taken for before there is other evidence: three a customer and day."""

UNKNOWN = Rates(at=0.0)
"""Of a customer that was never read."""

UNIT = 1e-6
"""The sums over all customers are kept in whole numbers, so that they are the same in whatever order customers come and go."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What a read of one customer teaches; it is to be committed before it counts."""

    rates: Rates
    """For the customer's checkpoint."""
    lesson: Lesson = NO_LESSON


def held_staleness_seconds(staleness_seconds_max: float | None, round_seconds: float) -> float:
    """M: what is set, or so many rounds; but no less than can be held."""
    return max(staleness_seconds_max or ROUNDS_STALENESS * round_seconds, ROUNDS_STALENESS_MIN * round_seconds)


class Place(msgspec.Struct, gc=False, eq=False):
    """One customer, and where it stands."""

    customer: CustomerId
    rates: Rates
    called: float
    """Its place in the queue: when it was called last, or its turn passed; `-inf`: never."""
    weight: float
    """How much its waiting counts, beside others'."""
    due: float
    entry: int = 0
    """The number of its one valid entry in the heaps; 0: it is away."""
    waits: bool = False
    """It stands here, but is not to be called before it is due: it failed."""
    prompted: bool = False
    """Something other than its rates makes it due, so that its call says nothing of the price."""


class Freshness:
    """The customers of one partition, and which of them to call; see the top of this file."""

    def __init__(self, learned: Learned, calls_per_second: float, staleness_seconds_max: float | None = None) -> None:
        assert calls_per_second > 0
        self._pool = learned.pool
        self._price = learned.price
        self._slots = learned.slots
        """What the time from one call to the next is on average, where the budget's pace makes it 1."""
        self._paced = PACE_CALLS_FIRST
        """Calls in that average."""
        self._taken_at: float | None = None
        """When the last call was made, if the time to the next says something."""
        self._budget_calls_per_second = calls_per_second
        self._staleness_seconds_max = staleness_seconds_max
        self._places: OrderedDict[CustomerId, Place] = OrderedDict()
        """The queue: in the order of `called`, but for those in `_early`."""
        self._early: list[tuple[float, int, Place]] = []
        """By `called`: who came behind others that were called later; void once it is called."""
        self._latest = -math.inf
        """The latest `called` of all."""
        self._index: list[tuple[float, int, Place]] = []
        """By due time: who may be called."""
        self._waiting: list[tuple[float, int, Place]] = []
        """By due time: who may not be called before."""
        self._entries = 0
        self._standing = 0
        self._visits = self._exposure = 0
        self._outage_at: float | None = None
        """Since when the queue has been catching up."""
        self._queue_served = False
        """The last call while it does so went to the queue."""
        self._habits = habits_of(self._pool)
        self._count(None, None)

    def __len__(self) -> int:
        """Customers that stand here: known, and not away."""
        return self._standing

    def __contains__(self, customer: CustomerId) -> bool:
        return customer in self._places

    def __iter__(self) -> Iterator[CustomerId]:
        """All that are known, wherever they are."""
        return iter(self._places)

    # What is asked.

    @property
    def learned(self) -> Learned:
        """For a successor, beside each customer's rates."""
        return Learned(self._pool, self._price, self._slots)

    @property
    def calls_per_second(self) -> float:
        """B: how many calls are really made, as far as the budget allows them."""
        return self._budget_calls_per_second / max(1.0, self._slots)

    @property
    def round_seconds(self) -> float:
        """N/B: how long it takes to call everybody once."""
        return len(self._places) / self.calls_per_second

    @property
    def staleness_seconds(self) -> float:
        """M, as it is held: never less than the budget allows."""
        return held_staleness_seconds(self._staleness_seconds_max, self.round_seconds)

    @property
    def called_first(self) -> float | None:
        """When whoever heads the queue was called, or its turn passed, of those who ever were; `None`: nobody says."""
        if not self._places:
            return None
        heads = (next(iter(self._places.values())).called, self._longest_ago().called)
        return min((called for called in heads if called > -math.inf), default=None)

    @property
    def price(self) -> float:
        """Of a call, in activity·seconds: the waiting that one more would save."""
        return self._price * self._fleet / (1 - self._habits.chance) * self.round_seconds**2 / 2

    @property
    def demand(self) -> float:
        """B·√c: what these customers are worth in calls, beside other partitions' (core/shares.py). With f ∝ √λ it is Σ√λ/√2, whatever B is."""
        return self.calls_per_second * math.sqrt(self.price)

    @property
    def watched(self) -> int:
        """N."""
        return len(self._places)

    def rates(self, customer: CustomerId) -> Rates:
        return self._places[customer].rates

    def forecast(self, customer: CustomerId) -> Forecast:
        """What is expected of the time since its last read."""
        return forecast(self._places[customer].rates, self._fleet, self._habits)

    def due_at(self, now: float) -> float:
        """When somebody may be called; `now` if at once, `inf` if nobody stands here. Who is due later does not hold a call back."""
        self._wake(now)
        if _first(self._index) is not None:
            return now
        return math.inf if _first(self._waiting) is None else self._waiting[0][0]

    def place_of(self, customer: CustomerId, now: float) -> tuple[float, int]:
        """For who stands here: when it may be called, and how many calls of others come before, as things are now."""
        self._wake(now)
        place = self._places[customer]
        own = (place.due, place.entry)
        by_index = sum(entry == other.entry and (due, entry) < own for due, entry, other in self._index)
        slots_left = math.ceil(max(0.0, place.called + self.staleness_seconds - now) * self.calls_per_second)
        turn = (place.called, place.entry)
        in_queue = sum(other.entry > 0 and not other.waits and (other.called, other.entry) < turn for other in self._places.values())
        by_queue = max(slots_left, in_queue)
        return (place.due if place.waits else now), min(by_index, by_queue)

    # Who is here, and what may be spent on them.

    def pace(self, calls_per_second: float) -> None:
        """The budget's pace from now on; where it stands still, the last one holds."""
        if calls_per_second > 0:
            self._budget_calls_per_second = calls_per_second

    def add(self, customer: CustomerId, rates: Rates | None, called: float = -math.inf, weight: float = 1.0, *, away: bool = False) -> None:
        """A new customer, or one restored: called last then, or never."""
        assert customer not in self._places
        place = self._places[customer] = Place(customer, rates or UNKNOWN, called, weight, _due(rates, called))
        self._count(None, rates)
        if called < self._latest:
            self._entries += 1  # of two who were called at once, the first to come is first
            heappush(self._early, (called, self._entries, place))
            if len(self._early) > VOID_MAX + 2 * len(self._places):
                self._early = [one for one in self._early if self._places.get(one[2].customer) is one[2]]
                heapify(self._early)
        self._latest = max(self._latest, called)
        if not away:
            self._stand(place, self._index)

    def ready(self, now: float) -> int:
        """How many may be called."""
        self._wake(now)
        return self._standing - sum(entry == place.entry for _, entry, place in self._waiting)

    def remove(self, customer: CustomerId) -> None:
        """It is no longer read, wherever it stands."""
        place = self._places.pop(customer)
        self._count(place.rates, None)
        self._standing -= place.entry > 0
        place.entry, place.called = 0, math.inf

    def withdraw(self, customer: CustomerId) -> bool:
        """It is away from now on; whether it stood here."""
        place = self._places[customer]
        stood = place.entry > 0
        self._standing -= stood
        place.entry, place.waits = 0, False
        return stood

    def weigh(self, customer: CustomerId, weight: float) -> None:
        """How much its waiting counts, from its next read on."""
        self._places[customer].weight = weight

    # Calls.

    def take(self, now: float) -> CustomerId:
        """Whom to call; only where `due_at` says now."""
        self._wake(now)
        self._observe_pace(now)
        place = self._overdue(now) or self._earliest()
        if not place.prompted and place.rates.due is not None:
            self._observe_worth(place, now)
        place.entry, place.prompted = 0, False
        self._standing -= 1
        self._to_the_end(place, now)
        return place.customer

    def reading(self, customer: CustomerId, times: Sequence[float], until: float, since: float = 0.0) -> Reading:
        """What a read teaches that found activities created at these times, in order, and everything up to `until`; the first one, all `since`
        then. Changes nothing yet.
        """
        place = self._places[customer]
        known = Rates(at=since) if place.rates is UNKNOWN else place.rates
        after, lesson = observed(known, times, until, self._fleet, self._habits)
        wait_seconds = forecast(after, self._fleet, self._habits).reaches(self.price / place.weight)
        due = after.at + min(wait_seconds, self.staleness_seconds)
        return Reading(Rates(after.at, due, after.running, after.visits, after.exposure, after.last), lesson)

    def read(self, customer: CustomerId, reading: Reading) -> None:
        """That reading is committed. The customer is still away."""
        place = self._places[customer]
        before, place.rates = place.rates, reading.rates
        self._count(before, reading.rates)
        if reading.lesson.activities:
            self._pool = taught(self._pool, reading.lesson)
            self._habits = habits_of(self._pool)

    def put(self, customer: CustomerId) -> None:
        """It comes back, and is due by its rates, or at once if it was hinted at meanwhile; one of whom nothing is known, since it was called."""
        place = self._places[customer]
        if not place.prompted:
            place.due = _due(place.rates, place.called)
        self._stand(place, self._index)

    def put_failed(self, customer: CustomerId, until: float) -> None:
        """It comes back, but is not to be called before. What is known of it has not changed."""
        place = self._places[customer]
        self._taken_at = None  # an outage is not the pace
        place.due, place.waits, place.prompted = until, True, True
        self._stand(place, self._waiting)

    def hint(self, customer: CustomerId, now: float) -> None:
        """It may have something new: it is due now, unless it failed. Its place in the queue stays, as a hint is not a read."""
        place = self._places[customer]
        if not place.entry:
            place.due, place.prompted = now, True
        elif not place.waits and place.due > now:
            place.due, place.prompted = now, True
            self._standing -= 1
            self._stand(place, self._index)

    def welcome(self, customer: CustomerId) -> None:
        """Whoever came last goes before all others who were never called, if it is one of them."""
        place = self._places[customer]
        if place.entry and place.due == NEVER_CALLED_DUE:
            place.due = 2 * NEVER_CALLED_DUE - self._entries
            self._standing -= 1
            self._stand(place, self._index)

    # Inside.

    def _stand(self, place: Place, heap: list[tuple[float, int, Place]]) -> None:
        """An entry that it had before is void."""
        assert heap is self._index or place.waits
        self._entries += 1  # breaks ties in the order of arrival
        self._standing += 1
        place.entry = self._entries
        heappush(heap, (place.due, place.entry, place))
        if len(heap) > VOID_MAX + 2 * self._standing:
            heap[:] = [one for one in heap if one[1] == one[2].entry]
            heapify(heap)

    def _wake(self, now: float) -> None:
        """Who failed and has waited long enough may be called."""
        while (place := _first(self._waiting)) is not None and place.due <= now:
            heappush(self._index, heappop(self._waiting))
            place.waits = False

    def _earliest(self) -> Place:
        """Who is due first."""
        place = _first(self._index)
        assert place is not None, "nobody may be called"
        return place

    def _overdue(self, now: float) -> Place | None:
        """The head of the queue, if this call must be its."""
        head = self._head(now)
        age, bound = now - head.called, self.staleness_seconds
        if age <= bound * LATE:
            self._outage_at = None
            return head if age >= bound - 1 / self.calls_per_second else None
        if self._outage_at is None:
            self._outage_at = now
        self._queue_served = not self._queue_served or now - self._outage_at > self.round_seconds
        return head if self._queue_served else None

    def _head(self, now: float) -> Place:
        """Who was called longest ago, of those who may be called: the turn of others before it passes, so that they hold up nobody."""
        head = self._longest_ago()
        while not head.entry or head.waits:
            self._to_the_end(head, now)
            head = self._longest_ago()
        return head

    def _to_the_end(self, place: Place, now: float) -> None:
        place.called = now
        self._latest = max(self._latest, now)
        self._places.move_to_end(place.customer)

    def _longest_ago(self) -> Place:
        """Who was called longest ago, wherever it is."""
        first, early = next(iter(self._places.values())), self._early
        while early and early[0][0] != early[0][2].called:
            heappop(early)
        return early[0][2] if early and early[0][0] < first.called else first

    def _observe_pace(self, now: float) -> None:
        """Another call is made: how many slots of the budget's pace it took since the last one."""
        if self._taken_at is not None:
            slots = (now - self._taken_at) * self._budget_calls_per_second
            self._slots += (min(max(slots, 0.0), PACE_GAP_MAX * self._paced, PACE_GAP_SLOTS_MAX) - self._slots) / self._paced
            self._paced = min(self._paced + 1, max(PACE_CALLS_MIN, len(self._places)))
        self._taken_at = now

    def _observe_worth(self, place: Place, now: float) -> None:
        """What a call was worth moves the price, by no more than a factor of e in a window of calls."""
        waited = forecast(place.rates, self._fleet, self._habits).waiting(max(0.0, now - place.rates.at)) * place.weight
        ratio = max(waited / self.price, 1e-9)
        window = max(PRICE_WINDOW_CALLS, PRICE_WINDOW_ROUNDS * len(self._places))
        price = self._price * math.exp(min(max(math.log(ratio), -1.0), 1.0) / window)
        self._price = min(max(price, PRICE_MIN), PRICE_MAX)

    def _count(self, before: Rates | None, after: Rates | None) -> None:
        """What all customers have shown together, where one of them has other rates, comes or goes."""
        for rates, sign in ((before, -1), (after, 1)):
            if rates is not None:
                self._visits += sign * int(rates.visits / UNIT)
                self._exposure += sign * int(rates.exposure / UNIT)
        self._fleet = (self._visits * UNIT + START_VISITS) / (self._exposure * UNIT + START_EXPOSURE_SECONDS)


def _due(rates: Rates | None, called: float) -> float:
    """By its rates; one of whom these say nothing, since it was called."""
    return max(called, NEVER_CALLED_DUE) if rates is None or rates.due is None else rates.due


def _first(heap: list[tuple[float, int, Place]]) -> Place | None:
    """The first whose entry is still valid; void ones before it are dropped."""
    while heap and heap[0][1] != heap[0][2].entry:
        heappop(heap)
    return heap[0][2] if heap else None
