"""What one process holds, every few seconds: memory, open files, threads, and tasks of its loop."""

from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import httpx
import msgspec

from poller.demo.replica import memory_bytes
from tests.support.processes import Poller

EVERY_SECONDS = 2.0
ANSWER_SECONDS_MAX = 1.0
MB = 1e6


class Sample(msgspec.Struct, frozen=True):
    """At one moment."""

    minutes: float
    """Since the soak began."""
    rss_mb: float
    files: int
    threads: int
    tasks: int | None
    """`None`: it was stopped, and did not answer."""


async def take(poller: Poller, minutes: float) -> Sample:
    """The files are counted before it is asked for its tasks: to answer takes one."""
    files, threads = entries(poller, "fd"), entries(poller, "task")
    return Sample(minutes, memory_bytes(poller.pid) / MB, files, threads, await tasks_of(poller))


def entries(poller: Poller, of: str) -> int:
    return len(list(Path(f"/proc/{poller.pid}/{of}").iterdir()))


async def tasks_of(poller: Poller) -> int | None:
    """The connection is closed at once, so that it is not among the files of the next sample."""
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=ANSWER_SECONDS_MAX, headers={"connection": "close"}) as client:
        try:
            answer = await client.get(f"http://127.0.0.1:{poller.settings['POLLER_ADMIN_PORT']}/status")
        except httpx.TransportError:
            return None
    tasks: int = answer.json()["tasks"]
    return tasks


async def follow(poller: Poller, into: list[Sample], elapsed: Callable[[], float]) -> None:
    """Until cancelled, or it has ended."""
    due = elapsed()
    while poller.exit_code is None:
        into.append(await take(poller, elapsed() / 60))
        due += EVERY_SECONDS
        await anyio.sleep(max(0.0, due - elapsed()))


async def at_rest(poller: Poller, times: int = 16) -> Sample:
    """The least that it holds in moments in which nothing happens to it: connections to the API come and go with the calls that are under way."""
    samples = []
    for _ in range(times):
        samples.append(await take(poller, 0.0))
        await anyio.sleep(EVERY_SECONDS / 2)
    return least_of(samples)


def least_of(samples: Sequence[Sample]) -> Sample:
    """Of each for itself. What leaks is in all of them."""
    return Sample(
        minutes=samples[-1].minutes,
        rss_mb=min(sample.rss_mb for sample in samples),
        files=min(sample.files for sample in samples),
        threads=min(sample.threads for sample in samples),
        tasks=min((sample.tasks for sample in samples if sample.tasks is not None), default=None),
    )
