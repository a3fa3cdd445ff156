"""Every customer of the project is watched: found, a hundred in a call, while they come, processes are killed, and the group divides its partitions anew."""

from collections import Counter
from dataclasses import replace
from functools import cache

import anyio
import msgspec

from poller.core.listing import SHARE_MIN
from poller.core.policy import Policy
from poller.demo.objects import Customer
from poller.demo.readings import Readings
from poller.matching import Match, to_match
from poller.model import CustomerId, WatchEntry
from tests.support.judges import compare, identity
from tests.support.plan import CALM, Plan, options_of
from tests.support.virtual_time import run_in_virtual_time
from tests.support.world import World, run_in

PLAN = Plan(
    seed=29,
    hours=0.1,
    customers=120,
    replicas=2,
    partitions=2,
    calls_per_minute=400,
    calls_in_flight_max=16,
    lookback_seconds=20,
    late_seconds_max=10,
    activities_per_customer_day=5_000,
    exponent=0.0,
    kills=6,
    rebalances=4,
    expulsions=1,
    outages=1,
    readings=Readings(page_activities_max=20),
)
ARRIVING = 45
WANTED = to_match("metadata.tier=gold,metadata.tier=silver")
LOOKED_SECONDS = 1.0


class ListedWorld(World):
    """Nobody is named, but by the user some, in the middle of it."""

    watch_topic = True
    match = WANTED
    start_at: str = "earliest"

    def __init__(self, plan: Plan, arriving: int = ARRIVING) -> None:
        options = replace(options_of(plan), arriving_customers=arriving, arriving_seconds=plan.hours * 3600)
        super().__init__(plan, options)
        everybody = list(self.simulator.population.customers)
        self.arriving = everybody[len(everybody) - arriving :]
        self.wanted = [customer for customer in everybody if self.wants(customer)]
        self.found_at: dict[CustomerId, float] = {}

    def wants(self, customer: Customer) -> bool:
        return any(("metadata.tier", tier) in self.match.patterns for tier in customer.metadata.values()) or not self.match.patterns

    def policy(self) -> Policy:
        return msgspec.structs.replace(super().policy(), watch_all=self.match, start=self.start_at)

    def named(self) -> list[CustomerId]:
        return []

    async def note(self) -> None:
        """When each was first heard to be found."""
        while True:
            await anyio.sleep(LOOKED_SECONDS)
            for key, _ in self.kafka.watched:
                self.found_at.setdefault(CustomerId(key.decode()), self.clock())

    async def live(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.note)
            await super().live()
            tasks.cancel_scope.cancel()

    # What there is to judge.

    def judge_published(self) -> None:
        truth = self.simulator.truth(lookback_seconds=self.plan.lookback_seconds)
        wanted = {customer.id for customer in self.wanted}
        may = [one for one in truth.activities if one.customer in wanted]
        seen = Counter(map(identity, self.published()))
        compare(self, seen, [(one.customer, one.id) for one in may], [(one.customer, one.id) for one in may if one.must])

    def waited(self) -> list[float]:
        """From the creation of each new customer that is wanted until it was found."""
        return sorted(self.found_at[CustomerId(one.id)] - one.created_at_us / 1e6 for one in self.arriving if one in self.wanted)

    def list_calls(self) -> int:
        return sum(call.customer is None for call in self.simulator.calls)


@cache
def listed() -> ListedWorld:
    return run_in(ListedWorld, PLAN)


def test_everybody_is_found_and_each_activity_published_once_whatever_fails() -> None:
    world = listed()
    print(f"{len(world.published())} published, {world.list_calls()} of {len(world.simulator.calls)} calls list, {world.lives} lives")

    world.judge_published()
    assert set(world.found_at) == {customer.id for customer in world.wanted}
    assert {call.customer for call in world.simulator.calls} <= {None, *(customer.id for customer in world.wanted)}
    assert world.judge_budget() > 0
    assert [process.crash for process in world.all_processes if process.crash] == []
    assert world.lives == 8


def test_new_customers_are_found_within_the_time_that_a_hundredth_of_the_calls_takes() -> None:
    world = listed()
    seconds = 60 / (PLAN.calls_per_minute / PLAN.partitions * SHARE_MIN)
    waited = world.waited()
    print(
        f"median {waited[len(waited) // 2]:.0f} s, p90 {waited[len(waited) * 9 // 10]:.0f} s, longest {waited[-1]:.0f} s; expected {seconds:.0f} s"
    )

    assert len(waited) > 25
    assert waited[len(waited) * 9 // 10] <= seconds + LOOKED_SECONDS + PLAN.session_seconds
    assert world.list_calls() <= 0.06 * len(world.simulator.calls)


def test_whoever_comes_while_it_is_looked_has_everything_published_though_others_begin_now() -> None:
    class Beginning(ListedWorld):
        match = Match()
        start_at = "now"

    async def live() -> Beginning:
        world = Beginning(replace(CALM, hours=0.25, customers=30, calls_per_minute=60, activities_per_customer_day=800), arriving=15)
        await world.live()
        return world

    world = run_in_virtual_time(live)
    newcomers = {customer.id for customer in world.arriving}
    truth = [one for one in world.simulator.truth(lookback_seconds=world.plan.lookback_seconds).activities if one.customer in newcomers]
    seen = Counter(one for one in map(identity, world.published()) if one[0] in newcomers)
    print(f"{len(seen)} of newcomers, found after {world.waited()}")

    assert len(truth) > 50
    compare(world, seen, [(one.customer, one.id) for one in truth], [(one.customer, one.id) for one in truth if one.must])


def test_an_entry_of_the_users_is_left_alone_and_another_pattern_takes_out_whom_it_does_not_find() -> None:
    async def live() -> tuple[set[str], set[str], set[str], set[str]]:
        world = ListedWorld(replace(CALM, customers=40, calls_per_minute=300), arriving=0)
        gold, silver = ([one.id for one in world.wanted if one.metadata["tier"] == tier] for tier in ("gold", "silver"))
        paused, kept = gold[0], silver[0]
        async with anyio.create_task_group() as tasks:
            process = world.start(tasks)
            world.kafka.watch({CustomerId(paused): WatchEntry(paused=True), CustomerId(kept): WatchEntry(weight=2.0)})
            await anyio.sleep(60)
            process.worker.drain()
            before = {str(call.customer) for call in world.simulator.calls if call.customer}
            world.match = to_match("metadata.tier=gold")
            world.processes.clear()
            await anyio.sleep(20)
            calls = len(world.simulator.calls)
            process = world.start(tasks)
            await anyio.sleep(60)
            lately = {str(call.customer) for call in list(world.simulator.calls)[calls + 60 :] if call.customer}
            process.worker.drain()
        return before, {*gold, *silver} - {paused}, lately, {*gold, kept} - {paused}

    before, expected, lately, expected_lately = run_in_virtual_time(live)

    assert before == expected
    assert lately == expected_lately
