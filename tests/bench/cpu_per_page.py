"""What a read costs: CPU of one `poller run` from request to commit, all in, for pages of 10 new activities; and its memory.

With a budget of more calls than it can make: what a read costs when all is busy, for which the goal is. With a budget that an account has: what it
costs when each read wakes the process, and what it does beside reading is shared by few.

A server that does next to nothing answers over loopback, a real Kafka takes what is published. CPU is the poller's process alone (user and
system, from /proc), so a noisy machine changes the time that it takes but hardly the figure.
"""

import os
import re
import signal
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.abc import SocketStream

from poller.demo.broker import broker
from tests.bench.figures import Figure
from tests.bench.profiling import Profile, profiled
from tests.support.processes import Deployment, Poller
from tests.support.topics import reading

GOAL_MS = 1.5
GOAL_MB = 120
ACTIVITIES = 10
PAD = "x" * 900
HISTORY = 100
STEP = timedelta(milliseconds=2)
START_DATE = re.compile(rb"start_date=([^& ]+)")
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {date}\r\nX-Rate-Limit-Limit: 100000\r\nX-Rate-Limit-Remaining: 99999\r\nContent-Length: {length}\r\n\r\n"


class Pages:
    """Every read finds 10 activities that are new, every tenth one more: created right after the instant that it asks from.

    So 10 are known to be no full page, as longer ones come; and every tenth read takes another call, to see that nothing follows.
    """

    def __init__(self) -> None:
        self.reads = 0
        self.activities = 0
        self._history: datetime | None = None
        """When its last activity was created; `None`: not asked for yet."""

    def answer(self, request: bytes) -> bytes:
        asked = START_DATE.search(request)
        instants: list[datetime] = []
        if asked is not None:
            start = datetime.fromisoformat(asked[1].decode().replace("%3A", ":"))
            goes_on = self._history is not None and abs(start - self._history) <= STEP
            instants = [self._history or start] if goes_on else [start + STEP] * (ACTIVITIES + (self.reads % 10 == 0))
            self.reads += not goes_on
        elif self._history is None:
            now = datetime.now(UTC)
            now -= timedelta(microseconds=now.microsecond % 1000)
            instants, self._history = [now - STEP * i for i in reversed(range(HISTORY))], now
        body = self._page(instants)
        return HEAD.format(date=formatdate(usegmt=True), length=len(body)).encode() + body

    def _page(self, instants: list[datetime]) -> bytes:
        entries = ",".join(self._entry(instant) for instant in instants)
        return f'{{"object":"list","data_ref":"data","data":[{entries}],"total":{len(instants)}}}'.encode()

    def _entry(self, instant: datetime) -> str:
        self.activities += 1
        at = instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return (
            f'{{"id":"evcus_{self.activities:018x}","type":"customer.rewarded.loyalty_points","created_at":"{at}","category":"ACTION",'
            f'"group_id":"v-{self.activities:018x}","event_source":{{"channel":"API"}},"data":{{"note":"{PAD}"}}}}'
        )

    async def serve(self, stream: SocketStream) -> None:
        """Requests of one connection, one after the other."""
        buffered = b""
        try:
            async with stream:
                while True:
                    while b"\r\n\r\n" not in buffered:
                        buffered += await stream.receive()
                    request, _, buffered = buffered.partition(b"\r\n\r\n")
                    await stream.send(self.answer(request))
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


async def measure_reads(poller: Poller, pages: Pages, reads: int) -> tuple[float, float]:
    """CPU seconds and seconds for so many reads."""
    began, cpu, target = time.monotonic(), cpu_seconds(poller.pid), pages.reads + reads
    while pages.reads < target and poller.exit_code is None:  # noqa: ASYNC110 - looks at a process too
        await anyio.sleep(0.01)
    assert poller.exit_code is None, repr(poller)
    return (cpu_seconds(poller.pid) - cpu) / (pages.reads - target + reads), (time.monotonic() - began) / reads


class Run(NamedTuple):
    """What one budget led to."""

    cpu_ms: list[float]
    reads_per_second: list[float]
    rss_mb: float
    profile: Profile


async def bench(calls_per_minute: float, customers: int, reads: int, times: int) -> Run:
    """So many times so many reads, after everybody has been read twice; then once more in another process, under the profiler."""
    pages = Pages()
    with tempfile.TemporaryDirectory() as directory:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with broker(log=lambda _: None) as running, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, pages.serve)
            ids = [f"cust_{i:024x}" for i in range(customers)]
            usual = {"log_level": "info", "kafka_commit_seconds": None, "lookback_seconds": None, "calls_per_minute": calls_per_minute}
            async with Deployment(running.bootstrap_servers, f"http://127.0.0.1:{port}", ids, Path(directory), **usual) as pollers:
                poller = pollers.start()
                await poller.active()
                await measure_reads(poller, pages, 2 * customers)  # and code is warm
                costs = [await measure_reads(poller, pages, reads) for _ in range(times)]
                memory = rss_mb(poller.pid)
                poller.send(signal.SIGTERM)
                await poller.ended()
                async with reading(running.bootstrap_servers, pollers.name) as reader:
                    assert len(await reader.read()) == pages.activities, "not all that was shown is published"
                seen = pages.reads
                profile = await profiled(poller.settings, Path(directory) / "profile", lambda: pages.reads - seen, customers, 2 * reads)
            tasks.cancel_scope.cancel()
    return Run([cpu * 1000 for cpu, _ in costs], [1 / each for _, each in costs], memory, profile)


class Pace(NamedTuple):
    """How fast it may read."""

    name: str
    calls_per_minute: float
    customers: int
    reads: int
    goal_ms: float | None


PACES = (
    Pace("as fast as it can", 60_000, 1_000, 2_000, GOAL_MS),
    Pace("at 2,000 calls a minute", 2_000, 150, 240, None),
)


def measure(times: int = 3, paces: Sequence[Pace] = PACES) -> tuple[list[Figure], dict[str, Profile]]:
    """And where the time went, by pace."""
    figures, profiles = [], {}
    for pace in paces:
        run = anyio.run(bench, pace.calls_per_minute, pace.customers, pace.reads, times)
        figures.append(Figure(f"CPU of a read, {pace.name}", "ms", run.cpu_ms, at_most=pace.goal_ms))
        figures.append(Figure(f"CPU of an activity, {pace.name}", "µs", [ms / ACTIVITIES * 1000 for ms in run.cpu_ms]))
        figures.append(Figure(f"reads a second, {pace.name}", "", run.reads_per_second))
        figures.append(Figure(f"memory of the process with {pace.customers:,} customers", "MB", [run.rss_mb], at_most=GOAL_MB))
        profiles[pace.name] = run.profile
    return figures, profiles
