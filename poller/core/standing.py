"""How one customer stands with the process that owns its partition: what an operator may ask of the engine. Read-only."""

import math
from typing import Literal

import msgspec
from msgspec.structs import replace

from poller.core.owned import Owned
from poller.core.watched import Source, has_ended
from poller.model import CustomerId, WatchEntry

Busy = Literal["in flight", "awaits its commit"]
State = (
    Literal["not owned", "restoring", "not watched", "forgotten", "paused", "ended", "retired", "waits", "has more pages", "is looked up"]
    | Busy
)


TOO_MUCH = (
    "too much of it stands in the activities topic to tell what is missing: rewind it without --missing-only, or to a later date; until then "
    "it is not read"
)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One customer at one instant. Instants are Unix time in seconds; `None`: there is none, or it is not known here."""

    partition: int
    """Of the checkpoint topic."""
    owner: str
    """Who answers."""
    state: State
    """`paused`: it is not read for now; `ended`: what was wanted of it is read; `retired`: it is gone, and called once a day; `forgotten`: not read, and its checkpoint removed. Both as its entry says. `is looked up`: it waits until it is known
    what of it stands in the activities topic, as it was rewound to publish what is missing.
    """
    sources: tuple[Source, ...] = ()
    """Who names it, the strongest first."""
    entry: WatchEntry | None = None
    """How it is watched: as the strongest says; `None`: it is not."""
    due: float | None = None
    """Not to be called before: it failed. `None`: it is only its turn that it waits for."""
    calls_before: int | None = None
    """Calls of others that come first, as far as is known now."""
    next_call_at: float | None = None
    """When it is called, by the budget's pace: an estimate, as others may turn out to have more pages."""
    failures: int = 0
    """Of its reads, in a row."""
    error: str = ""
    """The last of them; empty: the last read was answered."""
    paused_until: float | None = None
    """No customer is called before."""
    paused_why: str = ""


def standing_in(owned: Owned, customer_id: CustomerId, told: Standing, busy: Busy | None, now: float) -> Standing:
    """How a customer stands in a partition that is ours and restored. What every customer's standing tells is `told` already."""
    customer, entry = owned.customers.get(customer_id), told.entry
    if entry is not None and entry.forget:
        return replace(told, state="forgotten")
    if customer is None or entry is None:
        return replace(told, state="not watched")
    told = replace(told, failures=customer.failures, error=customer.error)
    if busy is not None:
        return replace(told, state=busy)
    if customer_id in owned.lookups:
        return replace(told, state="is looked up", error=TOO_MUCH if owned.lookups.refused(customer_id) else told.error)
    if has_ended(entry, customer.checkpoint):
        return replace(told, state="ended")
    if entry.paused:
        return replace(told, state="paused")
    due, before, at = next_call(owned, customer_id, now)
    state: State = "waits" if customer.walk is None or due is not None else "has more pages"
    if customer.checkpoint is not None and customer.checkpoint.life.retired_at is not None:
        state = "retired"
    return replace(told, state=state, due=due, calls_before=before, next_call_at=max(at, told.paused_until or at))


def next_call(owned: Owned, customer: CustomerId, now: float) -> tuple[float | None, int, float]:
    """When a customer that stands in the schedule is due (`None`: now), the calls before it, and when these have been made by the budget's pace.

    A cycle that ends before brings a new pace, so the estimate goes no further than its end.
    """
    due, before = owned.schedule.place_of(customer, now)
    budget = owned.budget.refill(now)
    rate = budget.calls_per_second(now)
    at = max(now, due) + (max(0.0, before + 1 - budget.level) / rate if rate > 0 else math.inf)
    cycle = budget.terms.cycle
    return (due if due > now else None), before, at if cycle is None else min(at, max(due, cycle.bounds(now)[2]))
