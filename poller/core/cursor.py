"""The cursor: the instant up to which everything is taken as shown, and how it moves.

The cursor follows the *server's* time at the first request of a read, less the lookback. It moves with time, not with activity, so an
idle customer costs one call and no ids; and it never moves back.

The server's time is the smaller of two estimates, because either can be wrong and only an estimate that is too late loses anything:
the `Date` header less the time that the call took, and the newest activity's `created_at` carried forward (an activity that was shown
had been created, so the server's clock had reached its `created_at` when it arrived).
"""

import math

import msgspec

from poller.model import Activity, Checkpoint, Page, Walk

FROM_THE_BEGINNING_MS = 0
"""A cursor before every activity: the first request sets no lower bound."""

START_SLACK_SECONDS = 60.0
"""How much earlier than estimated the first read of a customer that starts now begins: our clock may be ahead by as much."""


class ServerClock(msgspec.Struct, frozen=True, gc=False):
    """How far the server's clock is ahead of ours, in seconds, as far as this process has seen."""

    by_date: float | None = None
    """From the last `Date` header; too small by up to the time that the call took, and a second."""
    by_activity: float | None = None
    """The largest `created_at` − received over all responses, whichever the customer."""

    def observe(self, page: Page, received: float) -> "ServerClock":
        """What is known after this page. A page without a date or without activities leaves the old estimate."""
        newest_ms = max((entry.created_at_ms for entry in page.entries if isinstance(entry, Activity)), default=None)
        by_date = self.by_date if page.server_time is None else page.server_time - received
        by_activity = self.by_activity
        if newest_ms is not None:
            by_activity = max(newest_ms / 1000 - received, by_activity if by_activity is not None else -math.inf)
        return ServerClock(by_date=by_date, by_activity=by_activity)

    def earliest(self, at: float) -> float | None:
        """The server's time at our instant `at`, rather too early than too late; `None`: nothing is known."""
        known = [at + ahead for ahead in (self.by_date, self.by_activity) if ahead is not None]
        return min(known, default=None)


def server_time_ms(walk: Walk, clock: ServerClock) -> int | None:
    """The server's time when the read's first request was sent, rather too early than too late; `None`: nothing tells."""
    return min(_server_times_ms(walk, clock), default=None)


def latest_server_time_ms(walk: Walk, clock: ServerClock) -> int | None:
    """The same by the later estimate: what was created before it had happened before the read began."""
    return max(_server_times_ms(walk, clock), default=None)


def _server_times_ms(walk: Walk, clock: ServerClock) -> list[int]:
    by_activity = None if clock.by_activity is None else walk.sent + clock.by_activity
    return [math.floor(seconds * 1000) for seconds in (walk.server_time, by_activity) if seconds is not None]


def advance(cursor_ms: int, shown_to_ms: int | None, server_ms: int | None, lookback_ms: int) -> int:
    """Where the cursor may stand once everything before `shown_to_ms` was shown (`None`: everything there is)."""
    if server_ms is None:
        return cursor_ms  # nothing says how late it is over there: stay, which costs a little reading and loses nothing
    reach_ms = server_ms - lookback_ms
    return max(cursor_ms, reach_ms if shown_to_ms is None else min(reach_ms, shown_to_ms))


def start_now(clock: ServerClock, lookback_ms: int, now: float) -> Checkpoint:
    """Where the first read begins for a customer of whom only what happens from now on is wanted."""
    estimate = clock.earliest(now)
    begin = (now if estimate is None else estimate) - START_SLACK_SECONDS
    return Checkpoint(cursor_ms=max(FROM_THE_BEGINNING_MS, math.floor(begin * 1000) - lookback_ms))
