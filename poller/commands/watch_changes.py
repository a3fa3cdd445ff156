"""What a command makes of the watched set: what becomes of each customer, and how that is told."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from poller.kafka.watch import Changes, Watched
from poller.model import PLAIN, CustomerId, Rewind, WatchEntry
from poller.watch_entry import fields

Outcome = Literal["added", "changed", "removed", "unchanged"]
OUTCOMES: tuple[Outcome, ...] = ("added", "changed", "removed", "unchanged")

Named = Mapping[str, Mapping[CustomerId, WatchEntry]]
"""Whom the settings here name, by variable, the strongest first."""


class Changed(msgspec.Struct, frozen=True):
    """What becomes of one customer."""

    customer: CustomerId
    outcome: Outcome
    entry: WatchEntry | None
    """As it stands in the topic from then on; `None`: not at all."""
    note: str = ""
    """What else its operator should know."""


def added(wanted: Mapping[CustomerId, WatchEntry], watched: Watched) -> list[Changed]:
    return [Changed(customer, _outcome(customer, entry, watched), entry) for customer, entry in wanted.items()]


def removed(customers: Sequence[CustomerId], watched: Watched, named: Named) -> list[Changed]:
    """A record that cannot be used is taken away, too."""
    found = []
    for customer in customers:
        there = customer in watched.entries or customer in watched.ignored
        others = [variable for variable, entries in named.items() if customer in entries]
        entry = watched.entries.get(customer)
        again = "" if entry is None or entry.found is None else "is found again once all are listed anew: `poller watch pause` lasts"
        notes = ["" if there else "is not in the topic", f"stays watched: {' and '.join(others)} names it" if others else "", again]
        found.append(Changed(customer, "removed" if there else "unchanged", None, "; ".join(note for note in notes if note)))
    return found


def paused(customers: Sequence[CustomerId], watched: Watched, named: Named, pause: bool) -> list[Changed]:
    """An entry of the topic counts whole, so what another source says is taken over into the one that is made."""
    return [_paused(customer, watched, named, pause) for customer in customers]


def _paused(customer: CustomerId, watched: Watched, named: Named, pause: bool) -> Changed:
    own = watched.entries.get(customer)
    variable = next((variable for variable, entries in named.items() if customer in entries), None)
    before = own or (PLAIN if variable is None else named[variable][customer])
    if own is None and before.paused is pause:
        return Changed(customer, "unchanged", None, "is not in the topic" + (f"; {variable} names it, as not paused" if variable else ""))
    note = _made_anew(variable) if own is None else ""
    entry = before if before.paused is pause else replace(before, paused=pause, found=None)  # from then on it is the user's
    return Changed(customer, _outcome(customer, entry, watched), entry, note)


def rewound(customers: Sequence[CustomerId], watched: Watched, named: Named, rewind: Rewind) -> list[Changed]:
    """As with who is paused, what another source says is taken over."""
    return [_rewound(customer, watched, named, rewind) for customer in customers]


def _rewound(customer: CustomerId, watched: Watched, named: Named, rewind: Rewind) -> Changed:
    own = watched.entries.get(customer)
    variable = next((variable for variable, entries in named.items() if customer in entries), None)
    before = own or (PLAIN if variable is None else named[variable][customer])
    entry = replace(before, replay=rewind, found=None)  # as above
    notes = [f"replay={rewind.id}"]
    if own is None:
        notes.append(_made_anew(variable) + ("" if variable else ": it is watched from now on, if it was not"))
    if before.paused:
        notes.append("is paused: begins when it is resumed")
    return Changed(customer, _outcome(customer, entry, watched), entry, "; ".join(notes))


def _made_anew(variable: str | None) -> str:
    return "was not in the topic: the entry that it has there now counts, " + (
        f"whatever {variable} says" if variable else "and no setting here names it"
    )


def _outcome(customer: CustomerId, entry: WatchEntry, watched: Watched) -> Outcome:
    own = watched.entries.get(customer)
    if own == entry and customer not in watched.ignored:
        return "unchanged"
    return "added" if own is None else "changed"


def changes_of(changed: Sequence[Changed]) -> Changes:
    """What is to be written."""
    return {one.customer: one.entry for one in changed if one.outcome != "unchanged"}


# -------------------------------------------------------------------------------------------------------------------- telling


def as_json(changed: Sequence[Changed], topic: str, dry_run: bool, *, each: bool) -> dict[str, Any]:
    """`each`: with every customer by name."""
    counts = Counter(one.outcome for one in changed)
    told: dict[str, Any] = {"topic": topic, "dry_run": dry_run, **{outcome: counts[outcome] for outcome in OUTCOMES}}
    if each:
        told["customers"] = [_as_json(one) for one in changed]
    return told


def _as_json(one: Changed) -> dict[str, Any]:
    note = {"note": one.note} if one.note else {}
    return {"id": one.customer, "outcome": one.outcome, "entry": None if one.entry is None else fields(one.entry), **note}


def lines(changed: Sequence[Changed], dry_run: bool) -> Iterator[tuple[str, str]]:
    """Each customer, and what became of it."""
    for one in changed:
        would = "would be " if dry_run and one.outcome != "unchanged" else ""
        yield one.customer, f"{would}{one.outcome}{f': {one.note}' if one.note else ''}"


def summary(changed: Sequence[Changed], topic: str, dry_run: bool) -> str:
    counts = Counter(one.outcome for one in changed)
    parts = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("added", "changed", "unchanged"))
    return f"{len(changed)} customers: {parts} in topic {topic}{'; nothing was written, as this was a dry run' if dry_run else ''}"


def described(entry: WatchEntry) -> str:
    """In one line, such as `paused, weight 2`."""
    return ", ".join(_described(name, value) for name, value in fields(entry).items())


def _described(name: str, value: object) -> str:
    match value:
        case True:
            return name
        case dict():
            return f"{name} " + " ".join(f"{key}={text}" for key, text in value.items())
        case _:
            return f"{name} {value}"
