"""The same workload read by the whole program in virtual time: the simulated API, its HTTP client, worker, engine, and the log in memory.

What the harness leaves out is there: an answer takes its time, pages overlap by the lookback, several calls are under way at once, and
what they bring waits for its commit. The *delay* ends with the commit, and staleness is told by the calls that arrived at the API.
"""

import math
import resource
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import anyio
import msgspec

from poller.core.budget import Terms
from poller.core.policy import Policy
from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.population import Scripted
from poller.demo.quota import calls_in_window_max
from poller.demo.readings import Stored
from tests.bench.freshness.cases import drawn
from tests.bench.freshness.harness import Outcome, play
from tests.bench.freshness.policies import MINUTE, learning
from tests.bench.freshness.workload import DAY_MINUTES, Population, Workload
from tests.support.judges import identity
from tests.support.plan import CALM, LATENCY_SECONDS, Plan
from tests.support.virtual_time import run_in_virtual_time
from tests.support.world import EPOCH, World

USED_AT_LEAST = 0.97
"""Of the calls that the budget allows."""

CALL_SECONDS = 1.0
"""By so much calls may be unevenly spaced, as they wait for grants and answers."""


class Scene(NamedTuple):
    """What the whole program is to read, and with what."""

    workload: Workload
    calls_a_minute: int
    staleness: float
    """M, in minutes."""
    warm_up_days: float
    off_at_most: float = 0.05
    """How far its mean delay may be from the harness's."""

    @property
    def paced(self) -> float:
        """Calls a minute that the budget allows on average, when no minute may hold more than its limit."""
        return MINUTE * Terms.of(self.calls_a_minute, MINUTE, None, 1).calls_per_second


SCENE = Scene(Workload(500, 1.0, 5, 1), calls_a_minute=10, staleness=100.0, warm_up_days=2.5)


class Measure(NamedTuple):
    """What came of it, beside what the harness says. Minutes."""

    harness: Outcome
    mean: float
    p95: float
    staleness: float
    activities: int
    used: float
    """Calls that were made, of those that the budget allowed."""
    calls_in_window_max: int
    unsettled: int
    """Activities that were lost, twice, or not to be published."""
    cpu_seconds: float
    memory_mib: float

    @property
    def off(self) -> float:
        """By how much of it the mean delay differs from the harness's."""
        return self.mean / self.harness.mean - 1

    def faults(self, scene: Scene) -> list[str]:
        """What was missed."""
        longest = scene.staleness + 1 / scene.paced + CALL_SECONDS / MINUTE
        checks = (
            (abs(self.off) <= scene.off_at_most, f"mean {self.mean:.3f} is {self.off:+.1%} off the harness's {self.harness.mean:.3f}"),
            (self.staleness <= longest, f"staleness {self.staleness:.3f} > {longest:.3f}"),
            (self.used >= USED_AT_LEAST, f"{self.used:.1%} of the budget used < {USED_AT_LEAST:.0%}"),
            (self.calls_in_window_max <= scene.calls_a_minute, f"{self.calls_in_window_max} calls in a minute > {scene.calls_a_minute}"),
            (self.unsettled == 0, f"{self.unsettled} activities lost, twice or invented"),
        )
        return [f"whole program: {fault}" for held, fault in checks if not held]


class WorkloadWorld(World):
    """One process, and customers who do what the workload says."""

    def __init__(self, scene: Scene, made: Population) -> None:
        super().__init__(plan_of(scene))
        self.scene = scene
        self.script = dict(scripts(made))
        options = SimulatorOptions(seed=self.plan.seed, calls_per_window=None, latency_seconds=LATENCY_SECONDS)
        self.simulator = Simulator(options, self.clock, Scripted(self.script))

    def policy(self) -> Policy:
        staleness_seconds_max = self.scene.staleness * MINUTE
        return msgspec.structs.replace(super().policy(), start=round(EPOCH * 1000), staleness_seconds_max=staleness_seconds_max)

    async def live(self) -> None:
        async with anyio.create_task_group() as tasks:
            process = self.start(tasks)
            await anyio.sleep_until(self.plan.hours * 3600)
            process.worker.drain()
        self._ended_at = EPOCH + self.plan.hours * 3600
        assert process.crash is None, process.crash

    # What there is to measure.

    def measure(self, harness: Outcome, cpu_seconds: float) -> Measure:
        warm_up = self.scene.warm_up_days * DAY_MINUTES * MINUTE
        created_at = {(name, one.id): one.created_at_us / 1e6 - EPOCH for name, of_name in self.script.items() for one in of_name}
        published = [(identity(record), at) for at, record in self.kafka.read_timed("activities")]
        delays = sorted(at - created_at[key] for key, at in published if created_at[key] >= warm_up)
        calls = [call.at - EPOCH for call in self.simulator.calls]
        counted = sum(warm_up <= at < self.plan.hours * 3600 for at in calls)
        return Measure(
            harness=harness,
            mean=math.fsum(delays) / len(delays) / MINUTE,
            p95=delays[int(0.95 * len(delays))] / MINUTE,
            staleness=self.staleness(warm_up) / MINUTE,
            activities=len(delays),
            used=counted / (self.scene.paced / MINUTE * (self.plan.hours * 3600 - warm_up)),
            calls_in_window_max=calls_in_window_max(calls, MINUTE),
            unsettled=self.unsettled([key for key, _ in published]),
            cpu_seconds=cpu_seconds,
            memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )

    def staleness(self, warm_up: float) -> float:
        """The longest from one call to the next for the same customer, of those that ended after the warm-up; to the end, where there was none."""
        longest, last = 0.0, dict.fromkeys(self.script, 0.0)
        for call in self.simulator.calls:
            at, customer = call.at - EPOCH, call.customer
            assert customer is not None
            longest = max(longest, at - last[customer] if at >= warm_up else 0.0)
            last[customer] = at
        return max(longest, self.plan.hours * 3600 - min(last.values()))

    def unsettled(self, published: list[tuple[str, str]]) -> int:
        """What was created a bound, and a call with its commit, before the end must be there; and all once."""
        by = EPOCH + self.plan.hours * 3600 - self.scene.staleness * MINUTE - 2 * MINUTE
        must = {(name, one.id) for name, of_name in self.script.items() for one in of_name if one.created_at_us / 1e6 <= by}
        times = Counter(published)
        return len(must - times.keys()) + sum(count > 1 for count in times.values())


def measured_program(scene: Scene = SCENE) -> Measure:
    made = drawn(scene.workload)
    rule = learning(scene.workload.customers, scene.paced, scene.staleness)
    harness = play(rule, made, scene.paced, scene.warm_up_days * DAY_MINUTES, scene.workload.minutes)
    began = time.process_time()
    world = run_in_virtual_time(lived, scene, made, seed=scene.workload.seed)
    return world.measure(harness, time.process_time() - began)


async def lived(scene: Scene, made: Population) -> WorkloadWorld:
    world = WorkloadWorld(scene, made)
    await world.live()
    return world


def plan_of(scene: Scene) -> Plan:
    return replace(
        CALM,
        seed=scene.workload.seed,
        hours=scene.workload.minutes / 60,
        customers=scene.workload.customers,
        calls_per_minute=scene.calls_a_minute,
        lookback_seconds=300,
        late_seconds_max=30,
    )


def scripts(made: Population) -> Iterator[tuple[str, list[Stored]]]:
    for number, times in enumerate(made.times):
        yield f"cust_{number:04}", stored(number, times)


def stored(number: int, times: "array[float]") -> list[Stored]:
    """Each shown at once."""
    created = [EPOCH + time * MINUTE for time in times]
    return [Stored(f"evcus_{number:04}_{place:06}", "customer.order.paid", round(at * 1e6), at) for place, at in enumerate(created)]
