"""Hours of the whole program, from one seed: faults on both edges, kills, rebalances, an outage; then the judges."""

import pytest

from tests.support.world import Plan, World, quantile, run

PLANS = [
    Plan(seed=1),
    Plan(seed=2, partitions=4, replicas=3, kills=15),
    Plan(seed=3, hours=0.5, calls_per_minute=600, calls_in_flight_max=16, customers=60, kills=10, call_failures=0.15, commit_failures=0.1),
    Plan(seed=4, hours=2, customers=40, calls_per_minute=100, kills=5, rebalances=20, outages=3),
]


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_hours_of_faults_lose_nothing_publish_nothing_twice_and_stay_within_the_budget(plan: Plan) -> None:
    print(plan)

    world = run(plan)

    world.judge_safety()
    assert len(world.published()) > 300
    assert world.lives == plan.replicas + plan.kills
    most, middle = world.judge_budget(), world.judge_freshness()
    print(
        f"{len(world.published())} published, {len(world.simulator.calls)} calls, at most {most} a minute, delay {middle:.1f} s at the median"
    )


def test_without_faults_the_whole_budget_is_used_and_the_delay_is_less_than_reading_in_turn_would_make_it() -> None:
    plan = Plan(seed=5, customers=30, kills=0, rebalances=0, outages=0, call_failures=0, commit_failures=0, late_seconds_max=1)
    world = run(plan)

    world.judge_safety()
    calls = [call.at - world.simulator.started_at for call in world.simulator.calls]
    assert len([at for at in calls if 600 <= at < 4200]) >= 0.97 * 60 * plan.calls_per_minute
    round_seconds = plan.customers / plan.calls_per_minute * 60
    assert quantile(world.delays(), 0.5) <= 0.35 * round_seconds
    assert quantile(world.delays(), 1.0) <= 2.1 * round_seconds


def test_a_seed_replays_exactly() -> None:
    plan = Plan(seed=6, hours=0.5, kills=5)

    def log(world: World) -> list[tuple[float, bytes]]:
        return [(at, record.value) for at, record in world.kafka.read_timed("activities")]

    first, again, other = log(run(plan)), log(run(plan)), log(run(Plan(seed=7, hours=0.5, kills=5)))

    assert first == again
    assert first != other
