"""What holds up a call that is due."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from poller.core import backoff
from poller.core.budget import Cycle
from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.errors import Limited, PlanExceeded, SourceError, Unauthorized, Unreachable
from poller.model import CustomerId, Ledger, Quota, Restored
from tests.support.builders import page, restored
from tests.support.engines import NOW, commit, commit_all, fetch, owner, wait

A, B = CustomerId("a"), CustomerId("b")


def engine(*customers: CustomerId, level: float = 5.0, now: float = NOW, **fields: Any) -> Engine:
    settings: dict[str, Any] = {"start": "earliest", "calls_limit": 60} | fields
    return owner(Policy(**settings), customers, restored(Ledger(level)), now)


def test_the_rate_holds_up_where_its_bucket_is_empty() -> None:
    running = engine(A, level=0.0)

    assert wait(running).by == "budget"


def test_nobody_is_held_up_where_nobody_is_due() -> None:
    running = engine(A)
    fetch(running)

    assert (wait(running).by, wait(engine()).by) == (None, None)


def test_the_cycle_holds_up_where_it_is_used_up_or_slower_than_the_rate() -> None:
    now = datetime(2026, 11, 2, tzinfo=UTC).timestamp()
    slow = engine(A, B, level=0.0, now=now, cycle=Cycle(calls=10_000, reset_day=1))
    used_up = engine(A, level=1.0, now=now, cycle=Cycle(calls=0, reset_day=1))
    ample = engine(A, level=0.0, now=now, cycle=Cycle(calls=10**9, reset_day=1))

    assert (wait(slow, now).by, wait(used_up, now).by, wait(ample, now).by) == ("cycle", "cycle", "budget")


def test_the_commit_that_grants_calls_holds_them_up_until_it_stands() -> None:
    made = Engine(Policy(start="earliest", calls_limit=600))
    made.partitioned(1)
    made.watch([A])
    made.confirmed(math.inf)
    made.assigned(0, restored(Ledger(3.0)), NOW)
    order = commit(made)

    assert wait(made).by == "commits"
    made.committed(order, NOW)
    assert fetch(made).customer == A


def test_a_partition_whose_writer_was_lost_holds_up_whoever_is_due_there() -> None:
    running, idle = engine(A), engine(A)
    fetch(idle)
    for one in (running, idle):
        one.suspended(0)

    assert (wait(running).by, wait(idle).by) == ("commits", None)


def test_who_becomes_due_in_a_partition_whose_writer_was_lost_is_noticed() -> None:
    running = engine(A)
    running.fetch_failed(fetch(running), Unreachable(), NOW)
    due = NOW + backoff.TRANSIENT.wait_seconds(1, "a")
    running.suspended(0)

    assert (wait(running).by, wait(running).until) == (None, due)
    assert (wait(running, due).by, wait(running, due).until) == ("commits", math.inf)


@pytest.mark.parametrize(("error", "by"), [(Limited(wait_seconds=9), "quota"), (PlanExceeded(), "quota"), (Unauthorized(), "failures")])
def test_a_pause_is_the_quotas_or_that_of_failures(error: SourceError, by: str) -> None:
    running = engine(A, B)
    running.fetch_failed(fetch(running), error, NOW)

    assert (wait(running).by, wait(running).until) == (by, running.view.paused_until)


def test_a_quota_of_which_nothing_remains_holds_up_who_is_due() -> None:
    running = engine(A, B)
    running.page_received(fetch(running), page(quota=Quota(remaining=0)), NOW)

    assert wait(running).by == "quota"


def test_a_pause_holds_up_nobody_until_somebody_is_due() -> None:
    running = engine(A)
    order = fetch(running)
    running.fetch_failed(order, Unauthorized(), NOW)
    until, due = running.view.paused_until, wait(running).until

    assert (wait(running).by, NOW < due < until) == (None, True)
    assert (wait(running, due).by, wait(running, due).until) == ("failures", until)


def test_the_group_holds_up_where_it_does_not_confirm() -> None:
    running = engine(A)
    running.rebalancing()
    stands_by = Engine(Policy())
    stands_by.partitioned(1)

    assert (wait(running).by, wait(stands_by).by) == ("membership", None)


def test_whoever_is_not_known_yet_is_held_up_where_something_is_ours() -> None:
    running, stands_by = engine(A), Engine(Policy())
    for one in (running, stands_by):
        one.expect("topic")

    assert (wait(running).by, wait(stands_by).by) == ("watched_set", None)


def test_who_drains_is_held_up_by_nothing() -> None:
    running = engine(A)
    running.drain()

    assert wait(running).by is None


def test_a_partition_that_waits_for_its_budget_does_not_hold_up_another() -> None:
    made = Engine(Policy(start="earliest", calls_limit=600))
    made.partitioned(2)
    made.confirmed(math.inf)
    names = [CustomerId(f"c{number}") for number in range(10)]
    made.watch(names)
    for partition, level in ((0, 0.0), (1, 5.0)):
        made.assigned(partition, Restored({}, restored(Ledger(level)).ownership), NOW)
    order = made.commit(1, NOW, at_once=True)
    made.committed(order, NOW)  # type: ignore[arg-type]

    assert fetch(made).partition == 1


def test_calls_go_on_when_what_held_them_up_is_over() -> None:
    running = engine(A, B, level=0.0)
    held = wait(running)
    commit_all(running, NOW + 2)

    assert (held.by, fetch(running, NOW + 2).customer) == ("budget", A)
