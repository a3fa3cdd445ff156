"""The demo: a real Kafka, the simulated API, and two pollers as real processes, one of which is killed while the other looks on.

    broker ▸ simulator ▸ pollers A and B ▸ live (kill -9 of the active one) ▸ freeze ▸ settle ▸ SIGTERM ▸ compare the topic with the truth

The pollers get environment variables and nothing else. Whoever judges them shares nothing with them: the truth is the simulator's, the
topic is read by a consumer of its own. Every wait is bounded; whatever happens, every process is ended by its pid.

The first Ctrl-C (or SIGTERM) ends the live part, and the comparison follows; a second one, or one while things start, ends it all at once.
"""

import math
import shutil
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
from anyio.abc import TaskGroup

from poller.demo.api import Simulator
from poller.demo.broker import Broker, broker, free_port, require_extra
from poller.demo.judge import Calls, Identity, Seen, compare, freshness
from poller.demo.options import SimulatorOptions
from poller.demo.replica import Replica
from poller.demo.serve import bind, serve_simulator
from poller.demo.topic import TopicReader, reading
from poller.demo.view import ReplicaSeen, Result, Scene, Screen

Clock = Callable[[], float]

ACTIVITIES_TOPIC = "voucherify.activities"
LOOKBACK_SECONDS = 300
SESSION_SECONDS = 6
"""The shortest that a poller takes: so soon a killed one's work goes to the other."""

START_SECONDS_MAX = 60.0
SETTLE_SECONDS_MAX = 60.0
QUIET_SECONDS = 3.0
"""Once all is published the pollers go on reading for so long, which is everybody once more: what is published twice comes late."""
DRAIN_SECONDS = 25
END_SECONDS_MAX = DRAIN_SECONDS + 10.0
READ_SECONDS_MAX = 30.0
TICK_SECONDS = 0.2
FRESHNESS_SECONDS = 30.0
TYPES_SHOWN = 6

KILL_SECONDS_MIN = 15.0
"""A shorter demo has no time for a kill."""
KILL_SHARE = 0.4
KILL_EVERY_SECONDS = 60.0
"""In a demo without an end."""
RESTART_SECONDS_MAX = 15.0
"""A killed poller is started again when the other has taken over, or after so long."""


class Plan(msgspec.Struct, frozen=True):
    """What is asked for."""

    seconds: float | None = None
    """Of the live part; `None`: until it is stopped."""
    kill: bool = True
    customers: int = 25
    seed: int = 1
    """Everything random about the API follows from it."""

    @property
    def calls_per_minute(self) -> int:
        """Each customer can be called every 2.5 seconds."""
        return max(600, 24 * self.customers)

    def kill_at(self, kills: int) -> float:
        """Seconds into the live part when the next poller is killed, after so many; `inf`: never."""
        if not self.kill or (self.seconds is not None and (kills or self.seconds < KILL_SECONDS_MIN)):
            return math.inf
        return KILL_EVERY_SECONDS * (kills + KILL_SHARE) if self.seconds is None else self.seconds * KILL_SHARE

    @property
    def options(self) -> SimulatorOptions:
        """A lively API: much happens, some of it late or at the same millisecond, and not every call succeeds."""
        return SimulatorOptions(
            seed=self.seed,
            customers=self.customers,
            activities_per_customer_minute=12,
            day_amplitude=0,
            history_seconds=60,
            late_rate=0.1,
            tie_rate=0.1,
            calls_per_window=self.calls_per_minute,
            latency_seconds=0.02,
            error_rate=0.01,
            disconnect_rate=0.005,
            duplicate_rate=0.02,
        )


def make_clock() -> Clock:
    """Unix time in seconds, as the pollers count it: the wall clock as it is now, carried on by the monotonic one."""
    ahead = time.time() - time.monotonic()
    return lambda: ahead + time.monotonic()


class Stop:
    """Told by signals."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.live = False
        """Whether there is something to be compared already."""
        self.requested = False
        self._scope = scope

    def request(self) -> None:
        if self.requested or not self.live:
            self._scope.cancel()
        self.requested = True


async def demo(plan: Plan, screen: Screen) -> Result | None:
    """Run it on asyncio, on the main thread; `None`: it was interrupted before it could judge. Raises `PollerError`, `OSError`."""
    result: Result | None = None
    raised: Exception | None = None
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tasks:
            stop = Stop(tasks.cancel_scope)
            tasks.start_soon(heed, signals, stop)
            try:
                result = await on_stage(plan, screen, stop, tasks)
            except Exception as error:  # noqa: BLE001  # goes on below, outside of the group, which would wrap it
                raised = error
            tasks.cancel_scope.cancel()
    if raised is not None:
        raise raised
    return result


async def heed(signals: AsyncIterator[signal.Signals], stop: Stop) -> None:
    async for _ in signals:
        stop.request()


async def on_stage(plan: Plan, screen: Screen, stop: Stop, tasks: TaskGroup) -> Result:
    """Everything is started here, in order, and ended in the order reversed. Logs and data are kept where something is wrong."""
    require_extra()
    clock = make_clock()
    directory = Path(tempfile.mkdtemp(prefix="poller-demo-"))
    well = False
    try:
        async with broker(data_dir=directory / "kafka", log=screen.say) as kafka:
            simulator = Simulator(plan.options, clock)
            listening = bind("127.0.0.1", 0)
            tasks.start_soon(serve_simulator, simulator, listening)
            settings = settings_of(plan, f"http://127.0.0.1:{listening.getsockname()[1]}", kafka.bootstrap_servers, directory)
            write_customers(simulator, settings)
            async with replicas_of(settings, directory) as replicas:
                await start(replicas, kafka, screen)
                async with reading(kafka.bootstrap_servers, ACTIVITIES_TOPIC, clock) as reader:
                    stop.live = True
                    result = await Play(plan, screen, simulator, kafka, replicas, reader).perform(stop)
        well = not result.faults
        return result
    except anyio.get_cancelled_exc_class():
        well = True
        raise
    finally:
        if well:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            screen.say(f"logs and data are kept in {directory} (seed {plan.seed})")


def settings_of(plan: Plan, url: str, bootstrap_servers: str, directory: Path) -> dict[str, str]:
    """What both pollers are started with."""
    return {
        "POLLER_VOUCHERIFY_URL": url,
        "POLLER_VOUCHERIFY_APP_ID": plan.options.app_id,
        "POLLER_VOUCHERIFY_APP_TOKEN": plan.options.app_token,
        "POLLER_CUSTOMERS_FILE": str(directory / "customers"),
        "POLLER_START": "earliest",
        "POLLER_LOOKBACK_SECONDS": str(LOOKBACK_SECONDS),
        "POLLER_CALLS_PER_MINUTE": str(plan.calls_per_minute),
        "POLLER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "POLLER_KAFKA_ACTIVITIES_TOPIC": ACTIVITIES_TOPIC,
        "POLLER_KAFKA_SESSION_SECONDS": str(SESSION_SECONDS),
        "POLLER_LOG_FORMAT": "json",
        "POLLER_DRAIN_SECONDS": str(DRAIN_SECONDS),
    }


def write_customers(simulator: Simulator, settings: Mapping[str, str]) -> None:
    Path(settings["POLLER_CUSTOMERS_FILE"]).write_text("".join(f"{customer}\n" for customer in simulator.customers))


@asynccontextmanager
async def replicas_of(settings: Mapping[str, str], directory: Path) -> AsyncIterator[Sequence[Replica]]:
    """Two pollers, not yet started; whatever happens in the block, none of them outlives it."""
    replicas = [Replica(name, {**settings, "POLLER_ADMIN_PORT": str(free_port())}, directory) for name in ("A", "B")]
    try:
        yield replicas
    finally:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for replica in replicas:
                    tasks.start_soon(replica.end)


async def start(replicas: Sequence[Replica], kafka: Broker, screen: Screen) -> None:
    """The first owns everything; each further one stands by."""
    for replica in replicas:
        replica.start()
        screen.say(f"starting poller {replica.name} (pid {replica.pid})…")
        until = time.monotonic() + START_SECONDS_MAX
        while replica.role == "starting":
            if time.monotonic() >= until:
                raise replica.failure(f"has not come up within {START_SECONDS_MAX:.0f} s")
            await anyio.sleep(TICK_SECONDS)
            replica.look()
            check_alive([replica], kafka)
        screen.say(f"poller {replica.name} {replica.role}: look at it at {replica.page}")


def check_alive(replicas: Iterable[Replica], kafka: Broker) -> None:
    if not kafka.running:
        raise kafka.failure("it ended by itself")
    for replica in replicas:
        if replica.pid is None:
            raise replica.failure(f"ended by itself with exit code {replica.exit_code}")


class ShownAt:
    """When the API showed each activity; asked for those that were published."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._known: dict[Identity, float] = {}

    def of(self, identity: Identity) -> float | None:
        """`None`: never."""
        if identity not in self._known:
            self._learn(identity.customer)
        return self._known.get(identity)

    def _learn(self, name: str) -> None:
        customer = self._simulator.find(name)
        stored = () if customer is None else self._simulator.population.activities(customer, self._simulator.clock())
        self._known.update({Identity(name, activity.id): activity.shown_at for activity in stored})

    def count(self) -> int:
        """How many have been shown by now."""
        now, population = self._simulator.clock(), self._simulator.population
        return sum(activity.shown_at <= now for customer in population.customers for activity in population.activities(customer, now))


class Play:
    """The demo from the moment when all is up."""

    def __init__(
        self, plan: Plan, screen: Screen, simulator: Simulator, kafka: Broker, replicas: Sequence[Replica], reader: TopicReader
    ) -> None:
        self._plan = plan
        self._screen = screen
        self._simulator = simulator
        self._kafka = kafka
        self._replicas = replicas
        self._reader = reader
        self._clock = simulator.clock
        self._began = self._clock()
        self._seen: list[Seen] = []
        self._types: Counter[str] = Counter()
        self._lately: deque[tuple[float, float]] = deque()
        self._shown_at = ShownAt(simulator)
        self._killed: Replica | None = None
        self._killed_at = -math.inf
        self._kills = 0
        self._takeover_seconds: list[float] = []
        self._taken_over = True

    async def perform(self, stop: Stop) -> Result:
        await self._live(stop)
        seconds = self._elapsed()
        self._screen.say("the customers rest; waiting until all that was shown is published…")
        await self._settle()
        self._screen.say("stopping both pollers (SIGTERM)…")
        exit_codes = await self._end_pollers()
        await self._read_to_end()
        return self._judged(seconds, exit_codes)

    def _elapsed(self) -> float:
        return self._clock() - self._began

    # -- live ----------------------------------------------------------------------------------------------------------

    async def _live(self, stop: Stop) -> None:
        end = math.inf if self._plan.seconds is None else self._plan.seconds
        while not stop.requested and self._elapsed() < end:
            await self._tick()
            if self._elapsed() >= self._plan.kill_at(self._kills):
                self._kill_owner()

    async def _tick(self) -> None:
        """Some moments pass; what happens meanwhile is taken note of, and shown."""
        self._take(await self._reader.read(TICK_SECONDS))
        self._restart()
        for replica in self._replicas:
            replica.look()
        self._notice_takeover()
        check_alive((replica for replica in self._replicas if replica is not self._killed), self._kafka)
        self._screen.show(self._scene())

    def _take(self, records: Iterable[Seen]) -> None:
        for record in records:
            self._seen.append(record)
            self._types[record.type] += 1
            shown_at = self._shown_at.of(record.identity)
            if shown_at is not None and shown_at >= self._began:
                self._lately.append((record.at, record.at - shown_at))
        while self._lately and self._lately[0][0] < self._clock() - FRESHNESS_SECONDS:
            self._lately.popleft()

    def _kill_owner(self) -> None:
        """Where nobody owns anything just now, the next tick tries again."""
        owner = next((replica for replica in self._replicas if replica.role == "owns"), None)
        if owner is None or self._killed is not None:
            return
        self._screen.say(f"kill -9 of poller {owner.name} (pid {owner.pid}), in the middle of its work")
        owner.kill()
        self._killed, self._killed_at, self._taken_over = owner, self._clock(), False
        self._kills += 1

    def _restart(self) -> None:
        if self._killed is not None and (self._taken_over or self._clock() >= self._killed_at + RESTART_SECONDS_MAX):
            self._killed.start()
            self._screen.say(f"poller {self._killed.name} is started again (pid {self._killed.pid})")
            self._killed = None

    def _notice_takeover(self) -> None:
        owner = next((replica for replica in self._replicas if replica.role == "owns"), None)
        if owner is not None and not self._taken_over:
            self._taken_over = True
            self._takeover_seconds.append(self._clock() - self._killed_at)
            self._screen.say(f"poller {owner.name} has taken over after {self._takeover_seconds[-1]:.1f} s")

    def _scene(self) -> Scene:
        since = self._clock() - 60
        return Scene(
            elapsed_seconds=self._elapsed(),
            seconds=self._plan.seconds,
            customers=self._plan.customers,
            shown=self._shown_at.count(),
            published=len(self._seen),
            types=self._types.most_common(TYPES_SHOWN),
            freshness=freshness([seconds for _, seconds in self._lately]),
            calls_last_minute=sum(call.at >= since for call in self._simulator.calls),
            calls_limit=self._plan.calls_per_minute,
            replicas=[ReplicaSeen(replica.name, replica.pid, replica.role, replica.page) for replica in self._replicas],
        )

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Until all that must be published is, and both pollers are as they should be; else until it is time to judge all the same."""
        self._simulator.freeze()
        all_shown_at = self._simulator.all_shown_at()
        quiet_at, until = math.inf, self._clock() + SETTLE_SECONDS_MAX
        while self._clock() < min(quiet_at + QUIET_SECONDS, until):
            await self._tick()
            if math.isinf(quiet_at) and self._clock() > all_shown_at and self._complete():
                quiet_at = self._clock()

    def _complete(self) -> bool:
        if self._killed is not None or any(replica.role == "starting" for replica in self._replicas):
            return False
        seen = {record.identity for record in self._seen}
        return all(Identity(one.customer, one.id) in seen for one in self._simulator.truth(LOOKBACK_SECONDS).must)

    async def _end_pollers(self) -> dict[str, int | None]:
        """Their exit codes; `None`: it had to be killed."""
        for replica in self._replicas:
            replica.terminate()
        until = self._clock() + END_SECONDS_MAX
        return {replica.name: replica.exit_code if await replica.ended(until - self._clock()) else None for replica in self._replicas}

    async def _read_to_end(self) -> None:
        until = self._clock() + READ_SECONDS_MAX
        while self._clock() < until and not await self._reader.at_end():
            self._take(await self._reader.read(TICK_SECONDS))

    def _judged(self, seconds: float, exit_codes: dict[str, int | None]) -> Result:
        calls = self._simulator.calls
        return Result(
            seconds=seconds,
            customers=self._plan.customers,
            seed=self._plan.seed,
            comparison=compare(self._simulator.truth(LOOKBACK_SECONDS, raw=True).activities, self._seen, self._began),
            calls=Calls(
                made=len(calls),
                refused=sum(call.outcome != "accepted" for call in calls),
                in_window_max=self._simulator.calls_in_window_max(60),
                limit=self._plan.calls_per_minute,
            ),
            kills=self._kills,
            takeover_seconds=tuple(self._takeover_seconds),
            exit_codes=exit_codes,
            poller_bytes_max=max(replica.bytes_max for replica in self._replicas),
        )
