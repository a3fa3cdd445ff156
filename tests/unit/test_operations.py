"""What operators are shown, by the admin server as it is wired: nothing that the log would hide."""

import json
from typing import Any

import httpx
import pytest

from poller.admin.http import make_app
from poller.app import policy_of, secrets_of
from poller.config import Settings, load
from poller.errors import Explanation, Unauthorized
from poller.journal import Journal
from poller.kafka.hints import KafkaHints
from poller.model import CustomerId, Ledger
from poller.operations import Office, make_voice
from poller.worker import Worker
from tests.support.builders import restored
from tests.support.engines import NOW, fetch, owner

pytestmark = pytest.mark.usefixtures("logging_as_it_was")

SECRET = "canary-5d1f0c9a"
CUSTOMER = CustomerId("anna.private")
"""Of no form by which it could be told to be an id."""
NOBODY: Any = None
"""Neither API nor Kafka is asked."""


def settings() -> Settings:
    return load(
        {
            "POLLER_VOUCHERIFY_APP_ID": "id-of-an-app",
            "POLLER_VOUCHERIFY_APP_TOKEN": SECRET,
            "POLLER_CUSTOMERS": CUSTOMER,
            "POLLER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
            "POLLER_LOG_CUSTOMERS": "hashed",
        }
    )


def office() -> Office:
    """Of a process whose only call was refused, in words that quote what was sent."""
    used = settings()
    voice = make_voice(used, secrets_of(used), lambda: NOW)
    journal = Journal(voice.telemetry)
    engine = owner(policy_of(used), (CUSTOMER,), restored(Ledger(10)))
    engine.fetch_failed(fetch(engine), Unauthorized(Explanation(message=f"no token {SECRET} for /v1/customers/anna.private")), NOW)
    worker = Worker(engine, NOBODY, NOBODY, lambda: NOW, journal)
    worker._assigned = frozenset({0})
    return Office(used, worker, voice, journal, KafkaHints(used.kafka, journal), lambda: NOW)


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/status", "/readyz", "/customers/anna.private"])
async def test_what_the_api_quotes_of_us_is_shown_to_nobody(path: str) -> None:
    app = make_app(office()._admin())
    async with httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(app)) as client:
        answer = await client.get(path)

    told = json.dumps({**answer.json(), "entry": None})
    assert "<secret>" in told
    assert (SECRET in told, "anna" in told) == (False, False)
