"""Stopped for longer than its session lasts, a replica goes on as if nothing had happened: it must not publish, and not call."""

import signal
from pathlib import Path
from random import Random

import anyio
import pytest

from tests.support.processes import SESSION_SECONDS, Deployment, busy, one_error, served
from tests.support.topics import all_published, reading, within_budget
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SEED = 11
CALLS_PER_MINUTE = 3000


async def test_a_zombie_neither_publishes_twice_nor_spends_what_another_owns(kafka: str, tmp_path: Path) -> None:
    random = Random(SEED)
    settings = {"calls_per_minute": CALLS_PER_MINUTE, "kafka_commit_seconds": 0.02}
    async with (
        one_error(),
        served(busy(activities_per_customer_minute=200.0)) as api,
        Deployment(kafka, api.url, api.simulator.customers, tmp_path, **settings) as pollers,
    ):
        zombie, other = pollers.start(), pollers.start()
        await until(lambda: zombie.count("assigned") and other.count("assigned"), within_seconds=15)
        if await zombie.says("readyz", 200, "standing by"):
            zombie, other = other, zombie
        await zombie.active()
        await until(lambda: zombie.count("published") > 3, within_seconds=5)
        await anyio.sleep(random.uniform(0, 0.5))  # the moment is what is tried

        zombie.send(signal.SIGSTOP)
        await other.active(within_seconds=SESSION_SECONDS + 5)
        published = other.count("published")
        await until(lambda: other.count("published") > published + 3, within_seconds=5)
        zombie.send(signal.SIGCONT)
        await until(lambda: zombie.count("partition_lost") > 0, within_seconds=5)
        await zombie.is_ready("")

        async with reading(kafka, pollers.name) as reader:
            await all_published(reader, api.simulator, within_seconds=20)
        assert within_budget(api.simulator, CALLS_PER_MINUTE)
        assert {poller.exit_code for poller in pollers.pollers} == {None}
