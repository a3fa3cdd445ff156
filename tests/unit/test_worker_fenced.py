"""Who owns a partition: written down before the first call, given up when fenced, and never somebody else's."""

from dataclasses import replace

import anyio
import msgspec

from poller.kafka.memory import Hold
from poller.kafka.record import OWNERSHIP_KEY, encode_ownership
from poller.model import Ledger
from tests.support.builders import ownership
from tests.support.plan import CALM
from tests.support.virtual_time import pass_time, run_in_virtual_time
from tests.support.world import URL, Process, World

LEFT = ownership(url=URL, ledger=Ledger(level=5.0))
"""By somebody who was drained with a full bucket."""


def test_who_was_fenced_opens_the_partition_again_only_once_the_group_confirms_that_it_is_its_own() -> None:
    async def epochs() -> tuple[int, int, int]:
        world = World(CALM)
        async with anyio.create_task_group() as tasks:
            process = world.start(tasks)
            await pass_time(30)
            process.log.stall()
            fenced = world.kafka.fence(0)
            await pass_time(4)  # less than half a session: it calls, and its commit is refused; whoever backs off alone is back by then
            unconfirmed = world.kafka._epochs[0]
            process.log.stall(False)
            await pass_time(10)
            process.worker.drain()
        return fenced, unconfirmed, world.kafka._epochs[0]

    fenced, unconfirmed, confirmed = run_in_virtual_time(epochs)

    assert (unconfirmed, confirmed > fenced) == (fenced, True)


def test_an_owner_is_written_down_before_it_makes_a_call() -> None:
    async def lived() -> tuple[int, bool]:
        world = World(replace(CALM, calls_per_minute=600))
        world.kafka.put(0, OWNERSHIP_KEY, encode_ownership(LEFT))
        world.kafka.hold = hold = Hold()
        async with anyio.create_task_group() as tasks:
            process = world.start(tasks)
            await hold.reached.wait()
            await pass_time(5)
            before = len(world.simulator.calls)
            hold.over.set()
            await pass_time(20)
            process.worker.drain()
        return before, len(world.simulator.calls) > 0

    assert run_in_virtual_time(lived) == (0, True)


def test_checkpoints_of_another_project_end_the_worker_though_the_log_lets_them_pass() -> None:
    async def lived() -> tuple[str, int]:
        world = World(CALM)
        async with anyio.create_task_group() as tasks:
            first = world.start(tasks)
            await pass_time(30)
            first.worker.drain()
        before = len(world.simulator.calls)
        other = Process(world, msgspec.structs.replace(world.policy(), url="http://elsewhere.invalid"))
        with anyio.move_on_after(60):
            await other.run_guarded()
        return str(other.crash), len(world.simulator.calls) - before

    crash, calls = run_in_virtual_time(lived)

    assert ("another project needs another topic" in crash, calls) == (True, 0)
