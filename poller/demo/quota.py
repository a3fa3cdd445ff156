"""What the simulated API grants: calls in a window, calls in a cycle, and what it says of them."""

import math
from collections import deque

import msgspec

from poller.demo.options import SimulatorOptions


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Whether one call may be made, and what the headers say of it."""

    limited_by: str | None
    """The type of the limit that it hit; `None`: it may."""
    remaining: int
    retry_at: float
    """Unix time in seconds when the next call may be made."""


class Granted:
    """The calls granted so far."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.times: deque[float] = deque()
        self.cycle = 0
        self.cycle_calls = 0

    def take(self, options: SimulatorOptions, now: float) -> Verdict:
        """Grant or refuse one call; a refused one is not counted."""
        self._forget(options, now)
        cycle_full = options.calls_per_cycle is not None and self.cycle_calls >= options.calls_per_cycle
        if cycle_full:
            return Verdict("api_calls_cycle", self._remaining(options, now), self.started_at + (self.cycle + 1) * options.cycle_seconds)
        if self._remaining(options, now) <= 0:
            return Verdict("api_calls", 0, self._window_frees_at(options, now))
        self.times.append(now)
        self.cycle_calls += 1
        return self.look(options, now)

    def look(self, options: SimulatorOptions, now: float) -> Verdict:
        """What the headers say when no call is taken."""
        self._forget(options, now)
        remaining = self._remaining(options, now)
        return Verdict(None, remaining, now if remaining > 0 else self._window_frees_at(options, now))

    def _forget(self, options: SimulatorOptions, now: float) -> None:
        while self.times and counts_until(options, self.times[0]) <= now:
            self.times.popleft()
        cycle = math.floor((now - self.started_at) / options.cycle_seconds)
        if cycle != self.cycle:
            self.cycle, self.cycle_calls = cycle, 0

    def _remaining(self, options: SimulatorOptions, now: float) -> int:
        if options.calls_per_window is None:
            return 1_000_000
        return max(0, options.calls_per_window - len(self.times) - others(options, now))

    def _window_frees_at(self, options: SimulatorOptions, now: float) -> float:
        return counts_until(options, self.times[0] if self.times else now)


def counts_until(options: SimulatorOptions, at: float) -> float:
    """When a call made at `at` counts no more: `window_seconds` later, or when the clock's next full window begins."""
    return (at // options.window_seconds * options.window_seconds if options.window == "fixed" else at) + options.window_seconds


def others(options: SimulatorOptions, now: float) -> int:
    """What other clients of the project have spent of the window."""
    seconds = now % options.window_seconds if options.window == "fixed" else options.window_seconds
    return int(options.other_calls_per_minute * seconds / 60)


def calls_in_window_max(times: list[float], window_seconds: float) -> int:
    """The most calls in any window of this length, [t, t + length). `times` ascending."""
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] + window_seconds <= at:
            first += 1
        most = max(most, last - first + 1)
    return most
