"""The change feed: when it is worth a call, and what its answers do."""

import math
from typing import Any

import pytest
from msgspec.structs import replace

from poller.core import feed
from poller.core.engine import Engine
from poller.core.feed import REFUSED_SECONDS, SHARE_MAX, SHARE_MIN, SHARE_START, UNANSWERED_SECONDS, UPDATED_AFTER_MS
from poller.core.ownership import partition_of
from poller.core.policy import Policy
from poller.errors import Forbidden, Limited, Redirected, ServerFault, SourceError, TokenRenewed
from poller.model import Change, Changes, CustomerId, Feed, FeedCall, Fetch, Hint, Ledger, Quota, Restored, Wait
from tests.support.builders import activities, activity, checkpoint, ownership, page, restored
from tests.support.engines import NOW, commit, commit_all, fetch, owner

A, B, C = (CustomerId(name) for name in "abc")
CALLED = Feed(read_to_ms=round(NOW * 1000) - 1_000, called_at=NOW - 1, announced=50.0, seconds=1_000.0)


def changed(at: float, *names: str) -> Change:
    return Change(tuple(CustomerId(name) for name in names), round(at * 1000))


# When.


def test_a_feed_that_was_never_read_is_due_at_once() -> None:
    assert feed.due_at(Feed(), price=10.0, calls_per_second=1.0) == -math.inf


def test_it_is_due_when_what_it_is_expected_to_announce_has_waited_for_the_price_of_a_call() -> None:
    a_twentieth_a_second = replace(CALLED, announced=50.0, seconds=1_000.0)

    assert feed.due_at(a_twentieth_a_second, price=10.0, calls_per_second=1.0) == pytest.approx(NOW - 1 + 20)  # 0.05 · 20² / 2 = 10


@pytest.mark.parametrize(
    ("stands", "share"),
    [
        (replace(CALLED, announced=0.0, seconds=0.0), SHARE_START),
        (replace(CALLED, announced=0.0), SHARE_MIN),
        (replace(CALLED, announced=1e-6), SHARE_MIN),
        (replace(CALLED, announced=1e6), SHARE_MAX),
    ],
)
def test_it_takes_a_share_of_the_calls_that_follows_its_worth_within_bounds(stands: Feed, share: float) -> None:
    assert feed.due_at(stands, price=10.0, calls_per_second=0.5) == pytest.approx(NOW - 1 + 1 / (share * 0.5))


def test_what_it_announced_counts_less_with_age() -> None:
    later = feed.called(CALLED, NOW - 1 + feed.MEMORY_SECONDS)

    assert later.announced == pytest.approx(50 / math.e)
    assert later.seconds == pytest.approx(1_000 / math.e + feed.MEMORY_SECONDS)
    assert feed.called(Feed(), NOW) == Feed(called_at=NOW)
    assert feed.called(CALLED, NOW - 100).seconds == 1_000.0  # a clock that was set back


def test_it_is_asked_from_where_it_was_read_to_unless_that_is_long_ago() -> None:
    server_ms = round(NOW * 1000)

    assert feed.changed_since_ms(Feed(), server_ms, NOW) == server_ms - 5_000
    assert feed.changed_since_ms(CALLED, server_ms, NOW) == server_ms - 1_000
    assert feed.changed_since_ms(replace(CALLED, called_at=NOW + 3_500), server_ms + 3_600_000, NOW + 3_600) == server_ms + 3_595_000


def test_where_it_is_hardly_called_or_nothing_changes_nobody_is_behind() -> None:
    server_ms = round(NOW * 1000)

    assert feed.changed_since_ms(CALLED, server_ms + 3_600_000, NOW + 3_600) == server_ms - 1_000
    quiet = replace(CALLED, called_at=NOW + 3_500, caught_up=True)
    assert feed.changed_since_ms(quiet, server_ms + 3_600_000, NOW + 3_600) == server_ms - 1_000
    assert feed.heard(CALLED, 10_000, [changed(9, "old")])[0].caught_up


# What it says.


def test_whoever_changed_since_is_named_by_both_ids_with_when_it_may_have_happened() -> None:
    stands, happened = feed.heard(CALLED, 10_000, [changed(9, "old"), changed(12, "b", "b@example.com"), changed(11, "a")])

    assert happened == {name: 1_000 * at - UPDATED_AFTER_MS for name, at in (("b", 12), ("b@example.com", 12), ("a", 11))}
    assert stands == replace(CALLED, read_to_ms=12_000)


def test_an_answer_without_changes_leaves_it_where_it_was_asked_from() -> None:
    assert feed.heard(CALLED, 10_000, [])[0].read_to_ms == 10_000


# In the engine.


def engine(*customers: CustomerId, stands: Feed | None = CALLED, **fields: Any) -> Engine:
    plausible: dict[str, Any] = {"start": "earliest", "lookback_ms": 60_000, "calls_limit": 60, "change_feed": True}
    found = restored(Ledger(1), **{name: checkpoint(NOW - 400, last_read=NOW - 300) for name in customers})
    return owner(Policy(**(plausible | fields)), customers, Restored(found.checkpoints, ownership(ledger=Ledger(1), feed=stands)))


def call_of(running: Engine, now: float) -> FeedCall:
    commit_all(running, now)
    order = running.next(now)
    assert isinstance(order, FeedCall), order
    return order


def test_the_feed_is_called_when_it_is_due_and_never_twice_at_once() -> None:
    running = engine(A, B, stands=None)
    first = call_of(running, NOW)
    commit_all(running, NOW + 2)
    order = running.next(NOW + 2)

    assert first == FeedCall(0, round(NOW * 1000) - 5_000, NOW)
    assert (isinstance(order, Fetch), running.in_flight) == (True, 2)


def test_its_calls_are_spent_in_the_budget() -> None:
    running = engine(A, stands=None)
    call_of(running, NOW)

    assert isinstance(running.next(NOW), Wait)


def test_who_changed_is_read_next_and_what_that_brings_tells_what_the_feed_is_worth() -> None:
    running = engine(A, B, C, stands=None, staleness_seconds_max=1e6)
    others = running.changes_received(call_of(running, NOW), Changes((changed(NOW + 1, "c"), changed(NOW + 1, "stranger"))), NOW)
    commit_all(running, NOW + 2)
    order = fetch(running, NOW + 2)
    batch = running.page_received(order, page(*activities(NOW - 12, NOW - 11), date=NOW + 2), NOW + 2)
    commit_all(running, NOW + 2)
    stands = commit(running, NOW + 2).ownership.feed

    assert batch is not None and stands is not None
    assert (others, order.customer) == ([], C)
    assert (stands.announced, stands.read_to_ms) == (2.0, round(NOW * 1000) + 1_000)


def test_a_read_that_nothing_had_prompted_says_nothing_of_the_feed() -> None:
    running = engine(A)
    order = fetch(running)
    batch = running.page_received(order, page(activity(NOW - 1), date=NOW), NOW)
    commit_all(running)

    assert batch is not None
    assert commit(running).ownership.feed == CALLED


def merit(running: Engine, order: Fetch, *found: float) -> float:
    """What the feed is credited, once these were found of a customer that it had named: what it did had happened a moment ago."""
    running._feed.prompted({order.customer: round((NOW - 20) * 1000)})
    running.page_received(order, page(*activities(*found), date=NOW + 60), NOW + 60)
    commit_all(running, NOW + 60)
    stands = commit(running, NOW + 60).ownership.feed
    assert stands is not None
    return stands.announced - CALLED.announced


def test_whoever_is_read_in_turn_is_no_merit_of_a_feed_that_names_everybody() -> None:
    running = engine(A, B, C)

    assert merit(running, fetch(running), NOW - 20) == 0


def test_what_happened_after_or_long_before_what_the_feed_told_is_no_merit_of_it() -> None:
    running = engine(A, B, C, staleness_seconds_max=1e6)
    running.hinted(C, NOW, round(NOW * 1000))

    assert merit(running, fetch(running), NOW - 100, NOW - 70, NOW, NOW + 5) == 2


def test_hints_at_watched_customers_of_other_owners_are_returned() -> None:
    ours, theirs = A, C
    assert (partition_of(ours, 4), partition_of(theirs, 4)) == (0, 2)
    running = Engine(Policy(calls_limit=6_000, change_feed=True))
    running.watch([ours, theirs])
    running.partitioned(4)
    running.confirmed(math.inf)
    running.assigned(0, Restored({}, ownership(ledger=Ledger(9))), NOW)
    running.committed(commit(running), NOW)
    call = call_of(running, NOW + 1)

    others = running.changes_received(call, Changes((changed(NOW + 1, ours), changed(NOW + 1, theirs), changed(NOW + 1, "stranger"))), NOW)

    assert others == [Hint(theirs, round((NOW + 1) * 1000) - UPDATED_AFTER_MS)]


def test_only_partition_0_has_the_feed_and_only_where_it_is_wanted() -> None:
    assert commit(engine(A, change_feed=False)).ownership.feed is None
    running = Engine(Policy(calls_limit=6_000, change_feed=True))
    running.watch([A])
    running.partitioned(2)
    running.confirmed(math.inf)
    running.assigned(1, Restored({}, ownership(ledger=Ledger(9))), NOW)

    order = running.commit(1, NOW, at_once=True)
    assert not isinstance(order, Wait)
    assert order.ownership.feed is None


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(ServerFault(), UNANSWERED_SECONDS), (Forbidden(), REFUSED_SECONDS), (Redirected(), REFUSED_SECONDS), (Limited(), UNANSWERED_SECONDS)],
    ids=lambda value: type(value).__name__,
)
def test_a_feed_that_cannot_be_read_is_put_off(error: SourceError, seconds: float) -> None:
    running = engine(A, stands=None)
    running.feed_failed(call_of(running, NOW), error, NOW)

    stands = commit(running).ownership.feed
    assert stands is not None
    assert stands.not_before == NOW + seconds
    assert feed.due_at(stands, 1e-9, 1.0) == NOW + seconds


def test_only_what_concerns_every_call_stops_every_call() -> None:
    limited, refused = engine(A, stands=None), engine(A, stands=None)
    limited.feed_failed(call_of(limited, NOW), Limited(wait_seconds=9), NOW)
    refused.feed_failed(call_of(refused, NOW), Forbidden(), NOW)

    assert (limited.view.paused_until, refused.view.paused_until, refused.view.refused) == (NOW + 10, -math.inf, "")


def test_a_call_that_went_into_a_token_puts_nothing_off() -> None:
    running = engine(A, stands=None)
    running.feed_failed(call_of(running, NOW), TokenRenewed(), NOW)

    assert commit(running).ownership.feed == Feed(called_at=NOW)


def test_an_answer_that_comes_after_the_partition_went_says_nothing() -> None:
    running = engine(A, stands=None)
    first = call_of(running, NOW)
    running.revoked(0)

    assert running.changes_received(first, Changes((changed(NOW, "a"),)), NOW) == []
    assert running.in_flight == 0


def test_a_failure_after_the_partition_went_changes_nothing() -> None:
    running = engine(A, stands=None)
    first = call_of(running, NOW)
    running.revoked(0)
    running.feed_failed(first, ServerFault(), NOW)

    assert (running.in_flight, running.view.paused_until) == (0, -math.inf)


def test_the_quota_that_its_answer_tells_is_obeyed() -> None:
    running = engine(A, stands=None)
    running.changes_received(call_of(running, NOW), Changes((), Quota(remaining=0), server_time=NOW), NOW)

    assert running.view.paused_until > NOW


def test_a_successor_goes_on_where_the_feed_was_read_to() -> None:
    running = engine(A, stands=replace(CALLED, called_at=NOW - 1e6))

    assert call_of(running, NOW).since_ms == CALLED.read_to_ms
