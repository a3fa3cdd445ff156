"""What the bench of scaling would say can be read, and a missed goal is said."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.bench.scaling.decision import decision_us
from tests.bench.scaling.document import Measured, document, drawing, faults
from tests.bench.scaling.replica import ADDED, Replica, Silence

GOOD = Replica(
    customers=100_000,
    memory_mb=170.0,
    memory_most_mb=180.0,
    first_call_seconds=3.0,
    restored_seconds=1.5,
    restored_cpu_seconds=1.25,
    pause_seconds=0.2,
    added_seconds=1.1,
    announced_seconds=0.1,
)


@pytest.mark.parametrize(
    ("measured", "missed"),
    [
        ({}, 0),
        ({"memory_most_mb": 200.1, "first_call_seconds": 10.1}, 2),
        ({"added_seconds": 2.1, "announced_seconds": 2.1, "pause_seconds": 1.1}, 3),
        ({"customers": 1_000_000, "memory_most_mb": 1_200.0, "first_call_seconds": 30.0, "added_seconds": 5.0}, 0),
        ({"customers": 1_000_000, "pause_seconds": 1.1}, 1),
    ],
)
def test_a_missed_goal_is_said_and_a_million_has_to_let_the_loop_turn(measured: dict[str, Any], missed: int) -> None:
    assert len(faults([Measured(GOOD._replace(**measured), 50.0)])) == missed


def test_the_page_has_a_row_for_each_number_of_customers_and_says_what_one_more_costs() -> None:
    text = document([Measured(GOOD._replace(customers=0, memory_mb=70.0), 49.0), Measured(GOOD, 50.0)], took_seconds=300.0)

    assert "| 100,000 | 170 MB | 180 MB | 3 s | 1.5 s | 1.25 s | 0.2 s | 1.1 s | 0.1 s | 50 µs |" in " ".join(text.split())
    assert "An idle customer costs 1.05 kB of it" in text


def test_the_drawing_shows_each_number_of_customers_in_each_panel() -> None:
    root = ET.fromstring(drawing([Measured(GOOD._replace(customers=10**power), 50.0) for power in (3, 4, 5, 6)]))
    lines = [path.get("d", "") for path in root.iter("{http://www.w3.org/2000/svg}path") if path.get("class", "") == "line a"]

    assert [line.count("L") for line in lines] == [0, 3, 3, 3, 3]  # the first is the legend's


def test_an_api_that_has_nothing_to_show_knows_whom_it_was_asked_for() -> None:
    api = Silence()
    answer = api.answer(b"GET /v1/customers/cust_added/activities?limit=100 HTTP/1.1")

    assert answer.endswith(b'"data":[],"total":0}')
    assert (list(api.asked), api.calls) == ([ADDED], 1)


def test_a_decision_is_timed_on_everybody_restored() -> None:
    assert decision_us(customers=3, reads=7) > 0
