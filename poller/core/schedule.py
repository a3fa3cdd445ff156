"""The schedule: whom to call next.

A customer with more pages waiting goes before all others, as its next page is sure to bring something; but one that is being backfilled takes
at most every second call while others may be called. Who is to be read anew is chosen among by freshness (`core/freshness.py`).
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from poller.core.freshness import Freshness, Reading
from poller.model import CustomerId, Learned, Rates

AHEAD_SECONDS = 4e15
"""Whoever was hinted at is due before all others by so much, those included who were never called; the order among them stays."""


class Schedule:
    """The watched customers of one partition. Each stands here at most once, and not while its call is under way: it is away then."""

    def __init__(self, learned: Learned, calls_per_second: float, staleness_seconds_max: float | None) -> None:
        self._freshness = Freshness(learned, calls_per_second, staleness_seconds_max)
        self._pages: OrderedDict[CustomerId, None] = OrderedDict()
        self._backfills: OrderedDict[CustomerId, None] = OrderedDict()
        self._backfilled = False

    def __len__(self) -> int:
        """Customers that stand here."""
        return len(self._freshness) + len(self._pages) + len(self._backfills)

    def __contains__(self, customer: CustomerId) -> bool:
        """Whether it is watched, wherever it is."""
        return customer in self._freshness

    def __iter__(self) -> Iterator[CustomerId]:
        """The watched customers, wherever they are."""
        return iter(self._freshness)

    # Who is watched, what is known of them, and what may be spent on them.

    def add(self, customer: CustomerId, rates: Rates | None, called: float) -> None:
        """From now on it is watched: called last then (`-inf`: never), and away until it is put here."""
        self._freshness.add(customer, rates, called, away=True)

    def remove(self, customer: CustomerId) -> None:
        """It is no longer watched, wherever it is."""
        self._freshness.remove(customer)
        self._pages.pop(customer, None)
        self._backfills.pop(customer, None)

    def withdraw(self, customer: CustomerId) -> bool:
        """It is away from now on, if it stood here to be read anew; whether it did. Who has more pages waiting stays where it is."""
        return self._freshness.withdraw(customer)

    def weigh(self, customer: CustomerId, weight: float) -> None:
        """How much its waiting counts beside others', from its next read on."""
        self._freshness.weigh(customer, weight)

    @property
    def calls_per_second(self) -> float:
        """What may be spent, as was last said."""
        return self._freshness.calls_per_second

    @property
    def staleness_seconds(self) -> float:
        """Nobody shall go unread for longer."""
        return self._freshness.staleness_seconds

    @property
    def called_first(self) -> float | None:
        """When whoever was called longest ago was, of those who ever were; `None`: nobody says."""
        return self._freshness.called_first

    def pace(self, calls_per_second: float) -> None:
        """The budget's, from now on."""
        self._freshness.pace(calls_per_second)

    @property
    def need(self) -> tuple[float, int]:
        """What these customers are worth in calls, beside other partitions'; and how many they are."""
        return self._freshness.demand, self._freshness.watched

    @property
    def learned(self) -> Learned:
        """For a successor, beside what its customers' checkpoints hold."""
        return self._freshness.learned

    def reading(self, customer: CustomerId, times: Sequence[float], until: float, since: float) -> Reading:
        """What a read teaches (see `Freshness.reading`); it counts once it is committed, that is, `read`."""
        return self._freshness.reading(customer, times, until, since)

    def read(self, customer: CustomerId, reading: Reading) -> None:
        self._freshness.read(customer, reading)

    # Who may be called.

    def put(self, customer: CustomerId) -> None:
        """To be read anew, when it is worth a call."""
        self._freshness.put(customer)

    def welcome(self, customer: CustomerId) -> None:
        """It came but now: before all others who were never called, if it stands here as one of them, and the last to come first. Of many who came at once
        some are read only when all have been, and whoever comes alone after them need not wait for that.
        """
        if customer not in self._pages and customer not in self._backfills:
            self._freshness.welcome(customer)

    def put_failed(self, customer: CustomerId, until: float) -> None:
        """Not to be called before."""
        self._freshness.put_failed(customer, until)

    def put_page(self, customer: CustomerId) -> None:
        """More pages wait: before all others."""
        self._pages[customer] = None

    def put_first(self, customer: CustomerId) -> None:
        """Taken, but not read: before everybody."""
        self._pages[customer] = None
        self._pages.move_to_end(customer, last=False)

    def put_backfill(self, customer: CustomerId) -> None:
        """More pages of the past wait: every second call."""
        self._backfills[customer] = None

    def hint(self, customer: CustomerId, now: float) -> None:
        """It has something new, as we are told: to be read before all who are only expected to, in the order of the hints, unless it failed.
        Only where it is watched.
        """
        self._freshness.hint(customer, now - AHEAD_SECONDS)

    # Calls.

    @property
    def price(self) -> float:
        """Of a call, in activity·seconds: the waiting that one more would end."""
        return self._freshness.price

    def due_at(self, now: float) -> float:
        """When `take` has somebody; `now` if at once, `inf` if nobody stands here."""
        return now if self._pages or self._backfills else self._freshness.due_at(now)

    def place_of(self, customer: CustomerId, now: float) -> tuple[float, int]:
        """When a customer that stands here may be called, and how many calls of others come before it as things are now."""
        if customer in self._pages:
            return now, list(self._pages).index(customer)
        if customer in self._backfills:
            place = list(self._backfills).index(customer)
            return now, len(self._pages) + place + min(place + self._backfilled, self._freshness.ready(now))
        at, before = self._freshness.place_of(customer, now)
        return at, len(self._pages) + before + min(len(self._backfills), before + (not self._backfilled))

    def take(self, now: float) -> CustomerId:
        """Whom to call; only where `due_at` says now."""
        if self._pages:
            return self._pages.popitem(last=False)[0]
        self._backfilled = bool(self._backfills) and not (self._backfilled and self._freshness.due_at(now) <= now)
        if self._backfilled:
            return self._backfills.popitem(last=False)[0]
        return self._freshness.take(now)
