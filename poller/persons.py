"""Whether one person is watched under two ids: then the same activity is published for both. Best effort, and without a call: what was published lately is
remembered, so it shows where both are read within that while.
"""

from collections.abc import Iterator

from poller.model import ActivityId, Batch, CustomerId

ACTIVITIES_REMEMBERED = 20_000
PAIRS_REMEMBERED = 10_000


class Persons:
    """Told what is published, it says who is the same, each pair once."""

    def __init__(self) -> None:
        self._published: dict[ActivityId, CustomerId] = {}
        self._pairs: dict[tuple[CustomerId, CustomerId], None] = {}

    def published(self, batch: Batch) -> Iterator[tuple[CustomerId, CustomerId]]:
        """Pairs that were not known; the ids of each in their order."""
        for record in batch.records:
            other = self._published.setdefault(record.id, batch.customer)
            if other != batch.customer:
                pair = (min(other, batch.customer), max(other, batch.customer))
                if pair not in self._pairs:
                    self._pairs[pair] = None
                    yield pair
        while len(self._published) > ACTIVITIES_REMEMBERED:
            del self._published[next(iter(self._published))]
        while len(self._pairs) > PAIRS_REMEMBERED:
            del self._pairs[next(iter(self._pairs))]
