"""What the engine keeps of a partition that is ours: its customers, its budget and schedule, and the batches that await their commit."""

import math
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from poller.core.budget import Budget
from poller.core.replay import Lookups
from poller.core.schedule import Schedule
from poller.model import Batch, Checkpoint, CustomerId, Feed, Listing, Share, Walk, WatchEntry


class Customer(msgspec.Struct, gc=False, eq=False):
    """What is known of one customer of an owned partition. There are very many, so the garbage collector is spared: none refers to itself."""

    checkpoint: Checkpoint | None
    last_read: float = -math.inf
    walk: Walk | None = None
    failures: int = 0
    error: str = ""
    scheduled: bool = False
    unknown_since: float | None = None
    """When the API first said that it does not know it, and nothing else since."""

    @classmethod
    def restored(cls, checkpoint: Checkpoint, now: float) -> "Customer":
        """A last read that lies ahead of `now`, as another process may have written it by its own clock, says nothing; taken for now, it
        would go behind all others each time that the partition is restored, and never be read.
        """
        said = checkpoint.last_read
        return cls(checkpoint) if said is None or said > now else cls(checkpoint, said)


class Leaving:
    """Customers of a partition of whose lives something may be to be noted; `core/lifecycle.py` alone knows what to make of it."""

    def __init__(self) -> None:
        self.pending: OrderedDict[CustomerId, bool] = OrderedDict()
        """Whoever waits longest is first, and found at once though very many were before it; and whether it was dropped just now."""
        self.forgotten: dict[CustomerId, WatchEntry] = {}
        """Of whom that is done, and by which entry."""
        self.looking: Iterator[CustomerId] | None = None
        """Those who are still to be looked at, where all are looked through."""
        self.look_at = -math.inf
        self.next_look_at = math.inf
        """The same, once that may be."""
        self.found = False
        """There is somebody whom nobody watches."""
        self.since = math.inf
        """Since when this owner tends to them."""


class Owned:
    """One partition that is ours and restored."""

    def __init__(self, customers: dict[CustomerId, Customer], budget: Budget, schedule: Schedule, share: Share | None = None) -> None:
        self.customers = customers
        self.budget = budget
        self.schedule = schedule
        self.share = share
        """Of the budget, where several partitions divide it, as the last commit says, whether it stands or not."""
        self.committed_at = math.inf
        """When its last commit was made; `inf`: none was."""
        self.feed: Feed | None = None
        """Of partition 0, where the change feed is read."""
        self.lookups = Lookups()
        """For replays of what is missing only."""
        self.listing: Listing | None = None
        """Of partition 0, where every customer of the project is watched."""
        self.commit_at = -math.inf
        """The earliest beginning of the next commit."""
        self.leaving = Leaving()
        self.called = 0
        """Which call of this process was its last: partitions take turns, or the first would take every call where all are always due."""


class Held:
    """Batches of one partition that await their commit, by customer; they outlive a lost writer, but not a lost partition."""

    def __init__(self) -> None:
        self.batches: dict[CustomerId, Batch] = {}
        self.records = 0
        self.bytes = 0

    def put(self, batch: Batch) -> None:
        assert batch.customer not in self.batches
        self.batches[batch.customer] = batch
        self.records += _records(batch)
        self.bytes += batch.body_bytes

    def pop(self, customer: CustomerId) -> Batch:
        batch = self.batches.pop(customer)
        self.records -= _records(batch)
        self.bytes -= batch.body_bytes
        return batch

    def first(self, records_max: int) -> tuple[Batch, ...]:
        """The oldest, up to so many records; at least one."""
        taken: list[Batch] = []
        records = 0
        for batch in self.batches.values():
            records += _records(batch)
            if taken and records > records_max:
                break
            taken.append(batch)
        return tuple(taken)


def _records(batch: Batch) -> int:
    """What it publishes, beside its checkpoint."""
    return len(batch.records) + len(batch.dead_letters)
