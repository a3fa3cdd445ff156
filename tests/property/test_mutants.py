"""The judges catch what they are there for: each mutant of the core, alone, is found by the scenario named beside it.

Every scenario is first run on the core as it is, where it must find nothing.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from poller.core import cursor, dedupe, walk
from poller.core.budget import Budget, Cycle, Terms
from poller.core.engine import Engine
from poller.demo.readings import Readings
from poller.errors import ServerFault, SourceError
from poller.model import Activity, Batch, DeadLetter, Fetch, Ledger, Page, Query, Restored, Walk
from tests.support.group import CUSTOMERS, Group
from tests.support.history import Account, Reader, stored
from tests.support.judge import INSTANT_SECONDS, Case, Scenario, Verdict, run
from tests.support.spender import EPOCH, Owner, most_in_a_window

Swap = tuple[object, str, object]
"""An object, the name of what it holds, and what stands there in the mutant."""


@contextmanager
def swapped(*swaps: Swap) -> Iterator[None]:
    originals = [(where, name, getattr(where, name)) for where, name, _ in swaps]
    try:
        for where, name, mutant in swaps:
            setattr(where, name, mutant)
        yield
    finally:
        for where, name, original in originals:
            setattr(where, name, original)


# How each mutant decides.

follow, stuck, query_of, forget, sift, server_time_ms, page_received = (
    walk.follow,
    walk.stuck,
    walk.query_of,
    dedupe.forget,
    dedupe.sift,
    cursor.server_time_ms,
    Engine.page_received,
)


def forget_all(recent: Mapping[str, int], cursor_ms: int) -> tuple[Mapping[str, int], int, int]:
    return {}, cursor_ms, 0


def sift_without_cursor(entries: tuple[Activity | DeadLetter, ...], cursor_ms: int, *rest: Any, **named: Any) -> dedupe.Sifted:
    return sift(entries, 0, *rest, **named)


def sift_entry_by_entry(entries: tuple[Activity | DeadLetter, ...], *rest: Any, **named: Any) -> dedupe.Sifted:
    alone = [sift((entry,), *rest, **named) for entry in entries]
    return msgspec.structs.replace(sift(entries, *rest, **named), records=tuple(record for one in alone for record in one.records))


def follow_without_gap(*arguments: Any) -> Walk | walk.End:
    return msgspec.structs.replace(follow(*arguments), gap=False)


def stuck_without_id(going: Walk) -> Walk | walk.End:
    return stuck(msgspec.structs.replace(going, way=max(going.way, walk.Way.AFTER_ID)))


def advance_without_lookback(cursor_ms: int, shown_to_ms: int | None, server_ms: int | None, lookback_ms: int) -> int:
    return cursor_original(cursor_ms, shown_to_ms, server_ms, 0)


cursor_original = cursor.advance


def query_from_low(going: Walk) -> Query:
    query = query_of(going)
    return query if query.start_date_ms is None or going.way != walk.Way.FROM_LOW else Query(start_date_ms=going.low_ms)


def strictly_ascending(shown: walk.Shown) -> bool:
    return all(a < b for a, b in zip(shown.instants_ms, shown.instants_ms[1:], strict=False))


def short_page_proves_the_end(going: Walk, shown: walk.Shown) -> walk.End:
    return walk.End(gap=going.gap, stepped_ms=going.stepped_ms)


def time_by_date_alone(going: Walk, clock: cursor.ServerClock) -> int | None:
    return None if going.server_time is None else int(going.server_time * 1000)


def time_of_last_request() -> tuple[Swap, Swap]:
    last = {"at": 0.0}

    def received(engine: Engine, fetch: Fetch, page: Page, now: float) -> Batch | None:
        last["at"] = fetch.at
        return page_received(engine, fetch, page, now)

    def server_time(going: Walk, clock: cursor.ServerClock) -> int | None:
        return server_time_ms(msgspec.structs.replace(going, sent=last["at"], server_time=None), clock)

    return (Engine, "page_received", received), (cursor, "server_time_ms", server_time)


# What the API and time do beside the case.


class Repeating(Account):
    """Shows the last entry of each page twice."""

    def page(self, query: Query, now: float) -> Page:
        page = super().page(query, now)
        return msgspec.structs.replace(page, entries=page.entries + page.entries[-1:])


def cap_shrinks(reader: Reader, number: int) -> None:
    reader.account.readings = replace(reader.account.readings, page_activities_max=30)


def at_the_start() -> Scenario:
    """An activity of the very instant that the first read begins at."""
    return Scenario((stored("before", INSTANT_SECONDS - 0.001), stored("at", INSTANT_SECONDS), stored("after", INSTANT_SECONDS + 0.001)))


def shown_behind_the_walk() -> Scenario:
    """An activity that appears where a slow walk has already been."""
    return Scenario((*(stored(f"a{i:03}", -35 + i * 0.1) for i in range(500)), stored("late", -30.05, late=55)))


def more_than_a_page_later() -> Scenario:
    before = (stored(f"a{i:03}", -4000 + i * 7.0) for i in range(150))
    return Scenario((*before, *(stored(f"b{i:03}", 100 + i) for i in range(100))))


@dataclass(frozen=True)
class Mutant:
    """What stands where, and the scenario that must find it, with what it says."""

    swaps: tuple[Swap, ...]
    case: Case
    fault: str
    meanwhile: Callable[[Reader, int], None] | None = None
    account_type: type[Account] = field(default=Account)

    def verdict(self) -> Verdict:
        return run(self.case, self.meanwhile, self.account_type)


MUTANTS = {
    "no recent ids": Mutant(((dedupe, "forget", forget_all),), Case("past and present"), "published twice"),
    "no cursor filter": Mutant(((dedupe, "sift", sift_without_cursor),), Case("few", Readings(start_date="ignored")), "published twice"),
    "no dedupe inside a page": Mutant(((dedupe, "sift", sift_entry_by_entry),), Case("few"), "published twice", account_type=Repeating),
    "short is less than 100": Mutant(
        ((walk, "PAGE_ACTIVITIES_SHORT", 100),), Case("past and present", Readings(page_activities_max=30)), "lost without a gap"
    ),
    "any short page ends": Mutant(
        ((walk, "PROVEN_BY_DATE", tuple(walk.Way)),),
        Case("a tie of 150 while reading", Readings(starting_after_id="by_created_at")),
        "lost without a gap",
    ),
    "unjoined pages are trusted": Mutant(
        ((walk, "_joined", lambda going, shown: True),),
        Case("a tie of 250", Readings(starting_after_id="by_created_at")),
        "lost without a gap",
    ),
    "gaps are not counted": Mutant(
        ((walk, "follow", follow_without_gap),), Case("a tie of 250", Readings(starting_after_id="refused")), "lost without a gap"
    ),
    "no lookback": Mutant(((cursor, "advance", advance_without_lookback),), Case("late"), "lost without a gap"),
    "no id cursor": Mutant(((walk, "stuck", stuck_without_id),), Case("a tie of 250"), "incomplete"),
    "no millisecond before the cursor": Mutant(
        ((walk, "query_of", query_from_low),),
        Case(at_the_start(), Readings(start_date="exclusive"), start="instant"),
        "lost without a gap",
    ),
    "the Date header alone": Mutant(
        ((cursor, "server_time_ms", time_by_date_alone),),
        Case("past and present", Readings(date_offset_seconds=3600)),
        "lost without a gap",
    ),
    "a short page proves the end": Mutant(
        ((walk, "_end_of_short_page", short_page_proves_the_end),), Case(more_than_a_page_later()), "lost without a gap", cap_shrinks
    ),
    "a page of one instant proves a direction": Mutant(((walk, "_ascending", strictly_ascending),), Case("a tie of 250"), "incomplete"),
    "the time of the last request": Mutant(time_of_last_request(), Case(shown_behind_the_walk(), calls_limit=4), "lost without a gap"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_reading_judge_finds_the_mutant_that_has(name: str) -> None:
    mutant = MUTANTS[name]
    sound = mutant.verdict()
    with swapped(*mutant.swaps):
        found = mutant.verdict()

    assert (sound.faults, mutant.fault in found.faults) == ([], True), found.faults


# The engine and its budget, in a group where everything goes wrong once.


def checkpoint_moves_before_the_commit(of: Engine, fetch: Fetch, page: Page, now: float) -> Batch | None:
    batch = page_received(of, fetch, page, now)
    if batch is not None and fetch.partition in of._owned:
        of._owned[fetch.partition].customers[batch.customer].checkpoint = batch.checkpoint
    return batch


def failed_fetch_forgets_its_customer(of: Engine, fetch: Fetch, error: SourceError, now: float) -> None:
    of._landed(fetch)


def nothing_is_dropped(of: Engine, partition: int, restored: Restored, now: float) -> list[Batch]:
    for batch in assigned(of, partition, restored, now):
        of._held[partition].put(batch)
    return []


assigned = Engine.assigned
restore = Budget.restore


def trouble() -> None:
    """Failed calls, an unknown outcome, a zombie and a kill, each at a moment when pages are held and calls under way."""
    group = Group(partitions=1, calls_limit=600.0)
    for number, customer in enumerate(CUSTOMERS):
        group.create(customer, number * 3, late=0.0)
    group.assign(0, 0)
    for outcome in ("stands", "fails", "stands unheard"):
        for _ in range(6):
            group.now += 1.0
            group.open(0, 0)
            group.now += 4.0
            group.confirm(0)
            group.turn(0)
            group.now += 0.3
            for _ in range(3):
                group.order(0)
            group.fail(0, 0, ServerFault())
            group.answer(0, 0)
            group.begin_commit(0, 0)
            group.answer(0, 0)
            group.end_commit(0, 0, outcome)
            group.check()
    for _ in range(3):
        group.now += 3.0
        group.confirm(0)
        group.turn(0)
    group.now += 6.0
    group.order(0)
    group.now += 6.0
    group.assign(1, 0)
    group.confirm(1)
    group.turn(1)
    group.kill(1)
    group.finish(turns_max=200)


def crash_loop() -> None:
    """For a whole cycle a process is killed twice a day."""
    cycle = Cycle(calls=60, reset_day=1)
    owner = Owner(Terms.of(60, 60, cycle, 1), cycle.bounds(EPOCH)[2])
    _, _, end = cycle.bounds(owner.now)
    while owner.now < end - 43_200:
        for _ in range(120):
            owner.now += 360.0
            owner.happen("turn")
        owner.happen("killed")

    assert len(owner.calls) <= cycle.calls


def crash_burst() -> None:
    owner = Owner(Terms.of(60, 60, None, 1), EPOCH)
    for _ in range(600):
        owner.now += 0.1
        owner.happen("turn")
        owner.happen("killed")

    assert most_in_a_window(owner.calls, 60) <= 60


FAULTY: dict[str, tuple[Swap, Callable[[], None]]] = {
    "the checkpoint moves before the commit": ((Engine, "page_received", checkpoint_moves_before_the_commit), trouble),
    "a failed fetch forgets its customer": ((Engine, "fetch_failed", failed_fetch_forgets_its_customer), trouble),
    "a batch is published whatever it was built on": ((Engine, "assigned", nothing_is_dropped), trouble),
    "no lease": ((Engine, "confirmed", lambda of, at: setattr(of, "_lease_until", math.inf)), trouble),
    "the cycle is forgotten at a restart": ((Budget, "restore", lambda terms, ledger, now: restore(terms, None, now)), crash_loop),
    "the bucket is full at a restart": (
        (Budget, "restore", lambda terms, ledger, now: restore(terms, Ledger(terms.capacity), now)),
        crash_burst,
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_group_in_trouble_finds_the_mutant_in_which(name: str) -> None:
    swap, scenario = FAULTY[name]
    scenario()

    with swapped(swap), pytest.raises(AssertionError):
        scenario()
