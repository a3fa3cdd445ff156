"""The object that the worker talks to: told the time and what happened, it returns orders."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from poller.core import backoff
from poller.core.budget import Cycle
from poller.core.dedupe import RECENT_IDS_MAX
from poller.core.engine import COMMIT_RECORDS_MAX, HELD_BYTES_MAX, HELD_PAGES_MAX, PAGES_REMEMBERED, Engine
from poller.core.ownership import partition_of
from poller.core.placing import PAGES_AT_ONCE_MAX
from poller.core.policy import Policy
from poller.core.walk import Way
from poller.errors import (
    CustomerUnknown,
    Forbidden,
    Limited,
    PlanExceeded,
    Redirected,
    Rejected,
    RouteGone,
    ServerFault,
    SettingsError,
    SourceError,
    TokenRefused,
    TokenRenewed,
    TooLarge,
    Unauthorized,
    Unreachable,
)
from poller.model import (
    Activity,
    Batch,
    Checkpoint,
    Commit,
    CustomerId,
    Fetch,
    Ledger,
    Lesson,
    Page,
    Query,
    Quota,
    Rates,
    Restored,
    Wait,
    Walk,
)
from tests.support.builders import activities, activity, checkpoint, dead_letter, ownership, page, restored
from tests.support.engines import NOW, commit, commit_all, fetch, owner, wait

LOOKBACK = 60.0
A, B, C = (CustomerId(name) for name in "abc")


def policy(**fields: Any) -> Policy:
    plausible: dict[str, Any] = {"start": "earliest", "lookback_ms": round(LOOKBACK * 1000), "calls_limit": 60_000, "commit_seconds": 0.2}
    return Policy(**(plausible | fields))


def engine(*customers: CustomerId, found: Restored | None = None, now: float = NOW, level: float = 1_000, **fields: Any) -> Engine:
    """An engine that owns the one partition and may make calls: its bucket is full, and a commit granted them."""
    return owner(policy(**fields), customers, restored(Ledger(level)) if found is None else found, now)


def owned_before(**checkpoints: Checkpoint) -> Restored:
    return restored(Ledger(1_000), **checkpoints)


def read(of: Engine, answer: Page, now: float = NOW) -> Batch:
    """One call, its answer, and the commit of what it brought."""
    batch = of.page_received(fetch(of, now), answer, now)
    assert batch is not None
    commit_all(of, now)
    return batch


def order_of_reads(of: Engine, count: int, now: float = NOW) -> list[str]:
    customers = []
    for number in range(count):
        order = fetch(of, now + number)
        of.page_received(order, page(date=now + number), now + number)
        commit_all(of, now + number)
        customers.append(str(order.customer))
    return customers


def full(begin: float, count: int = 6) -> tuple[Activity, ...]:
    return activities(*(begin + i for i in range(count)))


# The path of one activity.


def test_a_customer_is_read_published_and_scheduled_again() -> None:
    running = engine(A)
    order = fetch(running)
    batch = running.page_received(order, page(activity(50), date=NOW, body_bytes=77), NOW + 0.5)
    published = commit_all(running, NOW + 0.5)

    assert batch is not None
    assert order.query == Query()
    assert batch == Batch(
        customer=A,
        partition=0,
        base=None,
        checkpoint=checkpoint(0, recent={"a50": 50_000}, last_read=NOW, rates=batch.checkpoint.rates),
        records=activities(50),
        lesson=Lesson(1, 0.0, 0.0),
        body_bytes=77,
    )
    assert published.batches == (batch,)
    assert fetch(running, NOW + 1).base == batch.checkpoint


def test_the_cursor_follows_the_servers_time_less_the_lookback() -> None:
    running = engine(A, found=owned_before(a=checkpoint(NOW - 1_000, recent={}, last_read=NOW - 900)))
    batch = read(running, page(activity(NOW - 0.25), date=NOW))

    assert batch.checkpoint == checkpoint(
        NOW - 60.25, recent={f"a{NOW - 0.25:g}": round((NOW - 0.25) * 1000)}, last_read=NOW, rates=batch.checkpoint.rates
    )


def test_what_was_published_is_not_published_again() -> None:
    running = engine(A)
    read(running, page(activity(NOW - 10), date=NOW))
    again = read(running, page(*activities(NOW - 10, NOW - 5), date=NOW), NOW + 1)

    assert (again.records, again.known) == (activities(NOW - 5), 1)


def test_nothing_moves_before_the_commit() -> None:
    running = engine(A, B)
    running.page_received(fetch(running), page(activity(50)), NOW)
    under_way = commit(running)

    assert [batch.customer for batch in under_way.batches] == [A]
    assert (fetch(running).customer, running.unpublished(0)) == (B, True)
    assert wait(running).until == math.inf


def test_dead_letters_are_published_beside_the_rest() -> None:
    undated, dated = dead_letter(b"1"), dead_letter(b"2", at=40)
    batch = read(engine(A), page(undated, activity(50), dated, date=NOW))

    assert (batch.records, batch.dead_letters) == (activities(50), (undated, dated))


def test_an_undated_dead_letter_is_remembered_until_the_cursor_has_passed_all_that_was_there() -> None:
    batch = read(engine(A), page(dead_letter(b"1"), date=NOW))

    assert list(batch.checkpoint.recent.values()) == [round((NOW + LOOKBACK) * 1000)]


def test_ids_dropped_beyond_their_bound_are_counted() -> None:
    recent = {f"r{i}": round(NOW * 1000) + i for i in range(RECENT_IDS_MAX)}
    running = engine(A, found=owned_before(a=checkpoint(NOW - 500, recent=recent)))
    batch = read(running, page(*activities(NOW + 100, NOW + 101), date=NOW))

    assert (batch.dropped, len(batch.checkpoint.recent), batch.checkpoint.cursor_ms) == (2, RECENT_IDS_MAX, round(NOW * 1000) + 2)


# A read of several pages.


def test_a_read_goes_on_from_page_to_page_each_with_its_commit() -> None:
    running = engine(A, found=owned_before(a=checkpoint(10, last_read=20)))
    first = read(running, page(*full(10), date=NOW))
    second = fetch(running, NOW + 1)

    assert first.walk is not None
    assert (first.checkpoint.last_read, first.walk.low_ms, first.walk.sent) == (20, 15_000, NOW)
    assert (second.query, second.base, second.walk) == (Query(start_date_ms=14_999), first.checkpoint, first.walk)


def test_a_read_of_several_pages_began_with_its_first_request() -> None:
    running = engine(A, found=owned_before(a=checkpoint(NOW - 500)))
    read(running, page(*full(NOW - 20), date=NOW))
    last = read(running, page(activity(NOW - 15), date=NOW + 50), NOW + 50)

    assert (last.walk, last.checkpoint.last_read, last.checkpoint.cursor_ms) == (None, NOW, round((NOW - LOOKBACK - 15) * 1000))


def test_the_time_that_a_call_took_is_taken_from_its_date() -> None:
    running = engine(A, found=owned_before(a=checkpoint(NOW - 500)))
    batch = running.page_received(fetch(running), page(date=NOW + 2), NOW + 3)

    assert batch is not None
    assert batch.checkpoint.cursor_ms == round((NOW - 1 - LOOKBACK) * 1000)


def test_pages_of_a_customer_that_was_read_before_go_before_all_others() -> None:
    running = engine(A, B, found=owned_before(a=checkpoint(10, last_read=20), b=checkpoint(10, last_read=30)))
    read(running, page(*full(10), date=NOW))

    assert fetch(running).customer == A


def test_whoever_has_very_many_pages_shares_the_calls_from_some_page_on() -> None:
    running = engine(A, B, found=owned_before(a=checkpoint(1, last_read=1), b=checkpoint(1, last_read=2)))
    called = []
    for number in range(PAGES_AT_ONCE_MAX + 6):
        order = fetch(running, NOW + number)
        called.append(order.customer)
        answer = page(*full(2 + 5 * number), date=NOW) if order.customer == A else page(date=NOW)
        running.page_received(order, answer, NOW + number)
        commit_all(running, NOW + number)

    assert called == [A] * PAGES_AT_ONCE_MAX + [A, B, A, B, A, B]


def test_a_backfill_takes_every_second_call() -> None:
    running = engine(A, B, C, found=owned_before(b=checkpoint(10, last_read=20), c=checkpoint(10, last_read=30)))
    customers = []
    for number in range(4):
        order = fetch(running)
        customers.append(order.customer)
        running.page_received(order, page(*full(number * 5), date=NOW) if order.customer == A else page(date=NOW), NOW)
        commit_all(running)

    assert customers == [A, A, B, A]


def test_a_gap_is_counted_with_the_page_that_showed_it_and_once() -> None:
    running = engine(A, found=owned_before(a=checkpoint(10, last_read=20)))
    tie = tuple(activity(10, id=f"t{i}") for i in range(6))
    for _ in range(2):
        read(running, page(*tie, date=NOW))
    for _ in range(2):
        running.fetch_failed(fetch(running), Rejected(), NOW)
    past = fetch(running)
    more = running.page_received(past, page(*full(11), date=NOW), NOW)
    commit_all(running)
    last = read(running, page(activity(16), date=NOW))

    assert past.query == Query(start_date_ms=10_001)
    assert more is not None
    assert (more.gap, last.gap, last.checkpoint.stepped_ms) == (True, False, 10_000)


def test_an_endpoint_that_ignores_the_order_is_told() -> None:
    batch = read(engine(A), page(*activities(9, 8, 7, 6, 5), date=NOW))

    assert (batch.records, batch.gap, batch.followable, batch.walk) == (activities(9, 8, 7, 6, 5), True, False, None)


def test_the_longest_page_of_any_customer_tells_what_is_short() -> None:
    running = engine(A, B, found=owned_before(a=checkpoint(1, last_read=1), b=checkpoint(1, last_read=2)))
    first = read(running, page(*full(10, 8), date=NOW))
    running.page_received(fetch(running), page(activity(17), date=NOW), NOW)
    commit_all(running)
    short = read(running, page(*full(10, 7), date=NOW))

    assert first.walk is not None
    assert (short.customer, short.walk, short.checkpoint.cursor_ms) == (B, None, 1_000)


def test_a_server_that_caps_its_pages_lower_is_understood_after_some_pages() -> None:
    running = engine(A, found=owned_before(a=checkpoint(1)))
    read(running, page(*full(10, 8), date=NOW))
    running.page_received(fetch(running), page(activity(17), date=NOW), NOW)
    commit_all(running)
    capped = [read(running, page(*full(20 + 10 * number, 7), date=NOW)).walk is not None for number in range(PAGES_REMEMBERED + 1)]

    assert capped == [False] * PAGES_REMEMBERED + [True]


def test_entries_that_stand_twice_do_not_make_a_page_longer() -> None:
    running = engine(A, B, found=owned_before(a=checkpoint(1, last_read=1), b=checkpoint(1, last_read=2)))
    twice = tuple(entry for entry in full(10) for _ in range(2))
    running.page_received(fetch(running), page(*twice, date=NOW), NOW)
    running.page_received(fetch(running), page(*full(10), date=NOW), NOW)
    batches = commit(running).batches

    assert [len(batch.records) for batch in batches] == [6, 6]
    assert batches[1].walk is not None  # as long as the longest page: more may follow


@pytest.mark.parametrize("error", [Rejected(), CustomerUnknown()])
def test_a_way_that_is_refused_gives_way_to_the_next(error: SourceError) -> None:
    running = engine(A, found=owned_before(a=checkpoint(10)))
    tie = tuple(activity(10, id=f"t{i}") for i in range(6))
    for _ in range(2):
        read(running, page(*tie, date=NOW))
    order = fetch(running)
    held = running.fetch_failed(order, error, NOW)

    assert (order.walk.way, held, running.unpublished(0)) == (Way.AFTER_ID, None, False)
    assert fetch(running).walk.way == Way.AFTER_DATE


def test_a_refused_way_that_is_the_last_ends_the_read_and_holds_what_it_was() -> None:
    running = engine(A, found=owned_before(a=checkpoint(10, recent={"old": 10_000})))
    for _ in range(3):
        running.page_received(fetch(running), page(*full(1), date=NOW), NOW)
        commit_all(running)
        if fetch_way(running) == Way.AFTER_DATE:
            break
    order = fetch(running)
    batch = running.fetch_failed(order, Rejected(), NOW)

    assert batch is not None
    assert (order.walk.way, batch.gap, batch.followable, batch.walk) == (Way.AFTER_DATE, True, False, None)
    assert (batch.records, batch.checkpoint.last_read) == ((), NOW)


def fetch_way(of: Engine) -> int:
    """The way that the only customer's next call will take."""
    going = of._owned[0].customers[A].walk
    return -1 if going is None else going.way


# Where a customer begins.


def test_a_customer_that_starts_now_publishes_nothing_of_what_its_first_read_shows() -> None:
    running = engine(A, start="now")
    order = fetch(running)
    first = running.page_received(order, page(*activities(NOW - 50, NOW - 0.5), date=NOW), NOW)
    commit_all(running)
    second = read(running, page(*activities(NOW - 50, NOW - 0.5, NOW + 2), date=NOW + 3), NOW + 3)

    assert order.query == Query(start_date_ms=round((NOW - 120) * 1000) - 1)
    assert first is not None
    assert (first.records, first.checkpoint.baseline_ms, len(first.checkpoint.recent)) == ((), None, 2)
    assert second.records == activities(NOW + 2)


def test_a_first_read_of_several_pages_remembers_its_baseline_until_it_is_complete() -> None:
    running = engine(A, start="now")
    first = read(running, page(*full(NOW - 50), date=NOW))
    later = read(running, page(*activities(NOW - 45, NOW - 1, NOW + 4), date=NOW + 5), NOW + 5)

    assert (first.records, first.checkpoint.baseline_ms) == ((), round(NOW * 1000))
    assert (later.records, later.checkpoint.baseline_ms) == (activities(NOW + 4), None)


def test_a_first_read_that_began_too_late_by_the_servers_time_tells_the_time_and_is_done_again() -> None:
    running = engine(A, start="now")
    nothing = running.page_received(fetch(running), page(activity(NOW - 1), date=NOW - 3_600), NOW)
    again = fetch(running, NOW + 1)

    assert nothing is None
    assert again.query == Query(start_date_ms=round((NOW + 1 - 3_600 - 120) * 1000) - 1)


def test_what_happens_while_the_first_page_is_made_had_happened_before_a_customer_that_starts_now_was_read() -> None:
    running = engine(A, start="now")
    first = running.page_received(fetch(running), page(activity(NOW + 0.4), date=NOW + 0.5), NOW + 0.5)
    commit_all(running, NOW + 0.5)
    second = read(running, page(*activities(NOW + 0.4, NOW + 0.6), date=NOW + 1), NOW + 1)

    assert first is not None
    assert (first.records, second.records) == ((), activities(NOW + 0.6))


def test_where_nothing_tells_the_time_a_customer_that_starts_now_begins_by_our_own_clock() -> None:
    batch = read(engine(A, start="now"), page())

    assert batch.checkpoint == checkpoint(NOW - 120, last_read=NOW, rates=batch.checkpoint.rates)


def test_a_customer_begins_at_an_instant_where_one_is_set() -> None:
    running = engine(A, start=5_000)
    order = fetch(running)
    batch = running.page_received(order, page(*activities(4, 5, 6), date=NOW), NOW)

    assert order.query == Query(start_date_ms=4_999)
    assert batch is not None
    assert batch.records == activities(5, 6)


def test_a_start_that_does_not_exist_is_a_fault_of_the_program() -> None:
    with pytest.raises(AssertionError, match="no such start: 'soon'"):
        engine(A, start="soon").next(NOW)


def test_the_start_is_for_customers_without_a_checkpoint() -> None:
    running = engine(A, start="now", found=owned_before(a=checkpoint(10)))

    assert fetch(running).query == Query(start_date_ms=9_999)


# Whom to call.


def test_customers_are_called_in_the_order_of_their_last_read_and_those_never_read_first() -> None:
    found = owned_before(a=checkpoint(1, last_read=30), b=checkpoint(1, last_read=20))

    assert order_of_reads(engine(A, B, C, found=found), 5) == ["c", "b", "a", "c", "b"]


def test_a_customer_under_way_is_not_called_again() -> None:
    running = engine(A, B)

    assert {fetch(running).customer, fetch(running).customer} == {A, B}
    assert wait(running) == Wait(math.inf, "the budget, or until somebody is due")


def test_a_customer_that_is_watched_from_now_on_is_called() -> None:
    running = engine(A)
    fetch(running)
    running.watch([A, B])

    assert (fetch(running).customer, running.view.customers) == (B, 2)


def test_a_customer_that_is_no_longer_watched_is_not_called_and_goes_on_where_it_was_when_it_is_watched_again() -> None:
    running = engine(A, B)
    batch = read(running, page(activity(50), date=NOW))
    running.watch([B])

    assert order_of_reads(running, 2) == ["b", "b"]
    running.watch([A, B])
    again = fetch(running, NOW + 9)
    assert again.base is not None and batch.checkpoint is not None
    assert (again.customer, again.base.cursor_ms, again.base.recent) == (A, batch.checkpoint.cursor_ms, batch.checkpoint.recent)


def test_a_customer_that_is_due_later_is_waited_for_though_one_stood_before_it_that_is_no_longer_watched() -> None:
    running = engine(A, B)
    order = fetch(running)
    running.fetch_failed(order, CustomerUnknown(), NOW)
    running.watch([order.customer])
    due = wait(running).until

    assert due == pytest.approx(NOW + backoff.UNKNOWN.wait_seconds(1, str(order.customer)))


def test_watching_the_same_customers_again_schedules_nobody_twice() -> None:
    running = engine(A, B)
    fetch(running)
    running.watch([A, B])
    fetch(running)

    assert wait(running).until == math.inf


def test_only_customers_of_owned_partitions_are_called() -> None:
    customers = [CustomerId(f"cust_{i}") for i in range(20)]
    running = Engine(policy(calls_limit=240_000, calls_in_flight_max=99))
    running.watch(customers)
    running.partitioned(4)
    running.confirmed(math.inf)
    for partition in (1, 3):
        running.assigned(partition, owned_before(), NOW)
        order = running.commit(partition, NOW, at_once=True)
        assert isinstance(order, Commit)
        running.committed(order, NOW)
    mine = {customer for customer in customers if partition_of(customer, 4) in (1, 3)}

    assert {fetch(running).customer for _ in mine} == mine
    assert (running.owned, running.view.customers, wait(running).until) == ([1, 3], len(mine), math.inf)


def test_partitions_take_turns_where_all_have_somebody_due() -> None:
    running = Engine(policy(calls_limit=240_000, calls_in_flight_max=1))
    running.watch([CustomerId(f"cust_{i}") for i in range(20)])
    running.partitioned(4)
    running.confirmed(math.inf)
    for partition in range(4):
        running.assigned(partition, owned_before(), NOW)
        order = running.commit(partition, NOW, at_once=True)
        assert isinstance(order, Commit)
        running.committed(order, NOW)
    partitions = []
    for _ in range(8):
        called = fetch(running)
        running.fetch_failed(called, CustomerUnknown(), NOW)
        partitions.append(called.partition)

    assert partitions == [0, 1, 2, 3, 0, 1, 2, 3]


# What hinders a call.


def test_no_more_calls_are_under_way_than_allowed() -> None:
    running = engine(A, B, C, calls_in_flight_max=2)
    order = fetch(running)
    fetch(running)

    assert (running.in_flight, wait(running)) == (2, Wait(math.inf, "calls in flight", "in_flight"))
    running.page_received(order, page(), NOW)
    assert fetch(running).customer == C


def test_no_call_is_made_without_a_commit_that_grants_it() -> None:
    running = Engine(policy())
    running.partitioned(1)
    running.watch([A])
    running.confirmed(math.inf)
    running.assigned(0, owned_before(), NOW)

    assert wait(running).until == math.inf
    under_way = commit(running)
    assert wait(running).until == math.inf
    running.committed(under_way, NOW)
    assert fetch(running).customer == A


def test_a_call_waits_for_the_budget() -> None:
    running = engine(A, found=restored(), calls_limit=60)
    commit_all(running, NOW + 0.5)

    assert wait(running, NOW + 0.5).until == pytest.approx(NOW + 1 / 0.98359, abs=1e-3)
    assert fetch(running, NOW + 1.1).customer == A


def test_no_call_is_made_where_membership_was_not_confirmed_within_the_lease() -> None:
    running = Engine(policy(lease_seconds=5))
    running.partitioned(1)
    running.watch([A, B])
    running.assigned(0, owned_before(), NOW)
    commit_all(running)

    assert wait(running).why == "membership is not confirmed"
    running.confirmed(NOW)
    assert fetch(running, NOW + 4.999).customer == A
    assert wait(running, NOW + 5).why == "membership is not confirmed"


def test_an_old_confirmation_does_not_shorten_the_lease() -> None:
    running = engine(A)
    running.confirmed(0.0)

    assert fetch(running).customer == A


def test_no_call_is_made_while_the_assignment_is_made_anew() -> None:
    running = engine(A)
    running.rebalancing()

    assert wait(running).why == "membership is not confirmed"
    running.confirmed(NOW)
    assert fetch(running).customer == A


def test_no_call_is_made_while_draining() -> None:
    running = engine(A)
    running.drain()

    assert wait(running) == Wait(math.inf, "draining")


def test_no_call_is_made_while_too_many_pages_await_their_commit() -> None:
    customers = [CustomerId(f"c{i:03}") for i in range(HELD_PAGES_MAX + 1)]
    running = engine(*customers, calls_limit=600_000)
    for _ in range(HELD_PAGES_MAX):
        running.page_received(fetch(running), page(), NOW)

    assert wait(running) == Wait(math.inf, "commits", "commits")
    commit_all(running)
    assert fetch(running).customer == customers[-1]


def test_no_call_is_made_while_too_many_bytes_await_their_commit() -> None:
    running = engine(A, B, C)
    running.page_received(fetch(running), page(body_bytes=HELD_BYTES_MAX - 1), NOW)
    running.page_received(fetch(running), page(body_bytes=1), NOW)

    assert wait(running) == Wait(math.inf, "commits", "commits")
    commit_all(running)
    assert fetch(running).customer == C


def test_a_quota_of_which_nothing_remains_stops_every_call_until_it_is_granted_anew() -> None:
    running = engine(A, B)
    running.page_received(fetch(running), page(date=500.0, quota=Quota(limit=100, remaining=0, resets_at=530.0)), NOW)

    assert wait(running) == Wait(NOW + 31, "nothing remains of the quota", "quota")
    assert running.view.paused_until == NOW + 31
    assert fetch(running, NOW + 31).customer == B


def test_a_quota_of_which_something_remains_is_not_obeyed() -> None:
    running = engine(A, B)
    running.page_received(fetch(running), page(quota=Quota(limit=100, remaining=1, resets_at=9e9)), NOW)

    assert fetch(running).customer == B


# Calls that fail.


def test_a_customer_whose_read_failed_waits_and_the_others_do_not() -> None:
    running = engine(A, B)
    first = fetch(running)
    running.fetch_failed(first, Unreachable(), NOW)
    seconds = backoff.TRANSIENT.wait_seconds(1, "a")
    read(running, page(date=NOW))

    assert order_of_reads(running, 1, NOW) == ["b"]
    orders = {order.customer: order for order in (fetch(running, NOW + seconds), fetch(running, NOW + seconds))}
    assert orders.keys() == {A, B}
    assert orders[A] == Fetch(A, 0, Query(), NOW + seconds, Walk(NOW + seconds, 0), None, first.start)


def test_waits_grow_with_each_failure_and_begin_anew_after_a_success() -> None:
    running = engine(A)
    running.fetch_failed(fetch(running), CustomerUnknown(), NOW)
    after_one = wait(running).until
    running.fetch_failed(fetch(running, after_one), CustomerUnknown(), after_one)
    after_two = wait(running, after_one).until
    read(running, page(), after_two)
    running.fetch_failed(fetch(running, after_two), CustomerUnknown(), after_two)

    assert after_one - NOW == pytest.approx(backoff.UNKNOWN.wait_seconds(1, "a"))
    assert after_two - after_one == pytest.approx(backoff.UNKNOWN.wait_seconds(2, "a"))
    assert wait(running, after_two).until - after_two == pytest.approx(backoff.UNKNOWN.wait_seconds(1, "a"))


def test_failures_of_several_customers_in_a_row_stop_every_call() -> None:
    running = engine(A, B, C, CustomerId("d"))
    for _ in range(backoff.OUTAGE_FAILURES_MIN):
        running.fetch_failed(fetch(running), ServerFault("502"), NOW)

    assert wait(running) == Wait(NOW + backoff.OUTAGE.wait_seconds(1, "source"), str(ServerFault("502")), "failures")


def test_a_success_ends_an_outage() -> None:
    running = engine(A, B, C, CustomerId("d"), CustomerId("e"))
    for _ in range(backoff.OUTAGE_FAILURES_MIN - 1):
        running.fetch_failed(fetch(running), ServerFault(), NOW)
    read(running, page())
    running.fetch_failed(fetch(running), ServerFault(), NOW)

    assert fetch(running).customer == "e"


def test_a_429_stops_every_call_and_the_customer_keeps_its_turn() -> None:
    running = engine(A, B)
    running.fetch_failed(fetch(running), Limited(wait_seconds=9), NOW)

    assert wait(running) == Wait(NOW + 10, str(Limited()), "quota")
    assert {fetch(running, NOW + 10).customer, fetch(running, NOW + 10).customer} == {A, B}


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    running = engine(A, B)
    one, other = fetch(running), fetch(running)
    running.fetch_failed(one, Limited(wait_seconds=600), NOW)
    running.fetch_failed(other, Limited(wait_seconds=1), NOW)

    assert wait(running).until == NOW + 601


def test_refused_credentials_stop_every_call() -> None:
    running = engine(A, B)
    running.fetch_failed(fetch(running), Unauthorized(), NOW)

    assert wait(running).until == NOW + backoff.REFUSED.wait_seconds(1, "source")


@pytest.mark.parametrize("error", [Unauthorized(), Forbidden(), RouteGone(), PlanExceeded()], ids=lambda error: type(error).__name__)
def test_whoever_was_refused_is_not_the_next_to_try_as_it_may_be_refused_alone(error: SourceError) -> None:
    overdue, soon = (Rates(at=1, due=due) for due in (NOW - 1_000, NOW + 10))
    found = owned_before(a=checkpoint(0, last_read=1, rates=overdue), b=checkpoint(0, last_read=2, rates=soon))
    running = engine(A, B, found=found, staleness_seconds_max=1e9)
    for customer, now in ((A, NOW), (B, NOW + 30)):
        order = fetch(running, now)
        assert order.customer == customer
        running.fetch_failed(order, error, now)


@pytest.mark.parametrize("before", [Limited(wait_seconds=0.0), ServerFault(), Unreachable()], ids=lambda error: type(error).__name__)
def test_failures_of_another_kind_make_no_refusal_longer(before: SourceError) -> None:
    running = engine(*(CustomerId(f"c{number}") for number in range(9)))
    now = NOW
    for _ in range(8):
        running.fetch_failed(fetch(running, now), before, now)
        now = max(now, running.view.paused_until)
    running.fetch_failed(fetch(running, now), Unauthorized(), now)

    assert running.view.paused_until == now + backoff.REFUSED.wait_seconds(1, "source")


def test_what_is_refused_to_one_customer_makes_no_pause_longer() -> None:
    running = engine(A, B)
    running.fetch_failed(fetch(running), Rejected(), NOW)
    running.fetch_failed(fetch(running), Forbidden(), NOW)

    assert running.view.paused_until == NOW + backoff.REFUSED.wait_seconds(1, "source")


def test_a_refused_call_leaves_nothing_of_the_quota() -> None:
    running = engine(A, B)
    read(running, page(quota=Quota(remaining=710)))
    before = running.view.overview(NOW).quota_remaining
    running.fetch_failed(fetch(running), Limited(), NOW)

    assert (before, running.view.overview(NOW).quota_remaining) == (710, 0)


def test_customers_that_the_api_does_not_know_are_no_outage() -> None:
    running = engine(*(CustomerId(f"c{number}") for number in range(12)))
    for _ in range(10):
        running.fetch_failed(fetch(running), CustomerUnknown(), NOW)
    running.fetch_failed(fetch(running), Unauthorized(), NOW)

    assert running.view.paused_until == NOW + backoff.REFUSED.wait_seconds(1, "source")


def test_a_call_that_went_into_a_token_costs_its_customer_nothing_but_the_call() -> None:
    running = engine(A, B)
    first = fetch(running)
    running.fetch_failed(first, TokenRenewed(), NOW)

    assert (fetch(running), fetch(running).customer) == (first, B)
    assert running.view.paused_until == -math.inf


@pytest.mark.parametrize("read_before", [{}, {"a": checkpoint(0, last_read=1), "b": checkpoint(0, last_read=1)}], ids=["backfill", "pages"])
def test_calls_that_go_into_tokens_do_not_change_in_which_order_customers_are_read(read_before: dict[str, Checkpoint]) -> None:
    def order_of(tokens: bool) -> str:
        running, so_far = engine(A, B, C, found=owned_before(**read_before)), ""
        for number in range(20):
            if tokens:
                running.fetch_failed(fetch(running, NOW + number), TokenRenewed(), NOW + number)
            order = fetch(running, NOW + number)
            pages = so_far.count(order.customer)
            shown = full(5 * pages + 1) if order.customer != B and pages < 7 else ()
            running.page_received(order, page(*shown, date=NOW + number), NOW + number)
            commit_all(running, NOW + number)
            so_far += order.customer
        return so_far

    assert order_of(tokens=True) == order_of(tokens=False)
    assert set(order_of(tokens=True)) == {A, B, C}


def test_a_call_that_went_into_a_token_comes_before_others_who_have_pages_waiting() -> None:
    running = engine(A, B, found=owned_before(a=checkpoint(0, last_read=1), b=checkpoint(0, last_read=2)))
    for order in (fetch(running), fetch(running)):
        running.page_received(order, page(*full(1), date=NOW), NOW)
    commit_all(running)
    first = fetch(running)
    running.fetch_failed(first, TokenRenewed(), NOW)

    assert (fetch(running), fetch(running).customer) == (first, B)


def test_a_call_that_went_into_a_token_while_its_partition_is_suspended_is_made_again_once_it_is_restored() -> None:
    running = engine(A)
    order = fetch(running)
    running.suspended(0)
    running.fetch_failed(order, TokenRenewed(), NOW)
    running.assigned(0, Restored({}, ownership(ledger=Ledger(1_000))), NOW)
    commit_all(running)

    assert fetch(running).customer == A


def test_a_call_that_went_into_a_token_leaves_a_partition_that_was_taken_alone() -> None:
    running = engine(A)
    order = fetch(running)
    running.revoked(0)

    assert running.fetch_failed(order, TokenRenewed(), NOW) is None
    assert running.in_flight == 0


def test_a_token_that_is_refused_stops_every_call_until_somebody_mends_it() -> None:
    running = engine(A, B)
    running.fetch_failed(fetch(running), TokenRefused(), NOW)

    assert wait(running).until == NOW + backoff.REFUSED.wait_seconds(1, "source")
    assert running.view.refused == str(TokenRefused())


def test_a_refusal_is_told_until_a_call_is_answered() -> None:
    running = engine(A, B)
    before = running.view.refused
    one, other = fetch(running), fetch(running)
    running.fetch_failed(one, Unauthorized(), NOW)
    running.fetch_failed(other, Unreachable(), NOW)
    told = running.view.refused
    read(running, page(), NOW + 600)

    assert (before, told, running.view.refused) == ("", str(Unauthorized()), "")


@pytest.mark.parametrize(
    "error", [PlanExceeded(), RouteGone(), Redirected(), Limited(), Unreachable()], ids=lambda error: type(error).__name__
)
def test_how_the_api_is_says_nothing_of_our_credentials(error: SourceError) -> None:
    running = engine(A)
    running.fetch_failed(fetch(running), error, NOW)

    assert running.view.refused == ""


def test_what_was_under_way_when_a_pause_began_does_not_lengthen_it() -> None:
    running = engine(A, B, C)
    for order in (fetch(running), fetch(running), fetch(running)):
        running.fetch_failed(order, Unauthorized(), NOW)
    first = running.view.paused_until
    running.fetch_failed(fetch(running, first), Unauthorized(), first)

    assert first == NOW + backoff.REFUSED.wait_seconds(1, "source")
    assert running.view.paused_until == first + backoff.REFUSED.wait_seconds(2, "source")


def test_a_page_that_failed_is_asked_for_again_where_the_read_was() -> None:
    running = engine(A, found=owned_before(a=checkpoint(10, last_read=20)))
    read(running, page(*full(10), date=NOW))
    failed = fetch(running)
    running.fetch_failed(failed, Limited(wait_seconds=0), NOW)

    assert fetch(running, NOW + 5).walk == failed.walk


def test_a_page_that_is_too_large_is_asked_for_at_once_with_fewer_activities() -> None:
    running = engine(A, found=owned_before(a=checkpoint(10)))
    held = running.fetch_failed(fetch(running), TooLarge("9 MB"), NOW)
    order = fetch(running)

    assert (held, order.query) == (None, Query(start_date_ms=9_999, limit=50))
    assert order.base == checkpoint(10)


def test_a_page_of_the_fewest_activities_that_is_too_large_is_the_customers_fault() -> None:
    running = engine(A, found=owned_before(a=checkpoint(10)))
    for _ in range(7):
        running.fetch_failed(fetch(running), TooLarge("9 MB"), NOW)

    assert wait(running).until == pytest.approx(NOW + backoff.customer_wait_seconds(TooLarge(), 1, "a"))
    assert wait(running).until > NOW


def test_a_page_that_was_too_large_is_forgotten_with_its_partition() -> None:
    running = engine(A)
    order = fetch(running)
    running.revoked(0)

    assert (running.fetch_failed(order, TooLarge(), NOW), running.in_flight) == (None, 0)


def test_a_refused_request_of_the_first_way_is_the_customers_fault() -> None:
    running = engine(A, found=owned_before(a=checkpoint(10)))
    running.fetch_failed(fetch(running), Rejected(), NOW)

    assert wait(running).until == pytest.approx(NOW + backoff.REJECTED.wait_seconds(1, "a"))


def test_an_answer_to_a_call_that_was_not_ordered_is_a_fault_of_the_program() -> None:
    running = engine(A)
    order = fetch(running)
    running.page_received(order, page(), NOW)

    with pytest.raises(AssertionError, match="an answer to a call that was not ordered"):
        running.page_received(order, page(), NOW)


# Commits.


def test_a_commit_comes_no_sooner_than_its_interval_after_the_last_one_began() -> None:
    running = engine(A)
    running.page_received(fetch(running), page(activity(50)), NOW)

    assert running.commit(0, NOW + 0.1) == Wait(NOW + 0.2, "commits")
    assert isinstance(running.commit(0, NOW + 0.2), Commit)


def test_a_commit_takes_all_that_is_held() -> None:
    running = engine(A, B, C)
    batches = tuple(running.page_received(fetch(running), page(activity(50, id=name)), NOW) for name in "xyz")

    assert commit(running).batches == batches


def test_a_commit_takes_the_oldest_pages_up_to_a_number_of_records_and_at_least_one_page() -> None:
    running = engine(A, B, C)
    sizes = (COMMIT_RECORDS_MAX + 1, COMMIT_RECORDS_MAX - 1, 2)
    for name, size in zip("xyz", sizes, strict=True):
        running.page_received(fetch(running), page(*(activity(50, id=f"{name}{i}") for i in range(size))), NOW)
    taken = [[batch.customer for batch in commit_all(running, NOW + number).batches] for number in range(3)]

    assert taken == [[A], [B], [C]]


def test_a_commit_that_is_as_large_as_any_may_be_waits_no_longer() -> None:
    running = engine(A, B)
    sizes = (COMMIT_RECORDS_MAX - 1, 1)
    found = [page(*(activity(50, id=f"{name}{i}") for i in range(size))) for name, size in zip("xy", sizes, strict=True)]
    running.page_received(fetch(running), found[0], NOW)
    waiting = running.commit(0, NOW)
    running.page_received(fetch(running), found[1], NOW)
    full = commit(running, NOW, at_once=False)

    assert waiting == Wait(NOW + 0.2, "commits")
    assert [batch.customer for batch in full.batches] == [A, B]


def test_a_commit_of_its_grant_alone_waits_until_somebody_is_due_and_calls_may_be_made() -> None:
    running = engine(A, found=restored(), calls_limit=30)
    idle = engine(found=restored(), calls_limit=30)
    due = running.commit(0, NOW)

    assert isinstance(due, Wait)
    assert due.until == pytest.approx(NOW + 61 / 29.999 - 1, abs=0.003)
    assert idle.commit(0, NOW) == Wait(math.inf, "commits")


def test_a_commit_of_its_grant_alone_waits_while_every_call_is_stopped() -> None:
    running = engine(A, level=0.0, calls_limit=60)
    commit_all(running, NOW + 1.1)
    running.fetch_failed(fetch(running, NOW + 1.1), Limited(wait_seconds=99), NOW + 1.1)

    assert running.commit(0, NOW + 10) == Wait(NOW + 101.1, "commits")


def test_each_commit_carries_who_owns_the_partition_and_what_is_left_to_spend() -> None:
    running = engine(A, owner="one", url="https://eu", endpoint="activity", application_id="app", calls_limit=60, level=0.5)
    last = commit(running, last=True)

    assert last.ownership == ownership(
        application_id="app", url="https://eu", endpoint="activity", owner="one", watched_hash="ca978112ca1bbdca", ledger=Ledger(0.5)
    )
    assert last.grant == 0


def test_the_hash_of_the_watched_list_does_not_depend_on_its_order() -> None:
    assert commit(engine(A, B)).ownership.watched_hash == commit(engine(B, A)).ownership.watched_hash
    assert commit(engine(A, B)).ownership.watched_hash != commit(engine(A, C)).ownership.watched_hash


def test_calls_left_in_the_cycle_are_those_of_the_owned_partitions() -> None:
    running = Engine(policy(cycle=Cycle(1_000, 1), calls_limit=120))
    running.partitioned(4)
    for partition in (0, 2):
        running.assigned(partition, Restored({}, ownership(ledger=Ledger(0, "1970-01-01", 100 + partition))), NOW)
    stands = running.view.cycle_stands(NOW)

    assert stands is not None
    assert (stands.begun, stands.calls, stands.spent, stands.left) == ("1970-01-01", 500, 202, 500 - 2 * 3 - 202)
    assert stands.calls_per_minute == pytest.approx(60 * (500 - 6 - 202) / (stands.ends - NOW))
    assert (engine(A).view.cycle_stands(NOW), Engine(policy()).view.cycle_stands(NOW)) == (None, None)


# Partitions that come and go.


def lost_commit(running: Engine, answers: Sequence[Page]) -> list[Batch]:
    """Pages whose commit failed: it is not known whether it stands."""
    batches = [running.page_received(fetch(running), answer, NOW) for answer in answers]
    commit(running)
    running.suspended(0)
    return [batch for batch in batches if batch is not None]


def test_a_held_batch_survives_a_commit_that_did_not_stand() -> None:
    running = engine(A)
    batches = lost_commit(running, [page(activity(50))])
    dropped = running.assigned(0, owned_before(), NOW)

    assert (dropped, list(commit(running).batches)) == ([], batches)


def test_a_held_batch_is_dropped_where_its_commit_stood_after_all() -> None:
    running = engine(A)
    batches = lost_commit(running, [page(activity(50))])
    dropped = running.assigned(0, owned_before(a=batches[0].checkpoint), NOW)

    assert (dropped, commit_all(running).batches) == (batches, ())
    assert fetch(running).base == batches[0].checkpoint


def test_a_held_batch_is_published_though_its_customer_is_no_longer_watched_when_the_partition_is_restored() -> None:
    running = engine(A)
    batches = lost_commit(running, [page(activity(50))])
    running.watch([])
    running.assigned(0, owned_before(), NOW)

    assert list(commit_all(running).batches) == batches


def test_no_call_is_made_for_a_suspended_partition_and_what_is_under_way_is_kept() -> None:
    running = engine(A, B)
    order = fetch(running)
    running.suspended(0)
    stopped = wait(running).until
    batch = running.page_received(order, page(activity(50)), NOW)
    running.assigned(0, owned_before(), NOW)

    assert (stopped, running.owned) == (math.inf, [0])
    assert commit_all(running).batches == (batch,)


def test_a_call_that_fails_while_its_partition_is_suspended_is_made_again() -> None:
    running = engine(A)
    order = fetch(running)
    running.suspended(0)
    running.fetch_failed(order, Unreachable(), NOW)
    running.assigned(0, owned_before(), NOW)
    commit_all(running)

    assert fetch(running).customer == A


def test_an_answer_from_before_somebody_else_read_the_customer_is_dropped_and_the_customer_called_again() -> None:
    running = engine(A)
    order = fetch(running)
    running.revoked(0)
    running.assigned(0, owned_before(a=checkpoint(40, last_read=50)), NOW)
    batch = running.page_received(order, page(activity(50)), NOW)
    commit_all(running)

    assert batch is None
    assert fetch(running).base == checkpoint(40, last_read=50)


def test_a_revoked_partition_is_forgotten_with_what_is_held_and_what_is_under_way() -> None:
    running = engine(A, B)
    running.page_received(fetch(running), page(activity(50)), NOW)
    order = fetch(running)
    running.revoked(0)

    assert running.page_received(order, page(activity(60)), NOW) is None
    assert (running.owned, running.unpublished(0), running.view.customers, wait(running).until) == ([], False, 0, math.inf)


def test_a_call_of_a_revoked_partition_that_fails_is_forgotten() -> None:
    running = engine(A)
    order = fetch(running)
    running.revoked(0)

    assert (running.fetch_failed(order, Unreachable(), NOW), running.in_flight) == (None, 0)


def test_a_suspension_of_what_is_not_ours_changes_nothing() -> None:
    running = engine(A)
    running.revoked(0)
    running.suspended(0)

    assert running.owned == []


def test_a_partition_of_somebody_else_is_refused_and_differences_are_told() -> None:
    running = engine(A)
    foreign = Restored({}, ownership(application_id="other"))
    changed = Restored({}, ownership(endpoint="activity", watched_hash="ca978112ca1bbdca"))

    assert running.ownership_refusal(foreign) is not None
    assert running.ownership_refusal(changed) is None
    assert running.ownership_differences(changed) == ["the endpoint was 'activity' and is 'activities'"]


def test_a_budget_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(SettingsError):
        Engine(policy(calls_limit=3)).partitioned(4)


def test_customers_may_be_watched_before_the_partitions_are_known() -> None:
    running = Engine(policy())
    running.watch([A])

    assert running.view.customers == 0


def test_an_engine_says_how_it_stands() -> None:
    running = engine(A, B, C)
    running.page_received(fetch(running), page(), NOW)
    fetch(running)

    assert repr(running) == "<Engine 3 customers, 1 scheduled, 1 in flight, 1 held, partitions [0]>"


def test_a_commit_that_the_log_has_lost_is_noticed_by_who_had_made_it() -> None:
    running = engine(A, B)
    read(running, page(activity(50), date=NOW))
    kept = commit_all(running, NOW).batches
    running.suspended(0)

    assert kept == ()
    assert running.undone(0, owned_before()) == [A]
    assert running.undone(0, owned_before(a=checkpoint(NOW, last_read=NOW))) == []


def test_who_did_not_own_a_partition_before_knows_of_no_lost_commit() -> None:
    running = engine(A)
    running.revoked(0)

    assert running.undone(0, owned_before()) == []
