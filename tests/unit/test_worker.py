"""The worker, with the simulated API and the log in memory, in virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest
from anyio.abc import TaskGroup

from poller.demo.options import SimulatorOptions
from poller.errors import LogRefused
from poller.kafka.memory import MemoryLog
from poller.kafka.record import ownership_of
from poller.model import CustomerId
from tests.support.plan import CALM
from tests.support.virtual_time import pass_time, run_in_virtual_time
from tests.support.world import Plan, Process, World, options_of

SESSION_SECONDS = 10.0


@asynccontextmanager
async def alive(plan: Plan = CALM, options: SimulatorOptions | None = None) -> AsyncIterator[tuple[World, TaskGroup]]:
    """A world whose processes are drained at the end of the block."""
    world = World(plan, options)
    async with anyio.create_task_group() as tasks:
        yield world, tasks
        for process in world.processes:
            process.worker.drain()


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        run_in_virtual_time(test)

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


async def until(condition: Callable[[], object], within_seconds: float) -> float:
    """How long it took, in virtual seconds."""
    began = anyio.current_time()
    while not condition():
        assert anyio.current_time() - began <= within_seconds, "it does not happen"
        await pass_time(0.05)
    return anyio.current_time() - began


def calls(world: World) -> int:
    return len(world.simulator.calls)


@in_virtual_time
async def test_what_the_api_shows_is_published_and_the_drain_ends_the_run() -> None:
    async with alive() as (world, tasks):
        process = world.start(tasks)
        await pass_time(1800)
        world.simulator.freeze()
        await pass_time(120)
        process.worker.drain()
        await until(lambda: process.ended, 5)

    world.judge_safety()
    assert world.published()


@in_virtual_time
async def test_a_drain_gives_back_what_was_granted() -> None:
    async with alive() as (world, tasks):
        process = world.start(tasks)
        await pass_time(100.5)
        process.worker.drain()
        await until(lambda: process.ended, 5)

        ownership = ownership_of(world.kafka.latest(0))

        assert ownership is not None
        assert 0 <= ownership.ledger.level < 1


@in_virtual_time
async def test_calls_under_way_are_published_before_the_drain_ends() -> None:
    slow = replace(options_of(CALM), latency_seconds=4.0, history_seconds=3600)
    async with alive(options=slow) as (world, tasks):
        process = world.start(tasks)
        await until(lambda: process.engine.in_flight, 20)
        process.worker.drain()
        took = await until(lambda: process.ended, 10)

        assert 1 < took < 8
        assert world.kafka.read_committed("checkpoints")[-2].key != b""
        assert process.engine.in_flight == 0
        assert any(
            record.key in {name.encode() for name in world.simulator.customers} for record in world.kafka.read_committed("checkpoints")
        )


@in_virtual_time
async def test_a_drain_is_bounded_in_time_however_long_a_call_takes() -> None:
    hanging = replace(options_of(CALM), hang_rate=1.0, hang_seconds=1000.0)
    async with alive(options=hanging) as (world, tasks):
        process = world.start(tasks)
        process.worker._drain_seconds = 3.0
        await until(lambda: process.engine.in_flight, 20)
        process.worker.drain()

        assert await until(lambda: process.ended, 10) == pytest.approx(3.0, abs=0.5)


@in_virtual_time
async def test_it_waits_for_kafka_and_says_so() -> None:
    async with alive() as (world, tasks):
        world.kafka.break_down(60)
        process = world.start(tasks)
        await pass_time(30)
        before = process.worker.ready(), process.worker.live()[0], calls(world), process.told.count("waiting_for_kafka") > 0
        await pass_time(60)

        assert before == ((False, "not yet a member of the group"), True, 0, True)
        assert process.worker.ready() == (True, "owning partitions [0]")
        assert calls(world) > 0


@in_virtual_time
async def test_a_drain_ends_the_wait_for_kafka() -> None:
    async with alive() as (world, tasks):
        world.kafka.break_down()
        process = world.start(tasks)
        await pass_time(30)
        process.worker.drain()

        assert await until(lambda: process.ended, 5) < 1


@in_virtual_time
async def test_a_second_replica_stands_by_and_makes_no_calls() -> None:
    async with alive() as (world, tasks):
        first = world.start(tasks)
        await until(lambda: first.worker.ready()[0], 5)
        second = world.start(tasks)
        await pass_time(120)

        states = {first.worker.ready(), second.worker.ready()}

        assert states == {(True, "owning partitions [0]"), (True, "standing by")}
        assert (len(first.engine.owned), len(second.engine.owned)) in {(1, 0), (0, 1)}


def owner_and_standby(world: World) -> tuple[Process, Process]:
    owner, standby = sorted(world.processes, key=lambda process: -len(process.engine.owned))
    assert (owner.engine.owned, standby.engine.owned) == ([0], [])
    return owner, standby


@in_virtual_time
async def test_a_killed_owner_is_replaced_within_a_session_and_a_little() -> None:
    async with alive() as (world, tasks):
        world.start(tasks)
        world.start(tasks)
        await pass_time(60)
        owner, standby = owner_and_standby(world)
        owner.kill()
        world.processes.remove(owner)

        assert await until(lambda: standby.engine.owned, SESSION_SECONDS + 5) > SESSION_SECONDS / 2


@in_virtual_time
async def test_a_drained_owner_is_replaced_within_two_seconds() -> None:
    async with alive() as (world, tasks):
        world.start(tasks)
        world.start(tasks)
        await pass_time(60)
        owner, standby = owner_and_standby(world)
        owner.worker.drain()

        await until(lambda: standby.engine.owned, 2)


@in_virtual_time
async def test_an_owner_that_is_not_heard_makes_no_call_after_half_a_session() -> None:
    async with alive() as (world, tasks):
        owner = world.start(tasks)
        await pass_time(60)
        owner.log.stall()
        await pass_time(SESSION_SECONDS / 2 + 1.5)
        made = calls(world)
        await pass_time(60)

        assert calls(world) == made

        owner.log.stall(False)
        await until(lambda: calls(world) > made, 10)


@in_virtual_time
async def test_a_page_held_while_its_commit_failed_is_published_without_another_call() -> None:
    eager = replace(options_of(CALM), customers=1, history_seconds=600, activities_per_customer_day=2000)
    async with alive(replace(CALM, customers=1, calls_per_minute=2), eager) as (world, tasks):
        process = world.start(tasks)
        await until(lambda: process.engine.owned, 5)
        await until(lambda: process.engine.in_flight, 60)
        world.kafka.fates.extend(["fails before", "fails before"])
        await until(world.published, 20)

        assert calls(world) == 1
        assert process.told.count("partition_failed") >= 1


@in_virtual_time
async def test_a_topic_of_another_project_is_refused() -> None:
    async with alive() as (world, tasks):
        first = world.start(tasks)
        await pass_time(30)
        first.worker.drain()
        await until(lambda: first.ended, 5)
    other = World(CALM)
    other.kafka = world.kafka
    process = Process(other, other.policy())
    process.log = MemoryLog(world.kafka, other.clock, source_url="http://elsewhere.invalid")
    process.worker._log = process.log

    with pytest.raises(LogRefused, match="another project needs another topic"), anyio.fail_after(60):
        await process.run()


@in_virtual_time
async def test_the_loop_is_live_while_it_waits_and_not_when_it_stands_still() -> None:
    async with alive() as (world, tasks):
        process = world.start(tasks)
        await pass_time(30)
        live = process.worker.live()[0]
        process.worker._turned_at = world.clock() - 121

        assert (live, process.worker.live()) == (True, (False, "the loop turned 121.0 s ago"))


@in_virtual_time
async def test_a_watched_set_that_changes_is_read_at_once() -> None:
    async with alive() as (world, tasks):
        process = world.start(tasks)
        process.engine.watch([])
        await pass_time(60)
        before = calls(world)
        process.worker.watch([CustomerId(name) for name in world.simulator.customers], "setting")

        assert before == 0
        await until(lambda: calls(world), 3)


@in_virtual_time
async def test_activities_that_are_too_large_together_are_read_a_few_at_a_time() -> None:
    bulky = replace(
        options_of(CALM), customers=1, history_seconds=3600, activities_per_customer_day=2000, large_rate=1.0, large_bytes=1_000_000
    )
    async with alive(CALM, bulky) as (world, tasks):
        world.simulator.freeze()
        world.start(tasks)
        await pass_time(300)

    world.judge_safety()
    assert len(world.published()) > 20


@in_virtual_time
async def test_a_drain_without_kafka_tries_again_slowly_and_ends_in_time() -> None:
    eager = replace(options_of(CALM), customers=1, history_seconds=600, activities_per_customer_day=2000)
    async with alive(replace(CALM, customers=1, calls_per_minute=2), eager) as (world, tasks):
        process = world.start(tasks)
        await until(lambda: process.engine.in_flight, 60)
        world.kafka.break_down()
        await until(lambda: process.engine.unpublished(0), 60)
        process.worker.drain()

        assert await until(lambda: process.ended, 30) <= 26
        assert 3 <= process.told.count("partition_failed") <= 20


@in_virtual_time
async def test_a_drain_does_not_wait_for_a_partition_that_has_nothing_to_publish() -> None:
    async with alive() as (world, tasks):
        process = world.start(tasks)
        await until(lambda: process.engine.owned, 10)
        world.kafka.refusing = "no longer allowed"
        world.kafka.fates.append("fails before")
        await until(lambda: process.told.count("partition_failed") >= 3, 120)
        process.worker.drain()

        await until(lambda: process.ended, 3)
