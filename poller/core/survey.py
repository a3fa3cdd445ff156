"""The survey: a look at every customer of the partitions that are ours, in slices, for whoever runs the process. Read-only.

It yields after each slice, so that the loop may turn, and returns what it has seen (`Surveyed`). Meanwhile customers come, go and are read, and partitions
are restored or lost: it goes through the ids as they were when it came to their partition, and takes each customer as it stands in the moment of its slice. Who has
come since is seen by the next survey, and who is gone is left out.
"""

import math
from bisect import insort
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import islice

from poller.core.overview import CustomerState, Oldest, Surveyed
from poller.core.owned import Customer, Owned
from poller.core.watched import Watched, has_ended
from poller.model import CustomerId, WatchEntry

CUSTOMERS_AT_ONCE = 1_000
"""Looked at between two turns of the loop, in a millisecond or two."""

SAMPLE_MAX = 10_000
"""Customers from whom the quantiles are taken: all, or from half as many up, evenly spaced."""

OLDEST_SHOWN = 5

READ_IN_TURN: frozenset[CustomerState] = frozenset(("read", "more_pages", "failing"))
"""Whose last read is of interest: the others are not read, once a day, or were not yet."""


def survey(ours: Callable[[], Mapping[int, Owned]], watched: Watched, now: float) -> Generator[None, None, Surveyed]:
    """`ours`: asked before each slice."""
    partitions = sorted(ours())
    tally = Tally()
    for partition in partitions:
        for some in _slices(list(watched.of(partition))):
            owned = ours().get(partition)
            if owned is None:
                break  # it is another's by now
            tally.look(some, owned.customers, watched)
            yield
    return tally.surveyed(now)


def state_of(customer: Customer | None, entry: WatchEntry) -> CustomerState:
    """The first that holds; `None`: it was never called."""
    checkpoint = None if customer is None else customer.checkpoint
    if entry.paused:
        return "paused"
    if entry.until_ms is not None and has_ended(entry, checkpoint):
        return "ended"
    if customer is None:
        return "never_read"
    if checkpoint is not None and checkpoint.life.retired_at is not None:
        return "retired"
    if customer.unknown_since is not None:
        return "unknown"
    if customer.failures:
        return "failing"
    if customer.walk is not None:
        return "more_pages"
    return "never_read" if customer.last_read == -math.inf else "read"


class Tally:
    """What a survey has seen so far."""

    def __init__(self) -> None:
        self._seen = 0
        self._read = 0
        self._each = 1
        """Of those who were read, each so many is in the sample."""
        self._states: Counter[CustomerState] = Counter()
        self._recent_ids = 0
        self._sample: list[float] = []
        self._first = math.inf
        self._oldest: list[tuple[float, int, Oldest]] = []

    def look(self, some: Iterable[CustomerId], customers: Mapping[CustomerId, Customer], watched: Watched) -> None:
        for customer_id in some:
            entry = watched.entry(customer_id)
            if entry is None or entry.forget:
                continue
            customer = customers.get(customer_id)
            state = state_of(customer, entry)
            self._seen += 1
            self._states[state] += 1
            if customer is not None and customer.checkpoint is not None:
                self._recent_ids += len(customer.checkpoint.recent)
            if state in READ_IN_TURN or state == "never_read":
                self._in_turn(customer_id, state, customer)

    def _in_turn(self, customer_id: CustomerId, state: CustomerState, customer: Customer | None) -> None:
        last_read = -math.inf if customer is None else customer.last_read
        read = last_read > -math.inf
        if read:
            self._first = min(self._first, last_read)
            self._take(last_read)
        place = last_read if read else math.inf
        if len(self._oldest) < OLDEST_SHOWN or place < self._oldest[-1][0]:
            error = "" if customer is None else customer.error
            insort(
                self._oldest,
                (place, self._seen, Oldest(customer=customer_id, state=state, last_read=last_read if read else None, error=error)),
            )
            del self._oldest[OLDEST_SHOWN:]

    def _take(self, last_read: float) -> None:
        self._read += 1
        if self._read % self._each == 0:
            self._sample.append(last_read)
        if len(self._sample) > SAMPLE_MAX:
            self._sample = self._sample[1::2]
            self._each *= 2

    def surveyed(self, now: float) -> Surveyed:
        self._sample.sort(reverse=True)
        return Surveyed(
            at=now,
            states=dict(self._states),
            last_read_p50=quantile(self._sample, 0.5),
            last_read_p95=quantile(self._sample, 0.95),
            last_read_first=None if self._first == math.inf else self._first,
            recent_ids=self._recent_ids,
            oldest=tuple(one for _, _, one in self._oldest),
        )


def quantile(last_reads: list[float], share: float) -> float | None:
    """Since when that share of them were read, of which the latest comes first; `None`: there are none."""
    return last_reads[math.ceil(share * len(last_reads)) - 1] if last_reads else None


def _slices(items: list[CustomerId]) -> Iterator[list[CustomerId]]:
    rest = iter(items)
    while some := list(islice(rest, CUSTOMERS_AT_ONCE)):
        yield some
