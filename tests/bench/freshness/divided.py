"""One budget, divided over partitions whose customers are split as unevenly as can be: what that costs, beside one schedule for all.

The partitions take the harness's slots in turn, in proportion to their shares; what a bucket and a grant of each its own cost is not looked at here, but
the shares are settled as in the program: by what each owner commits, every so often.
"""

from collections.abc import Sequence
from typing import NamedTuple

from poller.core.budget import Budget
from poller.core.owned import Owned
from poller.core.policy import Policy
from poller.core.schedule import Schedule
from poller.core.shares import SAY_SECONDS, Shares
from poller.model import CustomerId, Learned, Rates
from tests.bench.freshness.harness import Outcome, play
from tests.bench.freshness.policies import MINUTE, learning
from tests.bench.freshness.workload import Population, Workload, population

SPLIT = (0.7, 0.2, 0.1, 0.0)
"""Of the customers; the second part is of the busiest ones, the first of the rest."""

WORKLOAD = Workload(4000, 1.0, 4, 1)
CALLS_A_MINUTE = 200.0
STALENESS = 40.0
WARM_UP_PORTION = 0.5
OFF_AT_MOST = 0.05
"""By how much of it the mean delay may be above that of one schedule for all."""


class Divided:
    """A partition's own schedule for each, and shares that follow what they need; or not."""

    def __init__(self, parts: Sequence[Sequence[int]], calls_a_minute: float, staleness: float | None, *, settling: bool = True) -> None:
        self._policy = Policy(calls_limit=calls_a_minute, staleness_seconds_max=None if staleness is None else staleness * MINUTE)
        self._calls_a_minute = calls_a_minute
        self._settling = settling
        self._partition = {customer: number for number, customers in enumerate(parts) for customer in customers}
        self._shares = Shares(self._policy, len(parts))
        self._owned = [self._made(customers) for customers in parts]
        self._credits = [0.0] * len(parts)
        self._at = 0.0
        self._settled_at = 0.0

    def _made(self, customers: Sequence[int]) -> Owned:
        terms = self._shares.terms(None)
        schedule = Schedule(Learned(), terms.calls_per_second, self._policy.staleness_seconds_max)
        for customer in customers:
            name = CustomerId(str(customer))
            schedule.add(name, Rates(at=0.0), float("-inf"))
            schedule.put(name)
        return Owned({}, Budget.restore(terms, None, 0.0), schedule)

    @property
    def parts(self) -> list[float]:
        """What each partition has, of all."""
        rates = [owned.budget.terms.calls_per_second for owned in self._owned]
        return [rate / sum(rates) for rate in rates]

    def take(self, now: float) -> int:
        if self._settling and (now - self._settled_at) * MINUTE >= SAY_SECONDS:
            self._settle(now * MINUTE)
            self._settled_at = now
        standing = [number for number, owned in enumerate(self._owned) if len(owned.schedule)]
        parts = self.parts
        for number in standing:
            self._credits[number] += parts[number] * (now - self._at) * self._calls_a_minute
        self._at = now
        number = max(standing, key=self._credits.__getitem__)
        self._credits[number] -= 1
        schedule = self._owned[number].schedule
        schedule.pace(parts[number] * self._calls_a_minute / MINUTE)
        return int(schedule.take(now * MINUTE))

    def _settle(self, now: float) -> None:
        for number, owned in enumerate(self._owned):
            self._shares.settle(number, owned, now)
            self._shares.heard(number, owned.share, now)

    def read(self, customer: int, times: Sequence[float], now: float) -> None:
        name, schedule = CustomerId(str(customer)), self._owned[self._partition[customer]].schedule
        reading = schedule.reading(name, [time * MINUTE for time in times], now * MINUTE, now * MINUTE)
        schedule.read(name, reading)
        schedule.put(name)


class Cost(NamedTuple):
    """One schedule for all, and the divided ones."""

    alone: Outcome
    shared: Outcome
    parts: list[float]
    equal: Outcome

    @property
    def off(self) -> float:
        """By how much of it the mean delay of the divided ones differs."""
        return self.shared.mean / self.alone.mean - 1

    def faults(self) -> list[str]:
        """What was missed."""
        off = self.off > OFF_AT_MOST
        return [f"divided: mean {self.shared.mean:.3f} is {self.off:+.1%} off one schedule's {self.alone.mean:.3f}"] if off else []


def split(drawn: Population) -> list[list[int]]:
    order = sorted(range(len(drawn.rates)), key=lambda customer: -drawn.rates[customer])
    busiest = round(len(order) * SPLIT[1])
    rest, least = order[busiest : len(order) - round(len(order) * SPLIT[2])], order[len(order) - round(len(order) * SPLIT[2]) :]
    return [rest, order[:busiest], least, []]


def measured_division(workload: Workload = WORKLOAD, calls_a_minute: float = CALLS_A_MINUTE) -> Cost:
    drawn, warm_up, end = population(workload), WARM_UP_PORTION * workload.minutes, workload.minutes
    shared, equal = (Divided(split(drawn), calls_a_minute, STALENESS, settling=settling) for settling in (True, False))
    return Cost(
        play(learning(workload.customers, calls_a_minute, STALENESS), drawn, calls_a_minute, warm_up, end),
        play(shared, drawn, calls_a_minute, warm_up, end),
        shared.parts,
        play(equal, drawn, calls_a_minute, warm_up, end),
    )
