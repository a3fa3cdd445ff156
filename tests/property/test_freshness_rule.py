"""The rule of whom to call, whatever customers do: its invariants."""

import math
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.freshness import Freshness
from poller.core.rates import Forecast, Habits, forecast, habits_of, observed, taught
from poller.model import CustomerId, Learned, Pool, Rates

FORECASTS = st.builds(
    lambda rate, times, fading: Forecast(rate, rate * (times - 1), fading), st.floats(1e-9, 10.0), st.floats(0.05, 1e4), st.floats(1.0, 1e5)
)
"""At the last read activities came at least at (1 − p) times their rate in the long run, as visits start at that."""
HABITS = st.builds(Habits, st.floats(0.02, 0.95), st.floats(6.0, 7200.0))


class Play(NamedTuple):
    """Customers, some of whom fail, called slot by slot; an outage in between."""

    customers: int
    rounds_staleness: float
    outage_slots: int
    seed: int
    failing: frozenset[int]


PLAYS = st.builds(
    Play,
    customers=st.integers(1, 25),
    rounds_staleness=st.floats(1.1, 4.0),
    outage_slots=st.integers(0, 200),
    seed=st.integers(0, 2**32),
    failing=st.just(frozenset[int]()),
)
FAILING = st.builds(lambda play, failing: play._replace(failing=failing), PLAYS, st.frozensets(st.integers(0, 24), max_size=5))


def activities(play: Play, customer: CustomerId, slot: int) -> list[float]:
    """What a read at this slot finds: some act all the time, some never, some in bursts."""
    kind, burst = (int(customer) * 2_654_435_761 + play.seed) % 4, (slot * 40_503 + play.seed) % 7 == 0
    return [[], [slot - 0.5], [slot - 0.9 + 0.2 * i for i in range(4)] if burst else [], [slot - 0.5] if burst else []][kind]


class Calls:
    """The customers of a play; one call a slot of a second."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.freshness = Freshness(Learned(), 1.0, play.rounds_staleness * play.customers)
        self.last = {CustomerId(str(number)): 0 for number in range(play.customers)}
        for customer in self.last:
            self.freshness.add(customer, Rates(at=0.0))

    def call(self, slot: int) -> CustomerId:
        assert self.freshness.due_at(float(slot)) == slot
        customer = self.freshness.take(float(slot))
        if int(customer) in self.play.failing:
            self.freshness.put_failed(customer, slot + 1.0 + int(customer) * 10)
        else:
            reading = self.freshness.reading(customer, activities(self.play, customer, slot), float(slot))
            self.freshness.read(customer, reading)
            self.freshness.put(customer)
        self.last[customer] = slot
        return customer

    def oldest(self, slot: int) -> int:
        """The longest that anybody who does not fail has gone unread."""
        return max((slot - at for customer, at in self.last.items() if int(customer) not in self.play.failing), default=0)


@given(PLAYS)
@settings(max_examples=60)
def test_every_call_finds_a_customer_and_nobody_goes_unread_for_longer_than_the_bound_and_a_slot(play: Play) -> None:
    calls = Calls(play)
    bound = calls.freshness.staleness_seconds
    for slot in range(2 * play.customers):
        calls.call(slot)
    for slot in range(2 * play.customers, 12 * play.customers):
        assert calls.oldest(slot) <= bound + 1
        calls.call(slot)


@given(PLAYS, st.integers(2, 8))
@settings(max_examples=30)
def test_where_calls_come_slower_than_the_budget_allows_nobody_goes_unread_for_longer_than_they_can_help(play: Play, slots: int) -> None:
    calls = Calls(play)
    for call in range(400):
        if call >= 300:
            assert calls.oldest(call * slots) <= calls.freshness.staleness_seconds * 1.01 + slots
        calls.call(call * slots)
    round_seconds, bound = slots * play.customers, play.rounds_staleness * play.customers

    assert calls.freshness.staleness_seconds == pytest.approx(max(bound, 1.1 * round_seconds), rel=0.02)


@given(PLAYS, st.lists(st.floats(0.0, 1e6), max_size=60))
@settings(max_examples=60)
def test_whenever_calls_come_their_pace_is_positive_and_no_faster_than_the_budget(play: Play, gaps: list[float]) -> None:
    freshness, now = Calls(play).freshness, 0.0
    for gap in gaps:
        now += gap
        before = freshness.calls_per_second
        customer = freshness.take(now)
        freshness.put(customer)

        assert 0.9 * before <= freshness.calls_per_second <= 1.0


@given(PLAYS, st.integers(1, 5), st.integers(0, 300))
@settings(max_examples=30)
def test_a_read_of_many_pages_delays_nobody_by_more_than_its_further_pages(play: Play, pages: int, when: int) -> None:
    calls = Calls(play._replace(customers=play.customers + 75))
    customers, slot = calls.play.customers, 0
    while slot < 8 * customers:
        if slot >= 2 * customers:
            assert calls.oldest(slot) <= calls.freshness.staleness_seconds + 1 + pages
        calls.call(slot)
        slot += 1 + pages * (slot == 2 * customers + when)


@given(PLAYS)
@settings(max_examples=60)
def test_two_rounds_after_an_outage_the_bound_holds_again(play: Play) -> None:
    calls = Calls(play)
    for slot in range(4 * play.customers):
        calls.call(slot)
    begin = 4 * play.customers + play.outage_slots
    for slot in range(begin, begin + 2 * play.customers):
        calls.call(slot)
    for slot in range(begin + 2 * play.customers, begin + 6 * play.customers):
        assert calls.oldest(slot) <= calls.freshness.staleness_seconds + 1
        calls.call(slot)


def test_the_same_with_many_customers_and_hardly_anything_to_spare() -> None:
    """The outage itself is not taken for the pace of calls."""
    many = Play(1_000, 1.1, 3_300, 1, frozenset())
    calls = Calls(many)
    for slot in range(2 * many.customers):
        calls.call(slot)
    begin = 2 * many.customers + many.outage_slots
    for slot in range(begin, begin + 2 * many.customers):
        calls.call(slot)
    assert calls.oldest(begin + 2 * many.customers) <= 1.1 * many.customers * 1.005


@given(FAILING)
@settings(max_examples=60)
def test_customers_that_fail_delay_nobody_beyond_the_bound_by_more_than_a_slot_each(play: Play) -> None:
    calls = Calls(play)
    if len(play.failing.intersection(range(play.customers))) == play.customers:
        return
    bound = calls.freshness.staleness_seconds
    for slot in range(10 * play.customers):
        if slot >= 2 * play.customers:
            assert calls.oldest(slot) <= bound + 1 + len(play.failing)
        if calls.freshness.due_at(float(slot)) == slot:
            calls.call(slot)


@given(PLAYS, st.integers(0, 100))
@settings(max_examples=60)
def test_a_successor_that_restores_what_was_learned_decides_the_same(play: Play, then: int) -> None:
    calls, begin = Calls(play), 2 * play.customers + then
    for slot in range(begin):
        calls.call(slot)
    heir = Calls(play)
    heir.freshness = Freshness(calls.freshness.learned, 1.0, play.rounds_staleness * play.customers)
    for customer in sorted(calls.last, reverse=True):
        heir.freshness.add(customer, calls.freshness.rates(customer), float(calls.last[customer]))

    assert [calls.call(slot) for slot in range(begin, begin + 60)] == [heir.call(slot) for slot in range(begin, begin + 60)]
    assert heir.freshness.learned == calls.freshness.learned


@given(FORECASTS, st.lists(st.floats(0.0, 1e6), min_size=3, max_size=3))
def test_waiting_begins_at_nothing_and_grows_ever_faster_by_what_is_pending(expected: Forecast, instants: list[float]) -> None:
    early, middle, late = sorted(instants)
    at_the_middle = expected.waiting(middle)
    slack = 1e-6 * (1 + at_the_middle)

    assert expected.waiting(0.0) == 0.0 == expected.pending(0.0)
    assert expected.waiting(early) <= at_the_middle + slack
    # A convex function lies above its tangents.
    assert expected.waiting(early) >= at_the_middle - expected.pending(middle) * (middle - early) - slack
    assert expected.waiting(late) >= at_the_middle + expected.pending(middle) * (late - middle) - 1e-6 * (1 + expected.waiting(late))


@given(FORECASTS, st.floats(1.0, 1e5))
def test_what_is_pending_is_the_derivative_of_what_has_waited(expected: Forecast, seconds: float) -> None:
    step = seconds * 1e-4
    slope = (expected.waiting(seconds + step) - expected.waiting(seconds - step)) / (2 * step)

    assert slope == pytest.approx(expected.pending(seconds), rel=1e-3)


@given(FORECASTS, st.floats(1e-3, 1e9))
def test_the_due_time_is_never_before_the_price_is_reached_and_at_most_a_little_after(expected: Forecast, price: float) -> None:
    assert price * (1 - 1e-6) <= expected.waiting(expected.reaches(price)) <= price * 1.05


@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(0.0)), max_size=40),
    st.floats(-1e6, 1e6),
    st.floats(1e-9, 1.0),
    HABITS,
    st.floats(0.0, 50.0),
)
def test_whatever_a_read_finds_rates_stay_positive_and_finite(
    times: list[float], until: float, fleet: float, habits: Habits, running: float
) -> None:
    after, lesson = observed(Rates(at=0.0, running=running), times, until, fleet, habits)
    expected, pool = forecast(after, fleet, habits), taught(Pool(), lesson)

    assert 0 <= after.running < math.inf and 0 <= after.visits <= len(times) and after.exposure >= 0 and after.at == until
    assert 0 < expected.rate < math.inf and expected.rate + expected.excess > 0
    assert 0 <= lesson.follows <= len(times) and lesson.gap_seconds >= 0
    assert 0 < habits_of(pool).chance < 1 and 0 < expected.reaches(1.0) < math.inf


@pytest.mark.parametrize("spread_seconds", [0.0, 1e-3])
def test_a_million_activities_in_one_read_leave_everything_finite(spread_seconds: float) -> None:
    freshness = Freshness(Learned(), 1.0)
    name = CustomerId("a")
    freshness.add(name, Rates(at=0.0))
    freshness.take(10.0)
    reading = freshness.reading(name, [10.0 + spread_seconds * i for i in range(1_000_000)], 10.0 + spread_seconds * 1e6)
    freshness.read(name, reading)

    assert 0 < freshness.price < math.inf and 0 <= reading.rates.running < math.inf
    assert reading.rates.due is not None and reading.rates.at <= reading.rates.due <= reading.rates.at + freshness.staleness_seconds


def test_a_customer_that_never_acts_is_read_all_the_same() -> None:
    freshness = Freshness(Learned(), 1.0)
    name = CustomerId("a")
    freshness.add(name, Rates(at=0.0))
    for slot in range(10_000):
        assert freshness.take(slot * 1e4) == name
        freshness.read(name, freshness.reading(name, [], slot * 1e4))
        freshness.put(name)

    assert 0 < freshness.price < math.inf
