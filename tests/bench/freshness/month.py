"""A whole cycle of a plan: the engine with its real budget spends it on a workload, and is killed, restarted and robbed of its partition on the way.

The API is the model of its readings, the log a dict, the time a number: a call takes no socket. Everything follows from one seed.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Literal, NamedTuple

from poller.core.budget import Cycle
from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.demo.quota import calls_in_window_max
from poller.demo.readings import Stored
from poller.model import Commit, CustomerId, Fetch, Wait
from tests.bench.freshness.cases import drawn
from tests.bench.freshness.harness import Outcome, play
from tests.bench.freshness.harness import Policy as Whom
from tests.bench.freshness.policies import MINUTE, RoundRobin, learning
from tests.bench.freshness.workload import DAY_MINUTES, Population, Workload
from tests.support.history import Account, Log

BEGIN = datetime(2027, 6, 1, tzinfo=UTC).timestamp()
"""Of a cycle of thirty days."""

CALL_SECONDS = 0.3
USED_AT_LEAST = 0.97
LOOP_SECONDS_MAX = 20.0
"""From one end of a process to the next in a crash loop."""

Fault = Literal["kill", "kill in call", "kill in commit", "restart", "rebalance"]
FAULTS: tuple[Fault, ...] = ("kill", "kill in call", "kill in commit", "restart", "rebalance")


class Plan(NamedTuple):
    """What is bought, for whom, and what goes wrong."""

    workload: Workload
    calls_a_cycle: int
    calls_a_minute: int = 100
    warm_up_days: float = 3
    faults_a_day: int = 3
    crash_loops: int = 4
    crashes: int = 50
    """In each loop."""

    def faults(self) -> list[tuple[float, Fault]]:
        """When what goes wrong, in seconds since the beginning."""
        random, seconds = Random(f"{self.workload.seed}/faults"), self.workload.minutes * MINUTE
        faults = [(random.uniform(0, seconds), random.choice(FAULTS)) for _ in range(self.workload.days * self.faults_a_day)]
        for _ in range(self.crash_loops):
            at = random.uniform(0, seconds)
            faults += [(at := at + random.uniform(0, LOOP_SECONDS_MAX), random.choice(FAULTS[:3])) for _ in range(self.crashes)]
        return sorted(fault for fault in faults if fault[0] < seconds)


MONTH = Plan(Workload(1000, 1.0, 30, 1), calls_a_cycle=100_000)


class Spent(NamedTuple):
    """What came of it. Minutes."""

    calls: int
    calls_in_window_max: int
    lives: int
    activities: int
    unsettled: int
    """Lost, twice, or not to be published."""
    mean: float
    staleness: float
    bound: float
    """What staleness was at most to be at the end."""
    harness: Outcome
    """The rule, undisturbed, one call as far from the next as the other."""
    fixed: Outcome
    """Everybody read equally often, with as many calls."""
    cpu_seconds: float

    def faults(self, plan: Plan) -> list[str]:
        """What was missed."""
        checks = (
            (self.calls <= plan.calls_a_cycle, f"{self.calls:,} calls > {plan.calls_a_cycle:,}"),
            (self.calls >= USED_AT_LEAST * plan.calls_a_cycle, f"{self.calls:,} calls < {USED_AT_LEAST:.0%} of {plan.calls_a_cycle:,}"),
            (self.calls_in_window_max <= plan.calls_a_minute, f"{self.calls_in_window_max} calls in a minute > {plan.calls_a_minute}"),
            (self.mean < self.fixed.mean, f"mean {self.mean:.1f} min, with fixed intervals {self.fixed.mean:.1f}"),
            (self.unsettled == 0, f"{self.unsettled} activities lost, twice or invented"),
        )
        return [f"month: {fault}" for held, fault in checks if not held]


class Spender:
    """One life after the other, on one log."""

    def __init__(self, plan: Plan, made: Population) -> None:
        self.plan = plan
        self.accounts = {CustomerId(f"cust_{number:04}"): Account(list(stored(number, made))) for number in range(len(made.times))}
        self.log = Log()
        self.now = BEGIN
        self.lives = 0
        self.calls: list[float] = []
        self.delays: list[float] = []
        """Of what was created after the warm-up."""
        self.staleness = 0.0
        self._called = dict.fromkeys(self.accounts, BEGIN)
        self._warm_up = BEGIN + plan.warm_up_days * DAY_MINUTES * MINUTE
        self._killed_in: Fault | None = None
        self.begin_life()

    def begin_life(self) -> None:
        self.lives += 1
        cycle = Cycle(self.plan.calls_a_cycle, reset_day=1)
        self.engine = Engine(Policy(start=round(BEGIN * 1000), calls_limit=self.plan.calls_a_minute, cycle=cycle))
        self.engine.partitioned(1)
        self.engine.watch(list(self.accounts))
        self.engine.confirmed(math.inf)
        self.own()

    def own(self) -> None:
        self.engine.assigned(0, self.log.restored(), self.now)
        self.commit(at_once=True)

    def commit(self, *, at_once: bool = False, last: bool = False) -> float:
        """When there is something to commit; `now`: it was."""
        commit = self.engine.commit(0, self.now, at_once=at_once, last=last)
        if not isinstance(commit, Commit):
            return commit.until
        self.log.append(commit)
        created = (record.created_at_ms / 1000 for batch in commit.batches for record in batch.records)
        self.delays += [self.now - at for at in created if at >= self._warm_up]
        if self._killed_in == "kill in commit":
            self._killed_in = None
            self.begin_life()
        else:
            self.engine.committed(commit, self.now)
        return self.now

    def live(self, until: float) -> None:
        while self.now < until:
            commit_at = self.commit()
            order = self.engine.next(self.now)
            if isinstance(order, Fetch):
                self.carry_out(order)
            elif commit_at > self.now:
                assert isinstance(order, Wait), "the change feed is not asked"
                self.now = min(order.until, commit_at, until)

    def carry_out(self, fetch: Fetch) -> None:
        self.calls.append(self.now)
        if self.now >= self._warm_up:
            self.staleness = max(self.staleness, self.now - self._called[fetch.customer])
        self._called[fetch.customer] = self.now
        page = self.accounts[fetch.customer].page(fetch.query, self.now)
        self.now += CALL_SECONDS
        if self._killed_in == "kill in call":
            self._killed_in = None
            self.begin_life()
        else:
            self.engine.page_received(fetch, page, self.now)

    def strike(self, fault: Fault) -> None:
        match fault:
            case "kill":
                self.begin_life()
            case "kill in call" | "kill in commit":
                self._killed_in = fault
            case "restart":
                self.engine.drain()
                self.commit(at_once=True, last=True)
                self.begin_life()
            case "rebalance":
                self.engine.revoked(0)
                self.own()

    def longest_unread(self) -> float:
        """That anybody was, after the warm-up or at the end."""
        return max(self.staleness, self.now - min(self._called.values()))

    def unsettled(self, bound_seconds: float) -> int:
        """What was created a bound before the end must be there; and all once."""
        shown = [one for account in self.accounts.values() for one in account.activities]
        must = {one.id for one in shown if one.created_at_us / 1e6 < self.now - bound_seconds}
        times = Counter(self.log.published)
        invented = times.keys() - {one.id for one in shown}
        return len(must - times.keys()) + sum(count > 1 for count in times.values()) + len(invented)


def measured_month(plan: Plan = MONTH) -> Spent:
    made, began = drawn(plan.workload), time.process_time()
    spender = Spender(plan, made)
    for at, fault in plan.faults():
        spender.live(BEGIN + at)
        spender.strike(fault)
    end = BEGIN + plan.workload.minutes * MINUTE
    spender.live(end)
    cpu_seconds = time.process_time() - began
    warm_up, calls_a_minute = plan.warm_up_days * DAY_MINUTES, len(spender.calls) / plan.workload.minutes
    bound = 2 * plan.workload.customers / calls_a_minute

    def played(policy: Whom) -> Outcome:
        return play(policy, made, calls_a_minute, warm_up, plan.workload.minutes)

    return Spent(
        calls=len(spender.calls),
        calls_in_window_max=calls_in_window_max(spender.calls, MINUTE),
        lives=spender.lives,
        activities=len(spender.delays),
        unsettled=spender.unsettled(1.1 * bound * MINUTE),
        mean=math.fsum(spender.delays) / len(spender.delays) / MINUTE,
        staleness=spender.longest_unread() / MINUTE,
        bound=bound,
        harness=played(learning(plan.workload.customers, calls_a_minute, bound)),
        fixed=played(RoundRobin(plan.workload.customers)),
        cpu_seconds=cpu_seconds,
    )


def stored(number: int, made: Population) -> Iterator[Stored]:
    """Each shown at once."""
    for place, minutes in enumerate(made.times[number]):
        at = BEGIN + minutes * MINUTE
        yield Stored(f"evcus_{number:04}_{place:06}", "customer.order.paid", round(at * 1e6), at)
