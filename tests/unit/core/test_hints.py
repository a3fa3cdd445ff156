"""Hints: what they bring about, and what they may take."""

from typing import Any

import pytest
from msgspec.structs import replace

from poller.core.engine import Engine
from poller.core.hints import AGAIN_SECONDS, CREDIT_MAX, CREDIT_START, LOOKS_MAX, PENDING_MAX, PENDING_SECONDS, SHARE, SPANS_MAX, is_known
from poller.core.policy import Policy
from poller.model import CustomerId, Ledger, Rates
from tests.support.builders import activities, activity, checkpoint, page, restored
from tests.support.engines import NOW, commit_all, fetch, owner, wait

NAMES = [f"c{number}" for number in range(40)]
HINTED = CustomerId("c7")
"""Read lately, and not due for long."""


def engine(names: list[str] = NAMES, calls_limit: float = 60_000) -> Engine:
    """Everybody was read in the last minutes: `c0` longest ago."""
    found = {name: read_at(NOW - 400 + place) for place, name in enumerate(names)}
    policy = Policy(start="earliest", lookback_ms=60_000, calls_limit=calls_limit, staleness_seconds_max=1e9)
    return owner(policy, map(CustomerId, names), restored(Ledger(500), **found))


def read_at(at: float, last: float = 0.0) -> Any:
    return checkpoint(cursor=at - 60, last_read=at, rates=Rates(at=at, due=at + 5_000, last=last))


def called(of: Engine, now: float = NOW, *found: float) -> CustomerId:
    """Whom the next call is for, which finds activities of these instants."""
    order = fetch(of, now)
    of.page_received(order, page(*activities(*found), date=now), now)
    commit_all(of, now)
    return order.customer


def test_who_is_hinted_at_is_read_next_and_several_hints_at_it_are_one() -> None:
    made = engine()

    assert made.hinted(HINTED, NOW, NOW_MS)
    assert made.hinted(HINTED, NOW, NOW_MS - 500)

    assert called(made, NOW, NOW - 1) == HINTED
    assert (made.hints.used, made.hints.useful) == (1, 1)


NOW_MS = round(NOW * 1000)


def test_several_are_read_in_the_order_of_their_hints_and_before_whoever_is_overdue() -> None:
    made = engine()
    for at, name in enumerate(["c9", "c3", "c5"]):
        made.hinted(CustomerId(name), NOW + at)

    assert [called(made, NOW + 3, NOW + 2) for _ in range(3)] == ["c9", "c3", "c5"]


def test_a_hint_at_nobodys_or_at_anothers_customer_says_so_and_changes_nothing() -> None:
    made, standing_by = engine(), Engine(Policy())
    standing_by.partitioned(1)
    standing_by.watch([HINTED])

    assert [made.hinted(CustomerId("unknown"), NOW), standing_by.hinted(HINTED, NOW)] == [False, False]
    assert [made.watches(CustomerId("unknown")), standing_by.watches(HINTED)] == [False, True]
    assert repr(made.hints) == "<Hints 0 used, 0 useful, 0 refused, credit 10.0, 0 pending>"


@pytest.mark.parametrize(
    ("at", "known"),
    [(NOW - 403.5, True), (NOW - 420, True), (NOW - 402, False), (NOW, False)],
    ids=["well before the last read", "long before", "so shortly before that it may not have been shown", "since"],
)
def test_what_was_read_already_is_no_reason_to_read_again(at: float, known: bool) -> None:
    found = read_at(NOW - 393)

    assert is_known(found, round(at * 1000), 60_000) == known


def test_what_is_as_old_as_the_newest_that_is_known_is_known_itself() -> None:
    found = read_at(NOW - 1, last=NOW - 3)

    assert [is_known(found, round(at * 1000), 60_000) for at in (NOW - 3.5, NOW - 3, NOW - 2.9)] == [True, True, False]


def test_of_a_customer_that_was_never_read_to_the_end_nothing_is_known() -> None:
    assert [is_known(one, 0, 60_000) for one in (None, checkpoint(cursor=NOW), checkpoint(cursor=NOW, last_read=NOW))] == [
        False,
        False,
        True,
    ]


def test_a_known_hint_takes_nothing() -> None:
    made = engine()

    assert made.hinted(HINTED, NOW, NOW_MS - 500_000)
    assert (made.hints.used, called(made) == HINTED) == (0, False)


def test_a_hint_of_the_future_is_one_of_now() -> None:
    made = engine()
    made.hinted(HINTED, NOW, NOW_MS + 10**9)

    assert called(made, NOW, NOW - 1) == HINTED
    assert made.hints.useful == 1


def test_what_was_not_shown_yet_is_looked_for_once_more_after_a_moment() -> None:
    made = engine([HINTED])
    made.hinted(HINTED, NOW, NOW_MS)
    called(made)

    assert wait(made, NOW + AGAIN_SECONDS - 0.1).until == NOW + AGAIN_SECONDS
    assert called(made, NOW + AGAIN_SECONDS, NOW) == HINTED
    assert (made.hints.used, made.hints.useful) == (LOOKS_MAX, 1)


def test_after_the_second_look_it_is_let_go() -> None:
    made = engine([HINTED])
    made.hinted(HINTED, NOW, NOW_MS)

    assert [called(made, NOW + after) for after in (0, 10, 20)] == [HINTED] * 3
    assert (made.hints.used, made.hints.useful) == (2, 0)


def test_a_hint_without_an_instant_is_looked_for_once_and_earns_nothing() -> None:
    made = engine([HINTED, "other"])
    for found in ([], [NOW - 30]):
        made.hinted(HINTED, NOW)
        assert called(made, NOW, *found) == HINTED

    assert (made.hints.used, made.hints.useful, made.hints.announced) == (2, 0, 0)


def test_what_hints_had_announced_is_counted_whether_they_were_followed_or_not() -> None:
    made = engine([HINTED, "other"])
    for at in (NOW - 300, NOW - 100):
        made.hinted(HINTED, NOW, round(at * 1000))
    assert called(made, NOW, NOW - 310, NOW - 290, NOW - 250, NOW - 101) == HINTED
    assert called(made, NOW + 30, NOW + 20) in (HINTED, "other")

    assert made.hints.announced == 3


def test_of_one_customer_only_so_many_announcements_are_remembered_and_only_of_so_many() -> None:
    names = [f"c{number}" for number in range(PENDING_MAX + 1)]
    made = engine(names)
    for number in range(SPANS_MAX + 1):
        made.hinted(HINTED, NOW, NOW_MS - 300_000 + 30_000 * number)
    kept = made.hints._spans[HINTED]
    for name in names:
        made.hinted(CustomerId(name), NOW + 20_000, NOW_MS + 20_000_000)

    assert kept == tuple(NOW_MS - 300_000 + 30_000 * number for number in range(1, SPANS_MAX + 1))
    assert len(made.hints._spans) == PENDING_MAX


def test_a_find_from_long_before_the_hint_is_not_what_was_announced() -> None:
    made = engine()
    made.hinted(HINTED, NOW, NOW_MS)
    called(made, NOW, NOW - 61)

    assert made.hints.useful == 0


def test_a_find_from_a_while_before_is_useful_but_the_announced_is_still_looked_for() -> None:
    made = engine([HINTED])
    made.hinted(HINTED, NOW, NOW_MS)

    assert [called(made, NOW, NOW - 30), called(made, NOW + AGAIN_SECONDS, NOW)] == [HINTED] * 2
    assert (made.hints.used, made.hints.useful) == (2, 2)


@pytest.mark.parametrize(("before", "again"), [(19, False), (21, True)])
def test_what_happened_some_seconds_before_is_taken_for_what_was_announced(before: float, again: bool) -> None:
    made = engine([HINTED])
    made.hinted(HINTED, NOW, NOW_MS)
    called(made, NOW, NOW - before)

    assert (made.hints.used, made.hints.useful) == (2 if again else 1, 1)


def test_a_hint_while_a_call_is_under_way_costs_nothing_where_that_call_finds_it() -> None:
    made = engine([HINTED, "other"])
    under_way = [fetch(made), fetch(made)]
    made.hinted(HINTED, NOW, NOW_MS)
    for order in under_way:
        made.page_received(order, page(activity(NOW), date=NOW), NOW)
    commit_all(made)

    assert (made.hints.used, made.hints.useful) == (0, 0)


def test_a_hint_while_a_call_is_under_way_is_followed_after_it_where_that_finds_nothing() -> None:
    made = engine([HINTED, "other"])
    order = next(one for one in (fetch(made), fetch(made)) if one.customer == HINTED)
    made.hinted(HINTED, NOW, NOW_MS)
    made.page_received(order, page(date=NOW), NOW)
    commit_all(made)

    assert made.hints.used == 1
    assert called(made, NOW + AGAIN_SECONDS, NOW) == HINTED


def test_another_hint_while_the_hinted_call_is_under_way_is_given_a_look_of_its_own() -> None:
    made = engine([HINTED])
    made.hinted(HINTED, NOW, NOW_MS)
    order = fetch(made)
    made.hinted(HINTED, NOW + 3, NOW_MS + 3_000)
    made.page_received(order, page(activity(NOW), date=NOW), NOW + 3)
    commit_all(made, NOW + 3)

    assert called(made, NOW + 3 + AGAIN_SECONDS, NOW + 3) == HINTED
    assert (made.hints.used, made.hints.useful) == (2, 2)


def test_of_a_read_of_several_pages_any_may_hold_what_was_announced() -> None:
    made = engine([HINTED])
    made.hinted(HINTED, NOW, NOW_MS)

    old, new = ([activity(NOW - since - number / 10) for number in range(99, -1, -1)] for since in (200, 0))
    for found in (old, new, []):
        order = fetch(made)
        made.page_received(order, page(*found, date=NOW), NOW)
        commit_all(made)

    assert (made.hints.used, made.hints.useful) == (1, 1)


def test_hints_that_bring_nothing_soon_have_no_credit_left_but_a_small_share_of_all_calls() -> None:
    made = engine()
    wrong = 0
    for number in range(3_000):
        now = NOW + number
        made.confirmed(now)
        made.hinted(CustomerId(NAMES[number % 40]), now, round(now * 1000))
        wrong += made.hints.used
        called(made, now)

    assert made.hints.used <= CREDIT_START + SHARE * 3_000 + 1
    assert made.hints.used >= SHARE * 3_000
    assert made.hints.refused > 1_000


def test_hints_that_are_right_are_all_followed() -> None:
    made = engine()
    for number in range(300):
        now = NOW + 400 * number
        made.confirmed(now)
        made.hinted(HINTED, now, round(now * 1000))
        assert called(made, now, now - 1) == HINTED

    assert (made.hints.used, made.hints.refused) == (300, 0)
    assert f"credit {CREDIT_MAX:.1f}" in repr(made.hints)


def test_right_every_second_time_is_enough() -> None:
    made = engine([HINTED])
    for number in range(300):
        now = NOW + 400 * number
        right = number % 2 == 0
        made.hinted(HINTED, now, round(now * 1000))
        called(made, now, *([now - 1] if right else []))
        if not right:
            called(made, now + AGAIN_SECONDS)

    assert (made.hints.used, made.hints.useful, made.hints.refused) == (450, 150, 0)


def test_a_hint_that_brought_no_read_is_forgotten_in_time_and_then_another_counts() -> None:
    made = engine()
    made.rebalancing()
    made.hinted(HINTED, NOW, NOW_MS)
    made.hinted(HINTED, NOW + PENDING_SECONDS - 1, NOW_MS)
    assert made.hints.used == 1

    made.hinted(HINTED, NOW + PENDING_SECONDS, NOW_MS + 1)
    assert made.hints.used == 2


def test_of_hints_that_wait_the_oldest_is_forgotten_where_there_are_too_many() -> None:
    names = [f"c{number}" for number in range(PENDING_MAX + 1)]
    made = owner(Policy(start="earliest", calls_limit=1e7, calls_in_flight_max=10**6), map(CustomerId, names), restored(Ledger(80_000)))
    for _ in names:
        fetch(made)
    for name in names:
        made.hinted(CustomerId(name), NOW)

    assert repr(made.hints) == f"<Hints 0 used, 0 useful, 0 refused, credit 10.0, {PENDING_MAX} pending>"


def test_hints_change_nothing_of_what_is_published_or_of_the_cursor() -> None:
    def published(hinted: bool) -> Any:
        made = engine([HINTED])
        if hinted:
            for at in (0, NOW_MS, 10**15):
                made.hinted(HINTED, NOW, at)
        order = fetch(made)
        made.page_received(order, page(*activities(NOW - 2, NOW - 1), date=NOW), NOW)
        return [(batch.records, replace(batch.checkpoint, rates=None)) for batch in commit_all(made).batches]

    assert published(hinted=True) == published(hinted=False)
