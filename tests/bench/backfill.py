"""How fast one process reads the past: pages of 100 activities that need no HTTP, through decoder, engine, worker and log, into a real Kafka.

    source (in memory) ──▶ wire.decode ──▶ engine ──▶ worker ──▶ KafkaLog, one partition, one transactional producer ──▶ broker

All settings are the defaults but for the budget, which is out of the way. The activities are the simulator's, 1.8 kB each on average, every
one another, so that compression finds what it would find. The broker has its share of the same cores. Afterwards the topic is read and its records are counted.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from random import Random
from typing import NamedTuple
from uuid import uuid4

import anyio
from anyio.lowlevel import checkpoint

from poller.app import make_clock
from poller.config import KafkaSettings
from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.demo.answers import page_body
from poller.demo.broker import broker
from poller.demo.options import SimulatorOptions
from poller.demo.payloads import render
from poller.demo.population import make_activity, make_customer
from poller.demo.readings import Listing
from poller.journal import Journal
from poller.kafka.log import KafkaLog
from poller.model import PAGE_ACTIVITIES_MAX, Changes, CustomerId, FeedCall, Fetch, ListCall, ListPage, Page, Response
from poller.telemetry import Telemetry
from poller.voucherify import wire
from poller.worker import Worker
from tests.bench.figures import Figure
from tests.bench.profiling import Profile, sampling
from tests.support.topics import reading

GOAL_RECORDS_PER_SECOND = 20_000

URL = "https://api.example.com"
BEGAN_MS = 1_700_000_000_000
STEP_MS = 50
PAGES = 5
"""Full ones, of each customer."""
FRESH = PAGE_ACTIVITIES_MAX - 1
"""Activities of a page that the one before has not shown."""
HISTORY = 1 + PAGES * FRESH
"""Activities of each customer."""
UNLIMITED = 1e9
SECONDS_MAX = 120.0


class Bodies:
    """A source whose answers are ready."""

    def __init__(self, customers: int) -> None:
        self._bodies: dict[tuple[CustomerId, int], bytes] = {}
        self._nothing = page_body(Listing(), [], successor=False)
        self.customers = [self._prepare(index) for index in range(customers)]
        self.activities = customers * HISTORY
        self.bytes = sum(map(len, self._bodies.values()))

    def _prepare(self, index: int) -> CustomerId:
        customer, options, random = make_customer(1, index), SimulatorOptions(undocumented_type_rate=0), Random(index)
        instants_ms = [BEGAN_MS + STEP_MS * i for i in range(HISTORY)]
        stored = [make_activity(options, random, f"v-{random.getrandbits(72):018x}", at_ms, at_ms / 1000) for at_ms in instants_ms]
        entries = [render(customer, activity, "nested") for activity in stored]
        for first in range(0, HISTORY, FRESH):
            asked_ms = instants_ms[first] - 1 if first else 0
            body = page_body(Listing(), entries[first : first + PAGE_ACTIVITIES_MAX], successor=False)
            self._bodies[CustomerId(customer.id), asked_ms] = body
        return CustomerId(customer.id)

    async def fetch(self, fetch: Fetch) -> Response:
        await checkpoint()
        body = self._bodies.get((fetch.customer, fetch.query.start_date_ms or 0), self._nothing)
        return Response(body=body, server_time=time.time())

    def decode(self, response: Response) -> Page:
        return wire.decode(response)

    async def fetch_changes(self, call: FeedCall) -> Response:
        raise AssertionError("nobody reads the change feed here")

    def decode_changes(self, response: Response) -> Changes:
        raise AssertionError("nobody reads the change feed here")

    async def fetch_list(self, call: ListCall) -> Response:
        raise AssertionError("nobody lists customers here")

    def decode_list(self, response: Response) -> ListPage:
        raise AssertionError("nobody lists customers here")


class Silent:
    """A logger that says nothing: there is one event a transaction."""

    def log(self, level: int, event: str, /, **fields: object) -> None: ...


class Run(NamedTuple):
    """One backfill."""

    records: int
    seconds: float
    cpu_seconds: float


async def backfill(source: Bodies, bootstrap_servers: str, counted: Counter[str] | None = None) -> Run:
    """One run, to topics of its own, from the first call to the last commit; `counted`: and note where the time goes."""
    name = f"backfill-{uuid4().hex[:8]}"
    settings = KafkaSettings(bootstrap_servers=bootstrap_servers, application_id=name, activities_topic=name)
    clock, telemetry = make_clock(), Telemetry(Silent())
    engine = Engine(Policy(start="earliest", calls_limit=UNLIMITED, url=URL))
    worker = Worker(engine, source, KafkaLog(settings, URL, clock), clock, Journal(telemetry))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await _until(lambda: bool(engine.owned))
        await anyio.sleep(1)  # the grant of calls stands, and the group is at rest
        began, cpu = time.perf_counter(), time.process_time()
        with nullcontext(Counter[str]()) if counted is None else sampling() as sampled:
            worker.watch(source.customers, "setting")
            await _until(lambda: telemetry.metrics.counted("poller_activities_published_total") >= source.activities)
        run = Run(source.activities, time.perf_counter() - began, time.process_time() - cpu)
        worker.drain()
    if counted is not None:
        counted.update(sampled)
    async with reading(bootstrap_servers, name) as reader:
        published = len(await reader.read())
    assert published == source.activities, f"{published} of {source.activities} activities are in the topic"
    return run


async def _until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(SECONDS_MAX):
        while not holds():  # noqa: ASYNC110 - what is waited for rings no bell
            await anyio.sleep(0.005)


async def runs_of(customers: int, times: int) -> tuple[list[Run], Profile]:
    """So many runs, after one that warms up client and broker; and one more, looked at."""
    source, warm = Bodies(customers), Bodies(min(customers, 20))
    async with broker(log=lambda _: None) as running:
        await backfill(warm, running.bootstrap_servers)
        runs = [await backfill(source, running.bootstrap_servers) for _ in range(times)]
        counted: Counter[str] = Counter()
        await backfill(source, running.bootstrap_servers, counted)
        return runs, Profile.of(counted)


def measure(customers: int = 120, times: int = 5) -> tuple[list[Figure], Profile]:
    """And where the time went."""
    runs, profile = anyio.run(runs_of, customers, times, backend_options={"use_uvloop": sys.platform != "win32"})
    what = f"{runs[0].records:,} activities of {customers} customers"
    figures = [
        Figure(what, "records/s", [run.records / run.seconds for run in runs], at_least=GOAL_RECORDS_PER_SECOND),
        Figure("CPU of it, of each", "µs", [run.cpu_seconds / run.records * 1e6 for run in runs]),
    ]
    return figures, profile
