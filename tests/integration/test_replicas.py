"""Replicas of one deployment: they share what there is to do, and take over what another leaves behind."""

import signal
from pathlib import Path

import pytest

from tests.support.processes import DRAIN_SECONDS, SESSION_SECONDS, Deployment, Poller, busy, one_error, served
from tests.support.topics import all_published, reading, within_budget
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

HANDOVER_SECONDS = 2.0
"""From an orderly end to another replica that is ready."""

CALLS_PER_MINUTE = 600


def partitions_of(poller: Poller) -> list[int]:
    """What it was assigned last."""
    assigned = poller.events("assigned")
    partitions: list[int] = assigned[-1]["partitions"] if assigned else []
    return partitions


async def test_one_is_active_and_one_stands_by_until_the_first_leaves_or_dies(kafka: str, tmp_path: Path) -> None:
    async with (
        one_error(),
        served(busy()) as api,
        Deployment(kafka, api.url, api.simulator.customers, tmp_path, calls_per_minute=CALLS_PER_MINUTE) as pollers,
    ):
        first = pollers.start()
        await first.active()
        second = pollers.start()
        await second.standing_by()
        await first.active()

        first.send(signal.SIGTERM)
        assert await first.ended(within_seconds=DRAIN_SECONDS) == 0
        await second.active(within_seconds=HANDOVER_SECONDS)
        published = second.count("published")
        await until(lambda: second.count("published") > published, within_seconds=3)

        third = pollers.start()
        await third.standing_by()
        second.kill()
        await third.active(within_seconds=SESSION_SECONDS + 5)

        async with reading(kafka, pollers.name) as reader:
            await all_published(reader, api.simulator, within_seconds=15)
        assert within_budget(api.simulator, CALLS_PER_MINUTE)


async def test_with_several_partitions_replicas_share_and_what_one_leaves_another_takes(kafka: str, tmp_path: Path) -> None:
    settings = {"calls_per_minute": CALLS_PER_MINUTE, "kafka_checkpoint_partitions": 4}
    async with one_error(), served(busy()) as api, Deployment(kafka, api.url, api.simulator.customers, tmp_path, **settings) as pollers:

        async def shared(*replicas: Poller, within_seconds: float = 15) -> None:
            def divided() -> bool:
                owned = [partitions_of(replica) for replica in replicas]
                return sorted(partition for partitions in owned for partition in partitions) == [0, 1, 2, 3] and all(owned)

            await until(divided, within_seconds)
            for replica in replicas:
                await replica.active()

        first, second = pollers.start(), pollers.start()
        await shared(first, second)
        first.send(signal.SIGTERM)
        assert await first.ended() == 0
        await shared(second, within_seconds=5)
        third = pollers.start()
        await shared(second, third)
        second.kill()
        await shared(third, within_seconds=SESSION_SECONDS + 5)
        fourth = pollers.start()
        await shared(third, fourth)

        async with reading(kafka, pollers.name) as reader:
            await all_published(reader, api.simulator, within_seconds=20)
        assert within_budget(api.simulator, CALLS_PER_MINUTE, partitions=4)
