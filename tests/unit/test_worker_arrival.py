"""While a restored partition comes in, whoever else waits for the loop has it."""

from collections.abc import Iterator

import anyio
from anyio.lowlevel import checkpoint

from poller.model import Restored
from tests.support.plan import CALM
from tests.support.virtual_time import run_in_virtual_time
from tests.support.world import Process, World

STEPS = 1000


class Arrival:
    """What a process is given comes in by very many steps more."""

    def __init__(self, process: Process) -> None:
        self.begun, self.steps = anyio.Event(), 0
        self._arriving = process.engine.arriving
        process.engine.arriving = self.slowly  # type: ignore[method-assign]

    def slowly(self, partition: int, restored: Restored, now: float) -> Iterator[None]:
        yield from self._arriving(partition, restored, now)
        self.begun.set()
        for self.steps in range(1, STEPS + 1):
            yield


async def turns_meanwhile() -> tuple[int, list[int]]:
    """How often somebody else had the loop, and what was ours then."""
    turns = 0
    async with anyio.create_task_group() as tasks:
        process = World(CALM).start(tasks)
        arrival = Arrival(process)
        await arrival.begun.wait()
        while arrival.steps < STEPS:
            await checkpoint()
            turns += 1
        owned = process.engine.owned
        process.worker.drain()
    return turns, owned


def test_the_loop_turns_at_each_step_of_an_arrival_and_the_partition_is_not_ours_before_its_end() -> None:
    turns, owned = run_in_virtual_time(turns_meanwhile)

    assert owned == []
    assert turns > STEPS * 0.9
