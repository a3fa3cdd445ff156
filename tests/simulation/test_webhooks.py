"""Webhooks for 30 of the 74 types, in virtual time and at a scarce budget: what they are worth, and what they cost where they are all wrong."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random
from statistics import fmean, median

import anyio

from poller.config import Secret
from poller.core.budget import Budget, Terms
from poller.core.hints import Hints
from poller.core.owned import Customer, Owned
from poller.core.schedule import Schedule
from poller.demo.objects import Customer as Person
from poller.demo.readings import Stored
from poller.journal import Journal
from poller.model import Batch, CustomerId, Hint, Learned
from poller.telemetry import Telemetry
from poller.voucherify.inbox import Inbox
from tests.bench.freshness.harness import play
from tests.bench.freshness.policies import MINUTE
from tests.bench.freshness.workload import Workload, population
from tests.support.builders import activities, checkpoint
from tests.support.judges import header
from tests.support.plan import CALM
from tests.support.webhooks import SECRET, TOLD_TYPES, signed, webhook_of
from tests.support.world import EPOCH, Told, World, run_in

PLAN = replace(
    CALM,
    seed=11,
    hours=2,
    customers=300,
    calls_per_minute=15,
    activities_per_customer_day=12,
    late_rate=0.1,
    late_seconds_max=8,
    duplicate_rate=0,
)
"""A call for each customer in 20 minutes."""

WARM_UP_SECONDS = 1800
AHEAD_SECONDS = 600


class ToldWorld(World):
    """Webhooks come one or two seconds after what they announce, each of them twice."""

    async def tell(self) -> None:
        (process,) = self.processes
        self.inbox = Inbox(Secret(SECRET), process.clock, process.worker.hinted, self.forward, Journal(Telemetry(Told())))
        random, told = Random(f"{self.plan.seed}/webhooks"), -1.0
        while True:
            until = self.clock() + AHEAD_SECONDS
            for at, customer, activity in self.activities(told, until):
                await anyio.sleep_until(at - EPOCH + random.uniform(1, 2))
                body = webhook_of(customer, activity)
                for _ in range(2):
                    self.inbox.take(body, signed(body))
            told = until
            await anyio.sleep_until(until - EPOCH)

    def activities(self, since: float, until: float) -> list[tuple[float, Person, Stored]]:
        made = [
            (customer, one)
            for customer in self.simulator.population.customers
            for one in self.simulator.population.activities(customer, until)
        ]
        times = [(one.created_at_us / 1e6, customer, one) for customer, one in made if one.type in TOLD_TYPES]
        return sorted((one for one in times if since < one[0] <= until), key=lambda one: one[0])

    def forward(self, hint: Hint) -> bool:
        raise AssertionError("there is no other replica")

    async def live(self) -> None:
        async with anyio.create_task_group() as tasks:
            self.start(tasks)
            tasks.start_soon(self.tell)
            await anyio.sleep(self.plan.hours * 3600)
            await self.settle()
            tasks.cancel_scope.cancel()
        self._ended_at = self.clock()

    def waited(self) -> list[tuple[str, float]]:
        """Type and delay of each activity that was created after the warm-up; what is not published waits to the end."""
        at = {(header(record, "ce_subject"), header(record, "ce_id")): at for at, record in self.kafka.read_timed("activities")}
        found = []
        for customer in self.simulator.population.customers:
            for one in self.simulator.population.activities(customer, EPOCH + self.plan.hours * 3600):
                created = one.created_at_us / 1e6 - EPOCH
                if WARM_UP_SECONDS < created < self.plan.hours * 3600:
                    found.append((one.type, at.get((customer.id, one.id), self.seconds) - created))
        return found


@cache
def told() -> ToldWorld:
    return run_in(ToldWorld, PLAN)


def test_what_webhooks_announce_is_published_within_seconds_at_a_scarce_budget() -> None:
    world = told()
    hinted = [delay for type, delay in world.waited() if type in TOLD_TYPES]
    others = [delay for type, delay in world.waited() if type not in TOLD_TYPES]
    print(len(hinted), median(hinted), len(others), fmean(others), world.processes[0].engine.hints)

    assert len(hinted) > 80
    assert median(hinted) < 5


def test_with_webhooks_nothing_is_lost_or_published_twice_and_no_call_is_over_the_budget() -> None:
    world = told()

    world.judge_safety()
    world.judge_budget()


# ------------------------------------------------------------------------------------------------------------ all wrong


CALLS_A_MINUTE, STALENESS_MINUTES = 15.0, 40.0
WORKLOAD = Workload(300, 1.0, 4, 1)
WARM_UP_MINUTES = 1440.0


class Hinted:
    """The schedule with hints; so many come before each call, at whomever chance chooses, as of now."""

    def __init__(self, wrong_a_call: int) -> None:
        schedule = Schedule(Learned(), CALLS_A_MINUTE / MINUTE, STALENESS_MINUTES * MINUTE)
        self.names = [CustomerId(str(number)) for number in range(WORKLOAD.customers)]
        self.hints = Hints(lookback_ms=0)
        self._owned = Owned({name: Customer(None) for name in self.names}, Budget.restore(Terms.of(60, 60, None, 1), None, 0.0), schedule)
        for name in self.names:
            schedule.add(name, None, -math.inf)
            self._put(name, None)
        self._random, self._wrong, self._calls = Random(7), wrong_a_call, 0

    def take(self, now: float) -> int:
        for name in self._random.choices(self.names, k=self._wrong):
            self.hints.hinted(self._owned, name, now * MINUTE, round(now * MINUTE * 1000), self._calls)
        self._calls += 1
        name = self._owned.schedule.take(now * MINUTE)
        self._owned.customers[name].scheduled = False
        return int(name)

    def read(self, customer: int, times: Sequence[float], now: float) -> None:
        name, at = self.names[customer], now * MINUTE
        reading = self._owned.schedule.reading(name, [time * MINUTE for time in times], at, 0.0)
        read = checkpoint(at, last_read=at, rates=reading.rates)
        self._owned.schedule.read(name, reading)
        self._owned.customers[name].checkpoint = read
        batch = Batch(name, 0, None, read, activities(*(time * MINUTE for time in times)), lesson=reading.lesson)
        self._put(name, self.hints.looked(batch, at, self._calls))

    def _put(self, name: CustomerId, not_before: float | None) -> None:
        self._owned.customers[name].scheduled = True
        if not_before is None:
            self._owned.schedule.put(name)
        else:
            self._owned.schedule.put_failed(name, not_before)


def test_hints_that_are_all_wrong_cost_at_most_a_twentieth() -> None:
    drawn, misled, alone = population(WORKLOAD), Hinted(wrong_a_call=2), Hinted(wrong_a_call=0)

    means = [play(policy, drawn, CALLS_A_MINUTE, WARM_UP_MINUTES, WORKLOAD.minutes).mean for policy in (misled, alone)]
    print(means, means[0] / means[1], misled.hints)
    assert means[0] <= 1.05 * means[1]
    assert misled.hints.used > 1000
