"""`poller inspect` of a real deployment: what it says is what is so, while the poller runs and after."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.processes import Deployment, Poller, busy, inherited, one_error, served
from tests.support.topics import all_published, name_of, reading
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def inspected(poller: Poller, *arguments: str) -> dict[str, Any]:
    """As its operator would see it, beside the process."""
    told = await anyio.run_process(
        [sys.executable, "-m", "poller", "inspect", *arguments, "--json"],
        env={**inherited(), **poller.settings},
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert told.returncode == 0, told.stdout.decode()
    answer: dict[str, Any] = json.loads(told.stdout)
    return answer


async def test_a_customer_is_shown_as_the_topics_and_its_owner_know_it(kafka: str, tmp_path: Path) -> None:
    async with one_error(), served(busy()) as api, Deployment(kafka, api.url, api.simulator.customers, tmp_path) as pollers:
        customer = api.simulator.customers[3]
        poller = pollers.start()
        await poller.active()
        async with reading(kafka, pollers.name) as reader:
            await all_published(reader, api.simulator, within_seconds=15)
            during, stranger = await inspected(poller, customer), await inspected(poller, "nobody we know")
            published = {name_of(record)[1] for record in await reader.read() if name_of(record)[0] == customer}
        poller.send(signal.SIGTERM)
        assert await poller.ended() == 0
        after = await inspected(poller, customer)

    assert (during["watched"], during["partition"], during["partitions"]) == (True, 0, 1)
    assert during["owner"].endswith(f"/{poller.pid}")
    assert during["live"]["owner"] == during["owner"]
    assert during["live"]["state"] in {"waits", "in flight", "awaits its commit", "has more pages"}
    assert (during["live"]["failures"], during["live"]["error"], during["live_unknown"]) == (0, "", None)
    assert set(during["checkpoint"]["recent"]) <= published
    assert (stranger["watched"], stranger["checkpoint"], stranger["live"]["state"]) == (False, None, "not watched")
    assert after["checkpoint"]["last_read"] >= during["checkpoint"]["last_read"]
    assert (after["owner"], after["live"]) == (during["owner"], None)
    assert after["live_unknown"].startswith("nobody answers at http://127.0.0.1:")


async def test_a_failing_customer_is_shown_with_its_error(kafka: str, tmp_path: Path) -> None:
    async with one_error(), served(busy(customers=1)) as api, Deployment(kafka, api.url, ["unheard-of"], tmp_path) as pollers:
        poller = pollers.start()
        await poller.active()
        await until(lambda: poller.count("customer_unknown"), within_seconds=10)
        shown = await inspected(poller, "unheard-of")

    assert shown["checkpoint"] is None
    assert shown["live"]["failures"] >= 1
    assert "does not know this customer" in shown["live"]["error"]
    assert shown["live"]["due"] is not None
