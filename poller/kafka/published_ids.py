"""The ids of the activities that stand in the activities topic, by customer, of those that are asked about: told by the records' headers, and bounded. Pure."""

from collections.abc import Collection, Mapping

from poller.core.replay import PUBLISHED_IDS_MAX
from poller.model import CustomerId


class PublishedIds:
    """See the top of this file."""

    def __init__(self, customers: Collection[CustomerId], ids_max: int = PUBLISHED_IDS_MAX) -> None:
        self.ids: dict[CustomerId, set[str]] = {customer: set() for customer in customers}
        self._names = {customer.encode(): customer for customer in customers}
        self._ids_max = ids_max
        self._count = 0

    def take(self, headers: "Mapping[str, bytes]") -> None:
        """The headers of one record. Where there is too much, whoever has the most is left out."""
        customer = self._names.get(headers.get("ce_subject", b""))
        id = headers.get("ce_id")
        if customer is None or id is None:
            return
        ids = self.ids[customer]
        before = len(ids)
        ids.add(id.decode(errors="surrogateescape"))
        self._count += len(ids) - before
        if self._count > self._ids_max:
            largest = max(self.ids, key=lambda name: len(self.ids[name]))
            self._count -= len(self.ids.pop(largest))
            del self._names[largest.encode()]
