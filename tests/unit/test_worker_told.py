"""What the worker tells of how it stands, and what it measures, in virtual time."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import anyio
import pytest

from poller.model import FeedCall, Fetch, Hindrance, ListCall, Lookup, Wait
from poller.worker import SURVEY_ASKED_SECONDS, SURVEY_SECONDS
from tests.support.plan import CALM
from tests.support.virtual_time import pass_time
from tests.support.world import Process, World, options_of
from tests.unit.test_worker import SESSION_SECONDS, alive, in_virtual_time, until

METRIC = "poller_throttled_seconds_total"

Order = Fetch | FeedCall | ListCall | Lookup | Wait


def throttled(process: Process) -> dict[str, float]:
    counters = process.telemetry.metrics.counters()
    return {by: seconds for (name, *rest), seconds in counters.items() if name == METRIC and seconds for by in rest}


def owner_of(world: World) -> Process:
    return next(process for process in world.processes if process.engine.owned)


@in_virtual_time
async def test_the_seconds_in_which_somebody_was_due_and_no_call_started_are_told_by_what_held_them_up() -> None:
    slow = replace(options_of(CALM), latency_seconds=2.0)
    async with alive(options=slow) as (world, tasks):
        process = world.start(tasks)
        answers: list[tuple[float, Hindrance | None]] = []
        asked = process.engine.next

        def noted(now: float) -> Order:
            order = asked(now)
            answers.append((anyio.current_time(), order.by if isinstance(order, Wait) else None))
            return order

        process.engine.next = noted  # type: ignore[method-assign]
        await pass_time(300)
        world.kafka.break_down(30)
        await pass_time(60)
        world.kafka.rebalance()
        await pass_time(60.0)
        answers.append((anyio.current_time(), None))
        process.worker.drain()
        await until(lambda: process.ended, 30)

        told = throttled(process)

    expected: defaultdict[str, float] = defaultdict(float)
    for (at, by), (then, _) in pairwise(answers):  # between two questions nothing changes
        if by is not None and then > at:
            expected[by] += then - at
    assert {by: round(seconds, 3) for by, seconds in told.items()} == {by: round(seconds, 3) for by, seconds in expected.items()}
    assert told.keys() >= {"budget", "commits"}
    assert sum(told.values()) < 425


@in_virtual_time
async def test_a_restore_and_a_hand_over_are_measured_from_their_beginning() -> None:
    async with alive() as (world, tasks):
        world.kafka.commit_seconds = 0.4
        process = world.start(tasks)
        await until(lambda: process.worker.ready()[0], 10)
        await pass_time(5)

        restores, hand_overs = (
            process.telemetry.metrics.histogram(name) for name in ("poller_restore_seconds", "poller_hand_over_seconds")
        )

        assert (restores.count, hand_overs.count) == (1, 1)
        assert restores.total == pytest.approx(0.4, abs=0.01)
        assert restores.total < hand_overs.total < 2


@in_virtual_time
async def test_a_transaction_that_fails_is_measured_and_the_group_and_its_heartbeats_are_told() -> None:
    async with alive() as (world, tasks):
        process = world.start(tasks)
        await until(lambda: process.worker.ready()[0], 10)
        world.kafka.fates.append("fails before")
        await pass_time(30)
        metrics = process.telemetry.metrics

        assert metrics.histogram("poller_transaction_seconds", "failed").count == 1
        assert metrics.counted("poller_rebalances_total") == 1
        assert world.clock() - process.worker._journal.last_success["heartbeat"] < SESSION_SECONDS / 2
        assert metrics.histogram("poller_hand_over_seconds").count == 1


@in_virtual_time
async def test_everything_is_surveyed_while_somebody_asks() -> None:
    async with alive() as (world, tasks):
        process = world.start(tasks)
        await pass_time(200)
        first = process.worker.overview().surveyed
        await pass_time(0.1)
        second = process.worker.overview().surveyed
        await pass_time(SURVEY_ASKED_SECONDS + 60)
        third = process.worker.overview()

        assert first is None
        assert second is not None and world.clock() - second.at < 300
        assert sum(second.states.values()) == len(world.simulator.customers) == third.watched
        assert third.surveyed is not None
        assert SURVEY_ASKED_SECONDS - SURVEY_SECONDS <= third.surveyed.at - second.at <= SURVEY_ASKED_SECONDS


@in_virtual_time
async def test_a_standby_has_nothing_to_survey_and_knows_who_owns_what() -> None:
    async with alive() as (world, tasks):
        world.start(tasks)
        await pass_time(20)
        world.start(tasks)
        await pass_time(60)
        owner = owner_of(world)
        standby = next(process for process in world.processes if process is not owner)
        standby.worker.overview()
        await pass_time(1)
        stands = standby.worker.overview()

        assert (stands.owned, stands.restoring, stands.partitions, stands.surveyed, stands.rate) == ((), (), 1, None, None)
        assert standby.worker.owners() == owner.worker.owners() == {0: owner.engine.view.owner}
        assert owner.worker._heard == {}


@in_virtual_time
async def test_a_standby_knows_the_owner_who_commits_nothing() -> None:
    async with alive() as (world, tasks):
        first = world.start(tasks)
        await pass_time(20)
        first.log.kill()
        second = world.start(tasks)
        third = world.start(tasks)
        await until(lambda: any(process.engine.owned for process in (second, third)), 60)
        standby = third if second.engine.owned else second
        world.simulator.freeze()

        await until(standby.worker.owners, 15)


@in_virtual_time
async def test_what_is_assigned_and_not_restored_is_restoring() -> None:
    async with alive() as (world, tasks):
        world.kafka.openings.extend(["fails before"] * 3)
        process = world.start(tasks)
        await until(lambda: process.worker._assigned, 10)

        assert (process.worker.overview().restoring, process.worker.overview().owned) == ((0,), ())
        await until(lambda: process.worker.overview().owned == (0,), 30)
        assert process.worker.overview().restoring == ()
