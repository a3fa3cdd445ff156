"""What the page is shown beside: a lively simulated API, and pollers as real processes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.processes import Deployment, Poller, busy, served

UNKNOWN = ["cust_nobody", "cust_noone"]
"""Ids that the API does not know."""


@asynccontextmanager
async def pollers(bootstrap_servers: str, directory: Path, replicas: int, **settings: object) -> AsyncIterator[list[Poller]]:
    """All of them ready. Some customers are paused, two are unknown, and now and then a call fails."""
    api = busy(
        customers=48,
        activities_per_customer_minute=4.0,
        day_amplitude=0.0,
        history_seconds=120.0,
        latency_seconds=0.1,
        error_rate=0.01,
        late_rate=0.1,
        seed=5,
    )
    ids = list(api.customers)
    entries = [*ids[:44], *(json.dumps({"id": customer, "paused": True}) for customer in ids[44:46]), *UNKNOWN]
    async with served(api) as server, Deployment(bootstrap_servers, server.url, entries, directory, **{"calls_per_minute": 240, "calls_per_cycle": 3_000_000, "log_level": "info", **settings}) as deployment:  # fmt: skip
        started = [deployment.start() for _ in range(replicas)]
        for poller in started:
            await poller.is_ready("", within_seconds=60)
        yield started


def url_of(poller: Poller) -> str:
    return f"http://127.0.0.1:{poller.settings['POLLER_ADMIN_PORT']}/"
