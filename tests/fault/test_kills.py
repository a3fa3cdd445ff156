"""Kill -9 at any moment: each activity exactly once all the same, and no call beyond the budget."""

from pathlib import Path
from random import Random

import anyio
import pytest

from tests.support.processes import Deployment, Poller, busy, one_error, served
from tests.support.topics import all_published, forget_members, reading, within_budget
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SEED = 7
CALLS_PER_MINUTE = 3000


async def killed_and_forgotten(pollers: Deployment, poller: Poller) -> None:
    """Its session is ended by hand, so that the next life need not wait for that; what it had begun is left as it is."""
    poller.kill()
    await forget_members(pollers.bootstrap_servers, pollers.name)


async def test_killed_at_random_moments_each_activity_is_published_once(kafka: str, tmp_path: Path) -> None:
    random = Random(SEED)
    async with (
        one_error(),
        served(busy(activities_per_customer_minute=200.0)) as api,
        Deployment(
            kafka, api.url, api.simulator.customers, tmp_path, calls_per_minute=CALLS_PER_MINUTE, kafka_commit_seconds=0.02
        ) as pollers,
    ):
        for _ in range(8):
            poller = pollers.start()
            await poller.has_said("published")
            await anyio.sleep(random.uniform(0, 0.5))  # the moment is what is tried
            await killed_and_forgotten(pollers, poller)
        for _ in range(4):
            poller = pollers.start()
            await anyio.sleep(random.uniform(0.2, 1.2))  # somewhere between its start and its first commits
            await killed_and_forgotten(pollers, poller)
        await pollers.start().active()

        async with reading(kafka, pollers.name) as reader:
            records = await all_published(reader, api.simulator, within_seconds=20)
        assert len(records) > 300
        assert within_budget(api.simulator, CALLS_PER_MINUTE)


async def test_a_crash_loop_spends_no_more_calls_than_the_budget_allows(kafka: str, tmp_path: Path) -> None:
    """So few calls, and so slow ones, that a bucket which each life found filled, or a grant that was not set aside, would show at once."""
    random, few = Random(SEED), 12
    async with (
        one_error(),
        served(busy(latency_seconds=4)) as api,
        Deployment(kafka, api.url, api.simulator.customers, tmp_path, calls_per_minute=few, voucherify_timeout_seconds=10) as pollers,
    ):
        poller = pollers.start()
        await until(lambda: api.simulator.calls, within_seconds=15)
        await killed_and_forgotten(pollers, poller)
        for _ in range(6):
            poller = pollers.start()
            await poller.active()
            await anyio.sleep(random.uniform(1.5, 2.5))
            await killed_and_forgotten(pollers, poller)
        assert within_budget(api.simulator, few)

        pollers.start()
        spent = len(api.simulator.calls)
        await until(lambda: len(api.simulator.calls) > spent, within_seconds=15)
        assert within_budget(api.simulator, few)
