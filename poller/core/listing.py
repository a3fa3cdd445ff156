"""The listing: every customer of the project, found a hundred in one call; first all of them, and from then on those that are new.

Customers are asked for in the order of their creation, after an instant. As with activities (`core/walk.py`), the documentation does not say whether that
instant is included, or how many may share one. So each call asks for those after the millisecond before the newest that it knows: what stands at
the newest is shown again, whatever else stands there. Where one millisecond holds more than a page, the listing steps over it, and says that there is a gap.
The end is seen where a page shows nobody newer. From then on each look begins at the newest one known, or a lookback before the look before it if that is
earlier, as some may be shown late.

Whoever is found is written to the watch topic, so that every replica hears of it. What the user says there of a customer is left alone; and the listing goes on
only once that is written, so whatever fails, somebody is listed again, and nobody is lost.

A call that looks for new customers is worth what any call is worth, the waiting that it ends: each new customer is taken for one activity that waits.
"""

import math
from collections.abc import Mapping
from itertools import pairwise

import msgspec
from msgspec.structs import replace

from poller.core import backoff
from poller.core.backoff import Backoff
from poller.core.owned import Owned
from poller.core.pauses import Pauses
from poller.core.policy import Policy
from poller.core.watched import Watched
from poller.errors import CustomerUnknown, Forbidden, LogError, Redirected, Rejected, RouteGone, SourceError, TokenRenewed, TooLarge
from poller.matching import Match
from poller.model import PAGE_ACTIVITIES_MAX, CustomerId, ListCall, Listed, Listing, ListPage, Ownership, WatchEntry

SHARE_MAX = 0.05
"""Of all calls, once everybody is listed, what is spent on looking for new customers, at most."""

SHARE_MIN = 0.01
"""However seldom one was found: with 60 calls a minute within 100 s, with 100,000 a month within 45 minutes."""

MEMORY_SECONDS = 86_400.0
"""Who was found counts less with age: by a factor of e after so long."""

PAGE_SHORT = 10
"""No server caps its pages below this: a shorter page shows the end."""

AHEAD_MS = 60_000
"""A customer that was created so long after the server's time tells nothing of how far the listing is."""

UNANSWERED = Backoff(first_seconds=1, longest_seconds=60)
"""It was not answered, or what it found could not be written: usually that is over soon."""

REFUSED_SECONDS = 3600.0
"""Until the next try where the API does not list customers for us."""

REFUSED = (Rejected, CustomerUnknown, Forbidden, RouteGone, Redirected)

LIMIT_MIN = 2

FOUND_MAX = 1_000_000
"""Customers that are watched because they were found: more are not entered, and that is a gap."""

SHOWN_MAX = 100
"""Customers of whom it is remembered that they were shown: where more were created within the lookback, the oldest of them are found again."""

WRITTEN_MAX = 1_000
"""Customers that were written and not heard of since; where there are more, nobody hears of anything."""


class Found(msgspec.Struct, frozen=True):
    """What one answer means."""

    call: ListCall
    base: Listing
    """What it was asked on."""
    listing: Listing
    """How it stands once the changes are written."""
    changes: Mapping[CustomerId, WatchEntry | None]
    """To be written to the watch topic."""
    new: int
    """Customers who were not watched before."""

    @property
    def gap(self) -> bool:
        """Some may not have been shown, which was not known before."""
        return self.listing.gap and not self.base.gap

    @property
    def whole(self) -> bool:
        """With this answer all of them are listed."""
        return self.listing.whole and not self.base.whole


# ---------------------------------------------------------------------------------------------------------------- the pure rule


def going_on(stands: Listing | None, match: Match) -> Listing:
    """How it stands for whoever takes over. Other patterns begin anew, as does whoever finds nothing; but who was created since the last look began, where
    all had been found before, is as new as ever.
    """
    if stands is not None and stands.match == match.digest:
        return stands
    return Listing(match=match.digest, began_ms=stands.look_ms if stands is not None and stands.whole else None)


def due_at(listing: Listing, price: float, calls_per_second: float) -> float:
    """When the next look for new customers is worth a call: between the shares."""
    if listing.called_at is None:
        return listing.not_before
    soonest, latest = 1 / (SHARE_MAX * calls_per_second), 1 / (SHARE_MIN * calls_per_second)
    if not listing.ended:
        seconds = soonest
    elif listing.found <= 0 or listing.seconds <= 0:
        seconds = latest
    else:
        seconds = math.sqrt(2 * price * listing.seconds / listing.found)
    return max(listing.called_at + min(max(seconds, soonest), latest), listing.not_before)


def called(listing: Listing, server_ms: int, now: float) -> Listing:
    """A call of it starts."""
    began_ms = server_ms if listing.began_ms is None else listing.began_ms
    look_ms = server_ms if listing.ended or listing.look_ms is None else listing.look_ms
    passed = 0.0 if listing.called_at is None else max(0.0, now - listing.called_at)
    left = math.exp(-passed / MEMORY_SECONDS)
    seconds = listing.seconds * left + passed if listing.whole else 0.0
    return replace(listing, began_ms=began_ms, look_ms=look_ms, called_at=now, found=listing.found * left, seconds=seconds)


def advanced(listing: Listing, call: ListCall, page: ListPage, lookback_ms: int, server_ms: int) -> Listing:
    """How it stands after an answer: on from there, or (`ended`) at the beginning of the next look."""
    instants = [one.created_at_ms for one in page.customers if one.created_at_ms is not None]
    after_ms = -1 if call.after_ms is None else call.after_ms
    full = page.entries >= max(PAGE_SHORT, min(listing.entries_max, call.limit))
    newest_ms = max((at for at in instants if at <= server_ms + AHEAD_MS), default=-1)
    ahead = any(at > server_ms + AHEAD_MS for at in instants)
    moved, tied = newest_ms > after_ms + 1, bool(instants) and min(instants) >= after_ms
    listing = replace(
        listing,
        newest_ms=max(newest_ms, -1 if listing.newest_ms is None else listing.newest_ms),
        entries_max=max(listing.entries_max, page.entries),
        gap=listing.gap or (full and any(later < earlier for earlier, later in pairwise(instants))),
    )
    listing = replace(listing, shown=_shown(listing, page, lookback_ms))
    if moved and not ahead and (full or not listing.whole):
        return replace(listing, after_ms=newest_ms - 1, ended=False)
    if full and not moved and tied and not ahead:
        return replace(listing, after_ms=after_ms + 1, ended=False, gap=listing.gap or newest_ms > after_ms)
    return replace(
        listing, after_ms=_next_look_ms(listing, lookback_ms), ended=True, whole=True, gap=listing.gap or (full and not moved and not ahead)
    )


def _shown(listing: Listing, page: ListPage, lookback_ms: int) -> dict[str, int]:
    begin_ms = _next_look_ms(listing, lookback_ms)
    dated: dict[str, int] = {one.id: one.created_at_ms for one in page.customers if one.created_at_ms is not None}
    known = dict(listing.shown) | dated
    newest = sorted(known.items(), key=lambda shown: shown[1])[-SHOWN_MAX:]
    return {customer: at for customer, at in newest if begin_ms is not None and at >= begin_ms}


def _next_look_ms(listing: Listing, lookback_ms: int) -> int | None:
    """After whom the next look asks. Whoever is shown only then was created no earlier than a lookback before this one began."""
    assert listing.newest_ms is not None and listing.look_ms is not None
    return None if listing.newest_ms < 0 else max(-1, min(listing.newest_ms - 1, listing.look_ms - lookback_ms))


# ------------------------------------------------------------------------------------------------------------- who is carrying it out


class Lister:
    """Who lists them for a process: at most one call at a time, while partition 0 is its own. A call lands once what it found is written."""

    def __init__(self, policy: Policy, owned: Mapping[int, Owned], watched: Watched, pauses: Pauses) -> None:
        """`owned`, `watched`, `pauses`: the engine's own."""
        self.call: ListCall | None = None
        """Under way, until what it found is written."""
        self._match = policy.watch_all
        self._lookback_ms = policy.lookback_ms
        self._from_now = policy.start == "now"
        self._owned = owned
        self._watched = watched
        self._pauses = pauses
        self._called = 0
        self._before = Listing()
        """How it stood before the call."""
        self._failures = 0
        """Calls in a row that came to nothing."""
        self._limit = PAGE_ACTIVITIES_MAX
        self._written: set[CustomerId] = set()
        """Who was said to be found, and is not heard to be yet: of the last page or two."""

    def begin(self, partition: int, last: Ownership | None) -> Listing | None:
        """How it stands for a partition that is ours now, by what its last owner said; `None`: it does not list."""
        if partition or self._match is None:
            return None
        return going_on(None if last is None else last.listing, self._match)

    # When.

    def due_at(self, owned: Owned, now: float) -> float:
        """While not all are listed, every second call of the partition's, or each one while nobody is to be read."""
        if owned.listing is None or self.call is not None:
            return math.inf
        if owned.listing.whole:
            return due_at(owned.listing, owned.schedule.price, owned.schedule.calls_per_second)
        turn = owned.called != self._called or owned.schedule.due_at(now) > now
        return owned.listing.not_before if turn else math.inf

    def wanted_at(self, owned: Owned, now: float) -> float:
        """When a call of the partition's is wanted, to list or to read."""
        return min(owned.schedule.due_at(now), self.due_at(owned, now))

    def order(self, owned: Owned, partition: int, server_time: float, now: float) -> ListCall:
        """The call to make, which the budget allows and which is spent; `server_time`: about what it is over there."""
        assert owned.listing is not None and self.call is None
        stands = owned.listing
        if stands.whole and stands.known and not self._watched.found_customers:
            stands = Listing(match=stands.match)  # the topic has forgotten them all: it was deleted
        self._called, self._before = owned.called, stands
        owned.listing = called(stands, math.floor(server_time * 1000), now)
        self.call = ListCall(partition, owned.listing.after_ms, now, self._limit)
        return self.call

    # What comes of it.

    def received(self, call: ListCall, page: ListPage, now: float) -> Found | None:
        """What an answer means, to be `written`. `None`: nothing, as partition 0 was taken meanwhile, and the call has landed."""
        assert self.call is call, "an answer to a call that was not ordered"
        self._pauses.answered(page.quota, page.server_time, now)
        self._limit = PAGE_ACTIVITIES_MAX
        base = self._listing(call)
        if base is None or base.called_at != call.at:
            self.call = None
            return None
        server_time = now if page.server_time is None else page.server_time
        listing = advanced(base, call, page, self._lookback_ms, math.floor(server_time * 1000))
        # Whoever was shown before was judged then; it may have been taken out since.
        fresh = [one for one in page.customers if not base.whole or one.id not in base.shown]
        found = {one.id: entry for one in fresh if (entry := self._entry(one, listing)) is not None}
        if self._watched.found_customers + len(found) > FOUND_MAX:
            found, listing = {}, replace(listing, gap=True)
        new = sum("all" not in self._watched.sources(customer) for customer in found)
        counted = replace(listing, known=listing.known + len(found), found=listing.found + new if base.whole else 0.0)
        return Found(call, base, counted, {**self._mended(), **found, **self._outdated(base, listing)}, new)

    def written(self, found: Found) -> None:
        """All of it stands in the watch topic: the listing goes on."""
        self.call, self._failures = None, 0
        if self._listing(found.call) is found.base:
            self._owned[found.call.partition].listing = found.listing
        kept = self._written if len(self._written) < WRITTEN_MAX else set[CustomerId]()
        self._written = kept | {customer for customer, entry in found.changes.items() if entry is not None and entry.found is not None}

    def failed(self, call: ListCall, error: SourceError | LogError, now: float) -> None:
        """It was not answered, or what it found could not be written: as if it had not been made, it is made again, if not at once. What concerns
        every call stops them, as with any.
        """
        assert self.call is call, "an answer to a call that was not ordered"
        self.call = None
        if isinstance(error, backoff.OF_ALL_CALLS):
            self._pauses.failed(error, now)
        smaller = isinstance(error, TooLarge) and self._limit > LIMIT_MIN
        if smaller:
            self._limit = max(LIMIT_MIN, self._limit // 2)
        stands = self._listing(call)
        if stands is not None and stands.called_at == call.at:
            at_once = smaller or isinstance(error, TokenRenewed)
            self._owned[call.partition].listing = replace(self._before, not_before=now if at_once else now + self._wait_seconds(error))

    # Inside.

    def _listing(self, call: ListCall) -> Listing | None:
        """How it stands where the call was made; `None`: that is not ours any more."""
        owned = self._owned.get(call.partition)
        return None if owned is None else owned.listing

    def _entry(self, one: Listed, listing: Listing) -> WatchEntry | None:
        """How the topic is to say that it was found; `None`: it says enough, or the user does, by whichever of its two ids."""
        assert self._match is not None
        sources = self._watched.sources(one.id)
        if "topic" in sources or one not in self._match:
            return None
        known = self._watched.found_as(one.id)
        if known is not None:
            return None if known.found == listing.match else replace(known, found=listing.match)
        if one.source_id is not None and one.source_id != one.id and self._watched.sources(one.source_id):
            return None
        assert listing.began_ms is not None
        newcomer = self._from_now and one.created_at_ms is not None and one.created_at_ms >= listing.began_ms
        return WatchEntry(found=listing.match, start="earliest" if newcomer else None)

    def _mended(self) -> dict[CustomerId, WatchEntry | None]:
        """What the user said of a customer in the very moment in which it was written that it was found: that must be the last word in the topic.

        Who is heard to be found needs nothing any more; nor does who was heard of at all.
        """
        sources = {customer: self._watched.sources(customer) for customer in self._written}
        self._written = {customer for customer, said in sources.items() if "all" not in said and "topic" not in said}
        return {customer: self._watched.entry(customer) for customer, said in sources.items() if "topic" in said}

    def _outdated(self, before: Listing, listing: Listing) -> dict[CustomerId, WatchEntry | None]:
        """With all of them listed: whom other patterns had found, and these have not."""
        if before.whole or not listing.whole or listing.gap or listing.newest_ms == -1:
            return {}
        return dict.fromkeys(customer for customer, entry in self._watched.found() if entry.found != listing.match)

    def _wait_seconds(self, error: SourceError | LogError) -> float:
        """Until the next try."""
        self._failures += 1
        return REFUSED_SECONDS if isinstance(error, REFUSED) else UNANSWERED.wait_seconds(self._failures, "listing")
