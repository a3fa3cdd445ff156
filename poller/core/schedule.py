"""The schedule: whom to call next.

The customer who has gone unread for longest comes first, which spreads the calls evenly and bounds staleness at N/B (N customers, B calls
a minute). A customer with more pages waiting goes before all others, as its next page is sure to bring something; but one that is being
backfilled takes at most every second call while others are due.
"""

from collections import deque
from collections.abc import Collection
from heapq import heappop, heappush

from poller.model import CustomerId


class Schedule:
    """The customers of one partition that may be called: each stands here at most once, and not while its call is under way."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, CustomerId]] = []
        self._pages: deque[CustomerId] = deque()
        self._backfills: deque[CustomerId] = deque()
        self._count = 0
        self._backfilled = False

    def __len__(self) -> int:
        return len(self._heap) + len(self._pages) + len(self._backfills)

    def put(self, customer: CustomerId, due: float) -> None:
        """Read when `due` has come; among those, the earliest first. A customer that did not fail is due since it was last read."""
        self._count += 1  # breaks ties in the order of arrival
        heappush(self._heap, (due, self._count, customer))

    def put_page(self, customer: CustomerId) -> None:
        """More pages wait: before all others."""
        self._pages.append(customer)

    def put_first(self, customer: CustomerId) -> None:
        """Taken, but not read: before everybody."""
        self._pages.appendleft(customer)

    def put_backfill(self, customer: CustomerId) -> None:
        """More pages of the past wait: every second call."""
        self._backfills.append(customer)

    def due_at(self, now: float) -> float:
        """When `take` has somebody; `now` if at once, `inf` if nobody stands here."""
        if self._pages or self._backfills:
            return now
        return max(now, self._heap[0][0]) if self._heap else float("inf")

    def place_of(self, customer: CustomerId, now: float, watched: Collection[CustomerId]) -> tuple[float, int]:
        """When a customer that stands here is due, and how many calls of those watched come before it as things are now."""
        if customer in self._pages:
            return now, self._pages.index(customer)
        if customer in self._backfills:
            place = self._backfills.index(customer)
            return now, len(self._pages) + place + min(place + self._backfilled, sum(due <= now for due, _, _ in self._heap))
        own = next(entry for entry in self._heap if entry[2] == customer)
        earlier = sum(entry < own and entry[2] in watched for entry in self._heap)
        return own[0], len(self._pages) + earlier + min(len(self._backfills), earlier + (not self._backfilled))

    def take(self, now: float) -> CustomerId:
        """Whom to call; only where `due_at` says now."""
        if self._pages:
            return self._pages.popleft()
        due = bool(self._heap) and self._heap[0][0] <= now
        self._backfilled = bool(self._backfills) and not (due and self._backfilled)
        if self._backfilled:
            return self._backfills.popleft()
        assert due
        return heappop(self._heap)[2]
