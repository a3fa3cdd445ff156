"""The cursor: the instant up to which everything is taken as shown, and how it moves.

The cursor follows the *server's* time at the first request of a read, less the lookback. It moves with time, not with activity, so an
idle customer costs one call and no ids; and it never moves back.

The server's time is the smallest of several estimates, because each can be wrong and only one that is too late loses anything: the
`Date` header less the time that the call took, the newest activity's `created_at` carried forward (an activity that was shown had been
created, so the server's clock had reached its `created_at` when it arrived), and, beside one of these, our own clock.
"""

import math

import msgspec

from poller.core import replay
from poller.model import Activity, Checkpoint, Fetch, Page, Walk

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
        return min([*known, at]) if known else None

    def latest(self, at: float) -> float:
        """The server's time at our instant `at`, rather too late than too early."""
        return at + max(0.0, self.by_date or 0.0, self.by_activity or 0.0)


def timed(fetch: Fetch, page: Page, now: float) -> Walk:
    """The walk, with the server's time at its first request, once that is answered."""
    if fetch.walk.calls > 0 or page.server_time is None:
        return fetch.walk
    return msgspec.structs.replace(fetch.walk, server_time=page.server_time - (now - fetch.at))


def server_time_ms(walk: Walk, clock: ServerClock) -> int | None:
    """The server's time when the read's first request was sent, rather too early than too late; `None`: nothing of it is known.

    Our own clock is a third estimate, but none to stand alone: it keeps a server that is ahead of its time from pushing the cursor
    beyond what an idle customer will do next.
    """
    known = _server_times(walk, clock)
    return math.floor(min([*known, walk.sent]) * 1000) if known else None


def latest_server_time_ms(walk: Walk, clock: ServerClock) -> int:
    """The same by the latest estimate of the server's, or our own where there is none: what was created before had happened before the read."""
    return math.floor(max(_server_times(walk, clock), default=walk.sent) * 1000)


def _server_times(walk: Walk, clock: ServerClock) -> list[float]:
    by_activity = None if clock.by_activity is None else walk.sent + clock.by_activity
    return [seconds for seconds in (walk.server_time, by_activity) if seconds is not None]


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


def went_back(known: Checkpoint | None, found: Checkpoint | None) -> bool:
    """Whether a checkpoint that was found says less than one that had been committed: cursors only advance, and no id at or after one is forgotten.

    A replay sets the cursor back; what had been published is known all the same.
    """
    if known is None or found is None:
        return known is not None
    (was_ms, ids), (is_ms, known_ids) = (
        (replay.covered(one) if known.replayed != found.replayed else (one.cursor_ms, one.recent)) for one in (known, found)
    )
    forgotten = any(at_ms >= is_ms and id not in known_ids for id, at_ms in ids.items())
    return forgotten or is_ms < was_ms
