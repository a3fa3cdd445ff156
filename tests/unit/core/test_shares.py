"""How several partitions divide one budget."""

import math

import pytest

from poller.core.budget import Cycle
from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.core.shares import HEARD_SECONDS, PARTS, PARTS_KEPT, SAY_SECONDS, SETTLE_SECONDS, UNEVEN, Shares
from poller.model import CustomerId, Ledger, Restored, Share
from tests.support.builders import ownership
from tests.support.dividers import Divider, dividers, live
from tests.support.engines import commit, commit_all
from tests.support.spender import EPOCH

POLICY = Policy(calls_limit=600, calls_window_seconds=60)
MONTH_CYCLE = Cycle(100_000, reset_day=1)
MONTH = Policy(calls_limit=600, calls_window_seconds=60, cycle=MONTH_CYCLE)


def portions(these: list[Divider]) -> list[float]:
    """What each has, of all."""
    return [one.parts / PARTS for one in these]


def settled(customers: list[int], policy: Policy = POLICY, prices: tuple[float, ...] = ()) -> list[Divider]:
    """After some minutes in which nothing fails."""
    these = dividers(policy, customers)
    for one, price in zip(these, prices, strict=False):
        one.price = price
        one.restore(EPOCH)
    live(these, EPOCH, 5 * SETTLE_SECONDS)
    return these


def test_a_partition_alone_has_the_whole_budget_and_says_nothing_of_it() -> None:
    (alone,) = dividers(POLICY, [10])
    alone.shares.heard(0, None, EPOCH)
    alone.begin(EPOCH)

    assert alone.owned.share is None
    assert alone.shares.say_at(alone.owned) == math.inf
    assert alone.owned.budget.terms.calls_per_second == pytest.approx((601 - 5) / 61, rel=1e-5)


def test_parts_are_divided_by_demand() -> None:
    assert portions(settled([90, 60, 30])) == pytest.approx([0.5, 1 / 3, 1 / 6], rel=UNEVEN)


def test_what_all_may_spend_together_is_the_same_however_it_is_divided() -> None:
    these = settled([90, 60, 30, 0])

    assert sum(one.owned.budget.terms.calls_per_second for one in these) == pytest.approx((601 - 8) / 61, rel=1e-5)


def test_whose_calls_are_worth_more_has_more_of_them() -> None:
    first, second = portions(settled([50, 50], prices=(1.0, 4.0)))

    assert second / first == pytest.approx(2.0, rel=2 * UNEVEN)


def test_nobody_is_left_with_less_than_reads_its_customers_as_often_as_the_staleness_demands() -> None:
    assert portions(settled([50, 50], prices=(0.001, 1000.0)))[0] == pytest.approx(1.1 * 50 / (2 * 100), rel=UNEVEN)


def test_a_staleness_that_is_set_is_what_decides_that() -> None:
    policy = Policy(calls_limit=600, calls_window_seconds=60, staleness_seconds_max=100)
    calls_per_second = (601 - 3 * 2) / 61

    assert portions(settled([50, 50], policy, (0.001, 1000.0)))[0] == pytest.approx(1.1 * 50 / (100 * calls_per_second), rel=UNEVEN)


def test_a_staleness_that_cannot_be_held_is_missed_by_all_alike() -> None:
    policy = Policy(calls_limit=600, calls_window_seconds=60, staleness_seconds_max=1)

    assert portions(settled([75, 25], policy, (0.001, 1000.0))) == pytest.approx([0.75, 0.25], rel=UNEVEN)


def test_a_partition_without_customers_keeps_a_little() -> None:
    assert portions(settled([50, 0]))[1] == pytest.approx(PARTS_KEPT / 2, rel=1e-6)


def test_where_there_are_no_customers_nothing_moves() -> None:
    assert portions(settled([0, 0])) == [0.5, 0.5]


def test_a_difference_that_is_hardly_one_is_left_alone() -> None:
    assert portions(settled([51, 50])) == [0.5, 0.5]


def test_whoever_is_not_heard_of_is_left_alone() -> None:
    first, second, third = these = dividers(POLICY, [10, 10, 10])
    live(these, EPOCH, 5)
    second.customers = 90
    second.restore(EPOCH + 5)
    live([first, second], EPOCH + 5 + HEARD_SECONDS, 2 * SETTLE_SECONDS)

    assert portions(these) == pytest.approx([2 / 3 * 0.1, 2 / 3 * 0.9, 1 / 3], rel=UNEVEN)
    assert third.parts == PARTS // 3


def test_an_owner_says_how_it_stands_though_it_has_nothing_to_publish() -> None:
    first, second = dividers(POLICY, [10, 10])
    first.happen("commit", [first, second], EPOCH)

    assert first.shares.say_at(first.owned) == EPOCH + SAY_SECONDS


def test_from_one_giving_to_the_next_there_is_time_to_hear_of_it() -> None:
    first, second = these = dividers(POLICY, [10, 100])
    live(these, EPOCH, 5)
    given = first.parts
    first.customers, second.customers = 1, 1000
    first.owned.schedule.remove(next(iter(first.owned.schedule)))
    live(these, EPOCH + 5, SETTLE_SECONDS / 2)

    assert first.parts == given


def test_an_engine_gives_to_whoever_it_hears_needs_more_and_is_not_told_of_itself() -> None:
    running = Engine(POLICY)
    running.watch([CustomerId("a")])
    running.partitioned(2)
    running.confirmed(math.inf)
    running.assigned(0, Restored({}, None), EPOCH)
    assert running.view.parts == {0: 0.5}
    commit_all(running, EPOCH)
    running.owner_said(0, ownership(share=Share(demand=1e9, customers=1000)), EPOCH)
    running.owner_said(1, ownership(share=Share(demand=1e9, customers=1000)), EPOCH)
    said = commit(running, EPOCH + SAY_SECONDS).ownership.share

    assert said is not None
    assert running.view.parts[0] < 0.1
    assert set(said.given) == {1}
    assert said.given[1] > 0.9 * PARTS / 2


def test_calls_that_are_left_in_the_cycle_go_along() -> None:
    these = dividers(MONTH, [10, 90])
    live(these, EPOCH, 60)
    cycles = [one.owned.budget.terms.cycle for one in these]

    assert [None if cycle is None else cycle.calls for cycle in cycles] == pytest.approx(
        [10_000, 90_000], rel=0.05
    )  # the giver keeps its reserve
    assert sum(0 if cycle is None else cycle.calls for cycle in cycles) <= 100_000


def test_the_staleness_is_held_at_the_pace_that_the_cycle_leaves() -> None:
    _, _, end = MONTH_CYCLE.bounds(EPOCH)
    policy = Policy(calls_limit=6_000, calls_window_seconds=60, cycle=MONTH_CYCLE, staleness_seconds_max=2 * 100 / (99_000 / (end - EPOCH)))

    assert portions(settled([50, 50], policy, (0.001, 1000.0)))[0] == pytest.approx(1.1 * 50 / (2 * 100), rel=UNEVEN)


def test_a_cap_that_is_lowered_is_divided_as_the_one_before() -> None:
    these = dividers(MONTH, [10, 90])
    live(these, EPOCH, 60)
    for one in these:
        one.under(Policy(calls_limit=600, calls_window_seconds=60, cycle=Cycle(10_000, reset_day=1)), EPOCH + 60)
    cycles = [one.owned.budget.terms.cycle for one in these]

    assert [None if cycle is None else cycle.calls for cycle in cycles] == pytest.approx([1_000, 9_000], rel=0.05)
    assert sum(0 if cycle is None else cycle.calls for cycle in cycles) <= 10_000


def test_who_gives_late_in_a_cycle_keeps_calls_for_the_rest_of_it() -> None:
    _, _, end = MONTH_CYCLE.bounds(EPOCH)
    first, second = these = dividers(MONTH, [50, 50])
    for one in these:
        cycle, _, _ = MONTH_CYCLE.bounds(end - 1)
        one.durable = Ledger(1.0, cycle, 48_000), None
        one.restore(end - 86_400)
    second.price = 16.0
    second.restore(end - 86_400)
    live(these, end - 86_400, 2 * SETTLE_SECONDS)
    left = [one.owned.budget.cycle_left() for one in these]

    assert sum(left) == pytest.approx(2 * (50_000 - 500 - 48_000), rel=0.05)
    assert left[0] / sum(left) == pytest.approx(first.parts / PARTS, rel=0.1)


def test_in_the_next_cycle_each_begins_with_its_part() -> None:
    these = dividers(MONTH, [10, 90])
    live(these, EPOCH, 60)
    _, _, end = Cycle(100_000, reset_day=1).bounds(EPOCH)
    live(these, end + 1, 30)
    said = [one.owned.share for one in these]

    assert [None if share is None else (share.cycle_given, share.cycle_taken) for share in said] == [({}, {}), ({}, {})]
    cycles = [one.owned.budget.terms.cycle for one in these]
    assert [None if cycle is None else cycle.calls for cycle in cycles] == [100_000 * one.parts // PARTS for one in these]


def test_what_is_given_in_a_newer_cycle_waits_until_we_are_in_it() -> None:
    (_, second) = dividers(MONTH, [10, 90])
    _, _, end = Cycle(100_000, reset_day=1).bounds(EPOCH)
    second.restore(end - 10)
    second.happen("commit", [], end - 10)
    newer, _, _ = Cycle(100_000, reset_day=1).bounds(end)
    second.shares.heard(0, Share(given={1: 1000}, cycle=newer, cycle_given={1: 77}), end - 9)
    second.happen("commit", [], end - 8)
    before = second.owned.share
    second.happen("commit", [], end)
    after = second.owned.share

    assert before is not None and after is not None
    assert (before.taken, before.cycle_taken) == ({}, {})
    assert (after.taken, after.cycle_taken) == ({0: 1000}, {0: 77})


def test_of_what_was_given_in_an_older_cycle_the_calls_are_gone() -> None:
    shares = Shares(MONTH, 2)
    (_, second) = dividers(MONTH, [10, 90])
    second.happen("commit", [], EPOCH)
    second.shares.heard(0, Share(given={1: 1000}, cycle="2000-01-01", cycle_given={1: 77}), EPOCH)
    second.happen("commit", [], EPOCH + 1)

    share = second.owned.share
    assert share is not None
    assert (share.taken, share.cycle_taken, shares.parts(share)) == ({0: 1000}, {}, PARTS // 2 + 1000)
