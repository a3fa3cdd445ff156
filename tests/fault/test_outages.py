"""Kafka is not there yet, or gone for a while: said, waited for, and gone on from, with nothing lost and nothing twice."""

from pathlib import Path

import pytest

from poller.demo.broker import broker, free_port
from tests.support.processes import Deployment, busy, one_error, served
from tests.support.topics import all_published, reading
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_started_before_kafka_and_killed_with_it_the_poller_waits_says_so_and_goes_on(tmp_path: Path) -> None:
    port = free_port()
    servers = f"127.0.0.1:{port}"
    async with (
        one_error(),
        served(busy()) as api,
        Deployment(servers, api.url, api.simulator.customers, tmp_path, calls_per_minute=600) as pollers,
    ):
        poller = pollers.start()
        await until(lambda: poller.count("waiting_for_kafka") > 1, within_seconds=10)
        assert "Kafka cannot be reached" in poller.events("waiting_for_kafka")[0]["error"]
        assert await poller.says("livez", 200)
        assert await poller.says("readyz", 503, "not yet a member of the group")
        assert len(api.simulator.calls) == 0

        async with broker(port=port, data_dir=tmp_path / "kafka", log=print) as running:
            await poller.active(within_seconds=15)
            await until(lambda: poller.count("published") > 3, within_seconds=10)

            await running.kill()
            # What cannot be published is not read: only what was granted before.
            await until(lambda: api.simulator.clock() - api.simulator.calls[-1].at > 1.5, within_seconds=10)
            assert await poller.says("livez", 200)
            published = poller.count("published")
            await running.start()
            await until(lambda: poller.count("published") > published, within_seconds=30)
            assert await poller.says("readyz", 200, "owning")

            async with reading(servers, pollers.name) as reader:
                await all_published(reader, api.simulator, within_seconds=20)
        assert poller.exit_code is None
