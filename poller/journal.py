"""What the worker's steps mean to the operator: which are worth a log event, and what is counted."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from poller.core.budget import CycleStands
from poller.core.hints import Hints
from poller.core.lifecycle import is_unknown
from poller.core.listing import Found
from poller.core.watched import Changed, Source
from poller.counts import Asked, Call, Counts
from poller.errors import (
    CustomerUnknown,
    Explanation,
    Forged,
    HintError,
    LogError,
    Rejected,
    ServerFault,
    SettingsError,
    SourceError,
    TokenRenewed,
    Undecodable,
    Unreachable,
)
from poller.model import Batch, Commit, CustomerId, FeedCall, Fetch, Hindrance, ListCall, Page, Restored
from poller.persons import Persons
from poller.telemetry import EventName, HintFate, Reloaded, Success, Telemetry

ONE_CUSTOMERS = (CustomerUnknown, Rejected, ServerFault, Undecodable, Unreachable)
"""Errors that are told of the customer; the others concern every call, and are told of the pause that they make."""


REFUSED_SECONDS = 60.0
"""Between two lines on webhooks, or on orders, that were refused."""

IGNORED_SHOWN_MAX = 5

UNKNOWN_REMEMBERED = 100_000
"""Customers that were said to be unknown."""

WATCHED_SECONDS = 10.0
"""Between two lines on what a source has changed of the watched set, however often it does."""


class Rewatched(msgspec.Struct, frozen=True):
    """What a source has changed of the watched set since that was told."""

    added: int = 0
    removed: int = 0
    altered: int = 0
    told_at: float = float("-inf")


class Journal:
    """Told by the worker what happened, it tells the telemetry."""

    def __init__(self, telemetry: Telemetry, checkpoint_partitions: int | None = None) -> None:
        """`checkpoint_partitions`: how many the settings ask for; `None`: they say nothing."""
        self._telemetry = telemetry
        self._checkpoint_partitions = checkpoint_partitions
        self._counts = Counts(telemetry.metrics)
        self._paused_until = float("-inf")
        self._told_unfollowable = False
        self._orders_refused = 0
        self._refusals_told_at: dict[EventName, float] = {}
        self._told_tenth: tuple[str, int, int] | None = None
        self._used_up = False
        self._rewatched: dict[Source, Rewatched] = {}
        self._unknown: dict[CustomerId, bool] = {}
        self._persons = Persons()

    def event(self, name: EventName, **fields: Any) -> None:
        self._telemetry.event(name, **fields)

    @property
    def last_success(self) -> Mapping[Success, float]:
        """Unix time of the last success of each kind that there was."""
        return self._counts.last_success

    def throttled(self, by: Hindrance, seconds: float) -> None:
        """Somebody was due, and no call could start for so long."""
        self._counts.throttled(by, seconds)

    def rebalancing(self) -> None:
        self._counts.rebalancing()
        self.event("rebalancing")

    def heartbeat(self, now: float) -> None:
        """The group's coordinator has answered one."""
        self._counts.heartbeat(now)

    def handed_over(self, partition: int, seconds: float) -> None:
        """From its assignment on until its first commit here."""
        self._counts.handed_over(seconds)

    def transaction_failed(self, seconds: float) -> None:
        self._counts.transaction_failed(seconds)

    def loop_lagged(self, seconds: float) -> None:
        """The event loop woke so much later than asked for."""
        self._counts.loop_lagged(seconds)

    def reloaded(self, what: Reloaded, *, done: bool) -> None:
        """A file that had changed was read again, or could not be used."""
        self._counts.reloaded(what, done=done)

    def secret_reread(self, done: bool) -> None:
        self.reloaded("secret", done=done)

    def kafka_ready(self, partitions: int) -> None:
        """The topics are there, and the checkpoint topic has so many partitions."""
        self.event("kafka_ready", partitions=partitions)
        if self._checkpoint_partitions not in {None, partitions}:
            self.event(
                "settings_doubtful",
                warning=f"POLLER_KAFKA_CHECKPOINT_PARTITIONS={self._checkpoint_partitions} counts only when the topic is created: "
                f"the checkpoint topic has {partitions}",
            )

    def customers_file_broken(self, error: SettingsError) -> None:
        self.reloaded("customers_file", done=False)
        self.event("settings_doubtful", warning=f"{'; '.join(error.faults)}: the last list that could be read stays in force")

    def watched_set_changed(self, source: Source, changed: Changed, now: float) -> None:
        """Told at once, and then now and again with all that came since."""
        before = self._rewatched.get(source, Rewatched())
        self._rewatched[source] = Rewatched(
            before.added + len(changed.added), before.removed + len(changed.removed), before.altered + len(changed.altered), before.told_at
        )
        self._tell_watched(now)

    def _tell_watched(self, now: float) -> None:
        for source, what in self._rewatched.items():
            if (what.added or what.removed or what.altered) and now >= what.told_at + WATCHED_SECONDS:
                self._rewatched[source] = Rewatched(told_at=now)
                self.event("watched_set_changed", source=source, added=what.added, removed=what.removed, altered=what.altered)

    def watch_entries_ignored(self, ignored: Mapping[str, str]) -> None:
        """By the records' keys: why."""
        self.event("watch_entries_ignored", count=len(ignored), why=dict(list(ignored.items())[:IGNORED_SHOWN_MAX]))

    def watch_unread(self, error: LogError, retry_seconds: float) -> None:
        self.event("watch_unread", error=str(error), retry_seconds=round(retry_seconds, 1))

    def endpoint_ends(self, ending: object) -> None:
        self.event("deprecated_endpoint", says=str(ending))

    def hint(self, fate: HintFate) -> None:
        self._counts.hint(fate)

    def hints_stand(self, hints: Hints) -> None:
        """What has come of hints since the process began."""
        self._counts.hints_stand(hints)

    def webhook_refused(self, error: HintError, now: float) -> None:
        """Anybody may send one, as often as they like: it is told of now and then."""
        self.hint("forged" if isinstance(error, Forged) else "unreadable")
        self._tell_refusal("webhook_refused", now, error=str(error), refused=self._counts.refused_webhooks())

    def order_refused(self, now: float) -> None:
        """Anybody who reaches the admin server may try, as often as they like: likewise."""
        self._orders_refused += 1
        self._tell_refusal("order_refused", now, refused=self._orders_refused)

    def _tell_refusal(self, name: EventName, now: float, **fields: Any) -> None:
        if now >= self._refusals_told_at.get(name, float("-inf")) + REFUSED_SECONDS:
            self._refusals_told_at[name] = now
            self.event(name, **fields)

    def hints_unshared(self, error: LogError, retry_seconds: float) -> None:
        self.event("hints_unshared", error=str(error), retry_seconds=round(retry_seconds, 1))

    def page_received(self, fetch: Fetch, page: Page, batch: Batch | None, now: float) -> None:
        """`batch`: what of the page is to be committed."""
        self._counts.answered("read", fetch, now)
        self._counts.read(fetch, batch)
        self._resumed(now)
        if self._unknown.pop(fetch.customer, None) is not None:
            self.event("customer_known", customer=fetch.customer)
        self.event("read", customer=fetch.customer, entries=len(page.entries), seconds=round(now - fetch.at, 3))

    def call_failed(self, fetch: Fetch, error: SourceError, now: float, paused_until: float) -> None:
        if self._failed("read", fetch, error, now):
            if is_unknown(fetch, error):
                self._customer_unknown(fetch, error)
            elif isinstance(error, ONE_CUSTOMERS):
                self.event("customer_failed", customer=fetch.customer, error=str(error), request_id=_request_id(error))
            self._paused(error, self._telemetry.text(error, fetch.customer), now, paused_until)

    def feed_read(self, call: FeedCall, now: float) -> None:
        self._counts.answered("feed", call, now)
        self._resumed(now)

    def feed_failed(self, call: FeedCall, error: SourceError, now: float, paused_until: float) -> None:
        if self._failed("feed", call, error, now):
            self.event("feed_failed", error=str(error), request_id=_request_id(error))
            self._paused(error, str(error), now, paused_until)

    def list_answered(self, call: ListCall, now: float) -> None:
        self._counts.answered("list", call, now)
        self._resumed(now)

    def customers_listed(self, found: Found) -> None:
        """What an answer of the listing has found is written."""
        self._counts.listed(found)
        if found.gap:
            self.event("listing_gap", after_ms=found.call.after_ms)
        if found.whole:
            self.event("customers_listed", found=self._counts.found())

    def listing_failed(self, call: ListCall, error: SourceError | LogError, now: float, paused_until: float) -> None:
        if isinstance(error, LogError):
            self.event("listing_failed", error=str(error))
        elif self._failed("list", call, error, now):
            self.event("listing_failed", error=str(error), request_id=_request_id(error))
            self._paused(error, str(error), now, paused_until)

    def batch_held(self, batch: Batch) -> None:
        """A page was understood; what is counted here is true whether it is committed or read again."""
        self._counts.held(batch)
        if batch.gap:
            self.event(
                "gap_suspected", customer=batch.customer, cursor_ms=batch.checkpoint.cursor_ms, stepped_ms=batch.checkpoint.stepped_ms
            )
        if batch.dropped:
            self.event("recent_ids_dropped", customer=batch.customer, dropped=batch.dropped)
        if not batch.followable and not self._told_unfollowable:
            self._told_unfollowable = True
            self.event("endpoint_cannot_be_followed", customer=batch.customer)

    def committed(self, commit: Commit, began: float, now: float) -> None:
        records = [record for batch in commit.batches for record in batch.records]
        new = [record for batch in commit.batches for record in batch.new]
        dead_letters = [letter for batch in commit.batches for letter in batch.dead_letters]
        self._tell_watched(now)
        self._lived(commit.batches)
        self._counts.committed(commit, began, now)
        if dead_letters:
            customers = sorted({batch.customer for batch in commit.batches if batch.dead_letters})
            self.event(
                "dead_lettered", count=len(dead_letters), customers=customers, reasons=sorted({letter.reason for letter in dead_letters})
            )
        if records:
            newest = now - max(record.created_at_ms for record in new or records) / 1000
            self.event(
                "published",
                partition=commit.partition,
                activities=len(records),
                **({"again": len(records) - len(new)} if len(new) < len(records) else {}),
                reads=len(commit.batches),
                freshness_seconds=round(newest, 3),
                commit_seconds=round(now - began, 3),
            )
        for batch in commit.batches:
            self._tell_replay(batch)

    def _tell_replay(self, batch: Batch) -> None:
        before, after = batch.base, batch.checkpoint
        if before is None or batch.removes:
            return
        if after.replayed != before.replayed:
            self.event("replay_begun", customer=batch.customer, replay=after.replayed)
        if after.replay is None and (before.replay is not None or after.replayed != before.replayed):
            self.event("replay_done", customer=batch.customer, replay=after.replayed)

    def looked_up(self, published: Mapping[CustomerId, Collection[str]], refused: Sequence[CustomerId]) -> None:
        """What stands in the activities topic is known; of these customers it is too much."""
        self.event("looked_up", customers=len(published), activities=sum(map(len, published.values())))
        for customer in refused:
            self.event("replay_refused", customer=customer)

    def restored(self, partition: int, restored: Restored, dropped: Sequence[Batch], differences: Sequence[str], seconds: float) -> None:
        self._counts.restored(seconds)
        self.event(
            "partition_restored",
            partition=partition,
            checkpoints=len(restored.checkpoints),
            batches_dropped=len(dropped),
            seconds=round(seconds, 3),
        )
        if restored.ownership is not None:
            ledger = restored.ownership.ledger
            self.event(
                "budget_restored", partition=partition, calls=round(ledger.level, 2), cycle=ledger.cycle, cycle_spent=ledger.cycle_spent
            )
        for difference in differences:
            self.event("watched_set_differs", partition=partition, difference=difference)

    def cycle(self, stands: CycleStands | None) -> None:
        """How the cycle stands after a commit; `None`: there is none."""
        if stands is None:
            return
        tenth = (stands.begun, stands.calls, 10 * stands.spent // max(1, stands.calls))
        if tenth != self._told_tenth:
            self._told_tenth = tenth
            self.event("cycle", **_told(stands))
        if (stands.left == 0) is not self._used_up:
            self._used_up = stands.left == 0
            if self._used_up:
                self.event("cycle_used_up", **_told(stands))

    def commit_undone(self, partition: int, customers: Sequence[CustomerId]) -> None:
        self._counts.commit_undone()
        self.event("commit_undone", partition=partition, customers=len(customers), first=customers[0])

    def partition_failed(self, partition: int, error: LogError, failures: int) -> None:
        self._counts.partition_failed(error)
        self.event("partition_failed", partition=partition, error=str(error), failures=failures)

    def _failed(self, purpose: Asked, call: Call, error: SourceError, now: float) -> bool:
        """A call brought nothing that was asked for. False: it went into an access token, which is no failure."""
        self._counts.failed(purpose, call, error, now)
        if isinstance(error, TokenRenewed):
            self.event("token_renewed", why=str(error.explanation) or None, request_id=_request_id(error))
            return False
        return True

    def _customer_unknown(self, fetch: Fetch, error: SourceError) -> None:
        """Said once; of who is retired it was said then."""
        retired = fetch.base is not None and fetch.base.life.retired_at is not None
        if not retired and fetch.customer not in self._unknown:
            self._unknown[fetch.customer] = True
            self.event("customer_unknown", customer=fetch.customer, error=str(error), request_id=_request_id(error))
            if len(self._unknown) > UNKNOWN_REMEMBERED:
                del self._unknown[next(iter(self._unknown))]

    def _lived(self, batches: Sequence[Batch]) -> None:
        """What became of customers, as is committed by now."""
        removed = [batch.customer for batch in batches if batch.why == "kept long enough"]
        if removed:
            self.event("checkpoints_removed", count=len(removed), customers=removed[:IGNORED_SHOWN_MAX])
        for batch in batches:
            was, now = (one is not None and one.life.retired_at is not None for one in (batch.base, batch.checkpoint))
            if batch.why == "forgotten":
                self.event("customer_forgotten", customer=batch.customer)
            elif not batch.removes and was is not now:
                self.event("customer_retired" if now else "customer_returned", customer=batch.customer)
            for one, other in self._persons.published(batch):
                self.event("same_person", customer=one, other=other)

    def _paused(self, error: SourceError, said: str, now: float, paused_until: float) -> None:
        if paused_until > max(now, self._paused_until):
            self._paused_until = paused_until
            self.event("calls_paused", error=said, seconds=round(paused_until - now, 1), request_id=_request_id(error))

    def _resumed(self, now: float) -> None:
        if self._paused_until > float("-inf") and now >= self._paused_until:
            self._paused_until = float("-inf")
            self.event("calls_resumed")


def _request_id(error: SourceError) -> str | None:
    """The API's own name for the call, by which its support finds it; `None`: it did not say."""
    return error.explanation.request_id if isinstance(error.explanation, Explanation) else None


def _told(stands: CycleStands) -> dict[str, Any]:
    return {
        "begun": stands.begun,
        "ends": datetime.fromtimestamp(stands.ends, UTC).isoformat(timespec="seconds"),
        "calls": stands.calls,
        "spent": stands.spent,
        "left": stands.left,
        "calls_per_minute": round(stands.calls_per_minute, 3),
    }
