"""What the engine says of one customer: where it is, when it comes, and what its last read met."""

import math
from zoneinfo import ZoneInfo

import pytest

from poller.core import backoff
from poller.core.budget import Cycle
from poller.core.engine import ERROR_CHARACTERS_MAX, Engine
from poller.core.policy import Policy
from poller.core.standing import Standing
from poller.errors import CustomerUnknown, Limited, Unreachable
from poller.model import PLAIN, Checkpoint, CustomerId, Fetch, Ledger, Restored, Wait
from tests.support.builders import activities, activity, ownership, page, restored
from tests.support.engines import NOW, commit_all, fetch, owner

A, B, C, D = (CustomerId(name) for name in "abcd")


def engine(*customers: CustomerId, level: float = 10, calls_limit: float = 60_000, **checkpoints: Checkpoint) -> Engine:
    """Owns the one partition; its bucket holds so many calls, all granted."""
    policy = Policy(start="earliest", lookback_ms=60_000, calls_limit=calls_limit, owner="here")
    return owner(policy, customers, restored(Ledger(level), **checkpoints))


def read_at(at: float) -> Checkpoint:
    return Checkpoint(cursor_ms=1, last_read=at)


def told(**fields: object) -> Standing:
    """Of a customer that the setting names."""
    return Standing(**({"partition": 0, "owner": "here", "sources": ("setting",), "entry": PLAIN} | fields))  # type: ignore[arg-type]


def test_a_process_that_owns_nothing_knows_nothing() -> None:
    made = Engine(Policy(owner="here"))
    made.partitioned(1)
    made.watch([A])

    assert made.view.standing(A, NOW) == told(state="not owned")


def test_a_partition_whose_writer_is_gone_is_being_restored() -> None:
    running = engine(A)
    running.suspended(0)

    assert running.view.standing(A, NOW) == told(state="restoring")


def test_a_customer_that_nobody_watches_is_not_watched_whether_it_was_or_not() -> None:
    running = engine(A, b=read_at(1))

    assert [running.view.standing(customer, NOW) for customer in (B, C)] == [told(state="not watched", sources=(), entry=None)] * 2


def test_customers_wait_for_those_unread_for_longer_and_for_the_budget() -> None:
    running = engine(A, B, C, level=1, calls_limit=60, a=read_at(NOW - 10), b=read_at(NOW - 30), c=read_at(NOW - 20))
    pace = 1 / ((60 + 1 - 1) / 61)

    assert running.view.standing(B, NOW) == told(state="waits", calls_before=0, next_call_at=NOW)
    assert running.view.standing(C, NOW).calls_before == 1
    assert running.view.standing(A, NOW) == told(state="waits", calls_before=2, next_call_at=pytest.approx(NOW + 2 * pace, abs=0.01))


def test_the_estimate_is_when_it_is_called() -> None:
    customers = [CustomerId(f"c{number}") for number in range(20)]
    running = engine(*customers, level=1, calls_limit=60)
    last = max(customers, key=lambda customer: running.view.standing(customer, NOW).calls_before or 0)
    expected = running.view.standing(last, NOW).next_call_at
    now, called = NOW, list[CustomerId]()
    while last not in called:
        order = running.next(now)
        if isinstance(order, Fetch):
            called.append(order.customer)
            running.page_received(order, page(date=now), now)
            commit_all(running, now)
        else:
            assert isinstance(order, Wait)
            now = min(order.until, now + 1)
            commit_all(running, now)

    assert expected == pytest.approx(now, abs=1.5)
    assert len(called) == 20


def test_one_that_is_called_is_in_flight_and_then_awaits_its_commit() -> None:
    running = engine(A)
    order = fetch(running)
    during = running.view.standing(A, NOW)
    running.page_received(order, page(activity(50), date=NOW), NOW)

    assert (during, running.view.standing(A, NOW)) == (told(state="in flight"), told(state="awaits its commit"))


def test_one_with_more_pages_comes_before_all_others() -> None:
    running = engine(A, B, C, a=read_at(NOW - 10), b=read_at(NOW - 30), c=read_at(NOW - 20))
    order = fetch(running)
    running.page_received(order, page(*activities(*range(50, 150)), date=NOW), NOW)
    commit_all(running)

    assert running.view.standing(B, NOW) == told(state="has more pages", calls_before=0, next_call_at=NOW)
    assert running.view.standing(C, NOW).calls_before == 1


def test_a_backfill_takes_turns_with_the_others() -> None:
    running = engine(A, B, C, b=read_at(NOW - 30), c=read_at(NOW - 20))
    order = fetch(running)
    assert order.customer == A
    running.page_received(order, page(*activities(*range(50, 150)), date=NOW), NOW)
    commit_all(running)

    assert running.view.standing(A, NOW) == told(state="has more pages", calls_before=0, next_call_at=NOW)
    assert [running.view.standing(customer, NOW).calls_before for customer in (B, C)] == [1, 2]


def test_after_a_backfill_it_is_the_turn_of_who_is_due() -> None:
    running = engine(A, B, C)
    for _ in range(3):
        running.page_received(fetch(running), page(*activities(*range(50, 150)), date=NOW), NOW)
    commit_all(running)
    running.watch([A, B, C, D])
    first = fetch(running).customer

    backfilled = {customer: running.view.standing(customer, NOW).calls_before for customer in (A, B, C) if customer != first}
    assert running.view.standing(D, NOW).calls_before == 0
    assert set(backfilled.values()) == {1, 2}
    assert fetch(running).customer == D


def test_who_is_no_longer_watched_does_not_come_before() -> None:
    running = engine(A, B, C, a=read_at(NOW - 10), b=read_at(NOW - 30), c=read_at(NOW - 20))
    running.watch([A, C])

    assert running.view.standing(A, NOW).calls_before == 1


def test_the_estimate_goes_no_further_than_the_cycle() -> None:
    cycle = Cycle(calls=100, reset_day=1, zone=ZoneInfo("UTC"))
    made = Engine(Policy(start="earliest", calls_limit=60, cycle=cycle, owner="here"))
    made.partitioned(1)
    made.watch([A])
    made.confirmed(math.inf)
    made.assigned(0, Restored({}, ownership(ledger=Ledger(0, "1970-01-01", 100))), NOW)

    assert made.view.standing(A, NOW).next_call_at == cycle.bounds(NOW)[2]


def test_a_failure_is_told_until_a_read_is_answered() -> None:
    running = engine(A)
    running.fetch_failed(fetch(running), CustomerUnknown("HTTP 404"), NOW)
    due = NOW + backoff.UNKNOWN.wait_seconds(1, "a")
    failed = running.view.standing(A, NOW)
    commit_all(running, due)
    running.page_received(fetch(running, due), page(date=due), due)
    commit_all(running, due)

    assert failed == told(
        state="waits", due=due, calls_before=0, next_call_at=due, failures=1, error="Voucherify does not know this customer: HTTP 404"
    )
    assert running.view.standing(A, due).error == ""


def test_of_an_error_only_so_much_is_kept() -> None:
    running = engine(A)
    running.fetch_failed(fetch(running), Unreachable("x" * 10_000), NOW)

    assert len(running.view.standing(A, NOW).error) == ERROR_CHARACTERS_MAX


def test_while_every_call_waits_nobody_is_called_before() -> None:
    running = engine(A, B)
    running.fetch_failed(fetch(running), Limited(wait_seconds=99), NOW)
    standing = running.view.standing(A, NOW)

    assert (standing.next_call_at, standing.paused_until, standing.paused_why) == (NOW + 100, NOW + 100, str(Limited()))
