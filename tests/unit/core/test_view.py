"""What may be asked of an engine: how everything stands that is ours."""

from datetime import UTC, datetime
from typing import Any

import pytest

from poller.core.budget import Cycle
from poller.core.engine import Engine
from poller.core.overview import Overview, RateStands
from poller.core.policy import Policy
from poller.errors import Limited
from poller.model import Checkpoint, CustomerId, Ledger, Quota, Restored
from tests.support.builders import activities, checkpoint, page, restored
from tests.support.engines import NOW, fetch, owner

A, B, C = (CustomerId(name) for name in "abc")


def policy(**fields: Any) -> Policy:
    settings: dict[str, Any] = {"start": "earliest", "owner": "here", "calls_limit": 6_000, "staleness_seconds_max": 600.0} | fields
    return Policy(**settings)


def engine(*customers: CustomerId, level: float = 10.0, **checkpoints: Checkpoint) -> Engine:
    return owner(policy(), customers, restored(Ledger(level), **checkpoints))


def test_a_process_that_owns_nothing_has_nothing_to_tell_but_who_is_watched() -> None:
    made = Engine(policy())
    made.watch([A, B])

    assert made.view.overview(NOW) == Overview(
        owner="here",
        partitions=0,
        owned=(),
        restoring=(),
        in_flight=0,
        records_waiting=0,
        bytes_waiting=0,
        watched=2,
        rate=None,
        cycle=None,
        parts={},
        quota_remaining=None,
        paused_until=None,
        paused_why="",
        staleness_objective_seconds=None,
        oldest_called_at=None,
        surveyed=None,
    )


def test_the_overview_tells_how_everything_stands_that_is_ours() -> None:
    running = engine(A, B, C, a=checkpoint(1, last_read=NOW - 50), b=checkpoint(1, last_read=NOW - 20))
    running.page_received(fetch(running), page(*activities(1, 2), quota=Quota(remaining=77), body_bytes=5_000), NOW)
    fetch(running)

    stands = running.view.overview(NOW)

    assert (stands.owned, stands.restoring, stands.partitions, stands.watched) == ((0,), (), 1, 3)
    assert (stands.in_flight, stands.records_waiting, stands.bytes_waiting, stands.quota_remaining) == (1, 2, 5_000, 77)
    assert stands.rate == RateStands(calls=6_000, window_seconds=60, left=8.0, calls_per_second=(6_000 + 1 - 50.001) / 61)
    assert (stands.parts, stands.cycle, stands.staleness_objective_seconds) == ({0: 1.0}, None, 600.0)
    assert stands.oldest_called_at == NOW - 20


def test_what_the_api_does_not_say_again_of_its_quota_stays_as_it_was() -> None:
    running = engine(A, B)
    running.page_received(fetch(running), page(quota=Quota(remaining=5)), NOW)
    running.page_received(fetch(running), page(), NOW)

    assert running.view.overview(NOW).quota_remaining == 5


def test_a_pause_is_told_while_it_lasts() -> None:
    running = engine(A)
    running.fetch_failed(fetch(running), Limited(wait_seconds=9), NOW)

    during, after = running.view.overview(NOW + 9), running.view.overview(NOW + 10)

    assert (during.paused_until, during.paused_why) == (NOW + 10, str(Limited()))
    assert (after.paused_until, after.paused_why) == (None, "")


def test_nobody_says_when_the_oldest_was_called_while_nobody_ever_was() -> None:
    assert engine(A, B).view.overview(NOW).oldest_called_at is None
    assert engine().view.overview(NOW).oldest_called_at is None


def test_somebody_who_came_but_now_does_not_hide_who_was_called_longest_ago() -> None:
    running = engine(A, B, a=checkpoint(1, last_read=NOW - 50), b=checkpoint(1, last_read=NOW - 20))
    running.watch([A, B, C])

    assert running.view.overview(NOW).oldest_called_at == NOW - 50


def test_to_ask_changes_nothing() -> None:
    asked, unasked = (engine(A, B, C, a=checkpoint(1, last_read=NOW - 50)) for _ in range(2))
    for running, questions in ((asked, 3), (unasked, 0)):
        running.watch([A, B, C, CustomerId("d")])
        for _ in range(questions):
            running.view.overview(NOW + 1)

    assert [fetch(asked, NOW + 1).customer for _ in range(4)] == [fetch(unasked, NOW + 1).customer for _ in range(4)]


def test_a_partition_whose_writer_was_lost_is_restoring_and_its_customers_are_still_seen() -> None:
    running = engine(A, a=checkpoint(1, last_read=NOW - 50))
    running.suspended(0)

    stands = running.view.overview(NOW + 100)

    assert (stands.owned, stands.restoring, stands.parts) == ((), (0,), {0: 1.0})
    assert (stands.staleness_objective_seconds, stands.oldest_called_at) == (600.0, NOW - 50)


def test_a_partition_that_is_taken_in_is_restoring() -> None:
    made = Engine(policy())
    made.partitioned(1)
    made.watch([A])
    arriving = made.arriving(0, Restored(checkpoints={}, ownership=None), NOW)
    list(arriving)

    assert (made.view.overview(NOW).owned, made.view.overview(NOW).restoring) == ((), (0,))


def test_the_cycle_and_the_rate_are_those_of_all_partitions_that_are_ours() -> None:
    made = Engine(policy(cycle=Cycle(calls=100_000, reset_day=1)))
    made.partitioned(4)
    now = datetime(2026, 11, 2, tzinfo=UTC).timestamp()
    for partition in (1, 3):
        made.assigned(partition, Restored(checkpoints={}, ownership=None), now)

    stands = made.view.overview(now)

    assert stands.rate is not None and stands.cycle is not None
    assert (stands.rate.calls, stands.cycle.calls, stands.parts) == (3_000, 50_000, {1: 0.25, 3: 0.25})
    assert stands.rate.calls_per_second * 60 == pytest.approx(stands.cycle.calls_per_minute)
