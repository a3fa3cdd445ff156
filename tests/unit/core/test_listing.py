"""The listing: when it is worth a call, how it goes on, and what becomes of whom it finds."""

import math
from typing import Any

import pytest
from msgspec.structs import replace

from poller.core import listing
from poller.core.budget import Budget, Terms
from poller.core.engine import Engine
from poller.core.listing import FOUND_MAX, REFUSED_SECONDS, SHARE_MAX, SHARE_MIN, UNANSWERED, WRITTEN_MAX, Found, Lister
from poller.core.owned import Owned
from poller.core.ownership import partition_of
from poller.core.pauses import Pauses
from poller.core.policy import Policy
from poller.core.schedule import Schedule
from poller.core.watched import Watched
from poller.errors import Forbidden, Limited, LogUnavailable, ServerFault, SourceError, TokenRenewed, TooLarge
from poller.matching import Match, to_match
from poller.model import (
    PLAIN,
    Commit,
    CustomerId,
    Feed,
    Fetch,
    Learned,
    Ledger,
    ListCall,
    Listed,
    Listing,
    ListPage,
    Quota,
    Restored,
    Wait,
    WatchEntry,
)
from tests.support.builders import ownership, restored
from tests.support.engines import NOW, commit_all, fetch, owner

A, B, C, D = (CustomerId(name) for name in "abcd")
NOW_MS = round(NOW * 1000)
GOLD = to_match("metadata.tier=gold")
FOUND = WatchEntry(found="all")
LISTED = Listing(
    match="all", began_ms=0, look_ms=0, after_ms=NOW_MS - 600_001, newest_ms=NOW_MS - 600_000, whole=True, ended=True, called_at=NOW - 1
)


def person(name: str, at: float = 1.0, **fields: Any) -> Listed:
    """Created so long after the epoch, in seconds."""
    return Listed(CustomerId(name), created_at_ms=round(at * 1000), **fields)


def listed(*people: Listed, entries: int | None = None, **fields: Any) -> ListPage:
    return ListPage(people, len(people) if entries is None else entries, **fields)


def crowd(count: int, first: float = 1.0, step: float = 1.0) -> list[Listed]:
    return [person(f"p{first:g}-{number}", first + number * step) for number in range(count)]


def going(**fields: Any) -> Listing:
    return replace(Listing(match="all", began_ms=NOW_MS, look_ms=NOW_MS, called_at=NOW), **fields)


def next_of(stands: Listing, after_ms: int | None, *people: Listed, lookback_ms: int = 300_000, **fields: Any) -> Listing:
    return listing.advanced(stands, ListCall(0, after_ms, NOW), listed(*people, **fields), lookback_ms, NOW_MS)


# How it goes on.


def test_the_next_page_begins_just_before_the_newest_that_was_shown() -> None:
    stands = next_of(going(), None, *crowd(100))

    assert stands == going(after_ms=99_999, newest_ms=100_000, entries_max=100, shown={"p1-99": 100_000})


def test_the_first_listing_goes_on_until_a_page_shows_nobody_newer() -> None:
    short = next_of(going(), None, person("a", 5), person("b", 7))
    ended = next_of(short, short.after_ms, person("b", 7))

    assert (short.after_ms, short.ended, short.whole) == (6_999, False, False)
    assert (ended.after_ms, ended.ended, ended.whole, ended.gap) == (6_999, True, True, False)


def test_a_look_for_new_ones_ends_with_a_page_that_is_not_full() -> None:
    whole = going(whole=True, newest_ms=5_000, entries_max=100)

    assert next_of(whole, 4_999, person("a", 5), person("b", 7)).ended
    assert not next_of(whole, 4_999, *crowd(100, first=5)).ended


def test_the_next_look_begins_a_lookback_before_the_last_one_began_or_at_the_newest() -> None:
    late, long_ago = going(look_ms=NOW_MS), person("a", NOW - 1)

    assert next_of(late, None, long_ago).newest_ms == NOW_MS - 1_000
    assert next_of(replace(late, whole=True), None, long_ago).after_ms == NOW_MS - 300_000
    assert next_of(replace(late, whole=True), None, person("a", NOW - 900)).after_ms == NOW_MS - 900_001
    assert next_of(going(look_ms=100), None, entries=0, lookback_ms=1_000).after_ms is None


def test_where_one_instant_holds_more_than_a_page_it_is_stepped_over_and_a_gap_is_told() -> None:
    ties = crowd(100, first=5, step=0)
    shown_again = next_of(going(), 4_999, *ties)
    after_them = next_of(shown_again, 5_000, *ties)

    assert (shown_again.after_ms, shown_again.gap, shown_again.ended) == (5_000, True, False)
    assert (after_them.after_ms, after_them.ended) == (5_001, False)
    assert not next_of(going(gap=False), 5_000, *ties).gap  # those were counted before


def test_an_api_that_does_not_go_on_or_knows_no_order_is_told_as_a_gap() -> None:
    same, backwards = next_of(going(), 99_999, *crowd(100)), next_of(going(), None, *reversed(crowd(100)))

    assert (same.ended, same.gap) == (True, True)
    assert next_of(going(), 500_000, *crowd(100)).ended
    assert next_of(going(), 500_000, *crowd(100)).gap
    assert backwards.gap
    assert next_of(going(), None, entries=100).gap  # none that can be read
    assert not next_of(going(), None, *reversed(crowd(9))).gap


def test_whoever_was_created_in_the_future_does_not_lead_the_listing_there() -> None:
    stands = next_of(going(), None, person("a", 5), person("b", NOW + 3_600))

    assert (stands.newest_ms, stands.ended) == (5_000, True)


# When.


def test_new_customers_are_looked_for_when_whom_it_is_expected_to_find_has_waited_for_the_price_of_a_call() -> None:
    one_in_ten_seconds = replace(LISTED, found=100.0, seconds=1_000.0)

    assert listing.due_at(one_in_ten_seconds, 200.0, 1.0) == pytest.approx(NOW - 1 + math.sqrt(2 * 200 / 0.1))


@pytest.mark.parametrize(
    ("stands", "share"),
    [
        (LISTED, SHARE_MIN),
        (replace(LISTED, found=1e-6, seconds=1_000.0), SHARE_MIN),
        (replace(LISTED, found=1e6, seconds=1.0), SHARE_MAX),
        (replace(LISTED, ended=False), SHARE_MAX),
        (replace(LISTED, found=1.0), SHARE_MIN),
    ],
)
def test_that_takes_a_share_of_the_calls_within_bounds(stands: Listing, share: float) -> None:
    assert listing.due_at(stands, 10.0, 0.5) == pytest.approx(NOW - 1 + 1 / (share * 0.5))
    assert listing.due_at(replace(stands, not_before=NOW * 2), 10.0, 0.5) == NOW * 2


def test_what_nobody_has_asked_yet_is_due_at_once() -> None:
    assert listing.due_at(Listing(whole=True, not_before=7.0), 10.0, 0.5) == 7.0


def test_who_was_found_counts_less_with_age() -> None:
    later = listing.called(replace(LISTED, found=5.0, seconds=10.0), NOW_MS, NOW - 1 + listing.MEMORY_SECONDS)

    assert later.found == pytest.approx(5 / math.e)
    assert later.seconds == pytest.approx(10 / math.e + listing.MEMORY_SECONDS)


def test_a_look_begins_where_the_last_one_ended() -> None:
    assert listing.called(LISTED, 7, NOW).look_ms == 7
    assert listing.called(replace(LISTED, ended=False), 7, NOW).look_ms == 0
    assert listing.called(Listing(), 7, NOW) == Listing(began_ms=7, look_ms=7, called_at=NOW)


def test_other_patterns_begin_anew() -> None:
    assert listing.going_on(LISTED, Match()) is LISTED
    assert listing.going_on(LISTED, GOLD) == Listing(match=GOLD.digest, began_ms=LISTED.look_ms)
    assert listing.going_on(replace(LISTED, whole=False), GOLD) == Listing(match=GOLD.digest)
    assert listing.going_on(None, GOLD) == Listing(match=GOLD.digest)


# Through the engine.


def watching(*named: CustomerId, stands: Listing | None = None, match: Match = Match(), **policy: Any) -> Engine:
    """The owner of the only partition; with plenty of calls."""
    found = Restored({}, ownership(ledger=Ledger(1_000), listing=stands))
    return owner(Policy(watch_all=match, calls_limit=60_000, calls_in_flight_max=99, **policy), named, found)


def list_call(of: Engine, now: float = NOW) -> ListCall:
    """The next one, whoever is read before."""
    orders = [of.next(now)]
    while isinstance(orders[-1], Fetch):
        orders.append(of.next(now))
    assert isinstance(orders[-1], ListCall), orders
    return orders[-1]


def found(of: Engine, *people: Listed, now: float = NOW, **fields: Any) -> Found:
    made = of.lister.received(list_call(of, now), listed(*people, **fields), now)
    assert made is not None
    return made


def enter(of: Engine, made: Found) -> None:
    """It is written, and heard."""
    of.lister.written(made)
    of.watch_changed("topic", made.changes)


def found_and_entered(of: Engine, *people: Listed) -> Found:
    made = found(of, *people)
    enter(of, made)
    return made


def test_while_not_all_are_listed_every_second_call_lists_and_each_one_where_nobody_is_due() -> None:
    engine = watching(A, B)
    kinds = []
    for number in range(6):
        order = engine.next(NOW)
        kinds.append(type(order))
        if isinstance(order, ListCall):
            made = engine.lister.received(order, listed(*crowd(10, first=20 * number)), NOW)
            assert made is not None
            engine.lister.written(made)

    assert kinds == [Fetch, ListCall, Fetch, ListCall, ListCall, ListCall]


def test_calls_are_granted_though_nobody_is_watched_yet() -> None:
    engine = owner(Policy(watch_all=Match()), [], Restored({}, None))
    assert isinstance(engine.next(NOW + 1), Wait)
    grant = engine.commit(0, NOW + 2)
    assert isinstance(grant, Commit)
    engine.committed(grant, NOW + 2)

    assert isinstance(engine.next(NOW + 2), ListCall)


def test_one_call_lists_at_a_time_until_what_it_found_is_written() -> None:
    engine = watching()
    made = found(engine, person("a"))

    assert (engine.in_flight, type(engine.next(NOW))) == (1, Wait)
    engine.lister.written(made)
    assert engine.in_flight == 0
    assert list_call(engine).after_ms is not None or made.listing.newest_ms == 0


def test_whoever_is_found_is_watched_once_that_is_heard() -> None:
    engine = watching()
    made = found(engine, person("a"), person("b"))
    assert (made.changes, made.new) == ({A: FOUND, B: FOUND}, 2)
    enter(engine, made)

    assert {fetch(engine).customer for _ in range(1)} <= {A, B}
    assert engine.view.standing(A, NOW).sources == ("all",)


def test_what_was_found_counts_only_where_all_are_watched() -> None:
    engine = owner(Policy(), [], restored(Ledger(60)))
    engine.watch_changed("topic", {A: FOUND, B: PLAIN})

    assert (engine.watches(A), engine.watches(B)) == (False, True)
    assert engine.lister.begin(0, ownership(listing=LISTED)) is None


def test_an_entry_of_the_users_counts_before_the_one_of_whom_was_found_and_is_left_alone() -> None:
    engine = watching(C)
    paused = WatchEntry(paused=True)
    engine.watch_changed("topic", {A: paused})
    made = found(engine, person("a"), person("b", source_id=C), person("c", source_id=C), person("d", source_id=D))
    enter(engine, made)

    assert made.changes == {C: FOUND, D: FOUND}  # b is the same person as c, whom the user names
    assert (engine.view.standing(A, NOW).sources, engine.view.standing(C, NOW).sources) == (("topic",), ("setting", "all"))
    engine.watch_changed("topic", {A: FOUND})
    assert engine.view.standing(A, NOW).sources == ("all",)
    engine.watch_changed("topic", {A: None})
    assert not engine.watches(A)


def test_only_whoever_matches_is_found() -> None:
    engine = watching(match=GOLD)
    made = found(engine, person("a", metadata=(("tier", "gold"),)), person("b", metadata=(("tier", "silver"),)))

    assert made.changes == {A: WatchEntry(found=GOLD.digest)}


def test_whoever_is_created_while_it_is_looked_begins_at_the_beginning() -> None:
    new, old = found(watching(), person("a", NOW + 1)).changes, found(watching(), person("a", NOW - 1)).changes
    from_earliest = found(watching(start="earliest"), person("a", NOW + 1)).changes

    assert new == {A: WatchEntry(found="all", start="earliest")}
    assert old == from_earliest == {A: FOUND}
    assert found(watching(), Listed(A)).changes == {A: FOUND}  # nobody knows when


def test_whoever_is_known_is_not_written_again() -> None:
    engine = watching()
    enter(engine, found(engine, person("a")))

    assert found(engine, person("a"), person("b", 1)).changes == {B: FOUND}


def test_whoever_is_taken_out_is_not_found_again_by_the_next_look() -> None:
    engine = watching(stands=LISTED)
    enter(engine, found(engine, person("a", NOW - 500), now=NOW + 1e4))
    engine.watch_changed("topic", {A: None, C: FOUND})
    again = found(engine, person("a", NOW - 500), person("b", NOW - 400), now=NOW + 2e4)

    assert set(again.changes) == {B}
    assert again.listing.shown == {"b": NOW_MS - 400_000}


def test_a_bounded_number_of_customers_is_found() -> None:
    watched, pauses, policy = Watched(found_count=True), Pauses(), Policy(watch_all=Match())
    owned = Owned({}, Budget.restore(Terms.of(60, 60, None, 1), None, NOW), Schedule(Learned(), 1.0, None))
    lister = Lister(policy, {0: owned}, watched, pauses)
    made = []
    for found_customers in (FOUND_MAX - 1, FOUND_MAX):
        watched.found_customers = found_customers
        owned.listing = lister.begin(0, None)
        answered = lister.received(lister.order(owned, 0, NOW, NOW), listed(person("a")), NOW)
        assert answered is not None
        lister.written(answered)
        made.append((answered.changes, answered.gap))

    assert made == [({A: FOUND}, False), ({}, True)]


def test_a_bounded_number_of_those_shown_is_remembered() -> None:
    shown = next_of(going(), None, *crowd(150, first=NOW - 200)).shown

    assert list(shown.values()) == [NOW_MS - 150_000 + 1_000 * number for number in range(listing.SHOWN_MAX)]


def test_other_patterns_take_out_whom_they_do_not_find_once_all_are_listed() -> None:
    engine, gold = watching(stands=LISTED, match=GOLD), (("tier", "gold"),)
    before = WatchEntry(found="all", start="earliest")
    engine.watch_changed("topic", {A: before, B: FOUND, C: PLAIN})
    first = found(engine, person("a", 1, metadata=gold), person("b", 2))
    enter(engine, first)
    last = found(engine, person("b", 2))

    assert first.changes == {A: replace(before, found=GOLD.digest)}
    assert (first.new, first.whole, last.whole) == (0, False, True)
    assert last.changes == {B: None}


@pytest.mark.parametrize("pages", [[[]], [crowd(100, step=0), crowd(100, step=0), []]], ids=["nobody", "not all"])
def test_where_not_all_were_shown_nobody_is_taken_out(pages: list[list[Listed]]) -> None:
    engine = watching(match=GOLD)
    engine.watch_changed("topic", {B: FOUND})
    made = [found_and_entered(engine, *people) for people in pages]

    assert [one.changes for one in made] == [{}] * len(pages)
    assert made[-1].whole
    assert engine.watches(B)


def test_what_the_user_said_in_the_very_moment_is_the_last_word_in_the_topic() -> None:
    engine, paused = watching(), WatchEntry(paused=True)
    made = found(engine, person("a"), person("b"), person("c"))
    engine.lister.written(made)
    engine.watch_changed("topic", {A: paused, B: FOUND})
    again = found(engine, person("c"))
    engine.lister.written(again)
    engine.watch_changed("topic", {B: paused, C: FOUND})

    assert again.changes == {A: paused, C: FOUND}
    assert found(engine, now=NOW + 1e4).changes == {}


def test_who_is_not_heard_of_is_remembered_within_bounds() -> None:
    engine = watching()
    for number in range(3):
        engine.lister.written(found(engine, *crowd(WRITTEN_MAX, first=number * 2_000)))
    paused = WatchEntry(paused=True)
    engine.watch_changed("topic", {CustomerId("p0-1"): paused, CustomerId("p4000-1"): paused})

    assert found(engine).changes == {CustomerId("p4000-1"): paused}


def test_the_position_moves_once_it_is_written_and_rides_with_the_commit() -> None:
    engine = watching()
    made = found(engine, *crowd(100))
    before = commit_all(engine).ownership.listing
    engine.lister.written(made)
    after = commit_all(engine).ownership.listing

    assert before is not None
    assert (before.after_ms, before.called_at) == (None, NOW)
    assert after == made.listing
    assert list_call(engine).after_ms == 99_999


def test_where_the_topic_has_forgotten_all_of_them_they_are_listed_anew() -> None:
    forgotten, nobody, some = (watching(stands=replace(LISTED, known=known)) for known in (5, 0, 5))
    some.watch_changed("topic", {A: FOUND})

    assert [list_call(engine, NOW + 1e4).after_ms for engine in (forgotten, nobody, some)] == [None, LISTED.after_ms, LISTED.after_ms]
    assert commit_all(forgotten).ownership.listing == Listing(
        match="all", began_ms=NOW_MS + 10_000_000, look_ms=NOW_MS + 10_000_000, called_at=NOW + 1e4
    )


def test_a_successor_goes_on_where_it_stood() -> None:
    stands = going(after_ms=99_999, newest_ms=100_000)

    assert list_call(watching(stands=stands)).after_ms == 99_999
    assert list_call(watching(stands=stands, match=GOLD)).after_ms is None


def test_what_lands_after_the_partition_was_taken_does_nothing() -> None:
    engine = watching()
    call = list_call(engine)
    engine.revoked(0)
    assert engine.lister.received(call, listed(person("a")), NOW) is None
    assert engine.in_flight == 0

    engine.assigned(0, Restored({}, ownership(ledger=Ledger(60), listing=LISTED)), NOW)
    commit_all(engine)
    call = list_call(engine, NOW + 1e4)
    engine.suspended(0)
    engine.assigned(0, Restored({}, ownership(ledger=Ledger(60), listing=LISTED)), NOW)
    assert engine.lister.received(call, listed(person("a")), NOW) is None


def test_what_is_written_after_the_partition_was_taken_is_listed_again() -> None:
    engine = watching()
    made = found(engine, *crowd(100))
    engine.suspended(0)
    engine.assigned(0, Restored({}, ownership(ledger=Ledger(60))), NOW)
    commit_all(engine)
    engine.lister.written(made)

    assert list_call(engine).after_ms is None


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ServerFault(), UNANSWERED.wait_seconds(1, "listing")),
        (Forbidden(), REFUSED_SECONDS),
        (LogUnavailable("no broker"), UNANSWERED.wait_seconds(1, "listing")),
    ],
)
def test_after_a_failure_it_is_tried_again_later_from_the_same_place(error: SourceError | LogUnavailable, seconds: float) -> None:
    engine = watching(stands=going(after_ms=99_999))
    engine.lister.failed(list_call(engine), error, NOW)

    assert isinstance(engine.next(NOW + seconds * 0.9), Wait)
    assert list_call(engine, NOW + seconds).after_ms == 99_999


def test_a_look_that_failed_is_made_again_without_waiting_for_the_next_one() -> None:
    engine = watching(stands=LISTED)
    engine.lister.failed(list_call(engine, NOW + 1_000), ServerFault(), NOW + 1_000)
    again = list_call(engine, NOW + 1_002)
    engine.lister.failed(again, ServerFault(), NOW + 1_002)

    assert again.after_ms == LISTED.after_ms
    assert isinstance(engine.next(NOW + 1_003), Wait)  # longer each time
    assert found(engine, now=NOW + 1_010).base.look_ms == NOW_MS + 1_010_000


def test_a_call_that_went_into_a_token_is_made_again_at_once() -> None:
    engine = watching()
    engine.lister.failed(list_call(engine), TokenRenewed(), NOW)

    assert list_call(engine).after_ms is None


def test_what_concerns_every_call_stops_them() -> None:
    engine = watching(A)
    engine.lister.failed(list_call(engine), Limited(wait_seconds=50.0), NOW)

    assert engine.view.paused_until > NOW + 49


def test_a_failure_after_the_partition_was_taken_is_passed_over() -> None:
    engine = watching()
    call = list_call(engine)
    engine.revoked(0)
    engine.lister.failed(call, ServerFault(), NOW)

    assert engine.in_flight == 0


def test_a_page_that_is_too_large_is_asked_for_in_halves() -> None:
    engine = watching()
    limits = []
    for _ in range(7):
        call = list_call(engine)
        limits.append(call.limit)
        engine.lister.failed(call, TooLarge(), NOW)

    assert limits == [100, 50, 25, 12, 6, 3, 2]
    assert isinstance(engine.next(NOW), Wait)
    made = found(engine, person("a"), now=NOW + 2)
    enter(engine, made)
    assert list_call(engine, NOW + 2).limit == 100


def test_the_quota_that_an_answer_tells_is_observed() -> None:
    engine = watching()
    found(engine, quota=Quota(remaining=0, resets_at=NOW + 30), server_time=NOW)

    assert engine.view.paused_until == pytest.approx(NOW + 31)


def test_only_partition_0_lists() -> None:
    name = next(CustomerId(str(number)) for number in range(99) if partition_of(CustomerId(str(number)), 2) == 1)
    engine = Engine(Policy(watch_all=Match()))
    engine.partitioned(2)
    engine.watch([name])
    engine.confirmed(math.inf)
    engine.assigned(1, Restored({}, ownership(ledger=Ledger(60), listing=LISTED, feed=Feed())), NOW)
    engine.committed(engine.commit(1, NOW, at_once=True), NOW)  # type: ignore[arg-type]

    assert isinstance(engine.next(NOW), Fetch)


def test_a_listing_is_told_when_it_is_whole_and_when_it_has_a_gap() -> None:
    engine = watching()
    first = found(engine, *crowd(100, step=0))
    engine.lister.written(first)
    assert (first.whole, first.gap) == (False, False)
    second = found(engine, *crowd(100, step=0))
    engine.lister.written(second)

    assert (second.whole, second.gap) == (False, True)
    assert found(engine).whole
