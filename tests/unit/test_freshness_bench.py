"""What the bench of freshness would say can be read, and a missed goal is said."""

import math
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.bench.freshness.cases import CASES, POLICIES, THE_RULE, faults
from tests.bench.freshness.divided import Cost
from tests.bench.freshness.document import BEGIN, END, Measured, Speed, drawing, measured, written
from tests.bench.freshness.harness import Outcome, play
from tests.bench.freshness.month import MONTH as PLAN
from tests.bench.freshness.month import Spent
from tests.bench.freshness.plot import Axis
from tests.bench.freshness.policies import Halving, RoundRobin
from tests.bench.freshness.program import SCENE, Measure
from tests.bench.freshness.workload import Population

CASE = CASES[0]._replace(seeds=1)
GOOD = Outcome(mean=3.9, p95=16.0, staleness=40.0, decision_us=10.0)
PROGRAM = Measure(
    harness=GOOD,
    mean=4.0,
    p95=16.0,
    staleness=40.0,
    activities=1000,
    used=0.99,
    calls_in_window_max=10,
    unsettled=0,
    cpu_seconds=200.0,
    memory_mib=100.0,
)
DIVIDED = Cost(GOOD._replace(mean=3.0), GOOD._replace(mean=3.1), [0.5, 0.4, 0.095, 0.005], GOOD._replace(mean=4.5))
MONTH = Spent(
    calls=98_500,
    calls_in_window_max=3,
    lives=200,
    activities=300_000,
    unsettled=0,
    mean=110.0,
    staleness=900.0,
    bound=880.0,
    harness=GOOD,
    fixed=GOOD._replace(mean=220.0),
    cpu_seconds=30.0,
)


def test_a_call_publishes_a_hundred_activities_a_page_and_each_further_page_takes_a_slot() -> None:
    drawn = Population([1.0, 1.0], [[0.5] * 150, [2.5]])  # type: ignore[list-item]  # lists serve as well as arrays
    outcome = play(RoundRobin(2), drawn, calls_a_minute=1.0, warm_up=0.0, end=6.0)

    # Slots 0 and 1 find nothing; at 2 a read of two pages, which are published at 2 and 3; at 4 the other one.
    assert outcome.mean == pytest.approx((100 * 1.5 + 50 * 2.5 + 1.5) / 151)
    assert outcome.staleness == 3.0


def test_an_interval_is_halved_by_a_hit_and_half_as_long_again_after_a_miss() -> None:
    halving = Halving(customers=10, calls_a_minute=1.0, longest=12.0)
    halving.read(0, [1.0], 0.0)
    halving.read(1, [], 0.0)

    assert halving._intervals[:3] == [5.0, 12.0, 10.0]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (GOOD, []),
        (GOOD._replace(mean=4.1), ["CI-1 1: mean 4.100 > 4.000"]),
        (GOOD._replace(p95=17.5, staleness=41.0), ["CI-1 1: p95 17.500 > 17.000", "CI-1 1: staleness 41.000 > 40.020"]),
    ],
)
def test_a_missed_goal_is_said(outcome: Outcome, expected: list[str]) -> None:
    assert faults(CASE, outcome) == expected


def test_a_decision_or_an_arrival_that_takes_too_long_is_said() -> None:
    assert Speed(10.0, 1.0).faults() == []
    assert len(Speed(26.0, 2.1).faults()) == 2


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ({}, 0),
        ({"mean": 4.1}, 1),
        ({"mean": 3.7}, 1),
        ({"staleness": 101.0, "used": 0.96}, 2),
        ({"calls_in_window_max": 11, "unsettled": 1}, 2),
    ],
)
def test_where_the_whole_program_falls_short_is_said(missed: dict[str, Any], expected: int) -> None:
    assert len(PROGRAM._replace(**missed).faults(SCENE)) == expected


@pytest.mark.parametrize(
    ("missed", "expected"),
    [({}, 0), ({"calls": 100_001}, 1), ({"calls": 96_999, "mean": 221.0}, 2), ({"calls_in_window_max": 101, "unsettled": 1}, 2)],
)
def test_where_the_month_falls_short_is_said(missed: dict[str, Any], expected: int) -> None:
    assert len(MONTH._replace(**missed).faults(PLAN)) == expected


@pytest.mark.parametrize(("mean", "expected"), [(3.14, 0), (3.16, 1)])
def test_where_a_division_costs_too_much_is_said(mean: float, expected: int) -> None:
    assert len(DIVIDED._replace(shared=GOOD._replace(mean=mean)).faults()) == expected


def test_the_tables_show_each_figure_and_stand_between_their_marks() -> None:
    outcomes = {(CASE, name): GOOD._replace(mean=3.9 + number) for number, name in enumerate(POLICIES)}
    text = measured([CASE], Measured(outcomes, PROGRAM, MONTH, DIVIDED, Speed(11.5, 0.42)), took_seconds=600)

    assert "| CI-1 | 1,000 | 50 | 1 | 3.90 | ≤ 4.00 | 0.390 | 16.00 | ≤ 17 | 40.00 | ≤ 40.02 | met |" in text
    assert [name for name in POLICIES if f"| {name} | " not in text] == []
    assert "11.5 µs" in text and "0.42 s" in text
    assert "| mean delay, until the commit | 4.00 min | 3.90 min ± 5% |" in text
    assert "| four partitions that share | 3.10, 16.0 | 40.00 | +3.3%, ≤ +5% |" in text
    assert "| calls | 98,500 | ≥ 97%, ≤ 100,000 |" in text
    assert written(f"a\n{BEGIN}\nold\n{END}\nb\n", text) == f"a\n{BEGIN}\n{text}{END}\nb\n"
    assert "**missed**" in measured([CASE], Measured({(CASE, name): GOOD._replace(mean=9.0) for name in POLICIES}), 600)


def test_the_drawing_has_a_line_for_each_policy_in_each_panel() -> None:
    cases = [CASE._replace(calls_a_minute=float(calls)) for calls in (10, 100)]
    root = ET.fromstring(drawing({(case, name): GOOD._replace(mean=1 / case.calls_a_minute) for case in cases for name in POLICIES}))
    lines = [path for path in root.iter("{http://www.w3.org/2000/svg}path") if path.get("class", "").startswith("line ")]

    assert len(lines) == 3 * len(POLICIES) + len(POLICIES)  # and the legend
    assert THE_RULE in "".join(root.itertext())


def test_equal_factors_are_equally_far_apart_on_an_axis() -> None:
    axis = Axis.around([3.0, 80.0], 0.0, 300.0)

    assert (axis.low, axis.high) == (2.0, 100.0)
    assert axis.pixel(10.0) - axis.pixel(5.0) == pytest.approx(300.0 * math.log(2) / math.log(50))
    assert axis.ticks() == [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
