"""A restored partition comes in by slices, and it makes no difference what happens between them."""

import math
from collections import Counter

import pytest

from poller.core.arrival import each_in_turn, taken_in
from poller.core.engine import Engine
from poller.core.owned import Customer
from poller.core.ownership import partition_of
from poller.core.policy import Policy
from poller.errors import Unreachable
from poller.model import Checkpoint, CustomerId, Ledger, Restored, WatchEntry
from tests.support.builders import checkpoint, page, restored
from tests.support.engines import commit_all, fetch, owner

NOW = 100_000.0
POLICY = Policy(calls_limit=60_000, calls_in_flight_max=4)
A, B, C, D, E = (CustomerId(name) for name in "abcde")
STEPS = 4
"""Of a small arrival: everybody who is watched, everybody else who has a checkpoint, their order, and the schedule."""


def found() -> Restored:
    """`e` was watched once."""
    return restored(
        Ledger(100), a=checkpoint(1, last_read=30), b=checkpoint(1, last_read=20), c=checkpoint(1), e=checkpoint(1, last_read=10)
    )


def engine(*customers: CustomerId) -> Engine:
    made = Engine(POLICY)
    made.partitioned(1)
    made.watch(customers)
    made.confirmed(math.inf)
    return made


def reads(running: Engine, count: int) -> list[CustomerId]:
    commit_all(running, NOW)
    order = []
    for second in range(count):
        ordered = fetch(running, NOW + second)
        running.page_received(ordered, page(date=NOW + second), NOW + second)
        commit_all(running, NOW + second)
        order.append(ordered.customer)
    return order


def test_whoever_is_watched_goes_by_the_very_id_of_the_watched_set_and_everybody_else_is_known_too() -> None:
    watched, other = CustomerId("cust_1"), CustomerId("cust_2")
    checkpoints = {CustomerId(b"cust_1".decode()): Checkpoint(1), other: Checkpoint(2)}
    customers: dict[CustomerId, Customer] = {}
    for _ in taken_in(customers, checkpoints, [CustomerId("cust_3"), watched], NOW):
        pass

    assert {name: customer.checkpoint for name, customer in customers.items()} == checkpoints
    assert next(iter(customers)) is watched


def test_it_is_taken_in_by_slices() -> None:
    names = [CustomerId(f"{number:02}") for number in range(10)]
    customers: dict[CustomerId, Customer] = {}
    sizes = [len(customers) for _ in taken_in(customers, dict.fromkeys(names, Checkpoint(1)), names[:7], NOW, at_once=3)]

    assert sizes == [3, 6, 7, 10]


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_everybody_has_a_turn_in_the_order_of_their_last_reads_and_of_their_names_however_many_at_a_time(at_once: int) -> None:
    customers = {name: Customer(None, last_read) for name, last_read in ((E, 10.0), (B, 20.0), (A, 20.0), (C, -math.inf))}
    turns: list[CustomerId] = []
    steps = len([None for _ in each_in_turn(customers, [A, B, C, D, E], turns.append, at_once)])

    assert turns == [C, D, E, A, B]
    assert steps == 2 * math.ceil(5 / at_once)


def test_a_partition_is_ours_only_once_everybody_has_come_in() -> None:
    running = engine(A, B, C)
    owned = [running.owned for _ in running.arriving(0, found(), NOW)]

    assert owned == [[]] * STEPS


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_whoever_is_watched_otherwise_meanwhile_is_read_as_is_wanted_in_the_end(step: int) -> None:
    running, what = engine(A, B, C), found()
    arriving = running.arriving(0, what, NOW)
    for _ in range(step):
        next(arriving)
    running.watch([D, E, C, B])
    running.watch_changed("topic", {B: WatchEntry(paused=True), A: None})
    for _ in arriving:
        pass

    assert running.assigned(0, what, NOW) == []
    assert Counter(reads(running, 6)) == dict.fromkeys((C, D, E), 2)


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_a_call_that_fails_meanwhile_leaves_its_customer_scheduled(step: int) -> None:
    what = found()
    running = owner(POLICY, [A, B], what, NOW)
    order = fetch(running, NOW)
    running.suspended(0)
    arriving = running.arriving(0, what, NOW)
    for _ in range(step):
        next(arriving)
    running.fetch_failed(order, Unreachable("down"), NOW)
    for _ in arriving:
        pass
    running.assigned(0, what, NOW)
    commit_all(running, NOW)

    assert {fetch(running, NOW + 600).customer for _ in range(2)} == {A, B}


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_what_a_call_brings_meanwhile_is_published_and_its_customer_scheduled(step: int) -> None:
    what = found()
    running = owner(POLICY, [A, B], what, NOW)
    order = fetch(running, NOW)
    running.suspended(0)
    arriving = running.arriving(0, what, NOW)
    for _ in range(step):
        next(arriving)
    batch = running.page_received(order, page(date=NOW), NOW)
    for _ in arriving:
        pass

    assert running.assigned(0, what, NOW) == []
    assert [one for one in commit_all(running, NOW).batches if one.why is None] == [batch]
    assert {fetch(running, NOW + 600).customer for _ in range(2)} == {A, B}


def test_a_partition_that_is_taken_while_it_comes_in_is_forgotten() -> None:
    running, what = engine(A, B, C), found()
    arriving = running.arriving(0, what, NOW)
    for _ in range(STEPS):
        next(arriving)
    running.revoked(0)
    running.watch([A])

    assert (running.owned, running._arriving) == ([], {})
    assert (running.assigned(0, what, NOW), reads(running, 2)) == ([], [A, A])


def test_what_came_in_is_worth_nothing_once_the_partition_was_restored_anew() -> None:
    running = engine(A)
    for _ in running.arriving(0, found(), NOW):
        pass
    running.assigned(0, restored(Ledger(100), a=checkpoint(77)), NOW)
    commit_all(running, NOW)

    assert fetch(running, NOW).base == checkpoint(77)


def test_what_was_given_up_midway_is_begun_anew() -> None:
    running, what = engine(A, B, C), found()
    arriving = running.arriving(0, what, NOW)
    for _ in range(STEPS - 1):
        next(arriving)

    assert running.assigned(0, what, NOW) == []
    assert reads(running, 3) == [C, B, A]


def test_whoever_is_watched_of_a_partition_that_is_not_ours_makes_no_difference_to_one_that_is() -> None:
    ours, theirs = (next(name for name in (A, B, C, D, E) if partition_of(name, 2) == partition) for partition in (0, 1))
    running = Engine(POLICY)
    running.partitioned(2)
    running.confirmed(math.inf)
    running.assigned(0, restored(Ledger(100)), NOW)
    running.watch([ours, theirs])

    assert reads(running, 2) == [ours, ours]
