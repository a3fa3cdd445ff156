"""What the settings decide about the core."""

from collections.abc import Sequence

import msgspec

from poller.core import cursor
from poller.core.budget import Cycle
from poller.core.cursor import ServerClock
from poller.errors import SourceError
from poller.hashed import Shown, without_ids
from poller.matching import Match
from poller.model import Checkpoint, CustomerId, Ledger, Ownership, WatchEntry


class Policy(msgspec.Struct, frozen=True):
    """What the settings decide about the core."""

    start: str | int = "now"
    """Where a customer without a checkpoint begins: `now`, `earliest`, or an instant in milliseconds."""
    lookback_ms: int = 300_000
    calls_limit: float = 60
    calls_window_seconds: float = 60
    cycle: Cycle | None = None
    calls_in_flight_max: int = 4
    staleness_seconds_max: float | None = None
    """How long a customer may stay unread; `None`: twice as long as calling everybody takes."""
    checkpoint_retention_seconds: float = 90 * 86_400
    """How long a checkpoint is kept that nobody watches."""
    change_feed: bool = False
    """Whether the change feed is read, by the owner of partition 0."""
    watch_all: Match | None = None
    """Who of the project's customers is watched, though nobody names it; `None`: nobody."""
    commit_seconds: float = 0.2
    """The least time from the beginning of one commit to the next."""
    lease_seconds: float = 5
    """How long after a confirmed heartbeat calls may be made."""
    application_id: str = "voucherify-activity-poller"
    url: str = "https://api.voucherify.io"
    endpoint: str = "activities"
    owner: str = ""
    """Who we are, for the ownership record."""
    customers_shown: Shown = "plain"
    """How errors that are kept for whoever asks name customers."""

    def ownership(self, partitions: int, watched_hash: str, ledger: Ledger) -> Ownership:
        """What an owner that runs so says of itself."""
        return Ownership(
            application_id=self.application_id,
            url=self.url,
            endpoint=self.endpoint,
            partitions=partitions,
            watched_hash=watched_hash,
            owner=self.owner,
            ledger=ledger,
        )

    def start_of(self, entry: WatchEntry) -> str | int:
        """How a customer that is watched so starts, while it has no checkpoint: see `start`."""
        return self.start if entry.start is None else entry.start

    def begin(self, start: str | int, clock: ServerClock, now: float) -> Checkpoint:
        """Where a customer without a checkpoint begins that starts so."""
        match start:
            case "now":
                return cursor.start_now(clock, self.lookback_ms, now)
            case "earliest":
                return Checkpoint(cursor_ms=cursor.FROM_THE_BEGINNING_MS)
            case int(instant_ms):
                return Checkpoint(cursor_ms=instant_ms)
            case other:
                raise AssertionError(f"no such start: {other!r}")

    def known_since(self, start: str | int, times: Sequence[float], until: float) -> float:
        """Since when the first read of a customer that started so, which found activities created at these times, tells all that it did."""
        match start:
            case int(instant_ms):
                return min(instant_ms / 1000, until)
            case "earliest" if times:
                return times[0]
            case _:
                return until

    def told(self, error: SourceError, customer: CustomerId) -> str:
        """What is kept of a customer's error, and shown to whoever asks."""
        return without_ids(str(error), [customer]) if self.customers_shown == "hashed" else str(error)
