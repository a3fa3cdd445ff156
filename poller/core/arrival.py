"""How a restored partition comes in: some customers at a time, as there may be a million, and whoever waits for the loop meanwhile, such as the
heartbeat that keeps us a member, must not wait for long.

What is done here for all of them is a generator that yields after each slice.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from heapq import merge
from itertools import islice
from typing import TypeVar

import msgspec

from poller.core.owned import Customer, Owned
from poller.model import Checkpoint, CustomerId, Restored

CUSTOMERS_AT_ONCE = 10_000
"""Taken in within some tens of milliseconds."""

Item = TypeVar("Item")


class Arrival(msgspec.Struct, gc=False):
    """A partition that is to be ours."""

    restored: Restored
    owned: Owned
    """With everybody who has a checkpoint; its schedule fills."""
    busy: tuple[CustomerId, ...]
    """For whom calls were under way when it began, or a batch awaited its commit."""
    complete: bool = False


def taken_in(
    customers: dict[CustomerId, Customer],
    checkpoints: Mapping[CustomerId, Checkpoint],
    watched: Collection[CustomerId],
    now: float,
    at_once: int = CUSTOMERS_AT_ONCE,
) -> Iterator[None]:
    """Everybody who has a checkpoint. Whoever is watched goes by the very string that the watched set has, so that the one which was restored can go."""
    for some in _slices(list(watched), at_once):
        customers.update((name, Customer.restored(checkpoints[name], now)) for name in some if name in checkpoints)
        yield
    others = [name for name in checkpoints if name not in customers] if len(customers) < len(checkpoints) else []
    for some in _slices(others, at_once):
        customers.update((name, Customer.restored(checkpoints[name], now)) for name in some)
        yield


def each_in_turn(
    customers: Mapping[CustomerId, Customer],
    watched: Collection[CustomerId],
    do: Callable[[CustomerId], None],
    at_once: int = CUSTOMERS_AT_ONCE,
) -> Iterator[None]:
    """Do it for everybody who is watched, in the order of their last reads, and then of their names."""

    def turn(name: CustomerId) -> tuple[float, CustomerId]:
        return (customers[name].last_read if name in customers else -math.inf), name

    runs = []
    for some in _slices(list(watched), at_once):
        runs.append(sorted(some, key=turn))
        yield
    for some in _slices(merge(*runs, key=turn), at_once):
        for name in some:
            do(name)
        yield


def _slices(items: Iterable[Item], at_once: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while some := list(islice(rest, at_once)):
        yield some
