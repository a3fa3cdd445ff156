"""The whole program for hours of virtual time: the simulated API, the log in memory, and processes that are started and killed.

Everything follows from one seed. The judges at the end know nothing of how the program works: they compare what a reader of the log has
seen with what the API has shown, and count the calls that arrived there.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Any, Literal, TypeVar

import anyio
from anyio.abc import TaskGroup

from poller.config import Secret, VoucherifySettings
from poller.core.engine import Engine, Policy
from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.transport import SimulatorTransport
from poller.journal import Journal
from poller.kafka.memory import Faults, MemoryKafka, MemoryLog
from poller.kafka.record import Record
from poller.model import CustomerId
from poller.telemetry import Telemetry
from poller.voucherify.client import VoucherifySource
from poller.worker import Worker
from tests.support.virtual_time import run_in_virtual_time


class Objection(AssertionError):
    """What a judge has found."""


EPOCH = 1_800_000_000.0
URL = "http://simulator.invalid"
WINDOW_SECONDS = 60.0
CALL_SECONDS_MAX = 2.0
"""One call and its commit, retried once."""


@dataclass(frozen=True)
class Plan:
    """What happens in one simulation."""

    seed: int
    hours: float = 2.0
    customers: int = 20
    replicas: int = 2
    partitions: int = 1
    calls_per_minute: float = 60
    calls_in_flight_max: int = 4
    lookback_seconds: float = 60
    late_seconds_max: float = 30
    call_failures: float = 0.05
    commit_failures: float = 0.02
    kills: int = 10
    rebalances: int = 5
    outages: int = 1
    auth: Literal["token", "oauth"] = "token"
    token_seconds: float = 900

    def __str__(self) -> str:
        return (
            f"seed={self.seed} hours={self.hours:g} customers={self.customers} replicas={self.replicas} partitions={self.partitions} "
            f"calls={self.calls_per_minute:g}/min late<={self.late_seconds_max:g}s fail={self.call_failures:.0%} "
            f"abort={self.commit_failures:.0%} kills={self.kills} rebalances={self.rebalances} outages={self.outages}"
        )


@dataclass
class Told:
    """A logger that remembers."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def log(self, level: int, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))

    def count(self, event: str) -> int:
        return sum(name == event for name, _ in self.events)


class Process:
    """One life of the program."""

    def __init__(self, world: "World", policy: Policy) -> None:
        self.log = MemoryLog(world.kafka, world.clock, source_url=URL)
        self.told = Told()
        self.engine = Engine(policy)
        self.engine.watch([CustomerId(name) for name in world.simulator.customers])
        self.ended = False
        self._world = world
        self._scope = anyio.CancelScope()
        settings = VoucherifySettings(
            url=URL, auth=world.plan.auth, app_id=Secret("simulator-app-id"), app_token=Secret("simulator-app-token")
        )
        self._source = VoucherifySource(settings, SimulatorTransport(world.simulator))
        self.worker = Worker(self.engine, self._source, self.log, world.clock, Journal(Telemetry(self.told)))

    async def run(self) -> None:
        with self._scope:
            async with self._source:
                await self.worker.run()
        self.ended = True

    def kill(self) -> None:
        """As kill -9: nothing that it does from now on reaches anybody."""
        self.log.kill()
        self._scope.cancel()


class World:
    """The API, the brokers, and the processes between them."""

    def __init__(self, plan: Plan, options: SimulatorOptions | None = None) -> None:
        self.plan = plan
        self._ended_at: float | None = None
        self.random = Random(f"{plan.seed}/world")
        self.simulator = Simulator(options or options_of(plan), self.clock)
        faults = Faults(before_commit=plan.commit_failures / 2, after_commit=plan.commit_failures / 2, open=plan.commit_failures)
        self.kafka = MemoryKafka(partitions=plan.partitions, commit_seconds=0.02, faults=faults, seed=plan.seed)
        self.processes: list[Process] = []
        self.lives = 0

    def clock(self) -> float:
        """Goes on while it is run, and stands still for the judges."""
        return EPOCH + anyio.current_time() if self._ended_at is None else self._ended_at

    def policy(self) -> Policy:
        plan = self.plan
        return Policy(
            start="earliest",
            lookback_ms=round(plan.lookback_seconds * 1000),
            calls_limit=plan.calls_per_minute,
            calls_in_flight_max=plan.calls_in_flight_max,
            url=URL,
            owner=f"life {self.lives}",
        )

    def start(self, tasks: TaskGroup) -> Process:
        self.lives += 1
        process = Process(self, self.policy())
        self.processes.append(process)
        tasks.start_soon(process.run)
        return process

    async def live(self) -> None:
        """Faults at random instants; then peace, until everything that was shown can have been read; then a drain."""
        async with anyio.create_task_group() as tasks:
            for _ in range(self.plan.replicas):
                self.start(tasks)
            for at, fault in self.faults():
                await anyio.sleep_until(at)
                self.strike(fault, tasks)
            await anyio.sleep_until(self.plan.hours * 3600)
            await self.settle()
            for process in self.processes:
                process.worker.drain()
        self._ended_at = self.clock()

    def faults(self) -> list[tuple[float, str]]:
        plan = self.plan
        names = ["kill"] * plan.kills + ["rebalance"] * plan.rebalances + ["outage"] * plan.outages
        return sorted((self.random.uniform(0, plan.hours * 3600), name) for name in names)

    def strike(self, fault: str, tasks: TaskGroup) -> None:
        match fault:
            case "kill":
                victim = self.random.choice(self.processes)
                victim.kill()
                self.processes.remove(victim)
                self.start(tasks)
            case "rebalance":
                self.kafka.rebalance()
            case "outage":
                self.kafka.break_down(self.random.uniform(1, 60))

    async def settle(self) -> None:
        """No new activities; every customer is read twice more, well after the last one was shown."""
        self.simulator.freeze()
        rounds = 2 * self.plan.customers / self.plan.calls_per_minute * 60
        await anyio.sleep(self.plan.late_seconds_max + 4 * rounds + 120)

    # The judges.

    def published(self) -> list[Record]:
        return self.kafka.read_committed("activities")

    def judge_safety(self) -> None:
        """Nothing lost, nothing twice, nothing invented, nothing changed."""
        truth = self.simulator.truth(lookback_seconds=self.plan.lookback_seconds, raw=True)
        shown = {(one.customer, one.id): one for one in truth.activities}
        seen = Counter((header(record, "ce_subject"), header(record, "ce_id")) for record in self.published())
        twice = {key: count for key, count in seen.items() if count > 1}
        lost = [(one.customer, one.id) for one in truth.must if (one.customer, one.id) not in seen and one.topic == "activities"]
        invented = seen.keys() - shown.keys()
        if lost or twice or invented:
            raise Objection(f"lost {len(lost)}, twice {len(twice)}, invented {len(invented)}: {[*lost, *twice, *invented][:3]}")
        for record in self.published():
            one = shown[header(record, "ce_subject"), header(record, "ce_id")]
            if (record.key, record.value) != (one.type.encode(), one.raw):
                raise Objection(f"changed: {one.id}")

    def judge_budget(self) -> int:
        """The most calls that arrived in a window."""
        most = self.simulator.calls_in_window_max(WINDOW_SECONDS)
        if most > self.plan.calls_per_minute:
            raise Objection(f"{most} calls in {WINDOW_SECONDS:g} s")
        return most

    def delays(self) -> list[float]:
        """Seconds from being shown to being committed."""
        shown_at = {(one.customer, one.id): one.shown_at for one in self.simulator.truth().activities}
        return [
            EPOCH + at - shown_at[header(record, "ce_subject"), header(record, "ce_id")]
            for at, record in self.kafka.read_timed("activities")
        ]

    def judge_freshness(self) -> float:
        """The median delay: within twice that of evenly spaced reads with every call of the budget, which is N/(2B), and what a call takes."""
        middle = median(self.delays())
        if middle > 2 * self.plan.customers / (2 * self.plan.calls_per_minute) * 60 + CALL_SECONDS_MAX:
            raise Objection(f"the median delay is {middle:.1f} s")
        return middle


SomeWorld = TypeVar("SomeWorld", bound=World)


def options_of(plan: Plan) -> SimulatorOptions:
    return SimulatorOptions(
        seed=plan.seed,
        customers=plan.customers,
        activities_per_customer_day=400,
        peak_minute=60,
        late_rate=0.2,
        late_seconds_mean=plan.late_seconds_max / 4,
        late_seconds_max=plan.late_seconds_max,
        calls_per_window=None,
        token_seconds=plan.token_seconds,
        latency_seconds=0.3,
        error_rate=plan.call_failures * 0.4,
        disconnect_rate=plan.call_failures * 0.2,
        hang_rate=plan.call_failures * 0.1,
        garbage_rate=plan.call_failures * 0.1,
        slow_rate=plan.call_failures * 0.2,
        duplicate_rate=0.05,
    )


def header(record: Record, name: str) -> str:
    value = next((value for key, value in record.headers if key == name), None)
    assert value is not None, f"a record without {name}"
    return value.decode()


def run(plan: Plan) -> World:
    """One whole simulation."""
    return run_in(World, plan)


def run_in(world_class: type[SomeWorld], plan: Plan) -> SomeWorld:
    """The same in a world of another kind."""
    return run_in_virtual_time(_run, world_class, plan, seed=plan.seed)


async def _run(world_class: type[SomeWorld], plan: Plan) -> SomeWorld:
    world = world_class(plan)
    await world.live()
    return world


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
