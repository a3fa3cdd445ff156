"""A partition that is taken in the very turn in which something else woke its owner: nothing of it goes on."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from poller.model import Assigned, Rebalancing
from tests.support.plan import CALM
from tests.support.virtual_time import pass_time, run_in_virtual_time
from tests.support.world import Process, World

NOTHING = Assigned(frozenset())
ALL = Assigned(frozenset({0}))


async def goes_on_after(taking: Callable[[Process], Awaitable[None]]) -> int:
    """Calls made once the partition was taken so, and given back."""
    world = World(CALM)
    async with anyio.create_task_group() as tasks:
        process = world.start(tasks)
        await taking(process)
        await pass_time(1)
        assert process.engine.owned == []
        before = len(world.simulator.calls)
        tell(process, ALL)
        await pass_time(20)
        process.worker.drain()
    assert process.crash is None
    return len(world.simulator.calls) - before


def tell(process: Process, *events: Assigned | Rebalancing) -> None:
    assert process.log.member is not None
    process.log.member.tell(*events)


@pytest.mark.parametrize("tenths", range(8))
def test_a_partition_that_is_taken_as_its_owner_wakes_is_given_up(tenths: int) -> None:
    async def woken_and_taken(process: Process) -> None:
        await pass_time(30 + tenths / 10)  # waiting for some of these, and committing for others
        tell(process, Rebalancing(), NOTHING)

    assert run_in_virtual_time(goes_on_after, woken_and_taken) > 10
