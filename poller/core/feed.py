"""The change feed: who was changed lately, a hundred customers in one call. It hints at who may have acted; the truth is in the activities alone.

A call of the feed is worth what any call is worth: the waiting that it ends. The activities that it announces, and that no read has brought yet, come
at some rate A; after s seconds they have waited A·s²/2 together, and when that reaches the price of a call the feed is due. A is learned from what the
reads bring that the feed prompted, so a feed that tells nothing is hardly asked, and never more than a share of all calls goes into it.

A change that is missed, or told late, twice or wrongly, costs freshness or a call, and nothing else: so what the feed does with times, ties and bounds
is not looked into as the walk does.
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from poller.core.hints import ANNOUNCED_AFTER_MS, AROUND_MS
from poller.core.owned import Owned
from poller.errors import CustomerUnknown, Forbidden, Redirected, Rejected, RouteGone, SourceError, TokenRenewed
from poller.model import Batch, Change, Changes, CustomerId, Feed, FeedCall

SHARE_MAX = 0.2
"""Of all calls, at most."""

SHARE_START = 0.05
"""While nothing is known of its worth."""

SHARE_MIN = 0.01
"""However little it was worth: it may tell more one day."""

MEMORY_SECONDS = 86_400.0
"""What it announced counts less with age: by a factor of e after so long."""

BEHIND_SECONDS_MAX = 900.0
BEHIND_CALLS_MAX = 2.0
"""Whoever is behind by more than so long, and than so many times the time since its last call, begins anew: so many changes are not to be kept up with,
and what is so old was read by now. Where the last answer told nothing, nobody is behind: there were no changes.
"""

OVERLAP_SECONDS = 5.0
"""How far before the server's time the first call begins."""

UPDATED_AFTER_MS = 20_000
"""`updated_at` moves up to so long after what moves it: 7 to 19 s were observed after orders."""

UNANSWERED_SECONDS = 60.0
REFUSED_SECONDS = 3600.0
"""Until the next try where the API does not serve the feed to us."""

REFUSED = (Rejected, CustomerUnknown, Forbidden, RouteGone, Redirected)


def due_at(feed: Feed, price: float, calls_per_second: float) -> float:
    """When its next call is worth one, as far as is known: between the shares."""
    if feed.called_at is None:
        return -math.inf
    soonest, latest = 1 / (SHARE_MAX * calls_per_second), 1 / (SHARE_MIN * calls_per_second)
    if feed.seconds <= 0:
        seconds = 1 / (SHARE_START * calls_per_second)
    elif feed.announced <= 0:
        seconds = latest
    else:
        seconds = math.sqrt(2 * price * feed.seconds / feed.announced)
    return max(feed.called_at + min(max(seconds, soonest), latest), feed.not_before)


def called(feed: Feed, now: float) -> Feed:
    """A call of it starts."""
    left = 1.0 if feed.called_at is None else math.exp(-max(0.0, now - feed.called_at) / MEMORY_SECONDS)
    passed = 0.0 if feed.called_at is None else max(0.0, now - feed.called_at)
    return msgspec.structs.replace(feed, called_at=now, announced=feed.announced * left, seconds=feed.seconds * left + passed)


def changed_since_ms(feed: Feed, server_ms: int, now: float) -> int:
    """From where on to ask with a call that starts now, given about what the server's time is."""
    begin_ms = server_ms - round(OVERLAP_SECONDS * 1000)
    if feed.read_to_ms is None or feed.called_at is None:
        return begin_ms
    if feed.caught_up:
        return feed.read_to_ms
    behind_seconds = max(BEHIND_SECONDS_MAX, BEHIND_CALLS_MAX * (now - feed.called_at))
    return begin_ms if feed.read_to_ms < server_ms - round(behind_seconds * 1000) else feed.read_to_ms


def heard(feed: Feed, since_ms: int, changes: Iterable[Change]) -> tuple[Feed, dict[CustomerId, int]]:
    """What an answer says: whoever changed, by Voucherify's name and by the source's, with about when what changed it happened; and how far
    the feed is read then.
    """
    fresh = [change for change in changes if change.updated_at_ms > since_ms]
    read_to_ms = max((change.updated_at_ms for change in fresh), default=since_ms)
    happened = {name: change.updated_at_ms - UPDATED_AFTER_MS for change in fresh for name in change.names}
    return msgspec.structs.replace(feed, read_to_ms=read_to_ms, caught_up=not fresh), happened


def brought(feed: Feed, activities: int) -> Feed:
    """A read that it had prompted brought so many new ones."""
    return msgspec.structs.replace(feed, announced=feed.announced + activities)


def put_off(feed: Feed, until: float) -> Feed:
    """It could not be read: not before then."""
    return msgspec.structs.replace(feed, not_before=until)


class Reader:
    """Who reads the feed for a process: at most one call at a time, while partition 0 is its own."""

    def __init__(self) -> None:
        self.call: FeedCall | None = None
        """Under way."""
        self._prompted: dict[CustomerId, int] = {}
        """Who was hinted at, and not read since; and when what was announced may have happened."""

    def due_at(self, owned: Owned) -> float:
        if owned.feed is None or self.call is not None:
            return math.inf
        return due_at(owned.feed, owned.schedule.price, owned.schedule.calls_per_second)

    def order(self, owned: Owned, partition: int, server_time: float, now: float) -> FeedCall:
        """The call to make, which the budget allows; `server_time`: about what it is over there."""
        assert owned.feed is not None and self.call is None
        self.call = FeedCall(partition, changed_since_ms(owned.feed, math.floor(server_time * 1000), now), now)
        owned.feed = called(owned.feed, now)
        return self.call

    def landed(self, call: FeedCall) -> None:
        assert self.call is call, "an answer to a call that was not ordered"
        self.call = None

    def heard(self, owned: Owned, call: FeedCall, changes: Changes) -> dict[CustomerId, int]:
        """Whoever changed, watched or not, with about when what changed it happened."""
        assert owned.feed is not None, "it was called, and its partition always has one"
        owned.feed, happened = heard(owned.feed, call.since_ms, changes.changes)
        return happened

    def failed(self, owned: Owned, error: SourceError, now: float) -> None:
        """It is tried again later; where it is refused, much later."""
        assert owned.feed is not None, "it was called, and its partition always has one"
        if not isinstance(error, TokenRenewed):
            owned.feed = put_off(owned.feed, now + (REFUSED_SECONDS if isinstance(error, REFUSED) else UNANSWERED_SECONDS))

    def prompted(self, customers: Mapping[CustomerId, int]) -> None:
        """The reads of these that come next show what the feed is worth."""
        self._prompted.update(customers)

    def read(self, owned: Owned | None, batch: Batch, *, prompted: bool) -> None:
        """What was read of a customer is committed, as a hint had prompted or in its turn; `owned`: partition 0, where it is ours. To the feed's merit is
        what it announced and what a read has brought that its hint prompted: a feed that names everybody all the time brings nothing sooner.
        """
        happened_ms = self._prompted.pop(batch.customer, None)
        if happened_ms is None or not prompted or owned is None or owned.feed is None:
            return
        until_ms = happened_ms + ANNOUNCED_AFTER_MS
        owned.feed = brought(owned.feed, sum(happened_ms - AROUND_MS <= record.created_at_ms <= until_ms for record in batch.new))
