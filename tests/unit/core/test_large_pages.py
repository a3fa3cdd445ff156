"""Pages that are too large: fewer activities are asked for at once, until they fit."""

import math

import pytest

from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.core.walk import PAGE_ACTIVITIES_MIN, End, Way, fewer, follow
from poller.errors import TooLarge
from poller.model import PAGE_ACTIVITIES_MAX, CustomerId, Fetch, Ledger, Walk
from tests.support.builders import activities, page, restored, shown, walk
from tests.support.engines import NOW, commit_all, fetch, owner


def engine(start: str = "earliest") -> Engine:
    return owner(Policy(start=start, calls_limit=60_000), [CustomerId("a")], restored(Ledger(1_000)))


def test_half_as_many_are_asked_for_at_once_down_to_two() -> None:
    running, limits = engine(), []
    for _ in range(6):
        order = fetch(running)
        limits.append(order.query.limit)
        assert running.fetch_failed(order, TooLarge(), NOW) is None

    assert limits == [PAGE_ACTIVITIES_MAX, 50, 25, 12, 6, 3]
    assert fetch(running).query.limit == PAGE_ACTIVITIES_MIN


def test_when_even_two_are_too_large_the_customer_waits() -> None:
    running = engine()
    for _ in range(7):
        running.fetch_failed(fetch(running), TooLarge(), NOW)

    assert not isinstance(running.next(NOW), Fetch)
    assert fetch(running, NOW + 1).query.limit == PAGE_ACTIVITIES_MIN


def test_the_smaller_pages_are_kept_to_the_end_of_the_read_and_the_next_read_asks_for_all_again() -> None:
    running = engine()
    for _ in range(5):
        running.fetch_failed(fetch(running), TooLarge(), NOW)
    running.page_received(fetch(running), page(*activities(1, 2, 3), date=NOW), NOW)
    commit_all(running)
    second = fetch(running)
    running.page_received(second, page(*activities(3, 4), date=NOW), NOW)
    commit_all(running)

    assert (second.query.limit, second.query.start_date_ms) == (3, 2_999)
    assert fetch(running).query.limit == PAGE_ACTIVITIES_MAX


def test_an_answer_that_is_too_large_is_no_outage() -> None:
    running = engine()
    for _ in range(5):
        running.fetch_failed(fetch(running), TooLarge(), NOW)

    assert running.view.paused_until == -math.inf


def test_for_a_partition_that_was_taken_nothing_is_asked_again() -> None:
    running = engine()
    order = fetch(running)
    running.revoked(0)

    assert running.fetch_failed(order, TooLarge(), NOW) is None
    assert running.in_flight == 0


def test_a_first_read_that_began_too_late_begins_anew_with_all() -> None:
    running = engine("now")
    running.fetch_failed(fetch(running), TooLarge(), NOW)
    running.page_received(fetch(running), page(date=NOW - 3600), NOW)

    assert fetch(running).query.limit == PAGE_ACTIVITIES_MAX


@pytest.mark.parametrize(("limit", "smaller"), [(100, 50), (3, 2), (2, None)])
def test_fewer_is_half_as_far_as_that_goes(limit: int, smaller: int | None) -> None:
    found = fewer(walk(low=1, limit=limit))

    assert (None if found is None else found.limit) == smaller


def test_a_page_of_as_many_as_were_asked_for_is_full_however_few() -> None:
    going = follow(walk(low=100, limit=2), shown(100, 101), 100, 0, None)

    assert isinstance(going, Walk)
    assert (going.low_ms, going.way, going.limit) == (101_000, Way.FROM_LOW, 2)
    assert follow(going, shown(101), 100, 0, None) == End()


def test_a_full_page_of_two_shows_an_order_that_is_ignored() -> None:
    assert follow(walk(low=100, limit=2), shown(102, 101), 100, 0, None) == End(gap=True, followable=False)


def test_a_tie_of_three_is_walked_through_by_twos() -> None:
    going = follow(walk(low=100, limit=2), shown(200, 200, ids=["t0", "t1"]), 100, 0, None)
    assert isinstance(going, Walk)
    going = follow(going, shown(200, 200, ids=["t0", "t1"]), 100, 0, None)
    assert isinstance(going, Walk)
    assert going.way == Way.AFTER_ID

    going = follow(going, shown(200, 200, ids=["t1", "t2"]), 100, 0, None)
    assert isinstance(going, Walk)
    assert follow(going, shown(200, 201, ids=["t2", "a201"]), 100, 0, None) == Walk(
        sent=0.0, low_ms=201_000, limit=2, way=Way.FROM_LOW, calls=4, page_ids=("t2", "a201"), low_keys=("a201",)
    )
