"""One soak: thousands of customers, some replicas, one broker, and everything that goes wrong, for minutes.

the survivor alone reads everybody once, and is measured at rest → others join → all faults at random, while it is measured → the API stands still, the others
end → judge: what is in the topics, the budget, and whether what the survivor holds has levelled off
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from poller.demo.api import Simulator
from tests.fault.judge import judge
from tests.soak import mischief
from tests.soak.levels import Bound, Levels, faults_of
from tests.soak.mischief import World
from tests.soak.plan import Blow
from tests.soak.sampling import Sample, at_rest, follow
from tests.support.cluster import one_broker
from tests.support.processes import Deployment, busy, one_error, served
from tests.support.topics import within_budget
from tests.support.waiting import until

CUSTOMERS = 3000
CALLS_PER_MINUTE = 3000.0
PARTITIONS = 4
ACTIVITIES_PER_CUSTOMER_MINUTE = 1.0
WARM_SECONDS_MAX = 240.0
COMPLETE_SECONDS_MAX = 300.0
ALONE_SECONDS_MAX = 60.0

BOUNDS: Mapping[str, Bound] = {
    "rss_mb": Bound("memory", "MB", share=0.08, amount=0.0, peak_share=1.5),
    "files": Bound("open files", "", share=0.0, amount=10.0, peak_share=2.0),
    "threads": Bound("threads", "", share=0.0, amount=2.0, peak_share=2.0),
    "tasks": Bound("tasks", "", share=0.0, amount=15.0, peak_share=2.0),
}
"""Memory: noise, and what the allocator keeps in the end. The others swing with the partitions that are owned, each of which takes some three files and five
tasks: so much more has one that owns all where it owned one before. What does not come back from that shows at rest."""

AT_REST: Mapping[str, float] = {"rss_mb": 10.0, "files": 2, "threads": 1, "tasks": 2}
"""So much more may it hold, when nothing happens and it owns everything, than before the faults: some connections are opened when they are first needed."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of a soak."""

    minutes: float
    seed: int
    customers: int
    calls: int
    calls_in_minute_max: int
    statuses: Mapping[int, int]
    activities: int
    lost: int
    twice: int
    injected: Mapping[str, int]
    began: Sequence[tuple[float, str]]
    """Seconds of the soak, and the stream."""
    rebalances: int
    """That the survivor went through."""
    samples: Sequence[Sample]
    before: Sample
    """At rest."""
    after: Sample
    wrong: Sequence[str]

    @property
    def passed(self) -> bool:
        return not (self.lost or self.twice or self.wrong)

    def series(self, name: str) -> list[float]:
        """Of the survivor; where it did not answer, nothing."""
        values = (getattr(sample, name) for sample in self.samples)
        return [value for value in values if value is not None]

    def levels(self, name: str) -> Levels:
        return Levels.of(self.series(name))


async def soak(minutes: float, seed: int, plan: Mapping[str, Sequence[Blow]], directory: Path) -> Outcome:
    """Raises where the world cannot be set up, or the survivor does not live; whatever else comes of the faults is in what it returns."""
    async with one_error(), opened(seed, directory) as world:
        await until(lambda: everybody_was_read(world), WARM_SECONDS_MAX)
        before = await at_rest(world.survivor)
        tell("everybody was read once; from here on everything goes wrong")
        samples = await mistreat(world, minutes * 60, plan)
        tell("no more faults: the API stands still, and the others end")
        world.simulator.freeze()
        try:
            await leave_alone(world)
        except AssertionError as error:  # somebody does not end, or does not take over: what is in the topics is judged all the same
            world.wrong.append(str(error))
        verdict = await judge(world.cluster.bootstrap_servers, world.pollers.name, world.simulator, within_seconds=COMPLETE_SECONDS_MAX)
        after = await at_rest(world.survivor)
        return Outcome(
            minutes=minutes,
            seed=seed,
            customers=CUSTOMERS,
            calls=len(world.simulator.calls),
            calls_in_minute_max=world.simulator.calls_in_window_max(),
            statuses=dict(sorted(world.simulator.statuses.items())),
            activities=verdict.activities,
            lost=len(verdict.lost),
            twice=len(verdict.twice),
            injected=dict(world.injected),
            began=world.began,
            rebalances=world.survivor.count("rebalancing"),
            samples=samples,
            before=before,
            after=after,
            wrong=[
                *world.wrong,
                *verdict.where_twice,
                *verdict.wrong,
                *spent_too_much(world.simulator),
                *risen(samples),
                *not_given_back(before, after),
            ],
        )


def tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


@asynccontextmanager
async def opened(seed: int, directory: Path) -> AsyncIterator[World]:
    """One replica, which owns everything."""
    # The customers' days are flat: that they do more at one time than at another is no leak.
    simulator = busy(
        customers=CUSTOMERS,
        activities_per_customer_minute=ACTIVITIES_PER_CUSTOMER_MINUTE,
        day_amplitude=0.0,
        latency_seconds=0.02,
        seed=seed,
    )
    settings = {
        "calls_per_minute": CALLS_PER_MINUTE,
        "calls_in_flight_max": 8,
        "kafka_checkpoint_partitions": PARTITIONS,
        "kafka_commit_seconds": 0.2,
        "log_level": "info",
    }
    async with (
        one_broker(directory) as cluster,
        served(simulator) as api,
        Deployment(cluster.bootstrap_servers, api.url, simulator.customers, directory, **settings) as pollers,
    ):
        survivor = pollers.start()
        await survivor.active()
        yield World(cluster, simulator, pollers, survivor)


def everybody_was_read(world: World) -> bool:
    return len({call.customer for call in world.simulator.calls}) >= CUSTOMERS


async def mistreat(world: World, seconds: float, plan: Mapping[str, Sequence[Blow]]) -> list[Sample]:
    """All streams of faults at once, and the survivor's samples meanwhile. Whatever was stopped goes on when it returns."""
    began = time.monotonic()
    samples: list[Sample] = []

    def elapsed() -> float:
        return time.monotonic() - began

    for _ in range(mischief.REPLICAS - 1):
        world.start()
    async with anyio.create_task_group() as sampling:
        sampling.start_soon(follow, world.survivor, samples, elapsed)
        async with anyio.create_task_group() as streams:
            for stream, blows in plan.items():
                streams.start_soon(mischief.play, world, stream, blows, elapsed)
            await anyio.sleep(seconds)
        sampling.cancel_scope.cancel()
    return samples


async def leave_alone(world: World) -> None:
    """All but the survivor end, and it owns everything again."""
    await world.cluster.mend()
    async with anyio.create_task_group() as ending:
        for poller in world.others:
            ending.start_soon(world.end, poller)
    world.check_nobody_ended()
    await world.survivor.is_ready(f"owning partitions {list(range(PARTITIONS))}", ALONE_SECONDS_MAX)


def spent_too_much(simulator: Simulator) -> list[str]:
    """As the API counts it."""
    try:
        within_budget(simulator, CALLS_PER_MINUTE, PARTITIONS)
    except AssertionError as error:
        return [str(error).splitlines()[0]]
    return []


def risen(samples: Sequence[Sample]) -> list[str]:
    """What has not levelled off."""
    found = []
    for name, bound in BOUNDS.items():
        series = [value for sample in samples if (value := getattr(sample, name)) is not None]
        found += faults_of(series, bound)
    return found


def not_given_back(before: Sample, after: Sample) -> list[str]:
    """What it holds when all is over, and did not before, in the same role."""
    found = []
    for name, allowed in AT_REST.items():
        held, holds = getattr(before, name), getattr(after, name)
        if held is None or holds is None:
            found.append(f"{BOUNDS[name].name}: at rest it does not say how many")
        elif holds > held + allowed:
            found.append(
                f"{BOUNDS[name].name}: at rest {holds:.0f} where there were {held:.0f} before the faults, and {allowed:.0f} more are allowed"
            )
    return found
