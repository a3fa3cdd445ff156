"""What goes wrong in a soak: faults of processes, of the broker, and of the API. Each is begun and ended here, and counted.

One replica, the *survivor*, is never ended, only disturbed, since it is the one that is measured.
"""

import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import anyio

from poller.demo.api import Simulator
from tests.soak.plan import Blow, Stream
from tests.support.cluster import Cluster, send
from tests.support.processes import DRAIN_SECONDS, SESSION_SECONDS, START_SECONDS_MAX, Deployment, Poller
from tests.support.waiting import until

ENDED_SECONDS_MAX = DRAIN_SECONDS + 25.0
"""After SIGTERM. A process may be told while Kafka is away, and gives up what it holds there one after the other."""

REPLICAS = 3

API_FAULT_SECONDS = (2.0, 6.0)


@dataclass
class World:
    """What it happens to."""

    cluster: Cluster
    simulator: Simulator
    pollers: Deployment
    survivor: Poller
    injected: Counter[str] = field(default_factory=Counter)
    began: list[tuple[float, str]] = field(default_factory=list)
    """When, in seconds of the soak, and in which stream."""
    wrong: list[str] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    """By process id."""

    @property
    def others(self) -> list[Poller]:
        """The replicas that run and may be ended."""
        return [poller for poller in self.pollers.pollers if poller.exit_code is None and poller is not self.survivor]

    def start(self) -> Poller:
        """One more replica. Nobody asks it anything: without an admin server it needs no port, which might be taken before it is bound."""
        return self.pollers.start(admin_port=0)

    async def end(self, poller: Poller) -> None:
        """In order. Before it listens for signals, SIGTERM ends it as it ends any process."""
        try:
            await until(lambda: poller.count("kafka_ready") or poller.count("waiting_for_kafka"), START_SECONDS_MAX)
            poller.send(signal.SIGTERM)
            code = await poller.ended(ENDED_SECONDS_MAX)
        except AssertionError as error:
            self.wrong.append(str(error))
        else:
            if code != 0:
                self.wrong.append(f"told to end, a replica ended with exit code {code}: {poller!r}")

    def kill(self, poller: Poller) -> None:
        poller.kill()
        self.killed.add(poller.pid)

    def check_nobody_ended(self) -> None:
        """Whoever ended was told to, or killed."""
        for poller in self.pollers.pollers:
            if poller.exit_code not in {None, 0} and poller.pid not in self.killed:
                self.wrong.append(f"a replica ended by itself: {poller!r}")


Inject = Callable[[World, Random], Awaitable[None]]

# ---------------------------------------------------------------------------------------------------------------- processes


async def kill(world: World, random: Random) -> None:
    world.kill(random.choice(world.others))
    await anyio.sleep(random.uniform(0, 3))
    world.start()


async def end_in_order(world: World, random: Random) -> None:
    await world.end(random.choice(world.others))
    world.start()


async def stop_past_the_session(world: World, random: Random) -> None:
    await _stop(random.choice(world.others), SESSION_SECONDS + random.uniform(1, 4))


async def stop_the_survivor_past_its_session(world: World, random: Random) -> None:
    await _stop(world.survivor, SESSION_SECONDS + random.uniform(1, 4))


async def stop_for_a_moment(world: World, random: Random) -> None:
    await _stop(random.choice([world.survivor, *world.others]), random.uniform(0.2, 4))


async def join_and_leave(world: World, random: Random) -> None:
    guest = world.start()
    await anyio.sleep(random.uniform(2, 6))
    await world.end(guest)


async def _stop(poller: Poller, seconds: float) -> None:
    poller.send(signal.SIGSTOP)
    try:
        await anyio.sleep(seconds)
    finally:
        poller.send(signal.SIGCONT)


# ------------------------------------------------------------------------------------------------------------------- broker


async def restart_the_broker(world: World, random: Random) -> None:
    (broker,) = world.cluster.brokers
    await broker.stop()
    await anyio.sleep(random.uniform(0, 6))
    await broker.start()


async def kill_the_broker(world: World, random: Random) -> None:
    (broker,) = world.cluster.brokers
    await broker.kill()
    await anyio.sleep(random.uniform(0, 6))
    await broker.start()


async def stop_the_broker_for_a_while(world: World, random: Random) -> None:
    """It hangs: connections stand, and nobody answers."""
    (broker,) = world.cluster.brokers
    send(broker, signal.SIGSTOP)
    try:
        await anyio.sleep(random.uniform(2, 10))
    finally:
        send(broker, signal.SIGCONT)


# ---------------------------------------------------------------------------------------------------------------------- API

REFUSED = "401, 402 or 403"
REFUSALS: Sequence[Mapping[str, Any]] = ({"app_token": "rotated"}, {"permission": "missing"}, {"plan": "exceeded"})


def answering(**options: Any) -> Inject:
    """The API with these options for some seconds."""

    async def inject(world: World, random: Random) -> None:
        await _answer_otherwise(world, random, options)

    return inject


async def refuse(world: World, random: Random) -> None:
    """Credentials, permission or plan, by turns. Pollers leave such an API alone for half a minute."""
    await _answer_otherwise(world, random, REFUSALS[(world.injected[REFUSED] - 1) % len(REFUSALS)])


async def leave_the_date_out(world: World, random: Random) -> None:
    await _answer_otherwise(world, random, {"readings": replace(world.simulator.options.readings, date="absent")})


async def _answer_otherwise(world: World, random: Random, options: Mapping[str, Any]) -> None:
    as_before = {name: getattr(world.simulator.options, name) for name in options}
    world.simulator.change(**options)
    try:
        await anyio.sleep(random.uniform(*API_FAULT_SECONDS))
    finally:
        world.simulator.change(**as_before)


# -------------------------------------------------------------------------------------------------------------------- table

PROCESSES: Mapping[str, Inject] = {
    "kill -9 of a replica, and another": kill,
    "SIGTERM to a replica, and another": end_in_order,
    "SIGSTOP of a replica past its session": stop_past_the_session,
    "SIGSTOP of the survivor past its session": stop_the_survivor_past_its_session,
    "SIGSTOP of any for a moment": stop_for_a_moment,
    "a replica joins and leaves": join_and_leave,
}
BROKER: Mapping[str, Inject] = {
    "broker restarted": restart_the_broker,
    "broker killed -9": kill_the_broker,
    "broker hangs": stop_the_broker_for_a_while,
}
API: Mapping[str, Inject] = {
    "500, 502, 503": answering(error_rate=0.6),
    "connections break": answering(disconnect_rate=0.6),
    "no answer": answering(hang_rate=0.4, hang_seconds=7.0),
    "slow answers": answering(slow_rate=0.6, slow_seconds=3.0),
    "answers cut off, HTML, no page": answering(garbage_rate=0.6),
    "429": answering(calls_per_window=20, window_seconds=4.0),
    "activities twice on a page": answering(duplicate_rate=0.8),
    REFUSED: refuse,
    "no Date header": leave_the_date_out,
}
FAULTS: Mapping[str, Inject] = {**PROCESSES, **BROKER, **API}

STREAMS = (
    Stream("process", tuple(PROCESSES), (8.0, 16.0)),
    Stream("broker", tuple(BROKER), (20.0, 50.0)),
    Stream("API", tuple(API), (6.0, 18.0)),
)


async def play(world: World, stream: str, blows: Sequence[Blow], elapsed: Callable[[], float]) -> None:
    """One stream, one blow after the other."""
    for blow in blows:
        await anyio.sleep(max(0.0, blow.at_seconds - elapsed()))
        world.began.append((elapsed(), stream))
        world.injected[blow.fault] += 1
        await FAULTS[blow.fault](world, Random(blow.seed))
