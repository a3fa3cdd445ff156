"""The harness: a policy spends one call every 1/B minutes on the customers of a workload. Times are minutes.

All customers are added at 0. A call publishes all of the chosen customer's activities up to then, page j of 100 published j slots later; the
extra pages use up their slots.
"""

import math
import time
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tests.bench.freshness.workload import Population

PAGE_ACTIVITIES = 100


class Policy(Protocol):
    """Whom to call: customers are the numbers from 0 on."""

    def take(self, now: float) -> int: ...

    def read(self, customer: int, times: Sequence[float], now: float) -> None:
        """The call found these activities, all that were created since the one before."""


class Outcome(NamedTuple):
    """What was measured after the warm-up."""

    mean: float
    """Of the delay from the creation of an activity to its publication."""
    p95: float
    staleness: float
    """The longest that anybody went unread."""
    decision_us: float
    """CPU time a call, of the policy and the harness together."""


def play(policy: Policy, drawn: Population, calls_a_minute: float, warm_up: float, end: float) -> Outcome:
    measured = Measured(warm_up, end, [0.0] * len(drawn.times))
    read_up_to, slot, calls = [0] * len(drawn.times), 0, 0
    began = time.process_time()
    while (now := slot / calls_a_minute) < end:
        customer = policy.take(now)
        start = read_up_to[customer]
        stop = read_up_to[customer] = bisect_right(drawn.times[customer], now, start)
        found = drawn.times[customer][start:stop]
        measured.called(customer, found, now, 1 / calls_a_minute)
        policy.read(customer, found, now)
        slot += max(1, math.ceil(len(found) / PAGE_ACTIVITIES))
        calls += 1
    return measured.outcome(time.process_time() - began, calls)


class Measured:
    """Delays of what was created after the warm-up, and how long anybody went unread after it."""

    def __init__(self, warm_up: float, end: float, last: list[float]) -> None:
        self._warm_up, self._end, self._last = warm_up, end, last
        self._delays = array("d")
        self._staleness = 0.0

    def called(self, customer: int, found: Sequence[float], now: float, slot: float) -> None:
        if now >= self._warm_up:
            self._staleness = max(self._staleness, now - self._last[customer])
            if found:
                published = (now + place // PAGE_ACTIVITIES * slot for place in range(len(found)))
                self._delays.extend(at - created for at, created in zip(published, found, strict=True) if created >= self._warm_up)
        self._last[customer] = now

    def outcome(self, cpu_seconds: float, calls: int) -> Outcome:
        delays = sorted(self._delays)
        staleness = max(self._staleness, self._end - min(self._last))
        return Outcome(math.fsum(delays) / len(delays), delays[int(0.95 * len(delays))], staleness, cpu_seconds / calls * 1e6)
