"""Virtual time replays: the same seed, the same order."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.support.virtual_time import run_in_virtual_time

HOUR = 3600.0


async def order_of_ten_tasks() -> list[tuple[int, int]]:
    order = []

    async def step_thrice(task: int) -> None:
        for step in range(3):
            order.append((task, step))
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for task in range(10):
            tasks.start_soon(step_thrice, task)
    return order


def test_one_seed_replays_the_order_of_tasks() -> None:
    runs = [run_in_virtual_time(order_of_ten_tasks, seed=7) for _ in range(3)]

    assert runs == [runs[0]] * 3


def test_other_seeds_try_other_orders() -> None:
    orders = {tuple(run_in_virtual_time(order_of_ten_tasks, seed=seed)) for seed in range(5)}

    assert len(orders) == 5


@pytest.mark.anyio
async def test_an_hour_passes_at_once(virtual_time: Any) -> None:
    began = anyio.current_time()
    with anyio.move_on_after(HOUR):
        await anyio.Event().wait()

    assert anyio.current_time() - began == HOUR
