"""What the demo knows of its pollers without asking them, and when it kills them."""

import json
import math
from collections.abc import Mapping

import pytest

from poller.demo.demo import Plan
from poller.demo.replica import Roles, child_environment


def said(*events: Mapping[str, object]) -> Roles:
    roles = Roles()
    for event in events:
        roles.take(json.dumps(event))
    return roles


STARTING = {"event": "starting", "pid": 1}
ASSIGNED = {"event": "assigned", "partitions": [0]}
RESTORED = {"event": "partition_restored", "partition": 0}
NOTHING_ASSIGNED = {"event": "assigned", "partitions": []}


def test_a_poller_owns_nothing_before_it_is_restored() -> None:
    assert said(STARTING, ASSIGNED).role == "starting"
    assert said(STARTING, ASSIGNED, RESTORED).role == "owns"


def test_a_poller_that_is_assigned_nothing_stands_by() -> None:
    assert said(STARTING, NOTHING_ASSIGNED).role == "stands by"
    assert said(STARTING, ASSIGNED, RESTORED, NOTHING_ASSIGNED).role == "stands by"


def test_a_poller_that_stands_by_can_take_over() -> None:
    assert said(STARTING, NOTHING_ASSIGNED, ASSIGNED, RESTORED).role == "owns"


def test_a_poller_that_has_drained_has_ended() -> None:
    assert said(RESTORED, {"event": "drained"}).role == "ended"


@pytest.mark.parametrize("line", ["", "Traceback (most recent call last):", "[1]", '"assigned"', '{"event": ["assigned"]}', "{}"])
def test_lines_that_are_no_events_say_nothing(line: str) -> None:
    roles = said(RESTORED)

    roles.take(line)
    assert roles.role == "owns"


def test_a_poller_inherits_no_setting() -> None:
    inherited = {"PATH": "/bin", "POLLER_CUSTOMERS": "somebody", "POLLER_KAFKA_SASL_PASSWORD_FILE": "/secret", "PYTHONOPTIMIZE": "1"}

    assert child_environment(inherited, {"POLLER_START": "earliest"}) == {"PATH": "/bin", "POLLER_START": "earliest"}


def test_a_poller_is_killed_once_in_a_demo_with_an_end() -> None:
    assert [Plan(seconds=30).kill_at(kills) for kills in (0, 1)] == [12, math.inf]


def test_a_short_demo_has_no_time_for_a_kill() -> None:
    assert [Plan(seconds=seconds).kill_at(0) for seconds in (14.9, 15)] == [math.inf, 6]


def test_a_demo_without_an_end_kills_again_and_again() -> None:
    assert [Plan().kill_at(kills) for kills in (0, 1, 2)] == [24, 84, 144]


@pytest.mark.parametrize("seconds", [None, 30])
def test_nobody_is_killed_where_that_is_not_wanted(seconds: float | None) -> None:
    assert Plan(seconds, kill=False).kill_at(0) == math.inf


@pytest.mark.parametrize(("customers", "calls"), [(1, 600), (25, 600), (100, 2400)])
def test_more_customers_are_granted_more_calls(customers: int, calls: int) -> None:
    plan = Plan(customers=customers)

    assert (plan.calls_per_minute, plan.options.calls_per_window) == (calls, calls)
