"""The change feed through the whole program: fresher for the same calls, and nothing lost or twice, whatever it tells."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import msgspec
import pytest

from poller.demo.answers import Answer, Request
from poller.demo.api import moves_updated_at
from tests.support import judges
from tests.support.plan import CALM, Plan, options_of
from tests.support.virtual_time import run_in_virtual_time
from tests.support.world import World

PLAN = replace(
    CALM,
    seed=4,
    hours=7.0,
    customers=100,
    replicas=1,
    calls_per_minute=5,
    activities_per_customer_day=24,
    late_seconds_max=8,
    change_feed=True,
)
"""One call per customer in 20 minutes."""

WARM_UP_SECONDS = 3 * 3600.0


def life(plan: Plan, instead: Callable[[Request, Answer], Answer] | None = None, **options: object) -> World:
    async def lived() -> World:
        world = World(plan, replace(options_of(plan), **options))  # type: ignore[arg-type]
        world.simulator.instead = instead
        await world.live()
        return world

    return run_in_virtual_time(lived, seed=plan.seed)


@cache
def without_feed() -> World:
    return life(replace(PLAN, change_feed=False))


def mean_delay(world: World) -> float:
    delays = [until - since for since, until in judges.spans(world) if since >= WARM_UP_SECONDS]
    return sum(delays) / len(delays)


def moving(world: World) -> float:
    """The share of activities that move their customer's `updated_at`."""
    simulator, end = world.simulator, world.clock()
    moves = [
        moves_updated_at(simulator.options, one)
        for name in simulator.population.customers
        for one in simulator.population.activities(name, end)
    ]
    return sum(moves) / len(moves)


def test_activities_that_move_updated_at_arrive_sooner_and_so_do_all_for_the_same_calls() -> None:
    without, told = without_feed(), life(PLAN)
    for world in (without, told):
        world.judge()

    counted = told.all_processes[0].telemetry.metrics.counted
    feed_calls, calls = counted("poller_calls_total", "feed"), counted("poller_calls_total")
    print(f"{mean_delay(without):.0f} s without, {mean_delay(told):.0f} s with the feed: {feed_calls:g} of {calls:g} calls")
    assert len(told.simulator.calls) == pytest.approx(len(without.simulator.calls), rel=0.02)
    assert 0.55 <= moving(told) <= 0.65  # of activities; the simulator draws which types do
    assert mean_delay(told) <= 0.5 * mean_delay(without)
    assert feed_calls <= 0.21 * calls
    announced = counted("poller_activities_announced_total") / counted("poller_activities_published_total")
    assert 0.6 * moving(told) <= announced <= 1.1 * moving(told)


def all_changed(request: Request, answer: Answer) -> Answer:
    """As if everybody had changed just now, over and over."""
    if request.segments != ("v1", "customers"):
        return answer
    changed_at = datetime.fromisoformat(request.parameters["starting_after"]) + timedelta(seconds=20)
    entries = [{"id": name, "updated_at": changed_at.isoformat()} for name in NAMES]
    return msgspec.structs.replace(answer, body=msgspec.json.encode({"object": "list", "data_ref": "customers", "customers": entries}))


NAMES: list[str] = []


def test_what_the_feed_tells_of_another_replicas_customers_gets_to_it() -> None:
    divided = replace(PLAN, partitions=2, replicas=2)
    without, told = life(replace(divided, change_feed=False)), life(divided)
    for world in (without, told):
        world.judge()

    print(f"{mean_delay(without):.0f} s without, {mean_delay(told):.0f} s with the feed, read by one replica of two")
    assert mean_delay(told) <= 0.7 * mean_delay(without)
    assert all(process.telemetry.metrics.counted("poller_hints_total", "useful") for process in told.all_processes)


def test_a_feed_that_is_always_wrong_costs_little() -> None:
    ratios = []
    for seed in (3, 1):
        plan = replace(PLAN, seed=seed)
        plain = life(replace(plan, change_feed=False))
        NAMES[:] = list(plain.simulator.customers)
        wrong = life(plan, all_changed)
        wrong.judge()
        counted = wrong.all_processes[0].telemetry.metrics.counted
        feed_calls, calls = counted("poller_calls_total", "feed"), counted("poller_calls_total")
        ratios.append(mean_delay(wrong) / mean_delay(plain))
        print(f"seed {seed}: × {ratios[-1]:.3f} with a feed that is always wrong: {feed_calls:g} of {calls:g} calls")
        assert wrong.all_processes[0].told.count("feed_failed") == 0
        assert counted("poller_hints_total", "used") > 20
        assert feed_calls <= 0.03 * calls

    assert sum(ratios) / len(ratios) <= 1.05


@pytest.mark.parametrize(
    "plan",
    [replace(PLAN, seed=5, hours=2.0, replicas=2, kills=8, rebalances=3, outages=1, call_failures=0.1, commit_failures=0.05)],
    ids=str,
)
def test_faults_and_the_feed_together_lose_nothing_and_stay_within_the_budget(plan: Plan) -> None:
    life(plan).judge()
