"""Where the CPU time of a process goes: which Python function is running, looked at whenever it has used up another bit of it.

What C does for a function is charged to that function, and what the event loop does by itself to the function that it calls next. Unlike a profiler that is
told of every call (cProfile by CPU time made a read cost twenty times as much), looking costs next to nothing: the shares are those of the real thing.

    python -m tests.bench.profiling FILE      is `poller run`, and leaves its profile in FILE
"""

import os
import runpy
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Self

import anyio
import msgspec

from tests.support.processes import inherited

TOP = 15
PACKAGES = 12
SECONDS_MAX = 120.0
INTERVAL_SECONDS = 0.001
"""The kernel may make it longer: a few milliseconds."""

ROOT = str(Path(__file__).parents[2]) + os.sep
SITE = "site-packages" + os.sep
LIBRARY = str(Path(os.__file__).parent) + os.sep


class Profile(msgspec.Struct, frozen=True):
    """How often each function was found running."""

    functions: Mapping[str, int]

    @classmethod
    def of(cls, counted: Counter[str]) -> Self:
        return cls(dict(counted.most_common()))

    @property
    def samples(self) -> int:
        return sum(self.functions.values())

    def packages(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for function, count in self.functions.items():
            found[function.partition("/")[0]] += count
        return found


@contextmanager
def sampling() -> Iterator[Counter[str]]:
    """Count in this process, of which this must be the main thread, until the block is left."""
    counted: Counter[str] = Counter()

    def look(_number: int, frame: FrameType | None) -> None:
        if frame is not None:
            counted[_name(frame)] += 1

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
    try:
        yield counted
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _name(frame: FrameType) -> str:
    file = frame.f_code.co_filename
    if SITE in file:
        file = file.partition(SITE)[2]
    elif file.startswith((LIBRARY, "<")):
        file = f"stdlib/{file.removeprefix(LIBRARY)}"
    return f"{file.removeprefix(ROOT)} {frame.f_code.co_qualname}"


async def profiled(settings: Mapping[str, str], file: Path, done: Callable[[], int], warm: int, reads: int) -> Profile:
    """`poller run` with these settings; after so many reads that warm it up, until so many more are done."""
    process = _start(settings, file)
    try:
        await _until(lambda: done() >= warm)
        process.send_signal(signal.SIGUSR1)
        await _until(lambda: done() >= warm + reads)
        process.terminate()
        await anyio.to_thread.run_sync(process.wait)
    finally:
        process.kill()
        process.wait()
    return _left_in(file)


def _start(settings: Mapping[str, str], file: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.bench.profiling", str(file)]
    return subprocess.Popen(command, env={**inherited(), **settings}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)


def _left_in(file: Path) -> Profile:
    return msgspec.json.decode(file.read_bytes(), type=Profile)


async def _until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(SECONDS_MAX):
        while not holds():  # noqa: ASYNC110 - what is waited for is in another process
            await anyio.sleep(0.01)


def shares(profiles: Mapping[str, Profile], cost_us: Mapping[str, float]) -> str:
    """By package, as Markdown: a column for each profile, in microseconds of what each is known to cost."""
    biggest = sum((profile.packages() for profile in profiles.values()), Counter[str]())
    rows = [("package", *profiles), ("---", *("--:" for _ in profiles))]
    for package, _ in biggest.most_common(PACKAGES):
        parts = [profile.packages()[package] / profile.samples * cost_us[name] for name, profile in profiles.items()]
        rows.append((package, *(f"{us:,.0f}" for us in parts)))
    rows.append(("all", *(f"{cost_us[name]:,.0f}" for name in profiles)))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def excerpt(profile: Profile) -> str:
    """The functions that took most by themselves."""
    first = list(profile.functions.items())[:TOP]
    return "".join(f"{count / profile.samples:>6.1%}  {function}\n" for function, count in first)


def main() -> None:
    file, sys.argv = Path(sys.argv[1]), ["poller", "run"]
    try:
        with sampling() as counted:
            signal.signal(signal.SIGUSR1, lambda _number, _frame: counted.clear())
            runpy.run_module("poller", run_name="__main__", alter_sys=True)
    finally:
        file.write_bytes(msgspec.json.encode(Profile.of(counted)))


if __name__ == "__main__":
    main()
