"""A whole day of hundreds of customers from one seed, and a few drawn plans of the swarm (`make sim` plays more of them)."""

import pytest

from tests.support.plan import Plan
from tests.support.world import run

DAY = Plan(
    seed=24,
    hours=24,
    customers=300,
    calls_per_minute=6,
    lookback_seconds=300,
    activities_per_customer_day=12,
    late_seconds_max=270,
    defect_rate=0.02,
    session_seconds=30,
    kills=12,
    restarts=4,
    crash_loops=1,
    stalls=3,
    expulsions=3,
    rebalances=12,
    outages=4,
    api_outages=3,
)

SWARM = [Plan.drawn(seed, hours=0.1) for seed in (16, 23, 24)]


def test_a_day_of_hundreds_of_customers_satisfies_every_judge() -> None:
    print(DAY)

    world = run(DAY)

    figures = world.judge()
    assert figures.published > 2500 and figures.dead_letters > 20
    assert figures.lives == DAY.replicas + DAY.kills + DAY.restarts + 4 * DAY.crash_loops
    print(figures)


@pytest.mark.parametrize("plan", SWARM, ids=lambda plan: f"seed={plan.seed}")
def test_a_drawn_plan_satisfies_every_judge(plan: Plan) -> None:
    print(plan)

    print(run(plan).judge())


def test_a_drawn_plan_replays_exactly_its_calls_its_records_and_all_that_was_said() -> None:
    plan = Plan.drawn(2, hours=0.1)

    first, again, other = (run(one).trace() for one in (plan, plan, Plan.drawn(3, hours=0.1)))

    assert first == again
    assert first != other
