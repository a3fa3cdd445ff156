"""Who acts when: the workload's checksums, and the same process without an end."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from poller.demo.options import SimulatorOptions
from poller.demo.population import DAY_MINUTES, DEFECTS, Rhythm, Scripted, Visits, ascending, workload
from poller.demo.readings import Stored

START = 1_800_000_000.0
OPTIONS = SimulatorOptions(customers=20, activities_per_customer_minute=1.0, tie_rate=0.0, late_rate=0.0)


def made(options: SimulatorOptions, seconds: float) -> list[Stored]:
    population = Visits(options, START)
    return [activity for customer in population.customers for activity in population.activities(customer, START + seconds)]


@pytest.mark.parametrize(
    ("customers", "exponent", "days", "activities", "minutes"),
    [(1000, 1.0, 6, 72_189, 315_923_522.87), (2000, 1.0, 14, 333_762, 3_385_060_301.96), (2000, 1.2, 14, 334_623, 3_412_563_687.32)],
)
def test_the_workload_is_the_same_everywhere(customers: int, exponent: float, days: int, activities: int, minutes: float) -> None:
    times = workload(customers, exponent, days, seed=1)

    assert sum(map(len, times)) == activities
    assert math.fsum(t for of_customer in times for t in of_customer) == pytest.approx(minutes, abs=0.01)
    assert all(earlier <= later for of_customer in times for earlier, later in pairwise(of_customer))
    if (customers, exponent) == (2000, 1.0):
        assert times[0][0] == pytest.approx(1143.986471137295, abs=1e-9)


def test_visits_that_overlap_are_merged_to_their_end() -> None:
    assert list(ascending([[1.0, 5.0, 9.0], [3.0, 4.0], [8.0, 20.0]])) == [1.0, 3.0, 4.0, 5.0, 8.0, 9.0, 20.0]


def test_a_workload_without_bursts_acts_at_its_mean_rate() -> None:
    times = workload(50, 0.0, 40, seed=3, rhythm=Rhythm(follow=0.0, day_amplitude=0.0))

    assert sum(map(len, times)) == pytest.approx(50 * 40 * 12, rel=0.03)


def test_finite_days_are_exactly_the_workload() -> None:
    options = SimulatorOptions(customers=10, days=2, seed=4, tie_rate=0.0)
    population = Visits(options, START)
    expected = workload(10, 1.0, 2, seed=4)

    for customer, times in zip(population.customers, expected, strict=True):
        activities = population.activities(customer, START + 1e9)
        assert [activity.created_at_ms for activity in activities] == [int((START + t * 60) * 1000) for t in times]


def test_an_endless_population_acts_at_the_asked_rate() -> None:
    options = replace(OPTIONS, day_amplitude=0.0)

    assert len(made(options, 7_200)) == pytest.approx(20 * 120, rel=0.1)


def test_customers_act_in_visits() -> None:
    gaps = [
        later.created_at_us - earlier.created_at_us
        for options in [SimulatorOptions(customers=1, day_amplitude=0.0, tie_rate=0.0)]
        for earlier, later in pairwise(made(options, 86_400 * 200))
    ]
    within_visit = sum(gap < 20 * 60 * 1_000_000 for gap in gaps) / len(gaps)

    assert within_visit == pytest.approx(0.78, abs=0.06)  # 0.75, and the visits that happen to begin during another


def test_the_day_has_its_peak() -> None:
    minutes = [t % DAY_MINUTES for times in workload(100, 0.5, 10, seed=2) for t in times]
    around_peak = sum(720 <= minute < 960 for minute in minutes)
    around_trough = sum(0 <= minute < 240 for minute in minutes)

    assert around_peak > 3 * around_trough


def test_how_often_it_is_asked_changes_nothing() -> None:
    stepwise, at_once = Visits(OPTIONS, START), Visits(OPTIONS, START)
    for second in range(0, 600, 7):
        for customer in stepwise.customers:
            stepwise.activities(customer, START + second)

    for customer in stepwise.customers:
        assert list(stepwise.activities(customer, START + 600)) == list(at_once.activities(customer, START + 600))


def test_nothing_is_created_before_its_time() -> None:
    population = Visits(replace(OPTIONS, tie_rate=0.5), START)

    for second in range(0, 600, 11):
        for customer in population.customers:
            assert all(activity.created_at_ms <= (START + second) * 1000 for activity in population.activities(customer, START + second))


def test_activities_ascend_and_their_ids_differ() -> None:
    population = Visits(replace(OPTIONS, tie_rate=0.5), START)
    lists = [population.activities(customer, START + 900) for customer in population.customers]
    ids = [activity.id for activities in lists for activity in activities]

    assert all(earlier.created_at_us <= later.created_at_us for activities in lists for earlier, later in pairwise(activities))
    assert len(ids) == len(set(ids)) > 100
    assert all(re.fullmatch("(evcus|event)_[0-9a-f]{18}", name) for name in ids)


def test_the_same_seed_gives_the_same_activities_and_another_gives_others() -> None:
    assert made(OPTIONS, 300) == made(OPTIONS, 300) != made(replace(OPTIONS, seed=2), 300)


def test_options_of_what_happens_do_not_change_when_it_happens() -> None:
    times = [activity.created_at_ms for activity in made(OPTIONS, 300)]

    assert [activity.created_at_ms for activity in made(replace(OPTIONS, late_rate=1.0, defect_rate=0.5), 300)] == times


def test_customers_may_have_a_history() -> None:
    assert made(replace(OPTIONS, history_seconds=600, day_amplitude=0.0), 0)
    assert not made(OPTIONS, 0)


def test_late_activities_are_shown_later_but_no_later_than_the_maximum() -> None:
    lateness = [activity.shown_at - activity.created_at_us / 1e6 for activity in made(replace(OPTIONS, late_rate=0.5), 3_600)]

    assert max(lateness) == pytest.approx(8.0, abs=0.002)
    assert sum(late > 0.01 for late in lateness) / len(lateness) == pytest.approx(0.5, abs=0.06)
    assert min(lateness) >= 0


def test_ties_share_millisecond_and_group() -> None:
    groups: dict[str | None, set[int]] = {}
    sizes: dict[str | None, int] = {}
    for activity in made(replace(OPTIONS, tie_rate=0.3), 1_800):
        groups.setdefault(activity.group_id, set()).add(activity.created_at_ms)
        sizes[activity.group_id] = sizes.get(activity.group_id, 0) + 1

    assert all(len(instants) == 1 for instants in groups.values())
    assert set(sizes.values()) == {1, 2, 3, 4}
    assert sum(size > 1 for size in sizes.values()) / len(sizes) == pytest.approx(0.3, abs=0.07)


def test_very_large_ties_are_an_option() -> None:
    sizes: dict[int, int] = {}
    for activity in made(replace(OPTIONS, large_tie_rate=0.05, large_tie_activities=150), 900):
        sizes[activity.created_at_ms] = sizes.get(activity.created_at_ms, 0) + 1

    assert set(sizes.values()) >= {1, 150}


def test_defects_come_in_all_kinds() -> None:
    assert {activity.defect for activity in made(replace(OPTIONS, defect_rate=0.5), 3_600)} == {None, *DEFECTS}


def test_most_types_occur_and_some_are_not_documented() -> None:
    types = {activity.type for activity in made(replace(OPTIONS, undocumented_type_rate=0.05), 7_200)}

    assert len(types) > 70
    assert types & {"customer.consents.given", "customer.email.unsubscribed"}


def test_after_a_freeze_nothing_is_created() -> None:
    population = Visits(OPTIONS, START)
    population.freeze(START + 300)
    population.freeze(START + 900)

    for customer in population.customers:
        assert list(population.activities(customer, START + 3_600)) == list(Visits(OPTIONS, START).activities(customer, START + 300))


def test_a_script_is_kept_and_can_be_added_to() -> None:
    def activity(at: int) -> Stored:
        return Stored(id=f"a{at}", type="customer.created", created_at_us=at * 1_000_000, shown_at=at)

    script = Scripted({"c": [activity(3), activity(1)]})
    script.add("c", activity(2))
    (customer,) = script.customers

    assert [activity.id for activity in script.activities(customer, 2.5)] == ["a1", "a2"]
    assert [activity.id for activity in script.activities(customer, 9)] == ["a1", "a2", "a3"]
