"""Replays: what was published of a customer from some instant on is published again, as its watch entry orders. Pure.

A replay is an ordinary walk that begins earlier. When it begins, the checkpoint is set back: its cursor to the instant that was ordered, its recent
ids forgotten. What had been published until then it keeps beside them, as all that was created before an instant, `until_ms`, and some ids. What the
walk meets of these is published *again*, and marked; anything else is *new*, as in any other read. So what happens meanwhile is published once,
at the end of the walk, and each page is committed with how far the replay has come: it goes on from there, wherever.

Setting back is part of the first page's commit, and so is `replayed`, the replay's id, by which the order is carried out once. A rewind that is
ordered while another is under way takes its place with its first page; what had been published by then is what either of them has published.

A replay is over when a read ends that was shown all that had been published before it. The cursor is then where it would be without it. A read of very
many pages ends before: the next one goes on with the replay.

A replay may be of what is missing only. Then the ids that stand in the activities topic must be known before its first read. They are kept in
this process alone (`Lookups`): whoever goes on with the replay asks anew, and what the replay itself has published stands there too.
"""

from collections.abc import Collection, Mapping

import msgspec
from msgspec.structs import replace

from poller.core import dedupe
from poller.model import NO_IDS, Activity, Checkpoint, CustomerId, DeadLetter, Lookup, Replay, Rewind, WatchEntry

LOOKUP_CUSTOMERS_MAX = 1_000
"""In one look-up, which reads the topic once for all of them."""

PUBLISHED_IDS_MAX = 500_000
"""Ids that one look-up may find, and of which no more than these are known before another is made: some fifty megabytes each."""


# -------------------------------------------------------------------------------------------------------- one customer's replay


def ordered(entry: WatchEntry | None, checkpoint: Checkpoint | None) -> Rewind | None:
    """The rewind that is to be begun. Who was never read is read first, and rewound then: nothing of it can be published again."""
    rewind = None if entry is None else entry.replay
    return None if rewind is None or checkpoint is None or rewind.id == checkpoint.replayed else rewind


def current(entry: WatchEntry | None, checkpoint: Checkpoint | None) -> Rewind | None:
    """The rewind that the customer's next page is about: to be begun, or under way."""
    under_way = None if checkpoint is None or checkpoint.replay is None else checkpoint.replay.rewind
    return ordered(entry, checkpoint) or under_way


def covered(checkpoint: Checkpoint) -> tuple[int, Mapping[str, int]]:
    """What has been published, or will never be but by a replay: all that was created before this instant, and these ids."""
    until_ms, recent = checkpoint.cursor_ms, checkpoint.recent
    if checkpoint.replay is not None:
        until_ms, recent = max(until_ms, checkpoint.replay.until_ms), {**checkpoint.replay.recent, **recent}
    if checkpoint.baseline_ms is not None:
        until_ms = max(until_ms, checkpoint.baseline_ms + 1)
    return until_ms, {id: at_ms for id, at_ms in recent.items() if at_ms >= until_ms}


def begun(checkpoint: Checkpoint, rewind: Rewind) -> Checkpoint:
    """The checkpoint set back. What was created before `from` stays known; a cursor that has not come so far stays where it is."""
    until_ms, known = covered(checkpoint)
    return replace(
        checkpoint,
        cursor_ms=min(rewind.from_ms, until_ms),
        recent={id: at_ms for id, at_ms in known.items() if at_ms < rewind.from_ms} or NO_IDS,
        baseline_ms=None,
        replay=Replay(rewind, until_ms, {id: at_ms for id, at_ms in known.items() if at_ms >= rewind.from_ms} or NO_IDS),
        replayed=rewind.id,
    )


def started(checkpoint: Checkpoint | None, entry: WatchEntry) -> Checkpoint | None:
    """Where the next page's read begins: the checkpoint, set back where a replay is to begin; `None`: there is none."""
    rewind = ordered(entry, checkpoint)
    return checkpoint if checkpoint is None or rewind is None else begun(checkpoint, rewind)


class Sorted(msgspec.Struct, frozen=True, gc=False):
    """What of a page's fresh entries is to be published."""

    records: tuple[Activity, ...]
    dead_letters: tuple[DeadLetter, ...]
    again: frozenset[str] = frozenset()
    """Records that are published again."""
    known: int = 0
    """Entries that are not published, as they stand there."""


def sort(sifted: dedupe.Sifted, replay: Replay | None, published: Collection[str]) -> Sorted:
    """The fresh entries of a page, as a replay has them. Dead letters are not written again: nothing but their bytes tells one from another."""
    if replay is None:
        return Sorted(sifted.records, sifted.dead_letters, known=sifted.known)
    again = frozenset(record.id for record in sifted.records if _was_published(record, replay))
    records = tuple(record for record in sifted.records if record.id not in again or record.id not in published)
    letters = tuple(letter for letter in sifted.dead_letters if not _was_published(letter, replay))
    left_out = len(sifted.records) - len(records) + len(sifted.dead_letters) - len(letters)
    return Sorted(records, letters, again.intersection(record.id for record in records), sifted.known + left_out)


def _was_published(entry: Activity | DeadLetter, replay: Replay) -> bool:
    before = entry.created_at_ms is not None and entry.created_at_ms < replay.until_ms
    return before or dedupe.key_of(entry) in replay.recent


def goes_on(entry: WatchEntry, checkpoint: Checkpoint | None) -> bool:
    """Whether there is something to be published again, and the next read will get at it."""
    replay = None if checkpoint is None else checkpoint.replay
    if checkpoint is None or replay is None:
        return ordered(entry, checkpoint) is not None
    return (checkpoint.cursor_ms < replay.until_ms and not replay.stalled) or ordered(entry, checkpoint) is not None


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """What of a checkpoint a page has moved."""

    cursor_ms: int
    recent: Mapping[str, int]
    replay: Replay | None = None
    """`None`: it is over, or there was none."""
    dropped: int = 0
    """Ids forgotten because there were too many."""


def remembered(start: Checkpoint, recent: Mapping[str, int], cursor_ms: int, shown_to_ms: int | None, *, ended: bool) -> Remembered:
    """The ids that are still needed, and what is left of a replay: together as many as recent ids may be. `ended`: the read is over, and everything
    before `shown_to_ms` was shown (`None`: everything that there is).
    """
    replay = start.replay
    if replay is None:
        kept, cursor_ms, dropped = dedupe.forget(recent, cursor_ms)
        return Remembered(cursor_ms, kept, dropped=dropped)
    more = shown_to_ms is not None and (
        shown_to_ms < replay.until_ms or any(at >= shown_to_ms for at in _left(replay.recent, recent).values())
    )
    if ended and not more:
        # The cursor is again where it had been: what was not shown now, and is one day, had been published all the same.
        kept, cursor_ms, dropped = dedupe.forget({**replay.recent, **recent}, max(cursor_ms, replay.until_ms))
        return Remembered(cursor_ms, kept, dropped=dropped)
    kept, cursor_ms, dropped = dedupe.forget({**replay.recent, **recent}, cursor_ms)
    left = _left(kept, recent)
    stalled = ended and not (cursor_ms == shown_to_ms and cursor_ms > start.cursor_ms)
    met = {id: at_ms for id, at_ms in kept.items() if id not in left}
    return Remembered(cursor_ms, met or NO_IDS, replace(replay, recent=left or NO_IDS, stalled=stalled), dropped)


def _left(ids: Mapping[str, int], recent: Mapping[str, int]) -> dict[str, int]:
    """Those that were not met."""
    return {id: at_ms for id, at_ms in ids.items() if id not in recent}


# --------------------------------------------------------------------------------------------------------- what is missing only


class Asked(msgspec.Struct, gc=False, eq=False):
    """A customer that waits to be looked up."""

    rewind: Rewind
    lookup: Lookup | None = None
    """Under way."""
    alone: bool = False
    """Together with others there was too much."""
    refused: bool = False
    """Alone there was, too."""


class Lookups:
    """What of a partition's customers stands in the activities topic, where a replay must know it. Gone with the partition, as is what was ordered."""

    def __init__(self) -> None:
        self._asked: dict[CustomerId, Asked] = {}
        self._found: dict[CustomerId, tuple[Rewind, Collection[str]]] = {}
        """With what it was looked up for."""
        self._under_way: Lookup | None = None

    def __repr__(self) -> str:
        return f"<Lookups {len(self._asked)} asked, {len(self._found)} found>"

    def __contains__(self, customer: CustomerId) -> bool:
        """Whether it waits to be looked up."""
        return customer in self._asked

    def refused(self, customer: CustomerId) -> bool:
        """Whether it waits in vain."""
        return customer in self._asked and self._asked[customer].refused

    def lacks(self, customer: CustomerId, rewind: Rewind | None) -> bool:
        """Whether its next page, which is about that rewind, must wait to be looked up."""
        found = self._found.get(customer)
        return rewind is not None and rewind.missing_only and (found is None or found[0] != rewind)

    def waits(self, customer: CustomerId, rewind: Rewind | None) -> bool:
        """Whether it waits for what that rewind must know; if for another one, it does so no longer."""
        asked = self._asked.get(customer)
        if asked is not None and asked.rewind != rewind:
            del self._asked[customer]
            return False
        return asked is not None

    def ask(self, customer: CustomerId, rewind: Rewind) -> None:
        self._asked[customer] = Asked(rewind)

    def found(self, customer: CustomerId, replay: Replay | None) -> Collection[str]:
        """The ids that stand there; none where the replay under way need not know."""
        if replay is None or not replay.rewind.missing_only:
            return frozenset()
        looked_up_for, ids = self._found[customer]
        assert looked_up_for == replay.rewind, "looked up before its first page was asked for"
        return ids

    def drop(self, customer: CustomerId) -> None:
        """Its replay is over, or it is not to be read any more."""
        self._found.pop(customer, None)
        self._asked.pop(customer, None)

    def order(self, partition: int) -> Lookup | None:
        """The next look-up to make, if there is one: one at a time, and none while too much is known."""
        if not self._asked or self._under_way is not None or sum(len(ids) for _, ids in self._found.values()) >= PUBLISHED_IDS_MAX:
            return None
        wanted = [customer for customer, asked in self._asked.items() if not asked.alone and not asked.refused][:LOOKUP_CUSTOMERS_MAX]
        wanted = wanted or [customer for customer, asked in self._asked.items() if not asked.refused][:1]
        if not wanted:
            return None
        since_ms = min(self._asked[customer].rewind.from_ms for customer in wanted)
        self._under_way = lookup = Lookup(partition, frozenset(wanted), since_ms)
        for customer in wanted:
            self._asked[customer].lookup = lookup
        return lookup

    def answered(self, lookup: Lookup, published: Mapping[CustomerId, Collection[str]]) -> list[CustomerId] | None:
        """What stands there. Who was left out, as there was too much, is asked for again, alone; and refused where it was so already.

        Returned is who was refused; `None`: nobody here has ordered this.
        """
        if lookup is not self._under_way:
            return None
        self._under_way = None
        waiting = [customer for customer in lookup.customers if customer in self._asked and self._asked[customer].lookup is lookup]
        for customer in waiting:
            asked = self._asked[customer]
            if customer in published:
                del self._asked[customer]
                self._found[customer] = (asked.rewind, published[customer])
            else:
                asked.lookup, asked.alone, asked.refused = None, True, len(lookup.customers) == 1
        return [customer for customer in waiting if self.refused(customer)]
