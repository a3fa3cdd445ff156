"""The walk: how one customer is read from the cursor on, page by page, whatever the API makes of what it is asked.

The documentation leaves open whether bounds are inclusive, which way a date cursor looks, how ties are broken, and whether a parameter
is honoured at all. So a page is believed only as far as it proves itself, and every doubt ends in a counted gap, not in silence.

Everything in [cursor, low) has been shown; the instant `low` itself is not certain, as more activities may bear the same millisecond
than the page had room for. The next page is therefore asked for so that it shows again what was seen at `low`; a page that does is
*joined*: it continues what is known, and its end becomes `low`. Each call takes the first way on that has not got stuck at this `low`:

    FROM_LOW     start_date = low − 1 ms             (it does not matter whether bounds are inclusive)
    AFTER_ID     starting_after_id = one some ids before the last of the page, so that an honest answer shows those after it again
    AFTER_DATE   starting_after = low − 1 ms
    PAST_LOW     start_date = low + 1 ms             gives up the ties at `low`: a gap is suspected, and counted

A way is stuck when its page is full, shows nothing fresh and moves no edge, or does not prove that it is the next. A page that is not
full ends the read, unless it leaves the cursor where it was: the server may have begun to cap its pages lower, and the next read would see
no more. `tests/property` tries every reading of the API that we could think of.
"""

from collections.abc import Mapping
from enum import IntEnum

import msgspec

from poller.model import Activity, ActivityId, Checkpoint, DeadLetter, Query, Walk


class Way(IntEnum):
    """In the order in which they are tried at a `low`."""

    FROM_LOW = 0
    AFTER_ID = 1
    AFTER_DATE = 2
    PAST_LOW = 3


PROVEN_BY_DATE = (Way.FROM_LOW, Way.PAST_LOW)
"""Ways whose short page is believed as it stands: what was seen at `low` may have been deleted since."""

PAGE_ACTIVITIES_SHORT = 5
"""No page cap is taken to be below this: a shorter page proves the end."""

AGAIN_IDS = 4
"""So many of its last ids, but at most half of them, must the page after one by its ids show again in their order: ties that come in ever another
order pass for those that follow so seldom that no run of `make readings` has seen it.
"""

PAGE_ACTIVITIES_MIN = 2
"""No fewer are asked for: of one alone the id cursor could not prove itself."""

CALLS_MAX = 400
"""Calls in one read; what is left is for the next read."""


class Shown(msgspec.Struct, frozen=True, gc=False):
    """A page as the walk sees it: its entries that bear a date, in its order."""

    keys: tuple[str, ...]
    instants_ms: tuple[int, ...]
    ids: tuple[str, ...]
    """Of its activities, in its order: what the id cursor can be given."""
    length: int
    """All entries."""


class End(msgspec.Struct, frozen=True, gc=False):
    """The read is over."""

    shown_to_ms: int | None = None
    """The cursor may not pass this instant; `None`: everything that there is was shown."""
    gap: bool = False
    followable: bool = True
    """False: the endpoint ignores what it is asked, so that a customer with more than a page cannot be followed."""
    stepped_ms: int | None = None
    """The last instant whose ties no way led through."""


def begun(going: Walk | None, base: Checkpoint | None, start: Checkpoint, filters: tuple[tuple[str, str], ...], now: float) -> Walk:
    """The walk that is under way, or a new one: also where it asks for something else than is wanted now, or where, with nothing committed of it
    (`base`), it is to start earlier, or where a replay begins.
    """
    replay = None if start.replay is None else start.replay.rewind.id
    if going is None or going.filters != filters or going.replay != replay or (base is None and going.low_ms > start.cursor_ms):
        return Walk(sent=now, low_ms=start.cursor_ms, filters=filters, replay=replay)
    return going


def until(outcome: Walk | End, until_ms: int) -> Walk | End:
    """The same for a read of which only what was created before an instant is wanted."""
    if isinstance(outcome, End) or outcome.low_ms < until_ms:
        return outcome
    return End(shown_to_ms=until_ms, gap=outcome.gap, stepped_ms=outcome.stepped_ms)


def query_of(walk: Walk) -> Query:
    """What to ask for next."""
    match Way(walk.way):
        case Way.FROM_LOW:
            return Query(start_date_ms=walk.low_ms - 1 if walk.low_ms > 0 else None, limit=walk.limit, filters=walk.filters)
        case Way.AFTER_ID:
            return Query(starting_after_id=ActivityId(walk.page_ids[-1 - len(_again(walk))]), limit=walk.limit, filters=walk.filters)
        case Way.AFTER_DATE:
            return Query(starting_after_ms=walk.low_ms - 1, limit=walk.limit, filters=walk.filters)
        case _:
            return Query(start_date_ms=walk.low_ms + 1, limit=walk.limit, filters=walk.filters)


def follow(walk: Walk, shown: Shown, longest: int, cursor_ms: int, stepped_ms: int | None) -> Walk | End:
    """What a page means for the walk. `longest` is the longest page that this endpoint has shown lately, `cursor_ms` where the read began,
    `stepped_ms` a tie to step over at once.
    """
    walk = msgspec.structs.replace(walk, calls=walk.calls + 1)
    full = shown.length >= min(longest, walk.limit) or _stands_still(shown, cursor_ms)
    if (full or shown.length >= PAGE_ACTIVITIES_SHORT) and not _ascending(shown):
        return End(gap=True, followable=False)
    if _begins_before(walk, shown, full):
        return stuck(msgspec.structs.replace(walk, start_date_ignored=walk.start_date_ignored or walk.way != Way.AFTER_DATE))
    joined = _joined(walk, shown)
    if not full and (joined or walk.way in PROVEN_BY_DATE):
        return _end_of_short_page(walk, shown)
    if not joined:
        return stuck(walk)
    going = _go_on(walk, shown, stepped_ms)
    return _end_of_calls(going) if isinstance(going, Walk) and going.calls >= CALLS_MAX else going


def fewer(walk: Walk) -> Walk | None:
    """The same page with half as many activities, as so many were too large; `None`: it cannot be asked for fewer."""
    if walk.limit <= PAGE_ACTIVITIES_MIN:
        return None
    return msgspec.structs.replace(walk, limit=max(PAGE_ACTIVITIES_MIN, walk.limit // 2))


def stuck(walk: Walk) -> Walk | End:
    """The way did not lead on (or was refused): take the next one."""
    if walk.calls >= CALLS_MAX:
        return _end_of_calls(walk)
    if walk.way < Way.AFTER_ID and len(walk.page_ids) >= 2:
        return msgspec.structs.replace(walk, way=Way.AFTER_ID)
    if walk.way < Way.AFTER_DATE and walk.low_ms > 0:
        return msgspec.structs.replace(walk, way=Way.AFTER_DATE)
    if walk.start_date_ignored:
        return End(gap=True, followable=False, stepped_ms=walk.stepped_ms)
    if walk.way < Way.PAST_LOW:
        return msgspec.structs.replace(walk, way=Way.PAST_LOW, gap=True, stepped_ms=walk.low_ms)
    return End(gap=True, shown_to_ms=walk.low_ms + 1, stepped_ms=walk.stepped_ms)


def _ascending(shown: Shown) -> bool:
    return all(a <= b for a, b in zip(shown.instants_ms, shown.instants_ms[1:], strict=False))


def _stands_still(shown: Shown, cursor_ms: int) -> bool:
    """Whether the cursor would stay for ever, were this page taken for the last: all that it shows was created by then, and it may be cut,
    by whatever cuts this customer's pages and not those of others.
    """
    return shown.length >= PAGE_ACTIVITIES_SHORT and bool(shown.instants_ms) and max(shown.instants_ms) <= cursor_ms


def _begins_before(walk: Walk, shown: Shown, full: bool) -> bool:
    """Whether the page shows that the date it was asked to begin at is ignored. A page with room left over shows no such thing."""
    query = query_of(walk)
    if not shown.instants_ms:
        return False
    if query.starting_after_ms is not None:  # this date may as well look the other way, where a short page would be believed
        return shown.instants_ms[0] < query.starting_after_ms - 1
    return full and query.start_date_ms is not None and shown.instants_ms[0] < query.start_date_ms - 1


def _joined(walk: Walk, shown: Shown) -> bool:
    """Whether the page continues what is known."""
    if walk.way == Way.AFTER_ID:
        return _joined_by_id(walk, shown)
    if walk.way == Way.PAST_LOW or not walk.low_keys:  # the first page has nothing to show again, and this way jumps
        return True
    return not set(walk.low_keys).isdisjoint(shown.keys)


def _again(walk: Walk) -> tuple[str, ...]:
    """The ids that a page by the id cursor must show again."""
    return walk.page_ids[-min(AGAIN_IDS, len(walk.page_ids) // 2) :]


def _joined_by_id(walk: Walk, shown: Shown) -> bool:
    """Whether the page continues the last one. What is shown late may have come to stand between the ids that it shows again; nothing else may."""
    again, at_ms = _again(walk), dict(zip(shown.keys, shown.instants_ms, strict=True))
    asked = walk.page_ids[-1 - len(again)]
    ids = shown.ids[1:] if shown.ids[:1] == (asked,) else shown.ids
    if not set(again) <= set(ids):
        return False
    begin = ids[: ids.index(again[-1]) + 1]
    late = [id for id in begin if id not in again]
    fresh = all(id not in walk.low_keys and at_ms[id] >= at_ms[again[0]] for id in late)
    return fresh and tuple(id for id in begin if id in again) == again


def _go_on(walk: Walk, shown: Shown, stepped_ms: int | None) -> Walk | End:
    """After a full page that continues what is known."""
    if not shown.instants_ms:
        return stuck(walk)
    newest_ms = shown.instants_ms[-1]
    at_newest = tuple(key for key, at_ms in zip(shown.keys, shown.instants_ms, strict=True) if at_ms == newest_ms)
    if newest_ms != walk.low_ms or not walk.low_keys:
        return _moved(walk, newest_ms, at_newest, shown.ids, stepped_ms)
    if walk.way != Way.AFTER_ID and not _same_start(at_newest, walk.low_keys):
        walk = msgspec.structs.replace(walk, gap=True)  # ties in another order than before: the id cursor may miss some of them
    known = set(walk.low_keys)
    fresh = tuple(key for key in at_newest if key not in known)
    if not fresh:
        return stuck(walk)
    if walk.way == Way.AFTER_ID:
        return msgspec.structs.replace(walk, low_keys=walk.low_keys + fresh, page_ids=shown.ids)
    shown_now = set(at_newest)
    missing_now = tuple(key for key in walk.low_keys if key not in shown_now)
    return msgspec.structs.replace(walk, low_keys=at_newest + missing_now, page_ids=shown.ids)


def _moved(walk: Walk, low_ms: int, low_keys: tuple[str, ...], ids: tuple[str, ...], stepped_ms: int | None) -> Walk:
    way = Way.AFTER_DATE if walk.start_date_ignored else Way.FROM_LOW
    if low_ms == stepped_ms:
        way = Way.PAST_LOW  # this gap was counted when it was found
    return msgspec.structs.replace(
        walk, low_ms=low_ms, low_keys=low_keys, page_ids=ids, way=way, stepped_ms=stepped_ms if way == Way.PAST_LOW else walk.stepped_ms
    )


def _same_start(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    length = min(len(a), len(b))
    return a[:length] == b[:length]


def _end_of_short_page(walk: Walk, shown: Shown) -> End:
    """A short page shows all that there is, unless the server has begun to cap its pages lower: then it shows everything up to its newest."""
    capped = shown.length >= PAGE_ACTIVITIES_SHORT and bool(shown.instants_ms)
    return End(shown_to_ms=max(shown.instants_ms) if capped else None, gap=walk.gap, stepped_ms=walk.stepped_ms)


def _end_of_calls(walk: Walk) -> End:
    """Enough for one read: the next goes on from here. In the midst of ties it could not, and steps over them."""
    if walk.way == Way.AFTER_ID:
        return End(shown_to_ms=walk.low_ms, gap=True, stepped_ms=walk.low_ms)
    return End(shown_to_ms=walk.low_ms, gap=walk.gap, stepped_ms=walk.stepped_ms)


def shown_of(once: Mapping[str, Activity | DeadLetter], length: int) -> Shown:
    """A page of these entries, each by its key, of which it had `length`, those that stand twice included."""
    dated = [(key, entry.created_at_ms) for key, entry in once.items() if entry.created_at_ms is not None]
    return Shown(
        keys=tuple(key for key, _ in dated),
        instants_ms=tuple(at_ms for _, at_ms in dated),
        ids=tuple(entry.id for entry in once.values() if isinstance(entry, Activity)),
        length=length,
    )
