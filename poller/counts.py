"""What is counted of the worker's steps: every counter and histogram of the table, and when each kind of thing succeeded last.

A backfill publishes tens of thousands of records a second, so what concerns single records is counted once for each transaction.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeVar

from poller.activity_types import DOCUMENTED_TYPES
from poller.core.hints import Hints
from poller.core.listing import Found
from poller.errors import (
    CustomerUnknown,
    Fenced,
    Forbidden,
    Limited,
    LogError,
    LogRefused,
    LogUnavailable,
    PlanExceeded,
    Redirected,
    Rejected,
    RouteGone,
    ServerFault,
    SourceError,
    TimedOut,
    TokenRefused,
    TokenRenewed,
    TokenUnavailable,
    Unauthorized,
    Undecodable,
    Unreachable,
)
from poller.metrics import Metrics
from poller.model import Activity, Batch, Commit, FeedCall, Fetch, Hindrance, ListCall
from poller.telemetry import OTHER_TYPE, HintFate, KafkaError, Outcome, Purpose, Reloaded, Success

OUTCOME_OF: Mapping[type[SourceError], Outcome] = {
    Unreachable: "unreachable",
    TimedOut: "timeout",
    ServerFault: "server_error",
    Undecodable: "undecodable",
    Limited: "limited",
    PlanExceeded: "limited",
    Unauthorized: "unauthorized",
    Forbidden: "unauthorized",
    RouteGone: "rejected",
    Redirected: "rejected",
    TokenRefused: "unauthorized",
    TokenUnavailable: "unreachable",
    CustomerUnknown: "not_found",
    Rejected: "rejected",
}
"""What came of a call that was to read a customer, by the nearest class of its error; `TokenRenewed` is left out, as nothing failed."""

OF_TOKENS = (TokenRenewed, TokenRefused, TokenUnavailable)
"""The call went into an access token, or was to."""

KIND_OF: Mapping[type[LogError], KafkaError] = {
    LogError: "unavailable",
    LogUnavailable: "unavailable",
    Fenced: "fenced",
    LogRefused: "refused",
}

Asked = Literal["read", "feed", "list"]
"""What a call was ordered for; it may go into an access token instead."""

Call = Fetch | FeedCall | ListCall

ErrorT = TypeVar("ErrorT", bound=Exception)
Said = TypeVar("Said")

DOCUMENTED = frozenset(DOCUMENTED_TYPES)


class Counts:
    """Told by the journal what happened. Instants are Unix time in seconds."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.last_success: dict[Success, float] = {}
        """By kind; absent until there was one."""

    # Calls.

    def answered(self, purpose: Asked, call: Call, now: float) -> None:
        self._called(purpose, call, now)
        self.last_success[purpose] = now

    def read(self, fetch: Fetch, batch: Batch | None) -> None:
        """What a page has brought; `None`: nothing of it can be used."""
        self._metrics.count("poller_reads_total", "new" if batch is not None and batch.new else "empty")
        if batch is not None and batch.walk is None:
            self._metrics.observe("poller_pages_per_read", fetch.walk.calls + 1)

    def failed(self, purpose: Asked, call: Call, error: SourceError, now: float) -> None:
        self._called("token" if isinstance(error, OF_TOKENS) else purpose, call, now)
        if isinstance(error, TokenRenewed):
            if not str(error.explanation):  # else it was found that one is needed
                self.last_success["token"] = now
        elif purpose == "read":
            self._metrics.count("poller_reads_total", nearest(OUTCOME_OF, error))

    def _called(self, purpose: Purpose, call: Call, now: float) -> None:
        self._metrics.count("poller_calls_total", purpose)
        self._metrics.observe("poller_call_seconds", max(0.0, now - call.at))

    def throttled(self, by: Hindrance, seconds: float) -> None:
        self._metrics.count("poller_throttled_seconds_total", by, by=seconds)

    # What was read.

    def listed(self, found: Found) -> None:
        self._metrics.count("poller_customers_found_total", by=found.new)
        self._metrics.count("poller_listing_gaps_total", by=found.gap)

    def held(self, batch: Batch) -> None:
        self._metrics.count("poller_gaps_suspected_total", by=batch.gap)
        self._metrics.count("poller_recent_ids_dropped_total", by=batch.dropped)
        self._metrics.count("poller_endpoint_unfollowable_total", by=not batch.followable)

    def hint(self, fate: HintFate) -> None:
        self._metrics.count("poller_hints_total", fate)

    def hints_stand(self, hints: Hints) -> None:
        for fate, total in (("used", hints.used), ("useful", hints.useful), ("refused", hints.refused)):
            self._metrics.stands_at("poller_hints_total", fate, total=total)
        self._metrics.stands_at("poller_activities_announced_total", total=hints.announced)

    def refused_webhooks(self) -> int:
        return round(sum(self._metrics.counted("poller_hints_total", fate) for fate in ("forged", "unreadable")))

    def found(self) -> int:
        return round(self._metrics.counted("poller_customers_found_total"))

    # Commits.

    def committed(self, commit: Commit, began: float, now: float) -> None:
        batches = commit.batches
        self._metrics.observe("poller_transaction_seconds", now - began, "committed")
        self.last_success["commit"] = now
        for type, count in Counter(record.type for batch in batches for record in batch.records).items():
            self._metrics.count("poller_activities_published_total", type if type in DOCUMENTED else OTHER_TYPE, by=count)
        self._metrics.count("poller_activities_replayed_total", by=sum(len(batch.again) for batch in batches))
        self._metrics.count("poller_activities_known_total", by=sum(batch.known for batch in batches))
        self._metrics.count("poller_dead_letters_total", by=sum(len(batch.dead_letters) for batch in batches))
        self._metrics.observe_all("poller_freshness_seconds", ages(batches, now))

    def transaction_failed(self, seconds: float) -> None:
        self._metrics.observe("poller_transaction_seconds", seconds, "failed")

    def partition_failed(self, error: LogError) -> None:
        self._metrics.count("poller_kafka_errors_total", nearest(KIND_OF, error))

    def commit_undone(self) -> None:
        self._metrics.count("poller_commits_undone_total")

    # The fleet and the process.

    def rebalancing(self) -> None:
        self._metrics.count("poller_rebalances_total")

    def restored(self, seconds: float) -> None:
        self._metrics.observe("poller_restore_seconds", seconds)

    def handed_over(self, seconds: float) -> None:
        self._metrics.observe("poller_hand_over_seconds", seconds)

    def heartbeat(self, now: float) -> None:
        self.last_success["heartbeat"] = now

    def loop_lagged(self, seconds: float) -> None:
        self._metrics.observe("poller_loop_lag_seconds", seconds)

    def reloaded(self, what: Reloaded, *, done: bool) -> None:
        self._metrics.count("poller_reloads_total", what, "done" if done else "failed")


def nearest(table: Mapping[type[ErrorT], Said], error: ErrorT) -> Said:
    """What the table says of the error's class, or of the nearest one above it."""
    return next(table[kind] for kind in type(error).__mro__ if kind in table)


def ages(batches: Sequence[Batch], now: float) -> list[float]:
    """Seconds from `created_at` until now of what is published in its turn: no replay, and no backfill."""
    now_ms = now * 1000
    return [max(0.0, now_ms - record.created_at_ms) / 1000 for batch in batches for record in timely(batch)]


def timely(batch: Batch) -> Iterable[Activity]:
    """Those of a batch's new records that happened when their customer was being followed.

    Until a first read is complete it is a backfill: of what it brings only what was created since its walk began has not waited for its customer's
    turn to be watched. A walk that is begun anew after a restart is the one that counts.
    """
    began_ms = first_read_began_ms(batch)
    return batch.new if began_ms is None else _since(batch.new, began_ms)


def _since(records: Iterable[Activity], began_ms: float) -> Iterator[Activity]:
    return (record for record in records if record.created_at_ms >= began_ms)


def first_read_began_ms(batch: Batch) -> float | None:
    """When its customer's first read began, where the batch is of that; `None`: that one was complete before."""
    if batch.base is not None and batch.base.last_read is not None:
        return None
    sent = batch.checkpoint.last_read if batch.walk is None else batch.walk.sent
    return math.inf if sent is None else sent * 1000
