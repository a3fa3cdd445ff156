"""The worker and what must be looked up before a replay begins, with the log in memory, in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from poller.kafka.record import REPLAY_HEADER
from poller.model import CustomerId, Rewind, WatchEntry
from tests.support.judges import identity
from tests.support.plan import CALM
from tests.support.virtual_time import pass_time, run_in_virtual_time
from tests.support.world import EPOCH, Process, World


class FollowingWorld(World):
    watch_topic = True


@asynccontextmanager
async def rewound(*, ids_max: int | None = None) -> AsyncIterator[tuple[World, TaskGroup, Process, CustomerId]]:
    """Its customers were read for a while; the first one is rewound for what is missing, and nothing is."""
    world = FollowingWorld(replace(CALM, activities_per_customer_day=2_000))
    if ids_max is not None:
        world.kafka.published_ids_max = ids_max
    customer = CustomerId(world.simulator.customers[0])
    async with anyio.create_task_group() as tasks:
        process = world.start(tasks)
        await pass_time(600)
        world.simulator.freeze()
        await pass_time(60)
        world.kafka.watch({customer: WatchEntry(replay=Rewind("r1", round(EPOCH * 1000), missing_only=True))})
        yield world, tasks, process, customer
        for one in world.processes:
            one.worker.drain()


def count(process: Process, *events: str) -> list[int]:
    return [process.told.count(event) for event in events]


def test_while_kafka_does_not_answer_it_is_asked_again_and_then_nothing_is_published_twice() -> None:
    async def lose_kafka() -> None:
        async with rewound() as (world, _, process, customer):
            while process.worker.standing(customer).state != "is looked up":
                await pass_time(0.01)
            world.kafka.break_down(30)
            await pass_time(20)
            failed = count(process, "lookup_failed", "looked_up", "replay_begun")
            await pass_time(60)

            assert (failed[0] > 1, failed[1:]) == (True, [0, 0])
            assert process.told.count("looked_up") >= 1
            assert count(process, "replay_begun", "replay_done", "replay_refused") == [1, 1, 0]
            assert not any(REPLAY_HEADER in dict(record.headers) for record in world.published())
            world.judge_safety()

    run_in_virtual_time(lose_kafka)


def test_of_whom_too_much_stands_there_is_not_read_until_it_is_rewound_otherwise() -> None:
    async def ask_too_much() -> None:
        async with rewound(ids_max=5) as (world, _, process, customer):
            await pass_time(60)
            refused = count(process, "looked_up", "replay_refused", "replay_begun"), process.worker.standing(customer).state
            world.kafka.watch({customer: WatchEntry(replay=Rewind("r2", round(EPOCH * 1000)))})
            await pass_time(60)
            again = [identity(record) for record in world.published() if dict(record.headers).get(REPLAY_HEADER) == b"r2"]
            once = [identity(record) for record in world.published() if REPLAY_HEADER not in dict(record.headers)]

            assert refused == ([1, 1, 0], "is looked up")
            assert len(again) > 5
            assert sorted(again) == sorted(name for name in once if name[0] == customer)
            assert process.telemetry.metrics.counted("poller_activities_replayed_total") == len(again)

    run_in_virtual_time(ask_too_much)


def test_a_drain_does_not_wait_for_a_look_up() -> None:
    async def drain() -> None:
        async with rewound() as (world, _, process, customer):
            while process.worker.standing(customer).state != "is looked up":
                await pass_time(0.01)
            world.kafka.break_down(5)
            await pass_time(1)
            process.worker.drain()
            await pass_time(40)

            assert process.ended
            assert count(process, "replay_begun") == [0]

    run_in_virtual_time(drain)
