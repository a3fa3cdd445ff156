"""One fault at a time, in a world of its own: a simulated API under load, a deployment, and a topic that is watched.

start pollers → until they publish → inject the fault, so many times → freeze the API → judge → one row of the table
"""

import math
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

import anyio
import msgspec

from tests.fault.judge import Verdict, judge, quantile
from tests.fault.moves import MOVES, Meter, Moved
from tests.support.cluster import LOGIN, Cluster
from tests.support.processes import Api, Deployment, Poller, busy, one_error, served
from tests.support.tail import Tail
from tests.support.topics import Name, forget_members, reading, within_budget
from tests.support.waiting import until

CALLS_PER_MINUTE = 3000.0
RECOVERED_SECONDS_MAX = 60.0
WORDS_MAX = 8
STOPS_MAX = 60
ANSWERED_SECONDS = 0.2
"""What a process had sent before it was stopped is answered by then."""

BETWEEN_SECONDS = (0.3, 1.5)


class Life(msgspec.Struct, frozen=True):
    """A process, and when it was killed."""

    poller: Poller
    ended: float


@dataclass
class World:
    """What a fault happens to."""

    cluster: Cluster
    api: Api
    pollers: Deployment
    random: Random
    committed: Tail
    uncommitted: Tail
    meter: Meter
    injected: int = 0
    recoveries: list[float] = field(default_factory=list)
    """Seconds from a kill, or from a fault's end, to the next record that a read_committed reader saw."""
    ready: list[float] = field(default_factory=list)
    """Seconds from SIGTERM until the next replica was ready."""
    notes: dict[str, int] = field(default_factory=dict)
    """What else the table should say: how often what was hit."""
    lives: list[Life] = field(default_factory=list)
    gone: set[Name] = field(default_factory=set)
    """What was published, and then deleted by somebody."""

    @property
    def topic(self) -> str:
        return self.pollers.name

    @property
    def checkpoints_topic(self) -> str:
        return f"{self.pollers.name}.checkpoints"

    @property
    def running(self) -> list[Poller]:
        return [poller for poller in self.pollers.pollers if poller.exit_code is None]

    async def owner(self) -> Poller:
        """The one who owns partitions; of several, the first."""

        async def found() -> Poller | None:
            for poller in self.running:
                if await poller.says("readyz", 200, "owning"):
                    return poller
            return None

        owner: Poller = await until(found, within_seconds=RECOVERED_SECONDS_MAX)
        return owner

    async def kill(self, poller: Poller) -> float:
        """As kill -9 does; when it was."""
        poller.kill()
        self.lives.append(Life(poller, time.time()))
        return self.lives[-1].ended

    async def forget_the_dead(self) -> None:
        """End the sessions by hand, so that the next life need not wait for that; what they had begun is left as it is."""
        await forget_members(self.cluster.bootstrap_servers, self.pollers.name)

    async def recovered(self, since: float, *, published: bool = False, waited_seconds: float = 0.0) -> None:
        """Until something is committed again; `published`: by somebody who sent it after `since`. `waited_seconds`: how long it had been away by then."""
        seen = await self.committed.next(since, RECOVERED_SECONDS_MAX, published=published)
        self.recoveries.append(seen.seen_at - since + waited_seconds)

    def note(self, what: str, count: int = 1) -> None:
        self.notes[what] = self.notes.get(what, 0) + count

    async def between_transactions(self, poller: Poller) -> None:
        """Stop the process (SIGSTOP) at a moment when it has no transaction open."""
        await self._stop_where(poller, settled=True)

    async def inside_a_transaction(self, poller: Poller) -> None:
        """Stop it (SIGSTOP) when it has one open."""
        await self._stop_where(poller, settled=False)

    async def _stop_where(self, poller: Poller, *, settled: bool) -> None:
        for _ in range(STOPS_MAX):
            if not settled:
                await self.uncommitted.next(time.time(), within_seconds=10)
            poller.send(signal.SIGSTOP)
            await anyio.sleep(ANSWERED_SECONDS)
            if await self._settled() is settled:
                return
            poller.send(signal.SIGCONT)
            await anyio.sleep(self.random.uniform(0.02, 0.2))
        raise AssertionError(f"in {STOPS_MAX} times not stopped {'between transactions' if settled else 'inside a transaction'}")

    async def _settled(self) -> bool:
        servers = self.cluster.bootstrap_servers
        async with (
            reading(servers, self.checkpoints_topic) as committed,
            reading(servers, self.checkpoints_topic, "read_uncommitted") as uncommitted,
        ):
            return await committed.ends() == await uncommitted.ends()


Inject = Callable[[World], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """One row of the table: what is done, how often, and to which deployment."""

    name: str
    inject: Inject
    """Does it once, ends it, and waits until something is committed again."""
    times: int = 1
    on: Literal["one broker", "three brokers"] = "one broker"
    replicas: int = 1
    recovery_seconds_max: float = RECOVERED_SECONDS_MAX
    ready_seconds_max: float = RECOVERED_SECONDS_MAX
    """Until the next replica is ready, where that is looked at."""
    calls_per_minute: float = CALLS_PER_MINUTE
    activities_per_customer_minute: float = 200.0
    settings: Mapping[str, object] = field(default_factory=dict)
    guarded: bool = False
    """The pollers log in, so that they can be refused."""
    enough: Callable[[World], Awaitable[bool]] | None = None
    """`times` is the least; go on until this holds …"""
    times_max: int = 48
    """… or so often."""


class Row(msgspec.Struct, frozen=True):
    """What the table says of a fault."""

    fault: str
    injected: int
    activities: int
    lost: int
    twice: int
    recovery_p50_seconds: float
    recovery_seconds_max: float
    notes: str = ""
    moved: tuple[Moved, ...] = ()
    wrong: tuple[str, ...] = ()
    """Anything else that must not be."""

    @property
    def passed(self) -> bool:
        return not (self.lost or self.twice or self.wrong)


async def run(fault: Fault, cluster: Cluster, directory: Path, seed: int) -> Row:
    """Never raises what a fault has brought about: it is what the row is for."""
    failures: list[str] = []
    verdict: Verdict | None = None
    world: World | None = None
    try:
        async with one_error(), opened(fault, cluster, directory, Random(f"{seed}/{fault.name}")) as world:
            world.meter.begin()
            try:
                await inject_all(fault, world)
            except AssertionError as error:
                failures += [str(error), *last_words(world)]
            verdict = await judge(cluster.bootstrap_servers, world.topic, world.api.simulator, world.gone)
            await world.meter.look()
            failures += [
                *verdict.where_twice,
                *verdict.wrong,
                *(f"did not move as it should: {one}" for one in world.meter.moved() if not one.enough),
            ]
            assert within_budget(world.api.simulator, fault.calls_per_minute, partitions_of(fault)), "no call was made"
    except Exception as error:  # noqa: BLE001  # the next fault is tried all the same
        failures.append(f"{type(error).__name__}: {error}")
    return row_of(fault, world, verdict, failures)


def last_words(world: World) -> list[str]:
    """What the pollers last said of trouble."""
    words = []
    for number, poller in enumerate(world.pollers.pollers):
        troubles = [event for event in poller.events() if event["level"] in {"warning", "error"}]
        words += [f"poller {number}: {event}" for event in troubles[-WORDS_MAX:]]
    return words


def row_of(fault: Fault, world: World | None, verdict: Verdict | None, failures: list[str]) -> Row:
    recoveries = world.recoveries if world else []
    if recoveries and max(recoveries) > fault.recovery_seconds_max:
        failures.append(f"it took {max(recoveries):.1f} s to recover, and {fault.recovery_seconds_max:.1f} s are allowed")
    ready = max(world.ready, default=0.0) if world else 0.0
    if ready > fault.ready_seconds_max:
        failures.append(f"the next replica was ready after {ready:.1f} s, and {fault.ready_seconds_max:.1f} s are allowed")
    if verdict is None:
        failures.append("not judged")
    return Row(
        fault=fault.name,
        injected=world.injected if world else 0,
        activities=verdict.activities if verdict else 0,
        lost=len(verdict.lost) if verdict else 0,
        twice=len(verdict.twice) if verdict else 0,
        recovery_p50_seconds=quantile(recoveries, 0.5),
        recovery_seconds_max=max(recoveries, default=math.nan),
        notes=", ".join(f"{count} {what}" for what, count in (world.notes if world else {}).items()),
        moved=tuple(world.meter.moved()) if world else (),
        wrong=tuple(failures),
    )


async def inject_all(fault: Fault, world: World) -> None:
    while world.injected < fault.times or (fault.enough is not None and world.injected < fault.times_max and not await fault.enough(world)):
        await anyio.sleep(world.random.uniform(*BETWEEN_SECONDS))
        await fault.inject(world)
        world.injected += 1
    assert fault.enough is None or await fault.enough(world), f"not all was hit: {world.notes}"


@asynccontextmanager
async def opened(fault: Fault, cluster: Cluster, directory: Path, random: Random) -> AsyncIterator[World]:
    """A deployment that publishes, with a past to catch up on and more to come."""
    await cluster.mend()
    settings = {"calls_per_minute": fault.calls_per_minute, "kafka_commit_seconds": 0.02, **fault.settings}
    servers = cluster.bootstrap_servers
    if fault.guarded:
        settings |= {"kafka_bootstrap_servers": cluster.guarded_servers, **{f"kafka_{name}": value for name, value in LOGIN.items()}}
    async with (
        served(busy(activities_per_customer_minute=fault.activities_per_customer_minute, seed=random.randrange(1000))) as api,
        Deployment(servers, api.url, api.simulator.customers, directory, **settings) as pollers,
        anyio.create_task_group() as tails,
    ):
        for _ in range(fault.replicas):
            pollers.start()
        committed, uncommitted = Tail(servers, pollers.name, "read_committed"), Tail(servers, pollers.name, "read_uncommitted")
        world = World(cluster, api, pollers, random, committed, uncommitted, Meter(pollers, MOVES[fault.name]))
        await world.owner()
        tails.start_soon(committed.run)
        tails.start_soon(uncommitted.run)
        tails.start_soon(world.meter.run)
        await world.committed.next(0, within_seconds=30)
        yield world
        tails.cancel_scope.cancel()


def partitions_of(fault: Fault) -> int:
    partitions = fault.settings.get("kafka_checkpoint_partitions", 1)
    assert isinstance(partitions, int)
    return partitions
