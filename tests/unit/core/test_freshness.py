"""Whom to call, so that a budget buys the freshest data."""

import math

import pytest

from poller.core.freshness import PRICE_MAX, PRICE_MIN, VOID_MAX, Freshness
from poller.model import CustomerId, Learned, Pool, Rates
from tests.support.engines import taken

A, B, C, D = (CustomerId(name) for name in "abcd")
SLOT = 1.0
"""Seconds between two calls, at one a second."""


def freshness(*customers: CustomerId, bound: float | None = None, called: float = 0.0) -> Freshness:
    """Customers who were all read once, each due a second after the one before, from 10 on."""
    schedule = Freshness(Learned(), calls_per_second=1 / SLOT, staleness_seconds_max=bound)
    for number, customer in enumerate(customers):
        schedule.add(customer, Rates(at=called, due=10.0 + number), called + number * SLOT)
    return schedule


def read(schedule: Freshness, customer: CustomerId, now: float, times: list[float] | None = None) -> None:
    schedule.read(customer, schedule.reading(customer, times or [], now))
    schedule.put(customer)


def test_nobody_may_be_called_where_nobody_stands() -> None:
    schedule = freshness()

    assert (schedule.due_at(5.0), len(schedule), A in schedule) == (math.inf, 0, False)


def test_who_is_due_first_is_called_first_and_nobody_is_waited_for() -> None:
    schedule = freshness(C, A, B, bound=1000.0)

    assert schedule.due_at(2.0) == 2.0
    assert taken(schedule, 2.0) == [C, A, B]
    assert schedule.due_at(2.0) == math.inf


def test_who_was_called_is_away_until_it_is_put_back() -> None:
    schedule = freshness(A, B, bound=1000.0)

    assert schedule.take(11.0) == A
    assert (len(schedule), A in schedule) == (1, True)
    read(schedule, A, 11.0)
    assert len(schedule) == 2


def test_who_acts_more_often_is_due_sooner() -> None:
    schedule = freshness(A, B, bound=1e9)
    for customer, visits in ((A, 50.0), (B, 1.0)):
        schedule.remove(customer)
        schedule.add(customer, Rates(at=0.0, due=0.0, visits=visits, exposure=1e5), 0.0)
    due = [schedule.reading(customer, [], 100.0).rates.due for customer in (A, B)]

    assert due[0] is not None and due[1] is not None and 100.0 < due[0] < due[1]


def test_who_is_acting_now_is_due_sooner_than_before() -> None:
    schedule = freshness(A, B, bound=1e9)
    quiet, acting = schedule.reading(A, [], 100.0).rates.due, schedule.reading(A, [99.0], 100.0).rates.due

    assert quiet is not None and acting is not None and acting < quiet


def test_who_counts_four_times_as_much_is_called_twice_as_often() -> None:
    schedule = freshness(A, B, bound=1e9)
    schedule.add(C, Rates(at=0.0, due=0.0), 0.0, weight=4.0)
    first = schedule.reading(C, [], 100.0).rates.due
    schedule.weigh(C, 1.0)
    then = schedule.reading(C, [], 100.0).rates.due

    assert first is not None and then is not None
    assert then - 100.0 == pytest.approx(2 * (first - 100.0), rel=0.01)


def test_a_reading_counts_only_once_it_is_committed() -> None:
    schedule = freshness(A, bound=1000.0)
    schedule.take(10.0)
    before = schedule.rates(A), schedule.learned
    reading = schedule.reading(A, [1.0, 2.0, 9.0], 10.0)

    assert (schedule.rates(A), schedule.learned) == before
    schedule.read(A, reading)
    assert schedule.rates(A) == reading.rates
    assert schedule.forecast(A).excess > 0


def test_a_read_that_came_to_nothing_leaves_its_customer_due() -> None:
    schedule = freshness(A, B, bound=1000.0)
    schedule.put(schedule.take(20.0))

    assert schedule.take(20.0) == A


def test_nobody_is_due_later_than_the_bound() -> None:
    schedule = freshness(A, bound=2.2)
    unbounded = schedule.forecast(A).reaches(schedule.price * 1e9)

    schedule.weigh(A, 1e-9)
    assert unbounded > 2.2
    assert schedule.reading(A, [], 10.0).rates.due == 10.0 + 2.2


def test_the_head_of_the_queue_is_called_one_slot_before_the_bound() -> None:
    schedule = freshness(A, B, C, bound=50.0)
    for customer in (B, C):  # they are due first, and A was called longest ago
        schedule.hint(customer, 5.0)

    assert schedule.take(49.0) == A


def test_where_calls_come_slower_than_the_budget_allows_such_a_slot_is_longer() -> None:
    paces = {}
    for slots in (1.0, 3.0):
        schedule = Freshness(Learned(slots=slots), calls_per_second=1 / SLOT, staleness_seconds_max=30.0)
        schedule.add(A, Rates(at=0.0, due=1e9), 0.0)
        schedule.add(B, Rates(at=0.0, due=10.0), 1.0)
        paces[slots] = schedule.take(27.5)

    assert paces == {1.0: B, 3.0: A}


def test_before_that_who_is_due_first_is_called() -> None:
    schedule = freshness(A, B, C, bound=50.0)
    schedule.hint(C, 5.0)

    assert schedule.take(48.9) == C


def test_after_an_outage_the_queue_and_the_due_take_turns() -> None:
    customers = [CustomerId(f"{number:02}") for number in range(20)]
    schedule = freshness(*customers, bound=40.0)
    for customer in reversed(customers):
        schedule.hint(customer, -1.0 * int(customer))

    assert [schedule.take(1000.0 + slot) for slot in range(6)] == ["00", "19", "01", "18", "02", "17"]


def test_a_round_after_an_outage_the_queue_takes_every_call_until_the_bound_holds() -> None:
    customers = [CustomerId(f"{number:02}") for number in range(20)]
    schedule = freshness(*customers, bound=22.0)
    served = []
    for slot in range(40):
        schedule.hint(customers[19], -1.0)  # it would take every call that the queue leaves
        served.append(schedule.take(1000.0 + slot))
        schedule.put(served[-1])

    assert served[:20:2] == customers[:10]
    assert served[1:20:2] == [customers[19]] * 10
    assert served[20:30] == customers[10:19] + customers[:1]


def test_who_was_never_called_takes_turns_with_the_due() -> None:
    schedule = freshness(A, B, bound=1000.0)
    schedule.add(C, Rates(at=20.0))
    schedule.add(D, Rates(at=20.0))

    assert [schedule.take(20.0) for _ in range(2)] == [C, D]


def test_who_failed_is_not_called_before_its_time() -> None:
    schedule = freshness(A, bound=1000.0)
    schedule.put_failed(schedule.take(10.0), 60.0)

    assert (schedule.due_at(50.0), schedule.due_at(60.0), len(schedule)) == (60.0, 60.0, 1)
    assert schedule.take(60.0) == A


def test_who_failed_holds_up_nobody_in_the_queue_and_its_rate_is_as_it_was() -> None:
    schedule = freshness(A, B, C, bound=50.0)
    before = schedule.rates(A)
    schedule.put_failed(schedule.take(10.0), 1e6)
    read(schedule, schedule.take(20.0), 20.0)
    read(schedule, schedule.take(21.0), 21.0)

    assert schedule.take(69.0) == B  # called at 20; A, who was called before, is passed over
    assert schedule.rates(A) == before


def test_whose_turn_passed_while_it_waited_has_its_next_turn_after_the_others() -> None:
    schedule = freshness(A, B, C, bound=50.0)
    schedule.put_failed(schedule.take(10.0), 100.0)
    for now in (20.0, 21.0, 69.0, 70.0):  # at 69 it would have been A's turn
        read(schedule, schedule.take(now), now)

    assert [schedule.take(101.0) for _ in range(3)] == [B, C, A]  # A is back, and was due last


def test_a_hint_makes_a_customer_due_now_and_leaves_its_place_in_the_queue() -> None:
    schedule = freshness(A, B, C, bound=50.0)
    schedule.hint(C, 1.0)
    schedule.hint(C, 2.0)

    assert schedule.place_of(C, 3.0) == (3.0, 0)
    assert (schedule.take(3.0), len(schedule)) == (C, 2)
    assert list(schedule._places) == [A, B, C]


def test_a_hint_for_a_customer_that_is_away_makes_it_due_when_it_comes_back() -> None:
    schedule = freshness(A, B, bound=1000.0)
    away = schedule.take(5.0)
    schedule.hint(away, 6.0)
    read(schedule, away, 7.0)

    assert schedule.take(7.0) == A


def test_a_hint_does_not_shorten_the_wait_of_who_failed() -> None:
    schedule = freshness(A, bound=1000.0)
    schedule.put_failed(schedule.take(5.0), 60.0)
    schedule.hint(A, 6.0)

    assert schedule.due_at(7.0) == 60.0


def test_who_is_removed_is_called_no_more_wherever_it_stands() -> None:
    schedule = freshness(A, B, C, D, bound=1000.0)
    schedule.put_failed(schedule.take(5.0), 60.0)
    away = schedule.take(5.0)
    for customer in (A, away, C):
        schedule.remove(customer)

    assert (len(schedule), taken(schedule, 100.0), schedule.due_at(100.0)) == (1, [D], math.inf)


def test_what_all_have_shown_together_goes_with_who_showed_it() -> None:
    schedule, untouched = freshness(A), freshness(A)
    schedule.add(B, Rates(at=0.0, due=0.0, visits=12.3456789, exposure=98765.4321), 0.0)
    schedule.remove(B)

    assert schedule.price == untouched.price


def test_what_all_have_shown_together_does_not_depend_on_their_order() -> None:
    customers = [CustomerId(f"{number}") for number in range(50)]
    prices = set()
    for order in (customers, customers[::-1], customers[::2] + customers[1::2]):
        schedule = freshness()
        for customer in order:
            schedule.add(customer, Rates(at=0.0, due=0.0, visits=1 / (3 + int(customer)), exposure=1e5 / (7 + int(customer))), 0.0)
        prices.add(schedule.price)

    assert len(prices) == 1


def test_customers_that_come_in_any_order_queue_in_the_order_of_their_last_calls() -> None:
    schedule = Freshness(Learned(), 1.0, 100.0)
    for customer, called in ((A, 30.0), (B, 10.0), (C, 20.0)):
        schedule.add(customer, Rates(at=called, due=500.0), called)

    assert [schedule.take(120.0 + slot) for slot in range(3)] == [B, C, A]


def test_the_place_of_a_customer_counts_the_calls_before_it() -> None:
    schedule = freshness(A, B, C, bound=1000.0)
    schedule.put_failed(schedule.take(5.0), 60.0)

    assert [schedule.place_of(customer, 6.0) for customer in (B, C, A)] == [(6.0, 0), (6.0, 1), (60.0, 2)]
    assert schedule.place_of(A, 70.0) == (70.0, 2)


def test_nobody_waits_for_more_calls_than_fit_before_the_bound() -> None:
    schedule = freshness(*(CustomerId(f"{number}") for number in range(10)), bound=30.0)
    schedule.add(A, Rates(at=0.0, due=500.0), called=-5.0)

    assert [schedule.place_of(A, now)[1] for now in (9.0, 19.0, 24.0)] == [10, 6, 1]


def test_who_is_overdue_waits_for_those_who_were_called_before_or_are_due_before() -> None:
    schedule = freshness(*(CustomerId(f"{number}") for number in range(10)), bound=11.0)
    schedule.add(A, Rates(at=0.0, due=500.0))

    assert schedule.place_of(A, 19.0) == (19.0, 0)
    assert schedule.place_of(CustomerId("9"), 19.0) == (19.0, 9)


def test_the_bound_is_two_rounds_where_none_is_set_and_never_less_than_the_budget_allows() -> None:
    assert freshness(A, B, C, D).staleness_seconds == 8.0
    assert freshness(A, B, C, D, bound=20.0).staleness_seconds == 20.0
    assert freshness(A, B, C, D, bound=2.0).staleness_seconds == pytest.approx(4.4)


def test_calls_that_come_half_as_fast_as_the_budget_allows_are_half_the_pace() -> None:
    schedule = freshness(A, B)
    paces = {}
    for call in range(1, 1001):
        read(schedule, schedule.take(call * 2 * SLOT), call * 2 * SLOT)
        paces[call] = schedule.calls_per_second

    assert paces[1] == 1.0
    assert paces[40] == pytest.approx(0.6, rel=0.05)  # 39 of them and 20 that were taken for granted
    assert [paces[1000], schedule.round_seconds, schedule.staleness_seconds] == pytest.approx([0.5, 4.0, 8.0], rel=1e-3)


def test_a_bound_that_the_pace_of_calls_cannot_hold_is_as_near_to_it_as_can_be_held() -> None:
    schedule = freshness(A, B, bound=4.0)
    for call in range(1, 1001):
        read(schedule, schedule.take(call * 4 * SLOT), call * 4 * SLOT)

    assert schedule.staleness_seconds == pytest.approx(1.1 * 2 * 4, rel=1e-3)


def test_calls_that_come_faster_than_the_budget_allows_are_not_the_pace() -> None:
    schedule = freshness(A, B)
    for call in range(100):
        read(schedule, schedule.take(call * SLOT / 2), call * SLOT / 2)

    assert schedule.calls_per_second == 1.0


def test_one_gap_between_calls_makes_the_pace_slower_by_no_more_than_a_tenth() -> None:
    schedule = freshness(A, B)
    for now in (0.0, 1e6):
        read(schedule, schedule.take(now), now)

    assert 0.9 < schedule.calls_per_second < 1.0


def test_the_time_after_a_failure_is_not_the_pace() -> None:
    schedule = freshness(A, B)
    for call in range(100):
        schedule.put_failed(schedule.take(call * 50.0), call * 50.0)

    assert schedule.calls_per_second == 1.0


def test_half_the_budget_is_four_times_the_price_at_once_and_none_at_all_changes_nothing() -> None:
    schedule = freshness(A, B)
    price = schedule.price
    schedule.pace(0.5)
    schedule.pace(0.0)

    assert schedule.price == pytest.approx(4 * price)


def test_calls_that_came_late_raise_the_price_and_early_ones_lower_it() -> None:
    late, early = freshness(A, bound=1e9), freshness(A, bound=1e9)
    late.take(1e8)
    early.take(0.0)

    assert early.learned.price < 1.0 < late.learned.price
    assert late.learned.price == pytest.approx(math.exp(1 / 1000))


def test_a_call_that_something_else_prompted_says_nothing_of_the_price() -> None:
    hinted, failed, new = freshness(A, bound=1e9), freshness(A, bound=1e9), Freshness(Learned(), 1.0)
    hinted.hint(A, 1.0)
    failed.put_failed(A, 5.0)
    new.add(A, Rates(at=0.0))
    prices = []
    for schedule in (hinted, failed, new):
        schedule.take(9.0)
        prices.append(schedule.learned.price)

    assert prices == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("start", "now", "bound"), [(PRICE_MAX, 1e300, PRICE_MAX), (PRICE_MIN, 0.0, PRICE_MIN)])
def test_the_price_stays_within_its_bounds(start: float, now: float, bound: float) -> None:
    schedule = Freshness(Learned(price=start), 1.0, 1e301)
    schedule.add(A, Rates(at=0.0, due=1.0), 0.0)
    schedule.take(now)

    assert schedule.learned.price == bound


def test_a_successor_goes_on_with_what_was_learned() -> None:
    schedule = freshness(A, B, bound=1000.0)
    read(schedule, schedule.take(20.0), 20.0, [5.0, 6.0])
    read(schedule, schedule.take(22.0), 22.0)
    heir = Freshness(schedule.learned, 1.0, 1000.0)
    for customer in (A, B):
        heir.add(customer, schedule.rates(customer), 0.0)

    assert heir.learned == schedule.learned != Learned()
    assert (heir.price, heir.forecast(A)) == (schedule.price, schedule.forecast(A))
    assert heir.calls_per_second == schedule.calls_per_second < 1.0
    assert heir.learned.pool != Pool()


def test_customers_restored_in_any_order_have_their_turns_in_the_order_of_their_last_calls() -> None:
    schedule = freshness(bound=4.4)
    for customer, called, due in ((C, 3.0, 1e9 - 2), (A, 1.0, 1e9), (D, 3.0, 1e9 - 3), (B, 2.0, 1e9 - 1)):
        schedule.add(customer, Rates(at=called, due=due), called)

    assert [schedule.take(now) for now in (5.0, 6.0, 7.0, 7.1)] == [A, B, C, D]  # C came before D


def test_whoever_comes_later_and_was_called_before_others_has_its_turns_before_them() -> None:
    schedule = freshness(A, B, bound=4.4, called=100.0)
    for customer in (C, D):
        schedule.add(customer, Rates(at=99.0, due=1e9), 99.0)
    turns = []
    for now in (102.6, 103.0, 104.0, 105.0, 106.6, 107.0, 108.0, 109.0):
        turns.append(schedule.take(now))
        schedule.put(turns[-1])

    assert turns == [C, D, A, B, C, D, A, B]


def test_whoever_came_later_and_is_no_longer_watched_has_no_turn() -> None:
    schedule = freshness(A, B, bound=4.4, called=100.0)
    schedule.add(C, Rates(at=50.0, due=1e9), 50.0)
    schedule.remove(C)

    assert taken(schedule, 104.0) == [A, B]


def test_whoever_comes_after_many_who_were_never_called_goes_before_them_and_the_next_one_too() -> None:
    schedule = freshness()
    for name in (A, B):
        schedule.add(name, None)
    for name in (C, D):
        schedule.add(name, None)
        schedule.welcome(name)

    assert taken(schedule, 0.0) == [A, D, B, C]  # every second call is for who has waited longest


def test_a_welcome_changes_nothing_for_whoever_was_called_or_is_away() -> None:
    schedule = freshness()
    schedule.add(A, None)
    schedule.add(B, Rates(at=5.0, due=5.0), 5.0)
    schedule.add(C, None, away=True)
    for name in (B, C):
        schedule.welcome(name)

    assert taken(schedule, 10.0) == [A, B]


def test_customers_who_come_and_go_leave_nothing_behind() -> None:
    schedule = freshness()
    for name in (A, B):
        schedule.add(name, Rates(at=0.0, due=1e9), 5.0)
    for _ in range(10 * VOID_MAX):
        schedule.remove(A)
        schedule.add(A, Rates(at=0.0, due=1e9), 1.0)

    assert len(schedule._index) <= VOID_MAX + 2 * 2
    assert len(schedule._early) <= VOID_MAX + 2 * 2
    assert taken(schedule, 2e9) == [A, B]
