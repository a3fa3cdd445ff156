"""One `poller run` that watches very many customers who do nothing: what it takes, and how long until it reads.

The checkpoint topic of a real Kafka holds everybody as they stand after a while, in the order in which they were last read; an API that has
nothing to show answers over loopback. Looked at from outside: the process's memory (resident, and the most that it ever was), the calls
that arrive, and how long its `/livez` keeps whoever asks waiting, which is as long as its loop does nothing else.
"""

import random
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx

from poller.app import make_clock
from poller.commands.watch import Complaints
from poller.config import KafkaSettings
from poller.kafka.log import KafkaLog
from poller.kafka.watch import KafkaWatch
from poller.model import PLAIN, Batch, CustomerId
from tests.bench.cpu_per_page import HEAD, Pages, cpu_seconds
from tests.bench.memory import idle
from tests.support.builders import ownership
from tests.support.processes import Deployment, Poller
from tests.support.waiting import until

CALLS_PER_MINUTE = 2_000
"""What the largest plan allows."""

AT_ONCE = 5_000
"""Checkpoints in one transaction."""

CALLS_BEFORE_MEASURED = 100
"""By then all is warm."""

ASKED_EVERY_SECONDS = 0.02
START_SECONDS_MAX = 600.0
ADDED, ANNOUNCED = CustomerId("cust_added"), CustomerId("cust_announced")
CUSTOMER = re.compile(rb"/customers/([^/?]+)/")


class Replica(NamedTuple):
    """What was measured of one process."""

    customers: int
    memory_mb: float
    memory_most_mb: float
    first_call_seconds: float
    """From its start: with Python's own, the settings, and joining the group."""
    restored_seconds: float
    """Of them, from being assigned the partition."""
    restored_cpu_seconds: float
    pause_seconds: float
    """The longest that its loop kept `/livez` waiting, from the first answer on."""
    added_seconds: float
    """From a file that names one more to the call that asks for it."""
    announced_seconds: float
    """The same of one that the watch topic names."""


class Silence(Pages):
    """Nobody has done anything. Who was asked for, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.first_at = 0.0
        self.asked: dict[CustomerId, float] = {}
        """First at that time."""

    def answer(self, request: bytes) -> bytes:
        self.first_at = self.first_at or time.monotonic()
        self.calls += 1
        asked = CUSTOMER.search(request)
        if asked is not None:
            self.asked.setdefault(CustomerId(asked[1].decode()), time.monotonic())
        body = b'{"object":"list","data_ref":"data","data":[],"total":0}'
        return HEAD.format(date=formatdate(usegmt=True), length=len(body)).encode() + body


class Livez:
    """Asks again and again, and knows how long the longest answer took."""

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self.longest_seconds = 0.0

    async def ask(self) -> None:
        url = f"http://127.0.0.1:{self.poller.settings['POLLER_ADMIN_PORT']}/livez"
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            while True:
                began = time.monotonic()
                try:
                    await client.get(url)
                    self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
                except httpx.ConnectError:
                    pass  # it does not listen yet
                await anyio.sleep(ASKED_EVERY_SECONDS)


def memory_mb(pid: int, field: str) -> float:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(f"{field}:")]
    return int(line.split()[1]) / 1024


async def fill(settings: KafkaSettings, url: str, customers: list[CustomerId]) -> None:
    """Everybody's checkpoint, in the order of their last reads, which is no order of their names."""
    log = KafkaLog(settings, url, make_clock())
    await log.prepare()
    shuffled = random.Random(1).sample(customers, len(customers))
    owner = ownership(application_id=settings.application_id, url=url)
    async with log.open(0) as writer:
        for first in range(0, len(shuffled), AT_ONCE):
            some = enumerate(shuffled[first : first + AT_ONCE], start=first)
            batches = [Batch(customer=name, partition=0, base=None, checkpoint=idle(i, len(shuffled), time.time())) for i, name in some]
            await writer.append(batches, owner)


async def measure(bootstrap_servers: str, count: int) -> Replica:
    customers = [CustomerId(f"cust_{i:024x}") for i in range(count - 2)]  # two more are to come
    default = dict.fromkeys(("lookback_seconds", "log_level", "kafka_commit_seconds", "kafka_session_seconds"))
    with tempfile.TemporaryDirectory() as directory:
        async with silence() as (api, url):
            pollers = Deployment(bootstrap_servers, url, customers, Path(directory), calls_per_minute=CALLS_PER_MINUTE, **default)
            kafka = KafkaSettings(
                bootstrap_servers=bootstrap_servers, application_id=pollers.name, activities_topic=pollers.name, activities_partitions=3
            )
            await fill(kafka, url, customers)
            async with pollers, anyio.create_task_group() as tasks:
                began = time.monotonic()
                livez = Livez(pollers.start())
                tasks.start_soon(livez.ask)
                replica = await _measured(Scene(livez, api, began, customers, Path(str(pollers.settings["customers_file"])), kafka))
                tasks.cancel_scope.cancel()
            return replica


@asynccontextmanager
async def silence() -> AsyncIterator[tuple[Silence, str]]:
    """The API, and where it is."""
    api = Silence()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, api.serve)
        yield api, f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


class Scene(NamedTuple):
    """A process that has just been started."""

    livez: Livez
    api: Silence
    began: float
    customers: list[CustomerId]
    listed: Path
    kafka: KafkaSettings


async def _measured(scene: Scene) -> Replica:
    poller, api = scene.livez.poller, scene.api
    await poller.has_said("assigned", within_seconds=START_SECONDS_MAX)
    assigned, cpu = time.monotonic(), cpu_seconds(poller.pid)
    await until(lambda: api.calls > 0, within_seconds=START_SECONDS_MAX)
    cpu = cpu_seconds(poller.pid) - cpu
    await until(lambda: api.calls >= CALLS_BEFORE_MEASURED, within_seconds=60)
    added = time.monotonic()
    _replace(scene.listed, [*scene.customers, ADDED])
    added_seconds = await _asked_for(api, ADDED) - added
    announced = time.monotonic()
    await KafkaWatch(scene.kafka, Complaints()).put({ANNOUNCED: PLAIN})
    announced_seconds = await _asked_for(api, ANNOUNCED) - announced
    await until(lambda: api.calls >= 3 * CALLS_BEFORE_MEASURED, within_seconds=60)
    assert poller.exit_code is None, repr(poller)
    return Replica(
        customers=len(scene.customers) + 2,
        memory_mb=memory_mb(poller.pid, "VmRSS"),
        memory_most_mb=memory_mb(poller.pid, "VmHWM"),
        first_call_seconds=api.first_at - scene.began,
        restored_seconds=api.first_at - assigned,
        restored_cpu_seconds=cpu,
        pause_seconds=scene.livez.longest_seconds,
        added_seconds=added_seconds,
        announced_seconds=announced_seconds,
    )


async def _asked_for(api: Silence, customer: CustomerId) -> float:
    await until(lambda: customer in api.asked, within_seconds=START_SECONDS_MAX)
    return api.asked[customer]


def _replace(path: Path, customers: list[CustomerId]) -> None:
    """As whoever writes files with care does: nobody sees half of it."""
    beside = path.with_suffix(".new")
    beside.write_text("".join(f"{customer}\n" for customer in customers))
    beside.replace(path)
