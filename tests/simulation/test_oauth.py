"""An hour with OAuth: tokens that live shortly and are revoked, kills and faults; the calls for tokens are within the budget like all others."""

import anyio

from tests.support.world import Plan, World, run_in

REVOCATIONS = 5
PLAN = Plan(seed=21, hours=1, kills=4, rebalances=2, auth="oauth", token_seconds=120)


class Revoking(World):
    """Every token dies now and then."""

    async def live(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._revoke)
            await super().live()
            tasks.cancel_scope.cancel()

    async def _revoke(self) -> None:
        for _ in range(REVOCATIONS):
            await anyio.sleep(self.plan.hours * 3600 / (REVOCATIONS + 1))
            self.simulator.tokens.revoke_all()


def test_with_oauth_nothing_is_lost_nothing_twice_and_every_window_is_within_the_budget() -> None:
    print(PLAN)
    world = run_in(Revoking, PLAN)

    world.judge_safety()
    world.judge_budget()
    world.judge_freshness()
    assert len(world.published()) > 150


def test_one_process_takes_a_token_when_it_is_due_and_a_standby_none() -> None:
    plan = Plan(seed=22, hours=1, kills=0, rebalances=0, outages=0, auth="oauth", token_seconds=120)
    world = run_in(World, plan)

    world.judge_safety()
    assert sorted(process.told.count("token_renewed") > 0 for process in world.processes) == [False, True]
    lived_seconds = world.clock() - world.simulator.started_at
    assert lived_seconds / 120 < world.simulator.tokens.issued <= lived_seconds / (0.75 * 120) + 1
