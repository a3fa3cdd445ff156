"""What is asked and what came back, as values; and how the entries of a page lie to each other. Pure.

Nothing here decides what an answer means: `questions.py` decides what is asked next, `findings.py` what follows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Literal, NamedTuple, get_args

import msgspec

Name = Literal[
    "ascending",
    "descending",
    "default",
    "window",
    "window_fine",
    "after",
    "after_descending",
    "after_fine",
    "after_id",
    "unknown_id",
    "limit",
    "other_endpoint",
    "unknown_customer",
]
ORDER: tuple[Name, ...] = get_args(Name)
"""Of asking."""

CALLS_MAX = 15
"""All that a probe may spend, a token and what is asked again included."""


class Ask(msgspec.Struct, frozen=True):
    """The order to make one call."""

    name: Name
    endpoint: str
    customer: str
    parameters: tuple[tuple[str, str], ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """One activity of a page: what of it is looked at."""

    id: str
    at_ms: int
    created_at: str = ""
    nested: bool = True
    """Whether its `data` has `data` within."""
    has_group: bool = True


class Answer(msgspec.Struct, frozen=True):
    """One answer: a page, or why there is none."""

    status: int = 200
    page: bool = True
    """False: refused, or answered with something that is no page."""
    entries: tuple[Entry, ...] = ()
    """In the page's order; one that stands twice is here once."""
    odd: int = 0
    """Entries that are no activity."""
    fields: tuple[str, ...] = ()
    """Of the envelope, or of the error body."""
    total: int | None = None
    has_more: bool | None = None
    sent: float = 0.0
    """Our clock, Unix time in seconds."""
    received: float = 0.0
    server_time: float | None = None
    """The `Date` header."""
    headers: tuple[tuple[str, str], ...] = ()
    """Names as they came, in lower case, and values."""


Seen = Mapping[Name, Answer]
"""The answers so far, in the order of asking."""

Direction = Literal["ascending", "descending", "mixed"]


def page(seen: Seen, name: Name) -> tuple[Entry, ...]:
    """The entries of that page; none where it was not asked for or is no page."""
    answer = seen.get(name)
    return answer.entries if answer is not None and answer.page else ()


def has_page(seen: Seen, name: Name) -> bool:
    return name in seen and seen[name].page


def direction(entries: Sequence[Entry]) -> Direction | None:
    """`None`: fewer than two instants, which show none."""
    instants = [entry.at_ms for entry in entries]
    if len(set(instants)) < 2:
        return None
    if instants == sorted(instants):
        return "ascending"
    return "descending" if instants == sorted(instants, reverse=True) else "mixed"


def is_complete(seen: Seen) -> bool:
    """Whether the first page held all that there was: from the other end nothing else is seen."""
    first, other = page(seen, "ascending"), page(seen, "descending")
    ways = {direction(first), direction(other)}
    return ways == {"ascending", "descending"} and {entry.id for entry in first} == {entry.id for entry in other}


def settled_part(seen: Seen, name: Name) -> tuple[Entry, ...]:
    """The page without its last instant, of which another page may show others, unless the page holds all there is."""
    entries = page(seen, name)
    if not entries or is_complete(seen):
        return entries
    return tuple(entry for entry in entries if entry.at_ms != entries[-1].at_ms)


def inner_instants(entries: Sequence[Entry]) -> list[int]:
    """The instants that have others on both sides, in the page's order."""
    return list(dict.fromkeys(entry.at_ms for entry in entries))[1:-1]


def bearable(entries: Sequence[Entry]) -> list[int]:
    """The inner instants that can be asked about: those of one activity where there are two such, as ties blur what is seen."""
    inner = inner_instants(entries)
    counts = Counter(entry.at_ms for entry in entries)
    single = [instant for instant in inner if counts[instant] == 1]
    return single if len(single) >= 2 else inner


class Window(NamedTuple):
    """Two instants of the first page, with others before, after and, if there are, between them."""

    start_ms: int
    end_ms: int


def window(seen: Seen) -> Window | None:
    """Around the largest tie, where there is one, so that its order is seen again; else the middle third."""
    instants = _sorted_page(seen, "ascending")
    if len(instants) < 2:
        return None
    before = _before_tie(seen, instants)
    first, last = (before - 1, before) if 0 < before < len(instants) else (len(instants) // 3, 2 * len(instants) // 3)
    return Window(*sorted((instants[first], instants[last])))


def pivot(seen: Seen, name: Name) -> int | None:
    """An instant of that page: of the first page the one before the largest tie, where there is one; else one in the middle."""
    instants = _sorted_page(seen, name)
    before = _before_tie(seen, instants) if name == "ascending" else 0
    return instants[before - 1 if before else len(instants) // 2] if instants else None


def _before_tie(seen: Seen, instants: Sequence[int]) -> int:
    """How many of these come before the largest tie on the first page; 0 also where it has none."""
    chosen = anchor(seen)
    if chosen is None or not chosen.mates or chosen.entry.at_ms in instants:
        return 0
    ascending = direction(page(seen, "ascending")) == "ascending"
    return sum((instant < chosen.entry.at_ms) == ascending for instant in instants)


def _sorted_page(seen: Seen, name: Name) -> list[int]:
    entries = settled_part(seen, name)
    return bearable(entries) if direction(entries) in {"ascending", "descending"} else []


class Anchor(NamedTuple):
    """An activity to ask on from, and those of the same instant that the page lists after it."""

    entry: Entry
    mates: tuple[Entry, ...]


def anchor(seen: Seen) -> Anchor | None:
    """The first of the largest tie within the first page; where there is none, one in the middle."""
    entries = settled_part(seen, "ascending")
    inner = inner_instants(entries) if direction(entries) in {"ascending", "descending"} else []
    if not inner:
        return None
    # In an order of time those of one instant stand side by side.
    groups = [tuple(group) for _, group in groupby(entries, lambda entry: entry.at_ms)][1:-1]
    middle = len(groups) // 2
    chosen = max(range(len(groups)), key=lambda index: (len(groups[index]), -abs(index - middle)))
    return Anchor(groups[chosen][0], groups[chosen][1:])


Presence = Literal["all", "none", "some"]


def presence(wanted: Iterable[Entry], entries: Iterable[Entry]) -> Presence:
    """How many of those are among these; of nothing, all are."""
    ids = {entry.id for entry in entries}
    found = [entry.id in ids for entry in wanted]
    return "all" if all(found) else "some" if any(found) else "none"


Side = Literal["newer", "older", "both", "unclear"]


def side_of(entries: Sequence[Entry], instant_ms: int, listed: Sequence[Entry]) -> Side:
    """Which of what is known to lie around the instant is listed."""
    older = presence((entry for entry in entries if entry.at_ms < instant_ms), listed)
    newer = presence((entry for entry in entries if entry.at_ms > instant_ms), listed)
    sides: dict[tuple[Presence, Presence], Side] = {("all", "all"): "both", ("all", "none"): "older", ("none", "all"): "newer"}
    return sides.get((older, newer), "unclear")


def at_instant(entries: Sequence[Entry], instant_ms: int, listed: Sequence[Entry]) -> Presence:
    return presence((entry for entry in entries if entry.at_ms == instant_ms), listed)
