"""An hour with OAuth: tokens that live shortly and are revoked, kills and faults; the calls for tokens are within the budget like all others."""

from typing import Any

import anyio

from tests.support.world import Plan, World, run_in

PEACE: dict[str, Any] = {"kills": 0, "rebalances": 0, "outages": 0, "auth": "oauth"}
PLAN = Plan(seed=21, hours=1, kills=4, rebalances=2, revocations=5, auth="oauth", token_seconds=120)


class OAuthOnly(World):
    """The credentials themselves authorise nothing but the calls for tokens."""

    def __init__(self, plan: Plan, *given: Any) -> None:
        super().__init__(plan, *given)
        self.simulator.change(accepts="oauth")

    def token_calls(self) -> int:
        return sum(call.customer is None for call in self.simulator.calls)


def test_with_oauth_nothing_is_lost_nothing_twice_and_every_window_is_within_the_budget() -> None:
    print(PLAN)
    world = run_in(OAuthOnly, PLAN)

    world.judge_safety()
    world.judge_budget()
    world.judge_freshness()
    assert len(world.published()) > 150
    assert world.token_calls() >= world.simulator.tokens.issued > 30


def test_one_process_takes_a_token_when_it_is_due_and_a_standby_none() -> None:
    plan = Plan(seed=22, hours=1, call_failures=0, token_seconds=120, **PEACE)
    world = run_in(OAuthOnly, plan)

    world.judge_safety()
    assert sorted(process.told.count("token_renewed") > 0 for process in world.processes) == [False, True]
    lived_seconds = world.clock() - world.simulator.started_at
    assert lived_seconds / 120 < world.simulator.tokens.issued <= lived_seconds / (0.75 * 120) + 1
    assert world.token_calls() == world.simulator.tokens.issued


class Seldom(OAuthOnly):
    """With the fewest calls that the settings allow with OAuth, every second call goes into a token."""

    async def settle(self) -> None:
        self.simulator.freeze()
        await anyio.sleep(6 * 2 * self.plan.customers / self.plan.calls_per_minute * 60)


def test_with_the_fewest_calls_that_oauth_is_allowed_customers_are_still_read() -> None:
    plan = Plan(seed=23, hours=12, customers=2, replicas=1, calls_per_minute=5 / 60, call_failures=0, **PEACE)
    world = run_in(Seldom, plan)

    world.judge_safety()
    assert len(world.published()) > 150
    assert world.token_calls() <= len(world.simulator.calls) / 2 + 1


def test_an_api_that_refuses_every_token_that_it_issues_is_asked_ever_more_seldom() -> None:
    class Refusing(OAuthOnly):
        async def live(self) -> None:
            self.simulator.tokens.valid = lambda _token, _now: False  # type: ignore[method-assign,assignment]
            async with anyio.create_task_group() as tasks:
                process = self.start(tasks)
                await anyio.sleep(3600)
                process.worker.drain()
            self._ended_at = self.clock()

    world = run_in(Refusing, Plan(seed=24, replicas=1, call_failures=0, commit_failures=0, auth="oauth"))
    by_quarter = [sum(call.at - world.simulator.started_at >= begin for call in world.simulator.calls) for begin in (0, 900, 1800, 2700)]

    assert 0 < by_quarter[3] <= 10
    assert by_quarter[0] <= 60
