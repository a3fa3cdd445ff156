"""Whom to call next."""

import math

from poller.core.schedule import Schedule
from poller.model import CustomerId

A, B, C, D = (CustomerId(name) for name in "abcd")


def taken(schedule: Schedule, now: float) -> list[CustomerId]:
    """Everybody who may be called now, in order."""
    customers = []
    while schedule.due_at(now) <= now:
        customers.append(schedule.take(now))
    return customers


def test_nobody_is_ever_due_where_nobody_stands() -> None:
    schedule = Schedule()

    assert (schedule.due_at(5.0), len(schedule)) == (math.inf, 0)


def test_the_customer_unread_for_longest_comes_first() -> None:
    schedule = Schedule()
    schedule.put(A, 30.0)
    schedule.put(B, 10.0)
    schedule.put(C, -math.inf)

    assert taken(schedule, 50.0) == [C, B, A]


def test_customers_unread_for_equally_long_come_in_the_order_of_arrival() -> None:
    schedule = Schedule()
    for customer in (C, A, B):
        schedule.put(customer, -math.inf)

    assert taken(schedule, 0.0) == [C, A, B]


def test_a_customer_that_failed_waits_until_it_is_due() -> None:
    schedule = Schedule()
    schedule.put(A, 60.0)

    assert (schedule.due_at(50.0), schedule.due_at(60.0), schedule.due_at(70.0)) == (60.0, 60.0, 70.0)


def test_more_pages_go_before_all_others() -> None:
    schedule = Schedule()
    schedule.put(A, -math.inf)
    schedule.put_backfill(B)
    schedule.put_page(C)
    schedule.put_page(D)

    assert [schedule.take(0.0) for _ in range(2)] == [C, D]


def test_pages_are_due_at_once() -> None:
    pages, backfills = Schedule(), Schedule()
    pages.put_page(A)
    backfills.put_backfill(A)

    assert (pages.due_at(7.0), backfills.due_at(7.0)) == (7.0, 7.0)


def test_a_backfill_takes_every_second_call_while_others_are_due() -> None:
    schedule = Schedule()
    for number in range(3):
        schedule.put(CustomerId(f"due {number}"), float(number))
    order = []
    for _ in range(6):
        if not schedule._backfills:
            schedule.put_backfill(A)
        order.append(schedule.take(50.0))

    assert order == [A, "due 0", A, "due 1", A, "due 2"]


def test_a_backfill_takes_every_call_while_nobody_is_due() -> None:
    schedule = Schedule()
    schedule.put(B, 100.0)
    order = []
    for _ in range(3):
        schedule.put_backfill(A)
        order.append(schedule.take(50.0))

    assert order == [A, A, A]


def test_backfills_take_turns() -> None:
    schedule = Schedule()
    schedule.put_backfill(A)
    schedule.put_backfill(B)
    first = schedule.take(0.0)
    schedule.put_backfill(first)

    assert taken(schedule, 0.0) == [B, A]


def test_everybody_who_stands_here_counts() -> None:
    schedule = Schedule()
    schedule.put(A, 0.0)
    schedule.put_page(B)
    schedule.put_backfill(C)

    assert len(schedule) == 3


def test_who_was_taken_and_not_read_comes_before_everybody() -> None:
    schedule = Schedule()
    schedule.put(A, 0)
    schedule.put_page(B)
    schedule.put_first(C)

    assert [schedule.take(10) for _ in range(3)] == [C, B, A]
