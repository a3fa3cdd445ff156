"""Webhooks over real sockets: to the replica that reads the customer, or to another, which passes them on by Kafka."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import anyio
import httpx
import pytest

from poller.config import KafkaSettings
from poller.demo.api import Simulator
from poller.demo.broker import free_port
from poller.demo.objects import Customer
from poller.demo.options import SimulatorOptions
from poller.demo.population import Scripted
from poller.demo.readings import Stored
from poller.journal import Journal
from poller.kafka.hints import KafkaHints
from poller.model import CustomerId, Hint, Whose
from poller.telemetry import Telemetry
from tests.support.processes import CANARY, Deployment, Poller, one_error, served
from tests.support.topics import TopicReader, name_of, reading
from tests.support.waiting import until
from tests.support.webhooks import signed, webhook_of
from tests.support.world import Told

pytestmark = pytest.mark.anyio

CUSTOMERS = [f"cust_{number}" for number in range(12)]


class Replica:
    """One end of what hints are passed on by."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self.heard: list[str] = []
        self.told = Told()
        settings = KafkaSettings(bootstrap_servers=bootstrap_servers, activities_topic=topic)
        self.hints = KafkaHints(settings, Journal(Telemetry(self.told)))

    def hear(self, hint: Hint) -> Whose:
        self.heard.append(f"{hint.customer} {hint.at_ms}")
        return "ours"

    def send(self, customer: str, at_ms: int | None = None) -> bool:
        return self.hints.send(Hint(CustomerId(customer), at_ms))

    async def listening(self, other: "Replica") -> None:
        """Until it hears the other: from then on it hears all."""

        def heard() -> bool:
            other.send("are you there")
            return "are you there None" in self.heard

        await until(heard, within_seconds=20)


@asynccontextmanager
async def sharing(*replicas: Replica) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        for replica in replicas:
            tasks.start_soon(replica.hints.share, replica.hear)
        yield
        tasks.cancel_scope.cancel()


async def test_what_one_replica_passes_on_all_hear_that_listen_by_then(kafka: str) -> None:
    topic = f"hints-{uuid4().hex[:8]}"
    one, other, late = (Replica(kafka, topic) for _ in range(3))
    async with one_error(), sharing(one, other):
        await other.listening(one)
        assert one.send("cust_1", 5)
        await until(lambda: "cust_1 5" in other.heard and "cust_1 5" in one.heard, within_seconds=5)
        async with sharing(late):
            await late.listening(one)

        assert "cust_1 5" not in late.heard
        assert one.told.events == other.told.events == []


async def test_without_kafka_it_is_said_and_nothing_else_happens() -> None:
    alone = Replica(f"127.0.0.1:{free_port()}", "t")
    async with one_error(), sharing(alone):
        await until(lambda: alone.told.count("hints_unshared") >= 2, within_seconds=15)
        assert alone.send("cust_1")

    assert {name for name, _ in alone.told.events} == {"hints_unshared"}


def acting(customer: str, number: int) -> Stored:
    now = time.time()
    return Stored(id=f"{customer}-{number}", type="customer.order.created", created_at_us=int(now * 1000) * 1000, shown_at=now)


async def posted(poller: Poller, body: bytes, signature: str) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        url = f"http://127.0.0.1:{poller.settings['POLLER_WEBHOOK_PORT']}/webhooks/voucherify"
        began = time.monotonic()
        status = (await client.post(url, content=body, headers={"x-voucherify-signature": signature})).status_code
    assert time.monotonic() - began < 3
    return status


async def test_a_webhook_at_any_replica_has_its_customer_read_next_and_a_forged_one_changes_nothing(kafka: str, tmp_path: Path) -> None:
    population = Scripted({name: [] for name in CUSTOMERS})
    simulator = Simulator(SimulatorOptions(app_token=CANARY, calls_per_window=None), time.time, population)
    settings = {"calls_per_minute": 90, "webhook_secret": CANARY, "staleness_seconds_max": 600}
    async with one_error(), served(simulator) as api, Deployment(kafka, api.url, CUSTOMERS, tmp_path, **settings) as pollers:
        owner = pollers.start(webhook_port=free_port())
        await owner.active()
        standing_by = pollers.start(webhook_port=free_port())
        await standing_by.standing_by()
        await until(lambda: len({call.customer for call in simulator.calls}) == len(CUSTOMERS), within_seconds=30)

        async def told(at: Poller, customer: str, number: int, secret: str = CANARY) -> tuple[int, list[str | None]]:
            """The answer, and whom the next calls are for."""
            activity = acting(customer, number)
            population.add(customer, activity)
            body, made = webhook_of(Customer(customer, customer), activity), len(simulator.calls)
            status = await posted(at, body, signed(body, secret))
            await until(lambda: len(simulator.calls) >= made + 2, within_seconds=10)
            return status, [call.customer for call in list(simulator.calls)[made : made + 2]]

        for number, (at, customer) in enumerate([(owner, "cust_3"), (standing_by, "cust_8"), (standing_by, "cust_1")]):
            status, called = await told(at, customer, number)
            assert (status, customer in called) == (204, True), called
        for at in (owner, standing_by):
            assert (await told(at, "cust_2", 9, "forged"))[0] == 401
            await at.has_said("webhook_refused")

        async with reading(kafka, pollers.name) as reader:
            expected = {("cust_3", "cust_3-0"), ("cust_8", "cust_8-1"), ("cust_1", "cust_1-2")}
            await until(lambda: published(reader, expected), within_seconds=10)


async def published(reader: TopicReader, expected: set[tuple[str, str]]) -> bool:
    names = [name_of(record) for record in await reader.read()]
    return expected <= set(names) and len(names) == len(set(names))
