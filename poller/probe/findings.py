"""What the answers mean: each open question settled with its evidence, or not settled with the reason and the customer that would do. Pure.

Nothing is guessed. A bound that looks inclusive is called so only where what is finer than the milliseconds shown cannot be what made it so;
ties are called stable only where chance would not have put them alike (`CHANCE_MAX`).
"""

from collections.abc import Iterator, Sequence

import msgspec

from poller.model import PAGE_ACTIVITIES_MAX
from poller.probe.answers import (
    Entry,
    Name,
    Presence,
    Seen,
    anchor,
    at_instant,
    direction,
    has_page,
    is_complete,
    page,
    pivot,
    presence,
    settled_part,
    side_of,
    window,
)
from poller.probe.questions import after_side, id_is_ignored, id_is_refused, instant_after, is_refusal, tells

CHANCE_MAX = 1e-4
"""Of ties being in the same order on all pages although each page draws it anew."""

ASCENDING_PAGES: tuple[Name, ...] = ("ascending", "window", "window_fine", "after", "after_fine", "after_id", "unknown_id", "limit")
OWN_PAGES: tuple[Name, ...] = ("ascending", "descending", "default", *ASCENDING_PAGES[1:], "after_descending")
WHOLE_PAGES: tuple[Name, ...] = ("ascending", "descending", "default")
"""Without a bound and without a cursor."""

MORE = "a customer with more activities, at different times"
FINER = "the API compares what is finer than the milliseconds it shows, so no request that we can make falls on the bound itself"


class Finding(msgspec.Struct, frozen=True):
    """One open question."""

    name: str
    question: str
    value: str | None
    """`None`: not settled."""
    evidence: str
    """What was seen; where it is not settled, why, and what would settle it."""


def settled(name: str, question: str, value: str, evidence: str) -> Finding:
    return Finding(name, question, value, evidence)


def open_(name: str, question: str, why: str, would: str = "") -> Finding:
    return Finding(name, question, None, f"{why}; it would take {would}" if would else why)


def findings(seen: Seen) -> list[Finding]:
    """Every open question about lists, in the order in which they are told."""
    return [
        order(seen),
        order_default(seen),
        default_limit(seen),
        start_date(seen),
        end_date(seen),
        resolution(seen),
        starting_after(seen),
        starting_after_direction(seen),
        starting_after_id(seen),
        unknown_id(seen),
        id_ties(seen),
        ties(seen),
        limit(seen),
        longest_page(seen),
        total(seen),
        unknown_customer(seen),
    ]


# --------------------------------------------------------------------------------------------------------------- order


def order(seen: Seen) -> Finding:
    name, question = "order", "Is order honoured?"
    ways = direction(page(seen, "ascending")), direction(page(seen, "descending"))
    match ways:
        case ("ascending", "descending"):
            return settled(name, question, "honoured", "created_at came ascending, -created_at descending")
        case ("ascending", "ascending"):
            return settled(name, question, "oldest_first", "both orders came ascending")
        case ("descending", "descending"):
            return settled(name, question, "newest_first", "both orders came descending")
        case (None, _) | (_, None):
            return open_(name, question, _unseen(seen, "ascending", "descending") or "a page showed less than two instants", MORE)
        case _:
            return open_(name, question, "a page was in no order of time, or both were the other way round")


def order_default(seen: Seen) -> Finding:
    name, question = "order_default", "Which order comes unasked?"
    way = direction(page(seen, "default"))
    if way in {"ascending", "descending"}:
        return settled(name, question, "oldest_first" if way == "ascending" else "newest_first", f"the page without order was {way}")
    return open_(name, question, _unseen(seen, "default") or "the page without order showed no order of time", MORE)


def default_limit(seen: Seen) -> Finding:
    name, question = "default_limit", "How many come unasked?"
    shown, known = len(page(seen, "default")), len(page(seen, "ascending"))
    if has_page(seen, "default") and 0 < shown < known:
        return settled(name, question, str(shown), f"{shown} came without limit, {known} with limit {PAGE_ACTIVITIES_MAX}")
    return open_(name, question, _unseen(seen, "default") or "no more came with a limit than without", MORE)


# -------------------------------------------------------------------------------------------------------------- bounds


def start_date(seen: Seen) -> Finding:
    return _date_bound(seen, "start_date", "Is start_date honoured, and is the instant itself listed?")


def end_date(seen: Seen) -> Finding:
    return _date_bound(seen, "end_date", "Is end_date honoured, and is the instant itself listed?")


def _date_bound(seen: Seen, name: str, question: str) -> Finding:
    chosen = window(seen)
    why = _unseen(seen, "ascending", "window")
    if chosen is None or why:
        return open_(
            name, question, why or "too few instants", "" if why and chosen else "a customer with activities at four different times"
        )
    of_start = name == "start_date"
    beyond = _beyond(seen, "window", of_start=of_start)
    if beyond == "all":
        return settled(name, question, "ignored", f"activities {'before' if of_start else 'after'} it were listed")
    if beyond == "some":
        return open_(name, question, "some of what lies beyond it was listed, and some was not")
    exact, fine = _at_bound(seen, "window", of_start=of_start), _at_bound(seen, "window_fine", of_start=of_start)
    return _bound(name, question, "newer" if of_start else "older", exact, fine)


def _beyond(seen: Seen, name: Name, *, of_start: bool) -> Presence:
    """How much is listed of what the bound should leave out."""
    chosen = window(seen)
    assert chosen is not None, "asked only where a window was"
    outside = [e for e in settled_part(seen, "ascending") if (e.at_ms < chosen.start_ms if of_start else e.at_ms > chosen.end_ms)]
    return presence(outside, page(seen, name))


def _at_bound(seen: Seen, name: Name, *, of_start: bool) -> Presence | None:
    """How much is listed of the instant that the bound names; `None`: not asked."""
    chosen = window(seen)
    if chosen is None or not has_page(seen, name):
        return None
    return at_instant(settled_part(seen, "ascending"), chosen.start_ms if of_start else chosen.end_ms, page(seen, name))


def _bound(name: str, question: str, side: str, exact: str | None, fine: str | None) -> Finding:
    """Of the side that is listed: whether the instant itself is, when asked for as it is shown, and 999 µs later."""
    if (side, exact) == ("newer", "none"):
        return settled(name, question, "exclusive", "asked from the instant as it is shown, it was not listed")
    if (side, exact) == ("older", "all"):
        return settled(name, question, "inclusive", "asked up to the instant as it is shown, it was listed")
    if (side, fine) == ("newer", "all"):
        return settled(name, question, "inclusive", "asked from 999 µs after the instant as it is shown, it was still listed")
    if (side, fine) == ("older", "none"):
        return settled(name, question, "exclusive", "asked up to 999 µs after the instant as it is shown, it was still not listed")
    listed = "listed" if side == "newer" else "not listed"
    return open_(
        name, question, FINER if fine else f"honoured; the instant as it is shown was {listed}, which something finer may have done"
    )


def resolution(seen: Seen) -> Finding:
    name, question = "resolution", "Are bounds compared by more than the milliseconds shown?"
    bounds = (start_date(seen), end_date(seen))
    if any(bound.value == "ignored" for bound in bounds):
        return open_(name, question, "start_date or end_date is ignored")
    pairs = [tuple(_at_bound(seen, page_name, of_start=of) for page_name in ("window", "window_fine")) for of in (True, False)]
    if any(None in pair for pair in pairs):
        return open_(name, question, _unseen(seen, "window", "window_fine") or "too few instants", MORE)
    if any(pair[0] != pair[1] or pair[0] == "some" for pair in pairs):
        return settled(name, question, "finer", "the same instant was listed for one and not for the other of two bounds 999 µs apart")
    return settled(name, question, "milliseconds", "bounds 999 µs apart listed the same, at two instants")


# ------------------------------------------------------------------------------------------------------------- cursors


def starting_after(seen: Seen) -> Finding:
    name, question = "starting_after", "Is starting_after honoured, and is the instant itself listed?"
    side = after_side(seen, "after")
    if side == "both":
        return settled(name, question, "ignored", "what lies on both sides of it was listed")
    if side == "unclear":
        return open_(name, question, *_why_no_side(seen))
    exact = [(after_side(seen, one), instant_after(seen, one)) for one in _asked(seen, "after", "after_descending")]
    proofs = [_bound(name, question, of_side, listed, None) for of_side, listed in exact if tells(of_side, listed)]
    if len({proof.value for proof in proofs}) > 1:
        return open_(name, question, "the two orders contradict each other")
    if proofs:
        return proofs[0]
    fine = instant_after(seen, "after_fine") if has_page(seen, "after_fine") else None
    both_sides = len({of_side for of_side, _ in exact}) > 1
    return _bound(name, question, side, exact[0][1], "" if both_sides and fine is None else fine)


def _asked(seen: Seen, *names: Name) -> list[Name]:
    return [name for name in names if has_page(seen, name)]


def starting_after_direction(seen: Seen) -> Finding:
    name, question = "starting_after_direction", "Which side of starting_after is listed?"
    side = after_side(seen, "after")
    if side == "both":
        return open_(name, question, "starting_after is ignored")
    if side == "unclear":
        return open_(name, question, *_why_no_side(seen))
    if order(seen).value != "honoured":
        return open_(
            name, question, f"{side}, in the one order there is: as order is not honoured, whether it would turn with it cannot be seen"
        )
    other = after_side(seen, "after_descending")
    match side, other:
        case "newer", "older":
            return settled(name, question, "order", "ascending listed what is newer, descending what is older")
        case ("newer", "newer") | ("older", "older"):
            return settled(name, question, side, f"both orders listed what is {side}")
        case _:
            return open_(name, question, f"ascending listed what is {side}; descending: {_unseen(seen, 'after_descending') or other}")


def _why_no_side(seen: Seen) -> tuple[str, str]:
    why = _unseen(seen, "ascending", "after")
    if why and pivot(seen, "ascending") is not None:
        return why, ""
    return why or "what was listed is neither what is newer nor what is older", MORE


def starting_after_id(seen: Seen) -> Finding:
    name, question = "starting_after_id", "Is starting_after_id honoured?"
    chosen = anchor(seen)
    if chosen is None or "after_id" not in seen:
        return open_(name, question, "no activity was known with others on both sides", MORE)
    if id_is_refused(seen):
        return settled(name, question, "refused", f"an id that had just been listed got HTTP {seen['after_id'].status}")
    if id_is_ignored(seen):
        return settled(name, question, "ignored", "what comes before the activity was listed")
    if _goes_on(seen):
        return settled(name, question, "honoured", "what follows the activity was listed, and nothing before it")
    return open_(name, question, _unseen(seen, "after_id") or "what was listed is not what follows the activity")


def _goes_on(seen: Seen) -> bool:
    chosen, known = anchor(seen), settled_part(seen, "ascending")
    if chosen is None or not has_page(seen, "after_id"):
        return False
    onwards = {"ascending": "newer", "descending": "older"}.get(direction(known) or "")
    listed = page(seen, "after_id")
    return side_of(known, chosen.entry.at_ms, listed) == onwards and chosen.entry.id not in {entry.id for entry in listed}


def unknown_id(seen: Seen) -> Finding:
    name, question = "unknown_id", "What does starting_after_id do with an id that is not there?"
    if id_is_refused(seen) or id_is_ignored(seen):
        return settled(name, question, "refused" if id_is_refused(seen) else "ignored", "as any id")
    answer = seen.get("unknown_id")
    if answer is not None and is_refusal(answer):
        return settled(name, question, "refused", f"HTTP {answer.status}")
    if answer is None or not answer.page:
        return open_(name, question, _unseen(seen, "unknown_id"), "" if answer else "a customer with activities")
    if not answer.entries:
        return settled(name, question, "empty", "the page was empty")
    if presence(settled_part(seen, "ascending"), page(seen, "unknown_id")) == "all":
        return settled(name, question, "ignored", "the list came from its beginning")
    return open_(name, question, "the page was neither empty nor the first one")


def id_ties(seen: Seen) -> Finding:
    name, question = "starting_after_id_ties", "Does starting_after_id go through activities of the same instant one by one?"
    chosen = anchor(seen)
    if chosen is None or not chosen.mates or not _goes_on(seen):
        why = (
            "starting_after_id could not be used"
            if chosen and chosen.mates
            else "no two activities of the same millisecond were known within a page"
        )
        return open_(name, question, why, "" if chosen and chosen.mates else "a customer with some")
    shown = presence(chosen.mates, page(seen, "after_id"))
    if shown != "none" and resolution(seen).value == "milliseconds":
        return settled(name, question, "one_by_one", "others of the activity's own instant were listed after it")
    if shown == "none" and ties(seen).value == "stable":
        return settled(name, question, "skipped", f"{len(chosen.mates)} others of its instant, which the list has after it, were skipped")
    return open_(
        name,
        question,
        "what is finer than the milliseconds shown may tell them apart" if shown != "none" else "their order is not known to be stable",
    )


# ---------------------------------------------------------------------------------------------------------------- ties


def ties(seen: Seen) -> Finding:
    name, question = "ties", "Do activities of the same instant come in the same order in every call?"
    pages = [page(seen, one) for one in ASCENDING_PAGES if has_page(seen, one)]
    chance, compared = 1.0, 0
    for other in pages[1:]:
        common = list(_common_ties(pages[0], other))
        if any(one != again for one, again in common):
            return settled(name, question, "unstable", "two pages had the same activities of one instant in different orders")
        # What moves may move all together: a page counts once, by its largest tie, and that as if it could only be turned round.
        chance /= max((len(one) for one, _ in common), default=1)
        compared += len(common)
    if chance <= CHANCE_MAX:
        return settled(name, question, "stable", f"{compared} comparisons of such activities on two pages found the same order")
    why = (
        f"{compared} comparisons found the same order, which may be chance"
        if compared
        else "no two of the same millisecond stood on two pages"
    )
    return open_(name, question, why, "a customer with more activities of the same millisecond")


def _common_ties(first: Sequence[Entry], other: Sequence[Entry]) -> Iterator[tuple[list[str], list[str]]]:
    """For each instant of which both pages hold the same two or more: those, in the order of each page."""
    shared = {entry.id for entry in first} & {entry.id for entry in other}
    for instant_ms in dict.fromkeys(entry.at_ms for entry in first):
        one, again = ([e.id for e in entries if e.at_ms == instant_ms and e.id in shared] for entries in (first, other))
        if len(one) > 1:
            yield one, again


# ------------------------------------------------------------------------------------------------- limit, total, nobody


def limit(seen: Seen) -> Finding:
    name, question = "limit", f"What does a limit over {PAGE_ACTIVITIES_MAX} do?"
    answer, shown = seen.get("limit"), len(page(seen, "limit"))
    if answer is not None and is_refusal(answer):
        return settled(name, question, "refused", f"limit={PAGE_ACTIVITIES_MAX + 1} got HTTP {answer.status}")
    if shown > PAGE_ACTIVITIES_MAX:
        return settled(name, question, "honoured", f"{shown} came")
    cap = _cap(seen)
    if has_page(seen, "limit") and cap is not None and shown == cap:
        return settled(name, question, "capped", f"{shown} came, as with limit={PAGE_ACTIVITIES_MAX}, and there are more")
    return open_(
        name,
        question,
        _unseen(seen, "limit") or f"the customer has not more than {PAGE_ACTIVITIES_MAX} activities, as far as was seen",
        MORE,
    )


def longest_page(seen: Seen) -> Finding:
    name, question = "longest_page", "How long is the longest page?"
    cap = _cap(seen)
    if cap is not None:
        return settled(name, question, str(cap), f"limit={PAGE_ACTIVITIES_MAX} brought {cap}, and there are more")
    shown = max((len(page(seen, one)) for one in OWN_PAGES), default=0)
    return open_(
        name, question, f"at least {shown}; no page left out what was known", f"a customer with more than {PAGE_ACTIVITIES_MAX} activities"
    )


def _cap(seen: Seen) -> int | None:
    """The length at which the first page was cut. Activities that arrive during the probe do not count as left out."""
    first = page(seen, "ascending")
    longest = max((len(page(seen, one)) for one in OWN_PAGES if one != "default"), default=0)
    if len(first) == PAGE_ACTIVITIES_MAX:
        return PAGE_ACTIVITIES_MAX
    if not first or len(first) != longest or direction(first) not in {"ascending", "descending"}:
        return None
    last, newest = first[-1].at_ms, max(entry.at_ms for one in ("ascending", "descending") for entry in page(seen, one))
    beyond = [entry for one in OWN_PAGES for entry in page(seen, one) if entry.at_ms <= newest]
    if direction(first) == "ascending":
        left_out = any(entry.at_ms > last for entry in beyond)
    else:
        left_out = any(entry.at_ms < last for entry in beyond)
    return len(first) if left_out else None


def total(seen: Seen) -> Finding:
    name, question = "total", "Does total tell how many there are?"
    answers = [(seen[one], page(seen, one)) for one in WHOLE_PAGES if has_page(seen, one)]
    if not answers:
        return open_(name, question, "no page was seen")
    if all(answer.total is None for answer, _ in answers):
        return settled(name, question, "absent", "no page had it")
    known: set[str] = set()
    for answer, entries in answers:
        known |= {entry.id for entry in entries}
        if answer.total is not None and answer.total < len(known):
            return settled(name, question, "wrong", "it was less than what had been listed by then")
    if all(answer.total is not None and answer.total > len(entries) for answer, entries in answers[-1:]):
        return settled(
            name,
            question,
            "right",
            "it was more than the page held, and never less than what had been listed; use it as a hint all the same",
        )
    return open_(name, question, "all fitted on each page", "a customer with more than 10 activities")


def unknown_customer(seen: Seen) -> Finding:
    name, question = "unknown_customer", "What does a customer get that does not exist?"
    answer = seen.get("unknown_customer")
    if answer is not None and answer.page:
        return settled(name, question, "empty" if not answer.entries else "others", f"HTTP 200 with {len(answer.entries)} activities")
    if answer is not None and answer.status == 404:
        return settled(name, question, "not_found", f"HTTP 404 with {', '.join(answer.fields) or 'no fields that we know'}")
    return open_(name, question, _unseen(seen, "unknown_customer"))


def _unseen(seen: Seen, *names: Name) -> str:
    """Why there is no page of one of these; empty: there is."""
    for name in names:
        if name not in seen:
            return "not asked"
        if not seen[name].page:
            return f"answered with HTTP {seen[name].status}" + (", which was no page" if seen[name].status == 200 else "")
    return ""


def has_more(seen: Seen) -> bool | None:
    """Whether `has_more` told the truth wherever that is known; `None`: nowhere."""
    everybody = {entry.id for one in ("ascending", "descending") for entry in page(seen, one)}
    verdicts: list[bool] = []
    for name in (*WHOLE_PAGES, "other_endpoint"):
        answer = seen.get(name)
        if answer is None or not answer.page or answer.has_more is None:
            continue
        left_out = everybody - {entry.id for entry in answer.entries}
        if len(left_out) > (name == "ascending") or (not left_out and is_complete(seen)):
            verdicts.append(answer.has_more == bool(left_out))
    return all(verdicts) if verdicts else None
