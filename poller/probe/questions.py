"""What to ask next, of what has been seen: a pure function; whoever calls it does the I/O. At most 13 questions.

| question | asks | settles |
|---|---|---|
| ascending, descending | both ends of the history, as many as may be | order, longest page, shapes, headers, clock |
| default | neither order nor limit | default order and limit; total |
| window | from one inner instant to another | start_date and end_date: honoured? inclusive? |
| window_fine | the same, 999 µs later | whether what is finer than the milliseconds shown counts: a µs store makes an exclusive bound look inclusive |
| after, after_descending | starting_after an inner instant, in both orders | which side it lists, and whether the instant itself |
| after_fine | 999 µs later | where the two before showed one side only |
| after_id | the first of a tie, where there is one | starting_after_id; how it goes through ties |
| unknown_id | an id that never was | what becomes of a cursor whose activity vanished |
| limit | one more than is documented | refused, capped, or honoured |
| unknown_customer, other_endpoint | | |

Instants are picked from the first page, so that what lies around them is known: whether a bound is honoured is seen from what is missing. A
question that the data cannot answer is not asked.
"""

from collections.abc import Collection, Mapping

from poller import instant
from poller.model import PAGE_ACTIVITIES_MAX
from poller.probe.answers import (
    ORDER,
    Answer,
    Ask,
    Name,
    Seen,
    Side,
    anchor,
    at_instant,
    direction,
    has_page,
    page,
    pivot,
    settled_part,
    side_of,
    window,
)

UNKNOWN_CUSTOMER = "poller-probe-knows-no-such-customer"
OTHER_ENDPOINT = {"activities": "activity", "activity": "activities"}
FINE = "999"
"""Microseconds behind the milliseconds that are shown."""

ASCENDING = (("order", "created_at"), ("limit", str(PAGE_ACTIVITIES_MAX)))
DESCENDING = (("order", "-created_at"), ("limit", str(PAGE_ACTIVITIES_MAX)))

Parameters = tuple[tuple[str, str], ...]

PLAIN: Mapping[Name, Parameters] = {
    "ascending": ASCENDING,
    "descending": DESCENDING,
    "default": (),
    "limit": (("order", "created_at"), ("limit", str(PAGE_ACTIVITIES_MAX + 1))),
    "other_endpoint": (("order", "created_at"), ("limit", "10")),
    "unknown_customer": ASCENDING,
}
"""Those that need to know nothing."""


def next_question(endpoint: str, customer: str, seen: Seen) -> Ask | None:
    """The next call to make; `None`: all that can be settled is."""
    for name in ORDER:
        if name not in seen:
            parameters = _parameters(name, seen)
            if parameters is not None:
                of_other, of_nobody = name == "other_endpoint", name == "unknown_customer"
                return Ask(
                    name, OTHER_ENDPOINT[endpoint] if of_other else endpoint, UNKNOWN_CUSTOMER if of_nobody else customer, parameters
                )
    return None


def _parameters(name: Name, seen: Seen) -> Parameters | None:
    """`None`: not to be asked, as the data cannot answer it or the answer is known."""
    match name:
        case "window" | "window_fine":
            return _window(seen, fine=name == "window_fine")
        case "after" | "after_descending" | "after_fine":
            return _after(name, seen)
        case "after_id" | "unknown_id":
            return _after_id(name, seen)
        case _:
            return PLAIN[name]


def _window(seen: Seen, *, fine: bool) -> Parameters | None:
    chosen = window(seen)
    if chosen is None or (fine and not _is_bounded(seen)):
        return None
    return (*ASCENDING, ("start_date", date_time(chosen.start_ms, fine)), ("end_date", date_time(chosen.end_ms, fine)))


def _is_bounded(seen: Seen) -> bool:
    """Whether the window was a page that left something out, so that a finer one may tell more."""
    return has_page(seen, "window") and any(entry not in page(seen, "window") for entry in settled_part(seen, "ascending"))


def _after(name: Name, seen: Seen) -> Parameters | None:
    at = pivot(seen, "descending" if name == "after_descending" else "ascending")
    if at is None or (name != "after" and after_side(seen, "after") not in {"newer", "older"}):
        return None
    if name == "after_descending":
        return (*DESCENDING, ("starting_after", date_time(at))) if _order_is_honoured(seen) else None
    if name == "after_fine" and not _needs_finer(seen):
        return None
    return (*ASCENDING, ("starting_after", date_time(at, name == "after_fine")))


def _order_is_honoured(seen: Seen) -> bool:
    return (direction(page(seen, "ascending")), direction(page(seen, "descending"))) == ("ascending", "descending")


def _needs_finer(seen: Seen) -> bool:
    """Whether all that was seen of the instant itself may be due to what is finer than shown."""
    sides = {after_side(seen, name) for name in ("after", "after_descending") if name in seen}
    return not any(tells(after_side(seen, name), instant_after(seen, name)) for name in ("after", "after_descending") if name in seen) and (
        len(sides) == 1
    )


def tells(side: Side, presence: str) -> bool:
    """Whether the instant's own presence proves the bound: what is finer than shown only ever adds to the newer side, and takes from the older."""
    return (side, presence) in {("newer", "none"), ("older", "all")}


def after_side(seen: Seen, name: Name) -> Side:
    origin: Name = "descending" if name == "after_descending" else "ascending"
    at = pivot(seen, origin)
    return "unclear" if at is None or not has_page(seen, name) else side_of(settled_part(seen, origin), at, page(seen, name))


def instant_after(seen: Seen, name: Name) -> str:
    """Whether the instant that was asked about is listed itself."""
    origin: Name = "descending" if name == "after_descending" else "ascending"
    at = pivot(seen, origin)
    return "some" if at is None else at_instant(settled_part(seen, origin), at, page(seen, name))


def _after_id(name: Name, seen: Seen) -> Parameters | None:
    if name == "after_id":
        chosen = anchor(seen)
        return None if chosen is None else (*ASCENDING, ("starting_after_id", chosen.entry.id))
    first = page(seen, "ascending")
    known = {entry.id for answer in seen.values() for entry in answer.entries}
    if not first or id_is_refused(seen) or id_is_ignored(seen):
        return None
    return (*ASCENDING, ("starting_after_id", unknown_id(first[0].id, known)))


def id_is_refused(seen: Seen) -> bool:
    return "after_id" in seen and is_refusal(seen["after_id"])


def is_refusal(answer: Answer) -> bool:
    return answer.status in {400, 404, 422}


def id_is_ignored(seen: Seen) -> bool:
    chosen = anchor(seen)
    if chosen is None or not has_page(seen, "after_id"):
        return False
    return side_of(settled_part(seen, "ascending"), chosen.entry.at_ms, page(seen, "after_id")) == "both"


def unknown_id(like: str, known: Collection[str]) -> str:
    """An id of the same form that no activity has."""
    head, mark, tail = like.rpartition("_")
    made = (head + mark + digit * max(len(tail), 1) for digit in "0fed123456789")
    return next(id for id in made if id not in known)


def date_time(ms: int, fine: bool = False) -> str:
    text = instant.format(ms)
    return f"{text[:-1]}{FINE}Z" if fine else text
