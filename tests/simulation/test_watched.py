"""The watched set changes ten times a second, through the watch topic, while processes are killed and the group divides its partitions anew."""

from collections import Counter
from dataclasses import replace
from functools import cache
from random import Random

import anyio

from poller.kafka.record import Record
from poller.model import CustomerId, WatchEntry
from tests.support.judges import Objection, compare, header, identity
from tests.support.plan import CALM, Plan
from tests.support.virtual_time import pass_time, run_in_virtual_time
from tests.support.world import EPOCH, World, run_in

PLAN = Plan(
    seed=23,
    hours=0.05,
    customers=30,
    replicas=2,
    partitions=2,
    calls_per_minute=500,
    calls_in_flight_max=16,
    lookback_seconds=20,
    late_seconds_max=10,
    activities_per_customer_day=16_000,
    exponent=0.0,
    kills=4,
    rebalances=6,
    expulsions=1,
    outages=0,
)
CHANGES_PER_SECOND = 10.0
HEARD_SECONDS = 2.0
"""From a record of the watch topic to the last call that does not know of it."""

TENANT = "tenant"


class RewatchedWorld(World):
    """Everybody is watched in the end, but for some, who are dropped then, and others, of whom nothing is wanted from some instant on."""

    watch_topic = True

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.everybody = [CustomerId(name) for name in self.simulator.customers]
        self.dropped, self.ended = self.everybody[:4], self.everybody[4:8]
        self.until_ms = round((EPOCH + 0.6 * plan.hours * 3600) * 1000)
        self.said: list[tuple[float, CustomerId, WatchEntry | None]] = []
        self.by_setting = set(self.everybody[-4:])
        self.random = Random(f"{plan.seed}/rewatched")

    def named(self) -> list[CustomerId]:
        return sorted(self.by_setting)

    def say(self, customer: CustomerId, entry: WatchEntry | None) -> None:
        self.said.append((self.seconds, customer, entry))
        self.kafka.watch({customer: entry})

    def entry(self, customer: CustomerId, *, paused: bool = False, weight: float = 1.0) -> WatchEntry:
        until_ms = self.until_ms if customer in self.ended else None
        return WatchEntry(paused=paused, weight=weight, until_ms=until_ms, headers=((TENANT, str(customer)),))

    def another(self, customer: CustomerId) -> WatchEntry | None:
        """Half of the time it is watched, and to be read."""
        drawn = self.random.random()
        if drawn < 0.3:
            return None
        return self.entry(customer, paused=drawn < 0.5, weight=self.random.choice((0.5, 1.0, 4.0)))

    async def rewatch(self) -> None:
        for customer in self.everybody[::2]:
            self.say(customer, self.entry(customer))
        while self.seconds < self.plan.hours * 3600:
            await anyio.sleep(self.random.expovariate(CHANGES_PER_SECOND))
            customer = self.random.choice(self.everybody)
            self.say(customer, self.another(customer))
        for customer in self.everybody:
            self.say(customer, None if customer in self.dropped else self.entry(customer))

    async def live(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.rewatch)
            await super().live()

    # What there is to judge.

    def judge_published(self) -> None:
        """Everything once of who is watched in the end; of the others nothing twice, and nothing from the instant on from which nothing is wanted."""
        truth = self.simulator.truth(lookback_seconds=self.plan.lookback_seconds)
        wanted = [one for one in truth.activities if CustomerId(one.customer) not in self.ended or one.created_at_ms < self.until_ms]
        must = [one for one in wanted if one.must and CustomerId(one.customer) not in self.dropped]
        seen = Counter(map(identity, self.published()))
        compare(self, seen, [(one.customer, one.id) for one in wanted], [(one.customer, one.id) for one in must])

    def judge_calls(self) -> int:
        """Nobody is called who was not to be for a while. How many calls there were of those who had been dropped or paused at some time."""
        said: dict[CustomerId, list[tuple[float, bool]]] = {customer: [(0.0, customer in self.by_setting)] for customer in self.everybody}
        for at, customer, entry in self.said:
            said[customer].append((at, not entry.paused if entry is not None else customer in self.by_setting))
        for call in self.simulator.calls:
            customer, at = CustomerId(str(call.customer)), call.at - EPOCH
            before = [read for since, read in said[customer] if since <= at - HEARD_SECONDS][-1:]
            lately = [read for since, read in said[customer] if at - HEARD_SECONDS < since <= at]
            if not any([*before, *lately]):
                raise Objection(f"{customer} is called at {at:.1f} s, and was not to be [{self.plan}]")
        return len(self.simulator.calls)


@cache
def rewatched() -> RewatchedWorld:
    return run_in(RewatchedWorld, PLAN)


def tenant(record: Record) -> str:
    return header(record, TENANT)


def test_whoever_comes_and_goes_has_each_activity_published_once() -> None:
    world = rewatched()
    print(len(world.published()), len(world.simulator.calls), len(world.said), world.lives)

    world.judge_published()
    assert world.judge_budget() > 0
    assert world.judge_calls() > 1_000
    assert (len(world.said) > 1_500, world.lives) == (True, 6)
    assert [process.crash for process in world.all_processes if process.crash] == []


def test_records_carry_the_headers_of_their_customers_entry() -> None:
    world = rewatched()
    watched_by_topic = [record for record in world.published() if CustomerId(identity(record)[0]) not in world.by_setting]

    assert len(watched_by_topic) > 500
    assert [record for record in watched_by_topic if tenant(record) != identity(record)[0]] == []


def test_the_last_that_was_said_counts() -> None:
    world = rewatched()
    quiet = world.plan.hours * 3600 + HEARD_SECONDS
    called = {CustomerId(str(call.customer)) for call in world.simulator.calls if call.at - EPOCH > quiet}

    assert called & set(world.dropped) == set(world.dropped) & world.by_setting
    assert set(world.everybody) - set(world.dropped) - set(world.ended) <= called


def test_a_customer_that_is_added_is_called_within_two_seconds() -> None:
    class Growing(World):
        watch_topic = True

        def named(self) -> list[CustomerId]:
            return [CustomerId(name) for name in self.simulator.customers[:-5]]

    async def grow() -> list[float]:
        world = Growing(replace(CALM, customers=60, calls_per_minute=60))
        waited = []
        async with anyio.create_task_group() as tasks:
            process = world.start(tasks)
            await anyio.sleep(200)
            for name in world.simulator.customers[-5:]:
                added = world.clock()
                world.kafka.watch({CustomerId(name): WatchEntry()})
                while name not in (call.customer for call in world.simulator.calls):
                    await pass_time(0.05)
                waited.append(world.clock() - added)
                await anyio.sleep(7)
            process.worker.drain()
        return waited

    waited = run_in_virtual_time(grow)
    print(waited)

    assert max(waited) <= 2.0


def test_nobody_is_called_before_the_watch_topic_was_read() -> None:
    async def begin() -> tuple[int, tuple[bool, str], set[str]]:
        world = RewatchedWorld(replace(CALM, customers=12))
        world.by_setting = set(world.everybody)
        for customer in world.everybody[:-1]:
            world.say(customer, WatchEntry(paused=True))
        world.kafka.watched_readable = False
        async with anyio.create_task_group() as tasks:
            process = world.start(tasks)
            await anyio.sleep(60)
            before, ready = len(world.simulator.calls), process.worker.ready()
            world.kafka.watched_readable = True
            await anyio.sleep(60)
            process.worker.drain()
        return before, ready, {str(call.customer) for call in world.simulator.calls}

    before, ready, called = run_in_virtual_time(begin)

    assert (before, ready) == (0, (False, "not yet told whom the topic of the watched set names"))
    assert len(called) == 1
