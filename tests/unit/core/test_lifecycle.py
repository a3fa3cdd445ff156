"""Customers that are unknown, deleted, dropped or forgotten: how often they are called, and what becomes of their checkpoints."""

import math
from typing import Any

import pytest

from poller.core import lifecycle
from poller.core.cursor import ServerClock
from poller.core.engine import Engine
from poller.core.lifecycle import (
    DAY_SECONDS,
    LOOK_SECONDS,
    LOOKED_AT_ONCE,
    NOTED_AT_ONCE_MAX,
    OWNED_SECONDS_MIN,
    clocks_of,
    kept,
    lived,
    next_call_at,
)
from poller.core.policy import Policy
from poller.errors import CustomerUnknown, TokenRenewed, Unreachable
from poller.model import ALIVE, PLAIN, Activity, Batch, Checkpoint, CustomerId, Ledger, Life, Page, Rewind, WatchEntry
from tests.support.builders import activity, checkpoint, page, restored
from tests.support.engines import NOW, commit, commit_all, fetch, owner, wait

LOOKBACK = 60.0
RETENTION = 10 * DAY_SECONDS
A, B, C = (CustomerId(name) for name in "abc")
FORGET = WatchEntry(forget=True)
PAUSED = WatchEntry(paused=True)


def engine(*customers: CustomerId, found: dict[str, Checkpoint] | None = None, **fields: Any) -> Engine:
    """Owns the one partition, may make calls, and is configured with these customers."""
    plausible: dict[str, Any] = {
        "start": "earliest",
        "lookback_ms": round(LOOKBACK * 1000),
        "calls_limit": 60_000,
        "checkpoint_retention_seconds": RETENTION,
    }
    return owner(Policy(**(plausible | fields)), customers, restored(Ledger(1_000), **(found or {})))


def read(of: Engine, answer: Page, now: float = NOW) -> Batch:
    batch = of.page_received(fetch(of, now), answer, now)
    assert batch is not None
    commit_all(of, now)
    return batch


def answered(of: Engine, now: float = NOW) -> Engine:
    """It has been told the server's time."""
    read(of, page(date=now), now)
    return of


def noted(of: Engine, now: float) -> list[tuple[CustomerId, str]]:
    """Of whom something is committed beside reads, and why."""
    return [(batch.customer, batch.why) for batch in commit_all(of, now).batches if batch.why]


def checkpoints(of: Engine) -> dict[CustomerId, Checkpoint | None]:
    return {customer: its.checkpoint for customer, its in of._owned[0].customers.items()}


def life(of: Engine, customer: CustomerId = A) -> Life | None:
    its = of._owned[0].customers.get(customer)
    return None if its is None or its.checkpoint is None else its.checkpoint.life


def deleted(at: float) -> Activity:
    return activity(at, type="customer.deleted")


def other(at: float) -> Activity:
    return activity(at, type="customer.updated")


# Deleted.


def of_a_page(before: Life, *records: Activity, complete: bool = True, cursor: float = 0.0, remembered: float = 0.0) -> Life:
    recent = {str(record.id): record.created_at_ms for record in records} | ({"known": round(remembered * 1000)} if remembered else {})
    return lived(before, records, recent, (NOW if complete else None, round(cursor * 1000)), round(LOOKBACK * 1000))


DELETED = Life(deleted_ms=100_000)
RETIRED = Life(deleted_ms=100_000, retired_at=500.0)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (of_a_page(ALIVE, other(100)), ALIVE),
        (of_a_page(ALIVE, deleted(100), cursor=159.999), DELETED),
        (of_a_page(ALIVE, deleted(100), cursor=160), Life(100_000, NOW)),
        (of_a_page(ALIVE, deleted(100), cursor=160, complete=False), DELETED),
        (of_a_page(DELETED, cursor=160), Life(100_000, NOW)),
        (of_a_page(DELETED, other(99), other(160)), DELETED),
        (of_a_page(DELETED, other(160.001)), ALIVE),
        (of_a_page(DELETED, activity(101)), ALIVE),
        (of_a_page(ALIVE, activity(101), deleted(100)), ALIVE),
        (of_a_page(ALIVE, activity(99), deleted(100)), DELETED),
        (of_a_page(ALIVE, deleted(100), cursor=160, remembered=161), ALIVE),
        (of_a_page(RETIRED, cursor=900), RETIRED),
        (of_a_page(RETIRED, other(101)), ALIVE),
        (of_a_page(RETIRED, other(300), deleted(400), cursor=400), Life(deleted_ms=400_000)),
        (of_a_page(RETIRED, deleted(400), cursor=460), Life(400_000, NOW)),
        (of_a_page(Life(retired_at=500.0)), ALIVE),
        (of_a_page(Life(deleted_ms=100_000, unwatched_at=3.0)), DELETED),
    ],
)
def test_a_customer_is_deleted_until_it_shows_something_new_and_retired_once_nothing_of_it_can_be_late(after: Life, expected: Life) -> None:
    assert after == expected


def test_whoever_is_retired_is_called_whole_days_after() -> None:
    assert [next_call_at(Life(retired_at=at), NOW) for at in (NOW, NOW - 1, NOW - 3.5 * DAY_SECONDS, NOW + 1)] == [
        NOW + DAY_SECONDS,
        NOW + DAY_SECONDS - 1,
        NOW + DAY_SECONDS / 2,
        NOW + 1,
    ]
    assert next_call_at(DELETED, NOW) is None


DELETED_AT = NOW - 3_600


def retired() -> Engine:
    """A was deleted a good while before, and has just been read."""
    running = engine(A)
    read(running, page(activity(100), deleted(DELETED_AT), date=DELETED_AT), DELETED_AT)
    gone = read(running, page(date=NOW))
    assert gone.checkpoint.life == Life(round(DELETED_AT * 1000), NOW)
    return running


def test_a_customer_that_was_deleted_is_called_once_a_day_and_as_all_others_once_it_shows_something_new() -> None:
    running = retired()
    resting = wait(running, NOW + 1).until
    state = running.view.standing(A, NOW + 1).state
    tomorrow = read(running, page(date=NOW + DAY_SECONDS), NOW + DAY_SECONDS)
    still = wait(running, NOW + DAY_SECONDS + 1).until
    back = read(running, page(activity(NOW + DAY_SECONDS + 9), date=NOW + 2 * DAY_SECONDS), NOW + 2 * DAY_SECONDS)

    assert (resting, state, still) == (NOW + DAY_SECONDS, "retired", NOW + 2 * DAY_SECONDS)
    assert (tomorrow.checkpoint.life.retired_at, back.checkpoint.life) == (NOW, ALIVE)
    assert (running.view.standing(A, NOW + 2 * DAY_SECONDS).state, fetch(running, NOW + 2 * DAY_SECONDS).customer) == ("waits", A)


def test_it_is_read_as_all_others_until_its_last_activities_are_in() -> None:
    running = engine(A)
    first = read(running, page(deleted(NOW), date=NOW))
    late = read(running, page(deleted(NOW), other(NOW - 30), date=NOW + 119), NOW + 119)
    last = read(running, page(deleted(NOW), date=NOW + 240), NOW + 240)

    assert [batch.checkpoint.life.retired_at for batch in (first, late, last)] == [None, None, NOW + 240]
    assert [len(batch.records) for batch in (first, late, last)] == [1, 1, 0]


def test_whoever_takes_over_calls_it_on_the_day_that_comes() -> None:
    running = engine(A, found={"a": checkpoint(5, last_read=NOW - 9, life=Life(deleted_ms=1, retired_at=NOW - 1.25 * DAY_SECONDS))})

    assert wait(running).until == NOW + 0.75 * DAY_SECONDS


def test_a_retired_customer_that_could_not_be_reached_is_tried_again_soon_and_its_pages_follow_at_once() -> None:
    running, tomorrow = retired(), NOW + DAY_SECONDS
    running.fetch_failed(fetch(running, tomorrow), Unreachable(), tomorrow)
    again = wait(running, tomorrow).until
    recent = {f"a{at}": at * 1000 for at in range(200_000, 200_006)}
    found = checkpoint(1, recent=recent, last_read=NOW, life=Life(deleted_ms=1, retired_at=NOW))
    paging = engine(A, found={"a": found})
    first = read(paging, page(*(other(at) for at in range(200_000, 200_006))), tomorrow)

    assert tomorrow < again < tomorrow + 2
    assert (first.records, first.walk is None, first.checkpoint.life.retired_at) == ((), False, NOW)
    assert fetch(paging, tomorrow).walk.calls == 1


def test_what_is_to_be_published_again_of_a_retired_customer_does_not_wait_for_a_day() -> None:
    running = retired()
    running.watch_changed("topic", {A: WatchEntry(replay=Rewind("again", 50_000))})
    again = read(running, page(activity(100), deleted(DELETED_AT), date=NOW + 1), NOW + 1)

    assert (len(again.again), again.checkpoint.life.retired_at) == (2, NOW)
    assert wait(running, NOW + 2).until == NOW + DAY_SECONDS


# Unknown.


def fails(of: Engine, now: float) -> Batch | None:
    batch = of.fetch_failed(fetch(of, now), CustomerUnknown("HTTP 404"), now)
    commit_all(of, now)
    return batch


def test_a_customer_that_was_never_known_is_tried_ever_less_often_and_is_not_retired() -> None:
    running = engine(A)
    now, waits = NOW, []
    for _ in range(14):
        assert fails(running, now) is None
        waits.append(wait(running, now).until - now)
        now += waits[-1]

    assert waits[0] <= 60
    assert 0.75 * DAY_SECONDS <= min(waits[-2:]) <= max(waits[-2:]) <= DAY_SECONDS
    assert checkpoints(running) == {A: None}


def unknown_from(at: float, *others: CustomerId) -> Engine:
    """A was read, and is unknown since then; everybody else is answered."""
    running = engine(A, *others)
    for _ in (A, *others):
        read(running, page(date=NOW))
    assert {fetch(running, at).customer for _ in (A, *others)} == {A, *others}
    running.fetch_failed(running._in_flight[A], CustomerUnknown(), at)
    return running


def test_a_customer_that_was_known_and_is_unknown_for_a_while_is_retired_and_back_as_soon_as_it_is_known() -> None:
    at = NOW + 4_000
    running = unknown_from(at, B)
    running.page_received(running._in_flight[B], page(date=at + 1), at + 1)
    commit_all(running, at + 1)
    gone, now = None, at
    while gone is None:
        now = running._owned[0].schedule.place_of(A, now)[0]
        order = fetch(running, now)
        while order.customer != A:
            running.page_received(order, page(date=now), now)
            commit_all(running, now)
            order = fetch(running, now)
        gone = running.fetch_failed(order, CustomerUnknown(), now)
    held = running.view.standing(A, now).state
    committed = noted(running, now)

    assert (gone.why, gone.records, gone.checkpoint.life) == ("gone", (), Life(retired_at=now))
    assert 300 <= now - at < 1_000
    assert (held, committed, running.view.standing(A, now).state) == ("awaits its commit", [(A, "gone")], "retired")
    assert running._owned[0].schedule.place_of(A, now)[0] == now + DAY_SECONDS
    running.watch([A])
    later = now + DAY_SECONDS
    assert fails(running, later) is None
    assert wait(running, later).until == later + DAY_SECONDS
    assert read(running, page(date=later + DAY_SECONDS), later + DAY_SECONDS).checkpoint.life == ALIVE


def test_where_nobody_else_is_known_either_it_takes_a_day() -> None:
    """The credentials may be another project's."""
    running = unknown_from(NOW + 4_000)
    now = NOW + 4_000
    gone = None
    while gone is None:
        now = wait(running, now).until
        gone = fails(running, now)

    assert DAY_SECONDS <= now - (NOW + 4_000) < 3 * DAY_SECONDS


def test_what_became_of_a_customer_while_it_was_dropped_is_noted_and_then_that_nobody_watches_it() -> None:
    running = unknown_from(NOW + 4_000)
    now = NOW + 4_000 + 3 * DAY_SECONDS
    running.fetch_failed(fetch(running, now), CustomerUnknown(), now)
    running.watch([])
    first, second = noted(running, now), noted(running, now + 1)

    assert (first, second) == ([(A, "gone")], [(A, "unwatched")])
    assert life(running) == Life(retired_at=now, unwatched_at=now + 1)


# Unwatched.


def test_a_checkpoint_is_kept_as_it_should_be() -> None:
    """By the clocks that are behind, and marked by those that are ahead."""
    marked = checkpoint(5, life=Life(deleted_ms=7, unwatched_at=NOW))
    fresh = checkpoint(5, life=Life(deleted_ms=7))

    def after(found: Checkpoint, ours: float, server: float | None, *, watched: bool = False, dropped: bool = False) -> Any:
        clocks = clocks_of(ServerClock(by_date=None if server is None else server - ours), ours)
        return kept(found, watched=watched, dropped=dropped, clocks=clocks, retention_seconds=RETENTION)

    end = NOW + RETENTION
    assert after(fresh, NOW, NOW - 5) == (marked, "unwatched")
    assert after(fresh, NOW - 5, NOW) == (marked, "unwatched")
    assert after(fresh, NOW, NOW, watched=True) is None
    assert after(marked, NOW, NOW, watched=True) == (fresh, "watched again")
    assert after(checkpoint(5, life=Life(unwatched_at=1)), NOW, None, watched=True)[0].life is ALIVE
    assert [after(marked, *clocks) for clocks in ((end, end - 1), (end - 1, end), (end, None))] == [None, None, None]
    assert after(marked, end, end) == after(marked, end + 9, end) == (None, "kept long enough")
    assert after(marked, end, end, dropped=True)[1] == "unwatched"
    assert after(marked, NOW - DAY_SECONDS, NOW - DAY_SECONDS) is None
    assert after(marked, NOW - DAY_SECONDS - 1, NOW - 2 * DAY_SECONDS)[0].life.unwatched_at == NOW - DAY_SECONDS - 1


def dropped() -> Engine:
    """Of A nothing is left but its checkpoint, which is marked."""
    running = answered(engine(A))
    running.watch_changed("topic", {B: PLAIN})
    running.watch([])
    assert noted(running, NOW) == [(A, "unwatched")]
    return running


def test_the_checkpoint_of_whom_nobody_watches_is_marked_and_removed_when_it_was_kept_long_enough() -> None:
    running = dropped()
    early = noted(running, NOW + RETENTION - 1)
    look_at = NOW + RETENTION - 1 + LOOK_SECONDS
    order = commit(running, look_at)
    running.committed(order, look_at)

    assert early == []
    assert [(batch.customer, batch.why, batch.removes, batch.records) for batch in order.batches] == [(A, "kept long enough", True, ())]
    assert A not in checkpoints(running)
    assert noted(running, NOW + 2 * RETENTION) == []
    running.watch([A])
    orders = [fetch(running, NOW + RETENTION + 9), fetch(running, NOW + RETENTION + 9)]
    assert {order.customer: order.base for order in orders} == {A: None, B: None}


def test_watched_again_within_that_time_it_goes_on_where_it_was_and_the_mark_is_gone() -> None:
    running = dropped()
    at = NOW + RETENTION - 1
    running.watch([A])
    again = next(order for order in (fetch(running, at), fetch(running, at)) if order.customer == A)
    batch = running.page_received(again, page(activity(NOW), date=at), at)

    assert again.base is not None and batch is not None
    assert (again.base.life.unwatched_at, len(batch.records), batch.checkpoint.life) == (NOW, 1, ALIVE)
    assert noted(running, NOW + RETENTION + LOOK_SECONDS) == []


def test_the_mark_of_a_customer_that_is_paused_when_it_is_watched_again_is_taken_away_without_a_read() -> None:
    running = dropped()
    running.watch_changed("topic", {A: PAUSED})
    cleared = noted(running, NOW + 5)

    assert (cleared, life(running)) == ([(A, "watched again")], ALIVE)
    running.watch_changed("topic", {A: PLAIN})
    assert A in {fetch(running, NOW + 3_600).customer, fetch(running, NOW + 3_600).customer}


def test_whoever_is_dropped_again_is_kept_as_long_again() -> None:
    running = dropped()
    running.watch([A])
    running.watch([])

    assert noted(running, NOW + RETENTION) == [(A, "unwatched")]
    assert life(running) == Life(unwatched_at=NOW + RETENTION)


def test_a_mark_or_removal_that_has_not_begun_to_be_committed_is_dropped_where_somebody_watches_the_customer_again() -> None:
    running = dropped()
    at = NOW + RETENTION + LOOK_SECONDS
    running._owned[0].commit_at = at + 5
    waiting = running.commit(0, at), [batch.why for batch in running._held[0].batches.values()]
    running.watch([A])
    committed = noted(running, at + 5)

    assert waiting[1] == ["kept long enough"]
    assert (committed, checkpoints(running)[A] is None) == ([], False)
    assert {fetch(running, at + 5).customer for _ in range(2)} == {A, B}


def test_a_removal_whose_commit_had_begun_leaves_the_customer_to_start_afresh() -> None:
    running = dropped()
    at = NOW + RETENTION + LOOK_SECONDS
    order = commit(running, at)
    running.watch([A])
    running.committed(order, at)

    assert [batch.why for batch in order.batches] == ["kept long enough"]
    assert {order.customer: order.base for order in (fetch(running, at + 1), fetch(running, at + 1))} == {A: None, B: None}


def test_nothing_is_marked_or_removed_before_all_sources_have_said_whom_they_name_or_before_the_server_has_told_the_time() -> None:
    old = checkpoint(5, last_read=5, life=Life(unwatched_at=NOW - RETENTION - DAY_SECONDS))
    running = engine(B, found={"a": old, "c": checkpoint(5)})
    untold = noted(running, NOW)
    running.expect("topic")
    order = fetch_though_awaited(running)
    running.page_received(order, page(date=NOW), NOW)
    awaited = noted(running, NOW)
    running.known("topic")

    assert (untold, awaited) == ([], [])
    assert noted(running, NOW) == [(C, "unwatched")]
    assert noted(running, NOW + max(OWNED_SECONDS_MIN, LOOK_SECONDS)) == [(A, "kept long enough")]


def fetch_though_awaited(running: Engine) -> Any:
    running.known("topic")
    order = fetch(running)
    running.expect("topic")
    return order


def test_a_clock_that_is_ahead_removes_nothing() -> None:
    old = checkpoint(5, last_read=5, life=Life(unwatched_at=NOW))
    ahead = NOW + 2 * RETENTION
    running = owner(
        Policy(start="earliest", calls_limit=60_000, checkpoint_retention_seconds=RETENTION), [B], restored(Ledger(1_000), a=old), ahead
    )
    running.page_received(fetch(running, ahead), page(date=NOW + 1), ahead)

    assert noted(running, ahead) == []
    running.page_received(fetch(running, ahead + 1), page(date=ahead), ahead + 1)
    assert noted(running, ahead + LOOK_SECONDS) == [(A, "kept long enough")]


def test_very_many_are_marked_some_at_a_time() -> None:
    many = {f"d{number}": checkpoint(5) for number in range(2 * LOOKED_AT_ONCE)}
    running = answered(engine(B, found=many))
    counts: list[int] = []
    now = NOW
    while len(counts) < 3 or counts[-1]:
        now += 0.2
        counts.append(len(noted(running, now)))

    assert (max(counts), len(counts) <= len(many) / NOTED_AT_ONCE_MAX + 2) == (NOTED_AT_ONCE_MAX, True)
    assert [name for name in many if life(running, CustomerId(name)) == ALIVE] == []


def test_to_look_through_all_of_them_takes_a_commit_only_where_something_is_found() -> None:
    many = {f"d{number}": checkpoint(5) for number in range(2 * LOOKED_AT_ONCE + 1)}
    running = engine(*(CustomerId(name) for name in many), found=many)
    running.page_received(fetch(running), page(date=NOW), NOW)
    commit_all(running)
    waits = [running.commit(0, NOW + 0.01), running.commit(0, NOW + 0.1), running.commit(0, NOW + 0.2), running.commit(0, NOW + 0.3)]

    assert not [one for one in waits if hasattr(one, "batches")]
    assert running._owned[0].leaving.look_at == math.inf


def test_nobody_is_looked_for_while_very_many_wait() -> None:
    running = answered(engine(B, found={f"d{number}": checkpoint(5) for number in range(5)}))
    leaving = running._owned[0].leaving
    leaving.pending.update({CustomerId(f"e{number}"): False for number in range(lifecycle.PENDING_MAX)})
    leaving.look_at, leaving.looking = NOW, None
    running._held[0].batches.clear()
    lives = running._lives
    assert lives._look(running._owned[0], lifecycle.Clocks(NOW, NOW), NOW) == NOW + lifecycle.LOOK_AGAIN_SECONDS
    assert leaving.looking is None


def test_a_call_under_way_is_waited_for() -> None:
    running = answered(engine(A))
    order = fetch(running, NOW + 3_600)
    running.watch([])
    under_way = noted(running, NOW + 3_601)
    running.fetch_failed(order, Unreachable(), NOW + 3_602)

    assert (under_way, noted(running, NOW + 3_603)) == ([], [(A, "unwatched")])


# Forgotten.


def test_a_customer_to_be_forgotten_is_not_called_and_its_checkpoint_is_removed_once() -> None:
    running = answered(engine(A))
    running.watch_changed("topic", {A: FORGET})
    state = running.view.standing(A, NOW).state
    order = commit(running)
    running.committed(order, NOW)

    assert [(batch.customer, batch.why, batch.removes) for batch in order.batches] == [(A, "forgotten", True)]
    assert (state, wait(running, NOW + 9_999).until, checkpoints(running)) == ("forgotten", math.inf, {})
    assert noted(running, NOW + 9) == []
    running.watch_changed("topic", {A: WatchEntry(forget=True, start=5)})
    assert noted(running, NOW + 9) == [(A, "forgotten")], "whoever asks anew is told anew"
    running.watch_changed("topic", {A: None})
    assert fetch(running, NOW + 9).base is None


def test_a_tombstone_is_written_though_there_is_no_checkpoint_and_by_whoever_takes_over() -> None:
    running = engine(B)
    running.watch_changed("topic", {A: FORGET})
    first = noted(running, NOW)
    running.suspended(0)
    running.assigned(0, restored(Ledger(1_000)), NOW)

    assert (first, noted(running, NOW), checkpoints(running)) == ([(A, "forgotten")], [(A, "forgotten")], {B: None})


@pytest.mark.parametrize("answer", ["page", "failure", "token"])
@pytest.mark.parametrize("meanwhile", [None, PLAIN], ids=["forgotten", "watched again"])
def test_a_call_that_is_under_way_comes_to_nothing(answer: str, meanwhile: WatchEntry | None) -> None:
    running = engine(B)
    running.watch_changed("topic", {A: PLAIN})
    order = next(order for order in (fetch(running), fetch(running)) if order.customer == A)
    running.watch_changed("topic", {A: FORGET})
    if meanwhile is not None:
        commit_all(running)
        running.watch_changed("topic", {A: meanwhile})
    if answer == "page":
        batch = running.page_received(order, page(activity(50), date=NOW), NOW)
    else:
        batch = running.fetch_failed(order, TokenRenewed() if answer == "token" else Unreachable(), NOW)
    committed = [(one.customer, one.why) for one in commit_all(running).batches]

    assert batch is None
    assert committed == ([(A, "forgotten")] if meanwhile is None else [])
    if meanwhile is not None:
        assert (again := fetch(running)).customer == A and again.base is None


def test_what_was_read_and_awaits_its_commit_is_dropped() -> None:
    running = engine(A)
    batch = running.page_received(fetch(running), page(activity(50), date=NOW), NOW)
    running.watch_changed("topic", {A: FORGET})
    order = commit(running)

    assert batch is not None and [(one.why, one.records) for one in order.batches] == [("forgotten", ())]


def test_what_is_being_committed_is_removed_by_the_next_commit() -> None:
    running = engine(A)
    running.page_received(fetch(running), page(activity(50), date=NOW), NOW)
    under_way = commit(running)
    running.watch_changed("topic", {A: FORGET})
    running.committed(under_way, NOW)

    assert [batch.why for batch in under_way.batches] == [None]
    assert (noted(running, NOW + 1), checkpoints(running)) == ([(A, "forgotten")], {})


def test_one_that_is_no_longer_to_be_forgotten_before_that_was_committed_goes_on_where_it_was() -> None:
    running = answered(engine(A))
    running.watch_changed("topic", {A: FORGET})
    running._owned[0].commit_at = NOW + 5
    running.commit(0, NOW)
    running.watch_changed("topic", {A: None})

    assert noted(running, NOW + 5) == []
    assert fetch(running, NOW + 3_600).base is not None


def test_one_that_is_watched_again_while_its_removal_is_committed_starts_afresh() -> None:
    running = answered(engine(A))
    running.watch_changed("topic", {A: FORGET})
    order = commit(running)
    running.watch_changed("topic", {A: None})
    running.committed(order, NOW)

    assert fetch(running, NOW + 1).base is None
    assert wait(running, NOW + 1).until == math.inf


def test_a_removal_of_which_it_is_not_known_whether_it_was_committed_is_no_loss() -> None:
    running = answered(engine(A))
    before = checkpoints(running)
    running.watch_changed("topic", {A: FORGET})
    commit(running)
    running.suspended(0)
    stood = running.undone(0, restored(Ledger(1_000)))
    dropped = running.assigned(0, restored(Ledger(1_000)), NOW)

    assert (stood, [batch.why for batch in dropped]) == ([], ["forgotten"])
    assert noted(running, NOW) == [(A, "forgotten")]
    running.suspended(0)
    running.assigned(0, restored(Ledger(1_000), a=before[A]), NOW)  # type: ignore[arg-type]
    assert (noted(running, NOW), checkpoints(running)) == ([(A, "forgotten")], {})


def test_nothing_is_noted_while_draining() -> None:
    running = answered(engine(A))
    running.watch([])
    running.drain()

    assert commit(running, NOW, last=True).batches == ()
