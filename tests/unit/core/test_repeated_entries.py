"""A page on which an activity stands twice, as where a list is put together while it changes: it neither ends a read nor looks like disorder."""

from collections.abc import Callable, Iterable

import pytest

from poller.core.dedupe import once
from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.model import Activity, Batch, Commit, Fetch, Query
from tests.support.builders import CUSTOMER, activities, activity, dead_letter, page, restored

LIST = activities(*range(1000, 1250))
"""A second apart, so that nothing is a tie."""

NOW = 2000.0
SECONDS = 120
CAP = 100

Entries = tuple[Activity, ...]


def listed(query: Query, entries: Iterable[Activity] = LIST) -> Entries:
    """What an honest API answers to the walk's first way on."""
    assert query.starting_after_id is None and query.starting_after_ms is None
    return tuple(entry for entry in entries if entry.created_at_ms is None or entry.created_at_ms >= (query.start_date_ms or 0))[:CAP]


def read(answer: Callable[[Query, int], Entries]) -> list[Batch]:
    """What an engine makes of these answers within so many seconds, a call each: the batches that it commits."""
    engine = Engine(Policy(start="earliest", calls_limit=600))
    engine.watch([CUSTOMER])
    engine.partitioned(1)
    engine.assigned(0, restored(), NOW - 100)
    committed: list[Batch] = []
    calls = 0
    for second in range(SECONDS):
        now = NOW + second
        engine.confirmed(now)
        match engine.next(now):
            case Fetch() as fetch:
                engine.page_received(fetch, page(*answer(fetch.query, calls), date=now), now)
                calls += 1
        commit = engine.commit(0, now, at_once=True)
        assert isinstance(commit, Commit)
        committed.extend(commit.batches)
        engine.committed(commit, now)
    return committed


def published(batches: list[Batch]) -> list[Activity]:
    return [record for batch in batches for record in batch.records]


def with_repeated(entries: Entries, first: int, again: int) -> Entries:
    """The page with one of its entries standing a second time, further on; where it is not so long, the last one at its end."""
    first = min(first, len(entries) - 1)
    return (*entries[:again], entries[first], *entries[again:])


@pytest.mark.parametrize(("first", "again"), [(0, 1), (3, 50), (0, 100), (99, 100), (98, 100)])
def test_an_entry_too_many_on_a_first_page_does_not_end_the_reads_after_it(first: int, again: int) -> None:
    batches = read(lambda query, calls: with_repeated(listed(query), first, again) if calls == 0 else listed(query))

    assert published(batches) == list(LIST)
    assert [batch for batch in batches if batch.gap or not batch.followable] == []


@pytest.mark.parametrize(("first", "again"), [(0, 1), (3, 50), (0, 99), (98, 99)])
def test_pages_that_always_repeat_an_entry_within_their_cap_are_walked_to_the_end(first: int, again: int) -> None:
    batches = read(lambda query, _calls: with_repeated(listed(query), first, again)[:CAP])

    assert published(batches) == list(LIST)
    assert [batch for batch in batches if batch.gap or not batch.followable] == []


def test_entries_are_taken_once_in_the_order_in_which_they_first_stand() -> None:
    a, b, letter = activity(1), activity(2), dead_letter(b"no json")

    assert list(once((a, letter, b, a, letter)).values()) == [a, letter, b]
