"""What the engine makes of how its customers are watched: who is called, what is asked for, and what of the answer is published."""

import math
from typing import Any

import pytest

from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.core.standing import Standing
from poller.errors import TooLarge, Unreachable
from poller.model import PLAIN, Batch, Checkpoint, CustomerId, Ledger, Page, Query, WatchEntry
from tests.support.builders import activities, activity, checkpoint, dead_letter, page, restored
from tests.support.engines import NOW, commit_all, fetch, owner, wait

LOOKBACK = 60.0
A, B, C = (CustomerId(name) for name in "abc")
PAUSED = WatchEntry(paused=True)
NOBODY = "the budget, or until somebody is due"


def policy(**fields: Any) -> Policy:
    plausible: dict[str, Any] = {"start": "earliest", "lookback_ms": round(LOOKBACK * 1000), "calls_limit": 60_000, "owner": "here"}
    return Policy(**(plausible | fields))


def engine(*customers: CustomerId, checkpoints: dict[str, Checkpoint] | None = None, **fields: Any) -> Engine:
    """Owns the one partition, may make calls, and is configured with these customers."""
    return owner(policy(**fields), customers, restored(Ledger(1_000), **(checkpoints or {})))


def watching(entry: WatchEntry, **fields: Any) -> Engine:
    """With one customer, that is watched so."""
    running = engine(A, **fields)
    running.watch_changed("topic", {A: entry})
    return running


def read(of: Engine, answer: Page, now: float = NOW) -> Batch:
    batch = of.page_received(fetch(of, now), answer, now)
    assert batch is not None
    commit_all(of, now)
    return batch


def until(at: float) -> WatchEntry:
    return WatchEntry(until_ms=round(at * 1000))


def published(batch: Batch) -> list[str]:
    return [str(record.id) for record in batch.records]


def rests(of: Engine, now: float = NOW) -> bool:
    """Whether nobody is to be called."""
    return (wait(of, now).until, wait(of, now).why) == (math.inf, NOBODY)


def full(begin: float, count: int = 6) -> Page:
    return page(*activities(*(begin + i for i in range(count))), date=NOW)


# Who is called.


def test_a_customer_that_a_source_adds_is_called_and_one_that_all_have_dropped_is_not() -> None:
    running = engine(A)
    read(running, page(date=NOW))
    running.watch_changed("topic", {A: PLAIN, B: PLAIN})
    called = [fetch(running).customer, running.view.customers]
    running.watch([])

    assert called == [B, 2]
    assert running.watches(A)
    running.watch_changed("topic", {A: None})
    commit_all(running)
    assert (running.watches(A), running.view.customers, rests(running, NOW + 1)) == (False, 1, True)


def test_a_customer_that_was_never_read_leaves_nothing_when_it_is_dropped() -> None:
    running = engine(A)
    for _ in range(3):
        running.watch_changed("topic", {B: PLAIN, C: PAUSED})
        running.watch_changed("topic", {B: None, C: None})

    assert running._owned[0].customers.keys() == {A}
    order = fetch(running)
    running.watch([])
    assert running.page_received(order, page(activity(50), date=NOW), NOW) is not None
    assert running._owned[0].customers.keys() == {A}


def test_nobody_is_called_before_all_sources_have_said_whom_they_name() -> None:
    running = Engine(policy())
    running.expect("topic")
    running.watch([A, B])
    running.partitioned(1)
    running.confirmed(math.inf)
    running.assigned(0, restored(Ledger(1_000)), NOW)
    commit_all(running)
    running.watch_changed("topic", {A: PAUSED})
    before = running.awaited, wait(running)
    running.known("topic")

    assert (before[0], before[1].until, before[1].why) == (["topic"], math.inf, "who is watched is not known yet")
    assert (running.awaited, fetch(running).customer) == ([], B)
    assert rests(running)


def test_a_paused_customer_is_not_called_and_what_happens_meanwhile_is_published_once_it_is_resumed() -> None:
    running = engine(A, B)
    batch = read(running, page(activity(50), date=NOW))
    assert batch.customer == A
    running.watch_changed("topic", {A: PAUSED})
    others = [fetch(running).customer, running.view.customers]
    resting = rests(running)
    running.watch_changed("topic", {A: PLAIN})
    again = fetch(running)

    assert (others, resting) == ([B, 2], True)
    assert (again.customer, again.base) == (A, batch.checkpoint)
    late = running.page_received(again, page(activity(50), activity(60), date=NOW), NOW)
    assert late is not None and published(late) == ["a60"]


def test_a_call_that_is_under_way_when_its_customer_is_paused_is_published() -> None:
    running = engine(A)
    order = fetch(running)
    running.watch_changed("topic", {A: PAUSED})
    batch = running.page_received(order, page(activity(50), date=NOW), NOW)
    running.watch_changed("topic", {A: PLAIN})
    while_held = rests(running)
    committed = commit_all(running).batches

    assert batch is not None and (committed, published(batch), while_held) == ((batch,), ["a50"], True)
    assert fetch(running).base == batch.checkpoint
    running.watch_changed("topic", {A: PAUSED})
    assert rests(running, NOW + 9)


def test_a_call_that_fails_while_its_customer_is_paused_is_made_again_when_it_is_resumed() -> None:
    running = engine(A)
    order = fetch(running)
    running.watch_changed("topic", {A: PAUSED})
    running.fetch_failed(order, Unreachable(), NOW)
    resting = rests(running, NOW + 9)
    running.watch_changed("topic", {A: PLAIN})

    assert (resting, fetch(running).customer) == (True, A)


def test_a_walk_goes_on_where_it_was_when_its_customer_is_resumed() -> None:
    running = engine(A, B)
    first = read(running, full(50))
    running.watch_changed("topic", {A: PAUSED})
    assert (first.customer, fetch(running).customer, rests(running)) == (A, B, True)
    running.watch_changed("topic", {A: WatchEntry(weight=2)})

    assert fetch(running).query == Query(start_date_ms=54_999)


def test_a_partition_that_comes_back_calls_whom_it_should() -> None:
    running = engine(A, B, C)
    running.watch_changed("topic", {A: PAUSED, B: until(5)})
    running.suspended(0)
    running.watch_changed("topic", {C: WatchEntry(headers=(("tenant", "one"),))})
    running.assigned(0, restored(Ledger(1_000), b=checkpoint(5)), NOW)
    commit_all(running)

    assert (fetch(running).customer, rests(running), running.view.customers) == (C, True, 3)


def test_a_customer_that_counts_more_is_due_sooner() -> None:
    def due(weight: float) -> float | None:
        running = engine(A, B, C)
        running.watch_changed("topic", {A: WatchEntry(weight=weight)})
        rates = read(running, full(NOW - 500, 4)).checkpoint.rates
        return None if rates is None else rates.due

    light, plain, heavy = due(0.1), due(1), due(10)
    assert light is not None and plain is not None and heavy is not None
    assert heavy < plain < light


# What is asked for.


def test_a_customer_starts_as_its_entry_says_while_it_has_no_checkpoint() -> None:
    begins = {
        start: fetch(watching(WatchEntry(start=start), start="now")).query.start_date_ms for start in ("earliest", 5_000, "now", None)
    }
    now_ms = round((NOW - 60 - LOOKBACK) * 1000) - 1

    assert begins == {"earliest": None, 5_000: 4_999, "now": now_ms, None: now_ms}
    assert fetch(watching(WatchEntry(start="earliest"), checkpoints={"a": checkpoint(70)})).query == Query(start_date_ms=69_999)


def test_what_had_happened_is_not_published_of_who_starts_now_by_its_entry() -> None:
    running = watching(WatchEntry(start="now"))
    first = read(running, page(*activities(NOW - 70, NOW - 1), date=NOW))
    later = read(running, page(*activities(NOW - 70, NOW - 1, NOW + 1), date=NOW + 2), NOW + 2)

    assert (published(first), published(later)) == ([], [f"a{NOW + 1:g}"])


def test_who_starts_earliest_by_its_entry_has_its_past_published_where_others_start_now() -> None:
    assert published(read(watching(WatchEntry(start="earliest"), start="now"), page(activity(50), date=NOW))) == ["a50"]


def test_a_walk_of_which_nothing_is_committed_begins_anew_where_its_start_is_moved_back() -> None:
    running = watching(WatchEntry(start=70_000))
    running.fetch_failed(fetch(running), TooLarge("too many bytes"), NOW)
    running.watch_changed("topic", {A: WatchEntry(start=50_000)})
    moved_back = fetch(running)
    running.fetch_failed(moved_back, TooLarge("too many bytes"), NOW)
    running.watch_changed("topic", {A: WatchEntry(start=60_000)})

    assert moved_back.query == Query(start_date_ms=49_999)
    assert fetch(running).query == Query(start_date_ms=49_999, limit=50)


def test_each_call_of_a_walk_asks_for_what_the_entry_is_about() -> None:
    only = (("campaign_type", "PROMOTION"), ("product_id", "prod_1"))
    running = watching(WatchEntry(campaign_type="PROMOTION", product_id="prod_1"))
    first = fetch(running)
    running.page_received(first, full(50), NOW)
    commit_all(running)

    assert first.query == Query(filters=only)
    assert fetch(running).query == Query(start_date_ms=54_999, filters=only)


def test_a_walk_begins_anew_at_the_cursor_where_it_is_to_be_about_something_else() -> None:
    running = watching(WatchEntry(campaign_id="one"))
    batch = read(running, full(NOW - 500))
    running.watch_changed("topic", {A: WatchEntry(campaign_id="two")})
    order = fetch(running)

    assert (order.walk.calls, order.base, order.query) == (
        0,
        batch.checkpoint,
        Query(start_date_ms=batch.checkpoint.cursor_ms - 1, filters=(("campaign_id", "two"),)),
    )


def test_its_headers_go_with_its_records() -> None:
    running = watching(WatchEntry(headers=(("tenant", "one"),)))
    order = fetch(running)
    running.watch_changed("topic", {A: WatchEntry(headers=(("tenant", "two"),))})
    batch = running.page_received(order, page(activity(50), date=NOW), NOW)

    assert batch is not None and batch.headers == (("tenant", "two"),)


def test_the_answer_to_a_call_whose_customer_was_dropped_is_judged_as_it_was_watched() -> None:
    running = watching(WatchEntry(until_ms=55_000, headers=(("tenant", "one"),)))
    order = fetch(running)
    running.watch_changed("topic", {A: None})
    running.watch([])
    batch = running.page_received(order, page(activity(50), activity(60), date=NOW), NOW)

    assert batch is not None and (published(batch), batch.headers) == (["a50"], (("tenant", "one"),))


# Until when.


def test_what_is_created_from_until_on_is_not_published_and_after_that_it_is_no_longer_called() -> None:
    running = watching(until(60))
    batch = read(running, page(*activities(50, 59.999, 60, NOW), date=NOW))

    assert (published(batch), batch.checkpoint.cursor_ms, batch.checkpoint.recent) == (["a50", "a59.999"], 60_000, {})
    assert rests(running, NOW + 99_999)
    assert running.view.customers == 1


def test_until_it_is_certain_that_all_before_was_shown_it_goes_on_being_read() -> None:
    running = watching(until(NOW + 10))
    cursors, shown = [], []
    for after, happened in ((0, ()), (20, (9, 11, 20)), (69, (8, 9, 11, 69)), (71, (7, 8, 9, 71))):
        now = NOW + after
        commit_all(running, now)
        batch = read(running, page(*activities(*(NOW + at for at in happened)), date=now), now)
        cursors.append(batch.checkpoint.cursor_ms / 1000 - NOW)
        shown.append([record.created_at_ms / 1000 - NOW for record in batch.records])

    assert (cursors, shown) == ([-60, -40, 9, 10], [[], [9], [8], []])
    assert rests(running, NOW + 999)


def test_a_walk_ends_where_it_has_come_to_until() -> None:
    running = watching(until(60))
    first = read(running, full(50))
    second = read(running, page(*activities(*range(55, 61), NOW), date=NOW))

    assert (first.walk is None, published(first)) == (False, [f"a{at}" for at in range(50, 56)])
    assert (second.walk, published(second), second.checkpoint.cursor_ms) == (None, [f"a{at}" for at in range(56, 60)], 60_000)
    assert rests(running, NOW + 999)


@pytest.mark.parametrize("later", [until(62), PLAIN], ids=["moved", "taken away"])
def test_where_until_is_moved_or_taken_away_all_that_was_withheld_is_published_once(later: WatchEntry) -> None:
    running = watching(until(60))
    entries = activities(50, 60, 61, NOW)
    first = read(running, page(*entries, date=NOW))
    running.watch_changed("topic", {A: later})
    second = read(running, page(*entries[1:], date=NOW + 9), NOW + 9)

    assert (published(first), published(second)) == (["a50"], ["a60", "a61"] if later.until_ms else ["a60", "a61", "a100000"])
    assert running.view.standing(A, NOW + 9).state == ("ended" if later.until_ms else "waits")


def test_what_was_withheld_on_the_way_of_a_read_is_published_where_until_is_taken_away_before_its_end() -> None:
    running = watching(until(NOW - 5))
    order = fetch(running)
    first = running.page_received(order, page(*activities(NOW - 9, NOW - 4), date=NOW), NOW)
    running.watch_changed("topic", {A: PLAIN})
    commit_all(running)
    second = read(running, page(*activities(NOW - 9, NOW - 4), date=NOW + 9), NOW + 9)

    assert first is not None and [len(first.records), len(second.records)] == [1, 1]
    assert second.records[0].created_at_ms == round((NOW - 4) * 1000)


def test_an_until_that_lies_before_the_cursor_ends_the_reading_at_once_and_moves_nothing_back() -> None:
    running = engine(A)
    first = read(running, page(activity(NOW - 10), date=NOW))
    running.watch_changed("topic", {A: until(50)})
    resting = rests(running, NOW + 99)
    running.watch_changed("topic", {A: PLAIN})
    again = fetch(running)
    second = running.page_received(again, page(activity(NOW - 10), activity(NOW - 5), date=NOW + 9), NOW + 9)

    assert (resting, again.base) == (True, first.checkpoint)
    assert second is not None and [len(first.records), len(second.records)] == [1, 1]


def test_what_is_known_is_published_once_though_it_is_dated_anew_beyond_an_until_that_is_taken_away_later() -> None:
    running = engine(A)
    first = read(running, page(activity(NOW - 10, "x"), date=NOW))
    running.watch_changed("topic", {A: until(NOW + 5)})
    second = read(running, page(activity(NOW + 6, "x"), date=NOW + 8), NOW + 8)
    third = read(running, page(activity(NOW + 6, "x"), date=NOW + 70), NOW + 70)
    running.watch_changed("topic", {A: PLAIN})
    fourth = read(running, page(activity(NOW + 6, "x"), date=NOW + 99), NOW + 99)

    assert [published(batch) for batch in (first, second, third, fourth)] == [["x"], [], [], []]


def test_what_had_happened_before_the_start_is_not_published_though_an_until_is_taken_away() -> None:
    running = watching(WatchEntry(start="now", until_ms=round((NOW - 40) * 1000)))
    before = activities(NOW - 50, NOW - 30)
    first = read(running, page(*before, date=NOW))
    second = [read(running, page(*before, date=NOW + 9), NOW + 9)]
    running.watch_changed("topic", {A: PLAIN})
    commit_all(running, NOW + 10)
    last = read(running, page(*before, activity(NOW + 5), date=NOW + 10), NOW + 10)

    assert [published(batch) for batch in (first, *second)] == [[], []]
    assert [record.created_at_ms for record in last.records] == [round((NOW + 5) * 1000)]


def test_the_first_read_of_who_starts_now_goes_on_beyond_until_as_it_is_to_remember_all_that_there_is() -> None:
    running = watching(WatchEntry(start="now", until_ms=round((NOW - 55) * 1000)))
    first = read(running, page(*activities(*(NOW - 60 + i for i in range(6))), date=NOW))

    assert (first.walk is None, published(first), first.checkpoint.baseline_ms) == (False, [], round(NOW * 1000))


def test_what_bears_no_date_is_published_where_it_is_shown_before_until() -> None:
    running = watching(until(NOW + 30))
    first = read(running, page(dead_letter(b"early"), date=NOW))
    second = read(running, page(dead_letter(b"early"), dead_letter(b"late"), date=NOW + 40), NOW + 40)

    assert [[letter.raw for letter in batch.dead_letters] for batch in (first, second)] == [[b"early"], []]


# How it stands.


def stands(**fields: Any) -> Standing:
    return Standing(**({"partition": 0, "owner": "here", "state": "waits"} | fields))  # type: ignore[arg-type]


def test_who_is_not_called_says_why_and_who_names_it_and_how() -> None:
    running = engine(A, B, checkpoints={"b": checkpoint(9)})
    running.watch({A: WatchEntry(weight=3)}, "file")
    running.watch_changed("topic", {A: PAUSED, B: until(9)})

    assert running.view.standing(A, NOW) == stands(state="paused", sources=("topic", "file", "setting"), entry=PAUSED)
    assert running.view.standing(B, NOW) == stands(state="ended", sources=("topic", "setting"), entry=until(9))
    assert running.view.standing(C, NOW) == stands(state="not watched")


def test_who_is_paused_while_it_is_called_is_in_flight_and_then_awaits_its_commit() -> None:
    running = engine(A)
    order = fetch(running)
    running.watch_changed("topic", {A: PAUSED})
    told = [running.view.standing(A, NOW).state]
    running.page_received(order, page(activity(50), date=NOW), NOW)
    told.append(running.view.standing(A, NOW).state)
    commit_all(running)

    assert [*told, running.view.standing(A, NOW).state] == ["in flight", "awaits its commit", "paused"]


def test_a_hint_at_who_is_paused_is_ours_and_changes_nothing() -> None:
    running = watching(PAUSED)

    assert running.hinted(A, NOW)
    assert (running.hinted(B, NOW), running.hints.used, rests(running)) == (False, 0, True)


def test_whoever_is_added_while_many_others_wait_for_their_first_read_is_among_the_next_to_be_called() -> None:
    many = [CustomerId(f"c{number}") for number in range(100)]
    running = owner(Policy(start="earliest", calls_limit=60_000), many, restored(Ledger(500)))
    running.watch_changed("topic", {CustomerId("added"): PLAIN})

    assert "added" in [fetch(running).customer for _ in range(2)]
