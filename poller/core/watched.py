"""The watched set: who is watched, how, and who says so.

Each source names customers, and says of each how it is to be watched. The watched set is the union of what the sources name; where several name a
customer, the entry of the strongest one counts whole. A customer that no source names any more is no longer watched, and its checkpoint stays.

Changes cost as much as they change, whatever the size of the set; and a customer of whom only its id is given costs its place in a dictionary,
as entries that are the same share one value.

What an entry means for one customer is here too: whether it is to be read, and what its calls ask for.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Literal, get_args

import msgspec

from poller.core import replay
from poller.core.owned import Customer, Owned
from poller.core.ownership import partition_of
from poller.model import PLAIN, Checkpoint, CustomerId, WatchEntry

Source = Literal["topic", "file", "setting", "all"]
"""The watch topic, POLLER_CUSTOMERS_FILE and POLLER_CUSTOMERS; and POLLER_WATCH=all, of which the watch topic tells whom it has found."""

STRONGEST_FIRST: tuple[Source, ...] = get_args(Source)
CONFIGURED: tuple[Source, ...] = ("file", "setting")
"""What each replica is configured with for itself, so that they may differ. All of them read the one topic."""

SHARED_MAX = 1_000
"""Different values that are remembered so that others can share them."""

Said = tuple[tuple[Source, WatchEntry], ...]
"""Who names a customer, and how; the strongest first."""


class Changed(msgspec.Struct, frozen=True):
    """What a source has changed by what it said."""

    added: tuple[CustomerId, ...] = ()
    removed: tuple[CustomerId, ...] = ()
    altered: tuple[CustomerId, ...] = ()
    """Watched as before, but in another way."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.altered)

    @property
    def customers(self) -> Iterable[CustomerId]:
        """All of them."""
        return chain(self.added, self.removed, self.altered)


class Watched:
    """See the top of this file."""

    def __init__(self, *, found_count: bool = False) -> None:
        """`found_count`: whether they are watched whom nobody names, but the topic says that they were found."""
        self._found_count = found_count
        self.found_customers = 0
        """Who was found, whoever else names them."""
        self._said: dict[CustomerId, Said] = {}
        self._partitions = 0
        self._by_partition: dict[int, dict[CustomerId, None]] = {}
        """Only where there are several: the only one holds them all."""
        self._shared: dict[Said, Said] = {}
        self._digest = 0
        self._awaited: set[Source] = set()

    def __repr__(self) -> str:
        return f"<Watched {len(self._said)} customers>"

    def __len__(self) -> int:
        return len(self._said)

    def __contains__(self, customer: CustomerId) -> bool:
        return customer in self._said

    def entry(self, customer: CustomerId) -> WatchEntry | None:
        """How it is to be watched; `None`: it is not."""
        said = self._said.get(customer)
        return said[0][1] if said else None

    def sources(self, customer: CustomerId) -> tuple[Source, ...]:
        """Who names it, the strongest first."""
        return tuple(source for source, _ in self._said.get(customer, ()))

    def found_as(self, customer: CustomerId) -> WatchEntry | None:
        """How the topic says that it was found; `None`: it does not."""
        said = self._said.get(customer)
        return said[-1][1] if said and _is_found(said) else None

    def found(self) -> Iterator[tuple[CustomerId, WatchEntry]]:
        """Whoever was found, and how the topic says so."""
        return ((customer, said[-1][1]) for customer, said in self._said.items() if _is_found(said))

    def of(self, partition: int) -> Collection[CustomerId]:
        """The watched customers of a partition."""
        if self._partitions == 1:
            return self._said.keys()
        return self._by_partition.get(partition, {}).keys()

    @property
    def configured_hash(self) -> str:
        """Of what file and setting name and how, in whatever order: the same where replicas are configured alike."""
        return f"{self._digest:016x}"

    @property
    def awaited(self) -> list[Source]:
        """Sources that have not said yet whom they name."""
        return [source for source in STRONGEST_FIRST if source in self._awaited]

    def expect(self, source: Source) -> None:
        """It will say whom it names; until that is `known`, nobody is known to be watched as is wanted."""
        self._awaited.add(source)

    def known(self, source: Source) -> None:
        """It has said whom it names, all of them."""
        self._awaited.discard(source)

    def partitioned(self, partitions: int) -> None:
        """So many partitions divide the customers."""
        self._partitions = partitions
        self._by_partition = {}
        for customer in self._said if partitions > 1 else ():
            self._index(customer, True)

    def put_all(self, source: Source, entries: Mapping[CustomerId, WatchEntry]) -> Changed:
        """The source names these, and nobody else."""
        self.known(source)
        gone = [customer for customer in self._said if customer not in entries and source in self.sources(customer)]
        return self._change(source, chain(entries.items(), ((customer, None) for customer in gone)))

    def change(self, source: Source, changes: Mapping[CustomerId, WatchEntry | None]) -> Changed:
        """The source names these so from now on, or (`None`) no longer; what it says of others stays."""
        return self._change(source, changes.items())

    def _change(self, source: Source, changes: Iterable[tuple[CustomerId, WatchEntry | None]]) -> Changed:
        added: list[CustomerId] = []
        removed: list[CustomerId] = []
        altered: list[CustomerId] = []
        for customer, entry in changes:
            before = self._said.get(customer, ())
            after = self._with(before, source, entry)
            if after == before:
                continue
            self._put(customer, before, after)
            if not before:
                added.append(customer)
            elif not after:
                removed.append(customer)
            elif before[0][1] != after[0][1]:
                altered.append(customer)
        return Changed(tuple(added), tuple(removed), tuple(altered))

    def _with(self, before: Said, source: Source, entry: WatchEntry | None) -> Said:
        said = [one for one in before if one[0] != source]
        if source == "topic":
            said = [one for one in said if one[0] != "all"]  # the two share one record
            source = "topic" if entry is None or entry.found is None else "all"
        if entry is not None and (source != "all" or self._found_count):
            said.append((source, entry))
            said.sort(key=lambda one: STRONGEST_FIRST.index(one[0]))
        after = tuple(said)
        if len(self._shared) >= SHARED_MAX:
            self._shared.clear()
        return self._shared.setdefault(after, after)

    def _put(self, customer: CustomerId, before: Said, after: Said) -> None:
        if after:
            self._said[customer] = after
        else:
            del self._said[customer]
        if self._partitions > 1 and bool(before) != bool(after):
            self._index(customer, bool(after))
        self.found_customers += _is_found(after) - _is_found(before)
        configured = _configured(before), _configured(after)
        if configured[0] != configured[1]:
            for entry in configured:
                self._digest ^= 0 if entry is None else _digest(customer, entry)

    def _index(self, customer: CustomerId, watched: bool) -> None:
        customers = self._by_partition.setdefault(partition_of(customer, self._partitions), {})
        if watched:
            customers[customer] = None
        else:
            del customers[customer]


def _is_found(said: Said) -> bool:
    return bool(said) and said[-1][0] == "all"


def _configured(said: Said) -> WatchEntry | None:
    return next((entry for source, entry in said if source in CONFIGURED), None)


def _digest(customer: CustomerId, entry: WatchEntry) -> int:
    """64 bits of it; those of all customers together are their exclusive or, so that each can be taken out again."""
    how = b"" if entry == PLAIN else b"\n" + msgspec.json.encode(entry)
    return int.from_bytes(hashlib.sha256(customer.encode() + how).digest()[:8], "big")


# ------------------------------------------------------------------------------------------------- what an entry means


def has_ended(entry: WatchEntry, checkpoint: Checkpoint | None) -> bool:
    """Whether all that is wanted of the customer has been read."""
    read = entry.until_ms is not None and checkpoint is not None and checkpoint.cursor_ms >= entry.until_ms
    return read and replay.ordered(entry, checkpoint) is None


def filters_of(entry: WatchEntry) -> tuple[tuple[str, str], ...]:
    """What its calls ask for, beside where the page shall begin: names and values of the query."""
    named = (("campaign_type", entry.campaign_type), ("campaign_id", entry.campaign_id), ("product_id", entry.product_id))
    return tuple((name, value) for name, value in named if value is not None)


def settle(owned: Owned, customer_id: CustomerId, entry: WatchEntry | None, *, busy: bool) -> Customer | None:
    """Bring the schedule of an owned partition in line with how a customer is watched now. Returned is who stands in it, or is away from it.

    Who is paused, or has been read to its end, does not stand there, as if nobody watched it; but its walk goes on where it was. `busy`: a
    call for it is under way, or its batch awaits the commit.
    """
    customer = owned.customers.get(customer_id)
    checkpoint = None if customer is None else customer.checkpoint
    if entry is None or entry.forget or entry.paused or has_ended(entry, checkpoint):
        if customer is not None and customer_id in owned.schedule:
            owned.schedule.remove(customer_id)
            customer.scheduled = False
        if (entry is None or entry.forget) and checkpoint is None and not busy:
            owned.customers.pop(customer_id, None)  # there is nothing to go on from
        owned.lookups.drop(customer_id)
        return None
    if customer is None:
        customer = owned.customers[customer_id] = Customer(None)
    if customer.scheduled:
        customer.scheduled = not _taken_away(owned, customer_id, entry, checkpoint)
    if customer_id not in owned.schedule:
        owned.schedule.add(customer_id, None if checkpoint is None else checkpoint.rates, customer.last_read)
    owned.schedule.weigh(customer_id, entry.weight)
    return customer


def _taken_away(owned: Owned, customer_id: CustomerId, entry: WatchEntry, checkpoint: Checkpoint | None) -> bool:
    """Whether it stands in the schedule no longer, as it was rewound: it is not its turn that counts now, and it may have to be looked up first."""
    if owned.lookups.lacks(customer_id, replay.current(entry, checkpoint)):
        owned.schedule.remove(customer_id)
        return True
    return replay.ordered(entry, checkpoint) is not None and owned.schedule.withdraw(customer_id)
