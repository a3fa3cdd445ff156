"""`poller plan` of a real deployment: it reckons with what the poller has learned of its customers."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.processes import Deployment, Poller, busy, inherited, one_error, served
from tests.support.topics import all_published, reading

pytestmark = pytest.mark.anyio


async def command(poller: Poller, *words: str, **settings: str) -> Any:
    """What it says as JSON to its operator, beside the process."""
    told = await anyio.run_process(
        [sys.executable, "-m", "poller", *words, "--json"],
        env={**inherited(), **poller.settings, **settings},
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert told.returncode == 0, told.stdout.decode()
    return json.loads(told.stdout)


async def test_what_a_poller_has_learned_of_its_customers_is_reckoned_with(kafka: str, tmp_path: Path) -> None:
    # A budget that nobody lives by: at the deployment's own these customers would be read all the time, which takes long to play.
    slow = {"POLLER_CALLS_PER_MINUTE": "30"}
    async with one_error(), served(busy()) as api, Deployment(kafka, api.url, api.simulator.customers, tmp_path) as pollers:
        poller = pollers.start()
        await poller.active()
        async with reading(kafka, pollers.name) as reader:
            await all_published(reader, api.simulator, within_seconds=15)
        poller.send(signal.SIGTERM)
        assert await poller.ended() == 0
        watched = len(api.simulator.customers)
        told = await command(poller, "plan", **slow)
        others = await command(poller, "plan", POLLER_CUSTOMERS_FILE="", POLLER_CUSTOMERS="nobody we know", **slow)

        elsewhere = await command(poller, "plan", POLLER_KAFKA_CHECKPOINTS_TOPIC=f"{pollers.name}.never", **slow)
        await command(poller, "watch", "add", "one", "two")
        in_the_topic = await command(poller, "plan", POLLER_CUSTOMERS_FILE="", POLLER_CUSTOMERS="", **slow)

    assert told["customers"] == watched
    assert told["rates"].startswith(f"learned of {watched} of them, over ")
    assert told["activities_per_day"] > 100 * watched  # far from what would be assumed, as they act all the time
    assert (others["customers"], others["rates"]) == (1, "assumed, as nothing has been learned of them yet")
    assert (elsewhere["customers"], elsewhere["rates"]) == (watched, "assumed, as nothing has been learned of them yet")
    assert in_the_topic["customers"] == 2
