"""What is learned of how often customers act, and what it lets expect."""

import math

import msgspec
import pytest

from poller.core.rates import (
    CHANCE_MAX,
    CHANCE_MIN,
    GAP_SECONDS_MAX,
    GAP_SECONDS_MIN,
    MEMORY_SECONDS,
    Forecast,
    Habits,
    forecast,
    habits_of,
    observed,
    taught,
    visit_rate,
)
from poller.model import NO_LESSON, Lesson, Pool, Rates

HOUR = 3600.0
FLEET = 1 / HOUR
HABITS = Habits(chance=0.5, gap=300.0)


def test_an_hour_after_a_read_of_a_steady_customer_its_activities_have_waited_half_an_hour_each() -> None:
    steady = Forecast(rate=2 / HOUR, excess=0.0, fading=600.0)

    assert steady.pending(HOUR) == pytest.approx(2.0)
    assert steady.waiting(HOUR) == pytest.approx(2.0 * HOUR / 2)


def test_a_visit_under_way_is_expected_to_bring_what_visits_bring_and_no_more() -> None:
    acting = Forecast(rate=0.0, excess=1 / 300.0, fading=600.0)

    assert acting.pending(1e6) == pytest.approx(2.0)  # p/(1 − p) activities would follow one; a visit that runs has one of them for certain
    assert acting.waiting(1e6) == pytest.approx(2.0 * (1e6 - 600.0))


def test_for_a_steady_customer_the_due_time_is_that_of_the_square_root_rule() -> None:
    assert Forecast(rate=0.01, excess=0.0, fading=600.0).reaches(50.0) == pytest.approx(math.sqrt(2 * 50.0 / 0.01))


@pytest.mark.parametrize("excess", [-0.0009, 0.0, 0.1, 10.0])
@pytest.mark.parametrize("price", [0.1, 100.0, 1e6])
def test_at_the_due_time_the_waiting_has_reached_the_price(excess: float, price: float) -> None:
    expected = Forecast(rate=0.001, excess=excess, fading=800.0)

    assert expected.waiting(expected.reaches(price)) == pytest.approx(price, rel=0.05)


def test_a_customer_that_has_shown_nothing_yet_is_taken_for_one_like_the_others() -> None:
    assert visit_rate(Rates(at=0.0), FLEET) == FLEET


def test_what_a_customer_shows_outweighs_the_prior_with_time() -> None:
    rates = Rates(at=0.0, visits=99.0, exposure=9 * HOUR)

    assert visit_rate(rates, FLEET) == pytest.approx(100 / (10 * HOUR))


def test_a_forecast_begins_at_the_rate_of_now_and_ends_at_that_of_the_long_run() -> None:
    expected = forecast(Rates(at=0.0, running=1.0), FLEET, HABITS)

    assert expected.rate == pytest.approx(2 * FLEET)
    assert expected.rate + expected.excess == pytest.approx(FLEET + 1 / 300.0)
    assert expected.fading == pytest.approx(600.0)


def test_an_activity_after_a_long_silence_starts_a_visit() -> None:
    rare = FLEET / 100
    after, lesson = observed(Rates(at=0.0), [HOUR], HOUR, rare, HABITS)

    assert after == Rates(at=HOUR, due=None, running=0.5, visits=1.0, exposure=HOUR, last=HOUR)
    assert lesson == Lesson(activities=1, follows=0.0, gap_seconds=0.0)


def test_activities_in_quick_succession_are_one_visit() -> None:
    rare = FLEET / 100
    after, lesson = observed(Rates(at=0.0), [HOUR + 10.0 * i for i in range(20)], HOUR + 190.0, rare, HABITS)

    assert 1.0 <= after.visits < 1.1
    assert lesson.activities == 20 and 18.9 < lesson.follows <= 19.0
    assert lesson.gap_seconds == pytest.approx(lesson.follows * 10.0)


def test_a_silence_ends_visits() -> None:
    still = [
        observed(Rates(at=0.0, running=running), [], seconds, FLEET, HABITS)[0].running
        for running in (0.5, 3.0)
        for seconds in (0.0, 300.0, 1e5)
    ]

    e = math.exp(-1)
    assert still[:2] == [0.5, pytest.approx(0.5 * e / (0.5 + 0.5 * e))]
    assert still[3:5] == [3.0, pytest.approx(3.0 * e)]
    assert still[2] < 1e-9 and still[5] < 1e-9


def test_an_activity_ends_or_goes_on_with_no_more_than_one_of_several_visits() -> None:
    after, _ = observed(Rates(at=0.0, running=3.0), [0.0], 0.0, FLEET / 1e6, HABITS)

    assert after.running == pytest.approx(3.0 - 1.0 + 0.5)


def test_what_is_known_fades_with_age_and_what_is_new_counts_whole() -> None:
    after, _ = observed(Rates(at=0.0, visits=8.0, exposure=4.0), [], MEMORY_SECONDS, FLEET, HABITS)

    assert after.visits == pytest.approx(8.0 / math.e)
    assert after.exposure == pytest.approx(4.0 / math.e + MEMORY_SECONDS)


def test_a_busy_customer_teaches_nothing_of_visits() -> None:
    busy = Rates(at=0.0, visits=1000.0, exposure=HOUR)

    assert observed(busy, [1.0, 2.0], 2.0, FLEET, HABITS)[1] == NO_LESSON


def test_activities_out_of_order_count_like_others() -> None:
    after, lesson = observed(Rates(at=100.0, running=0.5, last=90.0), [50.0, 120.0, 110.0], 130.0, FLEET / 100, HABITS)

    assert (after.at, after.last, after.exposure) == (130.0, 120.0, 30.0)
    assert lesson.activities == 3 and lesson.gap_seconds >= 0.0


def test_an_activity_from_the_future_is_taken_for_one_of_now() -> None:
    read = Rates(at=100.0)

    assert observed(read, [1e12], 130.0, FLEET, HABITS) == observed(read, [130.0], 130.0, FLEET, HABITS)


def test_a_clock_that_was_set_back_is_followed_and_nothing_was_seen_meanwhile() -> None:
    after, _ = observed(Rates(at=7200.0, visits=1.0, exposure=50.0), [], 3600.0, FLEET, HABITS)

    assert (after.at, after.visits, after.exposure) == (3600.0, 1.0, 50.0)


def test_the_fleet_begins_with_what_is_usual() -> None:
    assert habits_of(Pool()) == Habits(chance=0.5, gap=300.0)


def test_lessons_replace_what_the_fleet_began_with() -> None:
    pool = Pool()
    for _ in range(1000):
        pool = taught(pool, Lesson(activities=100, follows=80.0, gap_seconds=80.0 * 120.0))

    assert habits_of(pool).chance == pytest.approx(0.8)
    assert habits_of(pool).gap == pytest.approx(120.0)
    assert pool.activities <= 5000.5


def test_no_lesson_changes_nothing() -> None:
    assert taught(Pool(), NO_LESSON) == Pool()


def test_one_read_of_very_many_activities_weighs_no_more_than_what_is_remembered() -> None:
    pool = taught(Pool(), Lesson(activities=1_000_000, follows=900_000.0, gap_seconds=9e6))

    assert pool.activities == pytest.approx(5000.0)
    assert habits_of(pool).chance == pytest.approx(0.9)
    assert habits_of(pool).gap == pytest.approx(10.0)


def test_habits_are_bounded_whatever_was_seen() -> None:
    lows, highs = habits_of(Pool(10.0, 0.0, 0.0)), habits_of(Pool(10.0, 10.0, 1e9))

    assert lows == Habits(CHANCE_MIN, GAP_SECONDS_MIN)
    assert highs == Habits(CHANCE_MAX, GAP_SECONDS_MAX)


def test_what_rides_in_a_checkpoint_is_a_short_array_and_comes_back_as_it_was() -> None:
    rates = Rates(at=1.5, due=2.5, running=0.25, visits=3.0, exposure=4.0, last=1.0)

    assert msgspec.json.encode(rates) == b"[1.5,2.5,0.25,3.0,4.0,1.0]"
    assert msgspec.json.decode(msgspec.json.encode(rates), type=Rates) == rates
    assert msgspec.json.decode(msgspec.json.encode(Pool()), type=Pool) == Pool()
