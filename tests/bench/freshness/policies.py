"""The policies that are compared: the rule, and what it must be better than. Times are minutes."""

import math
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from poller.core.freshness import Freshness
from poller.model import CustomerId, Learned, Pool, Rates
from tests.bench.freshness.workload import Population, Workload

MINUTE = 60.0
GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it spread first reads evenly."""

CERTAIN_ACTIVITIES, CERTAIN_SECONDS = 1e250, 1e30
"""So much evidence that nothing that is seen afterwards changes what is known, however much of it is forgotten."""


class Rule:
    """The program's own."""

    def __init__(self, customers: Sequence[Rates], learned: Learned, calls_a_minute: float, staleness: float | None) -> None:
        self.freshness = Freshness(learned, calls_a_minute / MINUTE, None if staleness is None else staleness * MINUTE)
        self._names = [CustomerId(str(number)) for number in range(len(customers))]
        for name, rates in zip(self._names, customers, strict=True):
            self.freshness.add(name, rates)

    def take(self, now: float) -> int:
        return int(self.freshness.take(now * MINUTE))

    def read(self, customer: int, times: Sequence[float], now: float) -> None:
        name = self._names[customer]
        reading = self.freshness.reading(name, [time * MINUTE for time in times], now * MINUTE)
        self.freshness.read(name, reading)
        self.freshness.put(name)


def learning(customers: int, calls_a_minute: float, staleness: float | None) -> Rule:
    """The rule as it is: it knows nothing at the start."""
    return Rule([Rates(at=0.0)] * customers, Learned(), calls_a_minute, staleness)


def knowing(workload: Workload, drawn: Population, calls_a_minute: float, staleness: float) -> Rule:
    """The rule, told p, g and each customer's rate; only who is acting at the moment it must find out."""
    follows = CERTAIN_ACTIVITIES * workload.chance
    pool = Pool(CERTAIN_ACTIVITIES, follows, follows * workload.gap * MINUTE)
    starts = [rate / MINUTE * (1 - workload.chance) for rate in drawn.rates]
    rates = [Rates(at=0.0, visits=start * CERTAIN_SECONDS, exposure=CERTAIN_SECONDS) for start in starts]
    return Rule(rates, Learned(pool), calls_a_minute, staleness)


class RoundRobin:
    def __init__(self, customers: int) -> None:
        self._customers = customers
        self._next = 0

    def take(self, now: float) -> int:
        taken, self._next = self._next, (self._next + 1) % self._customers
        return taken

    def read(self, customer: int, times: Sequence[float], now: float) -> None:
        pass


class Intervals:
    """Each customer has its interval; who is due first is called, however early or late."""

    def __init__(self, intervals: Sequence[float]) -> None:
        self._intervals = list(intervals)
        self._heap = [(interval * (number * GOLDEN % 1), number) for number, interval in enumerate(intervals)]
        heapify(self._heap)

    def take(self, now: float) -> int:
        return heappop(self._heap)[1]

    def read(self, customer: int, times: Sequence[float], now: float) -> None:
        heappush(self._heap, (now + self._intervals[customer], customer))


class SquareRoot(Intervals):
    """Frequencies proportional to the square roots of the true rates: the best that fixed intervals can do."""

    def __init__(self, drawn: Population, calls_a_minute: float) -> None:
        roots = [math.sqrt(rate) for rate in drawn.rates]
        super().__init__([sum(roots) / calls_a_minute / root for root in roots])


class Halving(Intervals):
    """What pollers usually do: a read that finds something halves the interval, one that does not makes it half as long again."""

    def __init__(self, customers: int, calls_a_minute: float, longest: float) -> None:
        round_minutes = customers / calls_a_minute
        super().__init__([round_minutes] * customers)
        self._shortest, self._longest = 1 / calls_a_minute, longest

    def read(self, customer: int, times: Sequence[float], now: float) -> None:
        interval = self._intervals[customer] * (0.5 if times else 1.5)
        self._intervals[customer] = min(max(interval, self._shortest), self._longest)
        super().read(customer, times, now)
