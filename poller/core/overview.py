"""How everything that is owned stands at one instant, for whoever runs the process. Read-only, and cheap: what takes a look at every customer is
the survey's (`core/survey.py`), which goes through them in slices, now and then.
"""

from typing import Literal

import msgspec

from poller.core.budget import CycleStands
from poller.model import CustomerId

CustomerState = Literal["read", "never_read", "more_pages", "failing", "unknown", "paused", "ended", "retired"]
"""How a watched customer stands: see `poller_customers` in `poller/telemetry.py`, which names the same."""


class Oldest(msgspec.Struct, frozen=True, kw_only=True):
    """One of the customers that were read longest ago, of those that are read in turn."""

    customer: CustomerId
    state: CustomerState
    last_read: float | None
    """Unix time in seconds; `None`: never."""
    error: str = ""
    """Of its last read, where that failed."""


class Surveyed(msgspec.Struct, frozen=True, kw_only=True):
    """What the last look at every owned customer has shown."""

    at: float
    states: dict[CustomerState, int]
    last_read_p50: float | None = None
    """Half of those who were read, and are read in turn, were read since this instant; `None`: nobody was."""
    last_read_p95: float | None = None
    last_read_first: float | None = None
    recent_ids: int = 0
    oldest: tuple[Oldest, ...] = ()
    """Some of them, the oldest first; those who were never read come last."""


class RateStands(msgspec.Struct, frozen=True, kw_only=True):
    """The rate's budget of the owned partitions together."""

    calls: float
    """What the settings allow in a window, as far as these partitions have it."""
    window_seconds: float
    left: float
    """What the buckets hold."""
    calls_per_second: float
    """The pace at which calls may be made now: the rate's, or what the cycle leaves, if that is less."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """See the top of this file. Instants are Unix time in seconds."""

    owner: str
    """Who answers, as the ownership records of its partitions say."""
    partitions: int
    """How many divide the work; 0: not known yet."""
    owned: tuple[int, ...]
    restoring: tuple[int, ...]
    """Ours, and not restored."""
    in_flight: int
    records_waiting: int
    bytes_waiting: int
    watched: int
    rate: RateStands | None
    """`None`: nothing is owned, as with the following."""
    cycle: CycleStands | None
    """`None` also where no cycle is configured."""
    parts: dict[int, float]
    quota_remaining: int | None
    """What the API last said to be left; `None`: it says nothing of it."""
    paused_until: float | None
    paused_why: str
    staleness_objective_seconds: float | None
    oldest_called_at: float | None
    """When the owned customer was called that was called longest ago; `None`: nobody was, or all are away."""
    surveyed: Surveyed | None
