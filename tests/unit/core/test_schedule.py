"""Whom to call next: pages, the past, and who is to be read anew (`test_freshness.py` has how these are chosen among)."""

import math

from poller.core.schedule import Schedule
from poller.model import CustomerId, Learned
from tests.support.engines import taken

A, B, C, D = (CustomerId(name) for name in "abcd")


def schedule_of(*customers: CustomerId) -> Schedule:
    """These are watched, and away; a call a second."""
    schedule = Schedule(Learned(), 1.0, None)
    for customer in customers:
        schedule.add(customer, None, -math.inf)
    return schedule


def put(schedule: Schedule, *customers: CustomerId) -> None:
    for customer in customers:
        schedule.put(customer)


def test_nobody_is_ever_due_where_nobody_stands() -> None:
    schedule = schedule_of(A)

    assert (schedule.due_at(5.0), len(schedule), list(schedule)) == (math.inf, 0, [A])


def test_who_is_read_anew_is_chosen_by_freshness() -> None:
    schedule = Schedule(Learned(), 1.0, None)
    for customer, called in ((A, 30.0), (B, 10.0), (C, -math.inf)):
        schedule.add(customer, None, called)
        schedule.put(customer)

    assert taken(schedule, 50.0) == [C, B, A]


def test_a_customer_that_failed_waits_until_it_may_be_called() -> None:
    schedule = schedule_of(A)
    schedule.put_failed(A, 60.0)

    assert (schedule.due_at(50.0), schedule.due_at(60.0), schedule.due_at(70.0)) == (60.0, 60.0, 70.0)


def test_more_pages_go_before_all_others() -> None:
    schedule = schedule_of(A, B, C, D)
    schedule.put(A)
    schedule.put_backfill(B)
    schedule.put_page(C)
    schedule.put_page(D)

    assert [schedule.take(0.0) for _ in range(2)] == [C, D]


def test_pages_are_due_at_once() -> None:
    pages, backfills = schedule_of(A), schedule_of(A)
    pages.put_page(A)
    backfills.put_backfill(A)

    assert (pages.due_at(7.0), backfills.due_at(7.0)) == (7.0, 7.0)


def test_a_backfill_takes_every_second_call_while_others_may_be_called() -> None:
    schedule = schedule_of(A, B, C, D)
    put(schedule, B, C, D)
    order = []
    for _ in range(6):
        if A not in schedule._backfills:
            schedule.put_backfill(A)
        order.append(schedule.take(50.0))

    assert order == [A, B, A, C, A, D]


def test_a_backfill_takes_every_call_while_nobody_else_may_be_called() -> None:
    schedule = schedule_of(A, B)
    schedule.put_failed(B, 100.0)
    order = []
    for _ in range(3):
        schedule.put_backfill(A)
        order.append(schedule.take(50.0))

    assert order == [A, A, A]


def test_backfills_take_turns() -> None:
    schedule = schedule_of(A, B)
    schedule.put_backfill(A)
    schedule.put_backfill(B)
    first = schedule.take(0.0)
    schedule.put_backfill(first)

    assert taken(schedule, 0.0) == [B, A]


def test_everybody_who_stands_here_counts() -> None:
    schedule = schedule_of(A, B, C, D)
    schedule.put(A)
    schedule.put_page(B)
    schedule.put_backfill(C)

    assert (len(schedule), list(schedule)) == (3, [A, B, C, D])


def test_who_was_taken_and_not_read_comes_before_everybody() -> None:
    schedule = schedule_of(A, B, C)
    schedule.put(A)
    schedule.put_page(B)
    schedule.put_first(C)

    assert [schedule.take(10) for _ in range(3)] == [C, B, A]


def test_who_is_no_longer_watched_is_gone_wherever_it_stood() -> None:
    schedule = schedule_of(A, B, C, D)
    schedule.put(A)
    schedule.put_page(B)
    schedule.put_backfill(C)
    for customer in (A, B, C, D):
        schedule.remove(customer)

    assert (schedule.due_at(5.0), len(schedule), list(schedule), A in schedule) == (math.inf, 0, [], False)
