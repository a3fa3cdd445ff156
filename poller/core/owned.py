"""What the engine keeps of a partition that is ours: its customers, its budget and schedule, and the batches that await their commit."""

import math

from poller.core.budget import Budget
from poller.core.schedule import Schedule
from poller.model import Batch, Checkpoint, CustomerId, Feed, Walk


class Customer:
    """What is known of one customer of an owned partition."""

    __slots__ = ("announced", "checkpoint", "error", "failures", "last_read", "scheduled", "walk")

    def __init__(self, checkpoint: Checkpoint | None, now: float = math.inf) -> None:
        """`now`: a last read that lies ahead of it, as another process may have written it by its own clock, says nothing; taken for now, it
        would go behind all others each time that the partition is restored, and never be read.
        """
        self.checkpoint = checkpoint
        self.walk: Walk | None = None
        self.failures = 0
        self.error = ""
        said = -math.inf if checkpoint is None or checkpoint.last_read is None else checkpoint.last_read
        self.last_read = said if said <= now else -math.inf
        self.scheduled = False
        self.announced = False
        """A hint came since its last read."""


class Owned:
    """One partition that is ours and restored."""

    def __init__(self, customers: dict[CustomerId, Customer], budget: Budget, schedule: Schedule) -> None:
        self.customers = customers
        self.budget = budget
        self.schedule = schedule
        self.feed: Feed | None = None
        """Of partition 0, where the change feed is read."""
        self.commit_at = -math.inf
        """The earliest beginning of the next commit."""
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
