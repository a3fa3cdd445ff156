"""What the engine keeps of an owned partition."""

import math

from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.model import CustomerId, Ledger
from tests.support.builders import checkpoint, page, restored
from tests.support.engines import commit_all, fetch, owner

NOW = 1_000_000.0


def next_read(engine: Engine, now: float) -> CustomerId:
    order = fetch(engine, now)
    engine.page_received(order, page(date=now), now)
    commit_all(engine, now)
    return order.customer


def test_an_owner_whose_clock_was_ahead_leaves_nobody_unread() -> None:
    found = restored(Ledger(100), ahead=checkpoint(NOW - 300, last_read=NOW + 3_600), read_before=checkpoint(NOW - 310, last_read=NOW - 10))
    engine = owner(Policy(calls_limit=60_000), [CustomerId("ahead"), CustomerId("read_before")], found, NOW)

    order = [next_read(engine, NOW + second) for second in range(4)]

    assert order == ["ahead", "read_before", "ahead", "read_before"]


def test_an_owner_whose_clock_was_ahead_leaves_nobody_unread_though_the_partition_is_restored_again_and_again() -> None:
    engine = Engine(Policy(calls_limit=60_000))
    engine.partitioned(1)
    engine.watch([CustomerId("ahead"), CustomerId("read_before")])
    engine.confirmed(math.inf)
    order: list[CustomerId] = []
    for second in range(3):
        read_at = NOW - 10 if not order else NOW + second - 1
        found = restored(
            Ledger(100), ahead=checkpoint(NOW - 300, last_read=NOW + 3_600), read_before=checkpoint(NOW - 310, last_read=read_at)
        )
        engine.assigned(0, found, NOW + second)
        commit_all(engine, NOW + second)
        order.append(next_read(engine, NOW + second))
        engine.suspended(0)

    assert order == ["ahead", "ahead", "ahead"]
