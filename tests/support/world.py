"""The whole program for hours of virtual time: the simulated API, the log in memory, and processes that are started and killed.

Everything follows from one seed. The judges at the end (`tests/support/judges.py`) know nothing of how the program works.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from hashlib import blake2b
from random import Random
from typing import Any, TypeVar, cast

import anyio
from anyio.abc import TaskGroup

from poller.config import Secret, VoucherifySettings
from poller.core.budget import Cycle
from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.transport import SimulatorTransport
from poller.journal import Journal
from poller.kafka.memory import Faults, MemoryKafka, MemoryLog
from poller.kafka.record import Record
from poller.model import CustomerId, Hint
from poller.telemetry import ALL_SETTINGS, EVENTS, EventName, Telemetry
from poller.voucherify.client import VoucherifySource
from poller.worker import Worker
from tests.support import judges
from tests.support.judges import Objection, quantile
from tests.support.plan import Plan, options_of
from tests.support.virtual_time import run_in_virtual_time

__all__ = ["EPOCH", "Objection", "Plan", "Process", "World", "options_of", "quantile", "run", "run_in"]

EPOCH = 1_800_000_000.0
URL = "http://simulator.invalid"
LOOKS = 12
"""So often the state in the log is compared with the data, while all goes on."""

CRASHES_IN_A_LOOP = 4


@dataclass
class Told:
    """A logger that remembers."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def log(self, level: int, event: str, /, **fields: Any) -> None:
        known = EVENTS[cast("EventName", event)].fields
        assert known == ALL_SETTINGS or fields.keys() <= set(known.split()), f"{event}: {sorted(fields)} are not in its line of the table"
        self.events.append((event, fields))

    def count(self, event: str) -> int:
        return sum(name == event for name, _ in self.events)


class Process:
    """One life of the program."""

    def __init__(self, world: "World", policy: Policy, skew_seconds: float = 0.0) -> None:
        self._world = world
        self._skew_seconds = skew_seconds
        self.log = MemoryLog(world.kafka, self.clock, source_url=URL)
        self.told = Told()
        self.engine = Engine(policy)
        self.engine.watch(world.named())
        if world.watch_topic:
            self.engine.expect("topic")
        self.ended = False
        self.crash: Exception | None = None
        self._scope = anyio.CancelScope()
        settings = VoucherifySettings(
            url=URL,
            endpoint=world.plan.endpoint,
            auth=world.plan.auth,
            app_id=Secret("simulator-app-id"),
            app_token=Secret("simulator-app-token"),
        )
        self._source = VoucherifySource(settings, SimulatorTransport(world.simulator))
        self.telemetry = Telemetry(self.told)
        self.worker = Worker(self.engine, self._source, self.log, self.clock, Journal(self.telemetry))
        self.worker.forward_by(self._forward)
        self.worker.enter_by(self.log.put_watched)

    def _forward(self, hint: Hint) -> bool:
        """To all others, at once."""
        for process in self._world.processes:
            if process is not self:
                process.worker.hinted(hint)
        return True

    def clock(self) -> float:
        """The time as this process has it."""
        return self._world.clock() + self._skew_seconds

    async def run(self) -> None:
        with self._scope:
            async with self._source:
                await (self._follow_and_work() if self._world.watch_topic else self.worker.run())
        self.ended = True

    async def _follow_and_work(self) -> None:
        async with anyio.create_task_group() as services:
            services.start_soon(self.log.follow_watched, self.worker.watch_changed)
            await self.worker.run()
            services.cancel_scope.cancel()

    async def run_guarded(self) -> None:
        """The same, but whatever ends it is left to a judge, who tells the plan that did it."""
        try:
            await self.run()
        except Exception as error:  # noqa: BLE001  # any
            self.crash = error

    def kill(self) -> None:
        """As kill -9: nothing that it does from now on reaches anybody."""
        self.log.kill()
        self._scope.cancel()


class World:
    """The API, the brokers, and the processes between them."""

    watch_topic = False
    """Whether processes follow the watch topic, beside what they are configured with."""

    def __init__(self, plan: Plan, options: SimulatorOptions | None = None) -> None:
        self.plan = plan
        self._ended_at: float | None = None
        self.random = Random(f"{plan.seed}/world")
        self.simulator = Simulator(options or options_of(plan), self.clock)
        self._calm = self.simulator.options
        faults = Faults(before_commit=plan.commit_failures / 2, after_commit=plan.commit_failures / 2, open=plan.commit_failures)
        self.kafka = MemoryKafka(
            partitions=plan.partitions, session_seconds=plan.session_seconds, commit_seconds=0.02, faults=faults, seed=plan.seed
        )
        self.processes: list[Process] = []
        self.all_processes: list[Process] = []
        self.lives = 0
        self.disturbed: list[tuple[float, float]] = []
        """Spans of time, in seconds of the loop's clock, in which a fault excuses that nothing is published."""
        self.objections: list[Objection] = []
        """What looking at the state has found on the way."""

    def clock(self) -> float:
        """Goes on while it is run, and stands still for the judges."""
        return EPOCH + anyio.current_time() if self._ended_at is None else self._ended_at

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self.clock() - EPOCH

    def policy(self) -> Policy:
        plan = self.plan
        limit, window_seconds = plan.window
        return Policy(
            start="earliest",
            lookback_ms=round(plan.lookback_seconds * 1000),
            calls_limit=limit,
            calls_window_seconds=window_seconds,
            cycle=cycle_of(plan),
            calls_in_flight_max=plan.calls_in_flight_max,
            change_feed=plan.change_feed,
            lease_seconds=plan.session_seconds / 2,
            url=URL,
            endpoint=plan.endpoint,
            owner=f"life {self.lives}",
        )

    def named(self) -> list[CustomerId]:
        """Whom each process is configured with."""
        return [CustomerId(name) for name in self.simulator.customers]

    def start(self, tasks: TaskGroup) -> Process:
        self.lives += 1
        most = 0.0 if self.plan.calls_per_cycle else self.plan.skew_seconds  # whose clock is wrong does not know when a cycle ends
        process = Process(self, self.policy(), Random(f"{self.plan.seed}/skew/{self.lives}").uniform(-most, most))
        self.processes.append(process)
        self.all_processes.append(process)
        tasks.start_soon(process.run_guarded)
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
        plan, seconds = self.plan, self.plan.hours * 3600
        names = ["kill"] * plan.kills + ["rebalance"] * plan.rebalances + ["outage"] * plan.outages
        names += ["restart"] * plan.restarts + ["stall"] * plan.stalls + ["expulsion"] * plan.expulsions
        names += ["api_outage"] * plan.api_outages + ["revocation"] * plan.revocations
        faults = [(self.random.uniform(0, seconds), name) for name in names]
        for _ in range(plan.crash_loops):
            at = self.random.uniform(0, seconds)
            faults += [(at := at + self.random.uniform(0.1, 1.5 * plan.session_seconds), "crash") for _ in range(CRASHES_IN_A_LOOP)]
        faults += [(seconds * (look + 1) / (LOOKS + 1), "look") for look in range(LOOKS)]
        return sorted(faults)

    def strike(self, fault: str, tasks: TaskGroup) -> None:  # noqa: C901  # one case a kind of fault
        random, session_seconds = self.random, self.plan.session_seconds
        match fault:
            case "look":
                self._look()
            case "kill" | "crash":
                owners = [process for process in self.processes if process.engine.owned]
                victim = random.choice(owners if owners and fault == "crash" else self.processes)
                victim.kill()
                self._replace(victim, tasks)
                self.disturb(session_seconds + TURBULENCE_SECONDS, lost=True)
            case "restart":
                victim = random.choice(self.processes)
                victim.worker.drain()
                self._replace(victim, tasks)
                self.disturb(DRAIN_SECONDS + TURBULENCE_SECONDS, lost=True)
            case "rebalance":
                self.kafka.rebalance()
                self.disturb(TURBULENCE_SECONDS)
            case "expulsion":
                member = random.choice(self.processes).log.member
                if member is not None:
                    self.kafka.expel(member)
                self.disturb(TURBULENCE_SECONDS, lost=True)
            case "stall":
                self._stall(random.choice(self.processes), random.uniform(0.5, 3) * session_seconds, tasks)
            case "outage":
                seconds = random.uniform(1, 60)
                self.kafka.break_down(seconds)
                self.disturb(seconds + LOG_BACKOFF_SECONDS + TURBULENCE_SECONDS, lost=True)
            case "api_outage":
                self._api_outage(random.uniform(5, 300), tasks)
            case "revocation":
                self.simulator.tokens.revoke_all()

    def _look(self) -> None:
        try:
            judges.judge_state(self)
        except Objection as objection:
            self.objections.append(objection)

    def disturb(self, seconds: float, *, lost: bool = False) -> None:
        """From now on for so long; `lost`: a new owner counts the calls as made that the last one was granted."""
        calls = judges.GRANT_CALLS / judges.partition_calls_per_second(self.plan) if lost else 0
        self.disturbed.append((self.seconds, self.seconds + seconds + calls))

    def _replace(self, victim: Process, tasks: TaskGroup) -> None:
        self.processes.remove(victim)
        self.start(tasks)

    def _stall(self, process: Process, seconds: float, tasks: TaskGroup) -> None:
        async def go_on() -> None:
            await anyio.sleep(seconds)
            process.log.stall(False)

        process.log.stall()
        tasks.start_soon(go_on)
        self.disturb(seconds + self.plan.session_seconds + TURBULENCE_SECONDS, lost=True)

    def _api_outage(self, seconds: float, tasks: TaskGroup) -> None:
        async def mend() -> None:
            await anyio.sleep(seconds)
            self.simulator.set_options(self._calm)

        what: dict[str, Any] = self.random.choice(
            (
                {"error_rate": 1.0},
                {"disconnect_rate": 1.0, "error_rate": 0.0},
                {"hang_rate": 1.0, "error_rate": 0.0},
                {"calls_per_window": 0},
            )
        )
        self.simulator.change(**what)
        tasks.start_soon(mend)
        self.disturb(seconds + API_BACKOFF_SECONDS)

    async def settle(self) -> None:
        """No new activities; every customer is read twice more, well after the last one was shown."""
        await anyio.sleep(max(0.0, max((until for _, until in self.disturbed), default=0.0) - anyio.current_time()))
        self.simulator.freeze()
        rounds = max(judges.round_seconds(self.plan), self.plan.customers / self.plan.calls_per_minute * 60)
        await anyio.sleep(self.plan.late_seconds_max + 5 * rounds + 120)

    # What there is to judge.

    def published(self) -> list[Record]:
        return self.kafka.read_committed("activities")

    def delays(self) -> list[float]:
        return judges.delays(self)

    def judge_safety(self) -> None:
        judges.judge_safety(self)

    def judge_budget(self) -> int:
        return judges.judge_budget(self)

    def judge_freshness(self) -> float:
        return judges.judge_freshness(self)

    def judge_liveness(self) -> None:
        judges.judge_liveness(self)

    def judge(self) -> judges.Figures:
        """All of them."""
        return judges.judge(self)

    def trace(self) -> list[Any]:
        """All that happened, to be compared with another run's: calls, records and when they were committed, and what each process said."""
        topics = [self.kafka.read_timed(topic) for topic in ("activities", "checkpoints", "dead_letters")]
        return [list(self.simulator.calls), topics, [process.told.events for process in self.all_processes]]

    def digest(self) -> str:
        return blake2b(repr(self.trace()).encode(), digest_size=6).hexdigest()


TURBULENCE_SECONDS = 8.0
"""All members learn of a rebalance and join, and what is theirs is opened, once more where that fails."""
DRAIN_SECONDS = 30.0
LOG_BACKOFF_SECONDS = 10.0
API_BACKOFF_SECONDS = 360.0
"""All calls wait for up to a minute, and a customer for up to five."""


def cycle_of(plan: Plan) -> Cycle | None:
    """The cycle, in the time zone in which it ends at midnight after so many hours."""
    if plan.calls_per_cycle is None:
        return None
    end = datetime.fromtimestamp(EPOCH, UTC) + timedelta(hours=round(plan.cycle_hours))
    zone = timezone(timedelta(hours=-end.hour if end.hour < 12 else 24 - end.hour))
    return Cycle(calls=plan.calls_per_cycle, reset_day=end.astimezone(zone).day, zone=zone)


SomeWorld = TypeVar("SomeWorld", bound=World)


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
