"""What the engine learns of how often customers act: it rides with what is committed, and decides who is called next."""

from typing import Any

import pytest
from msgspec.structs import replace

from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.model import NO_LESSON, Batch, Checkpoint, CustomerId, Ledger, Page, Rates, Restored
from tests.support.builders import activities, activity, checkpoint, ownership, page, restored
from tests.support.engines import NOW, commit, commit_all, fetch, owner

A, B, C = (CustomerId(name) for name in "abc")
DAY = 86_400.0


def engine(*customers: CustomerId, found: Restored | None = None, calls_limit: float = 60, **fields: Any) -> Engine:
    plausible: dict[str, Any] = {"start": "earliest", "lookback_ms": 60_000, "calls_limit": calls_limit}
    policy = Policy(**(plausible | fields))
    return owner(policy, customers, restored(Ledger(1)) if found is None else found)


def read(of: Engine, answer: Page, now: float = NOW) -> Batch:
    """One call, its answer, and the commit of what it brought."""
    commit_all(of, now)
    batch = of.page_received(fetch(of, now), answer, now)
    assert batch is not None
    commit_all(of, now)
    return batch


def rates(of: Batch) -> Rates:
    assert of.checkpoint.rates is not None
    return of.checkpoint.rates


@pytest.mark.parametrize(
    ("start", "exposure"), [("earliest", 20_000.0), (round((NOW - 15_000) * 1000), 15_000.0), (round((NOW + 15_000) * 1000), 0.0)]
)
def test_the_first_read_tells_of_the_time_since_reading_starts(start: str | int, exposure: float) -> None:
    first = read(engine(A, start=start), page(*activities(NOW - 20_000, NOW - 10_000), date=NOW))

    assert (rates(first).at, rates(first).exposure) == (NOW, exposure)


def test_a_customer_without_any_past_is_known_from_now_on() -> None:
    assert rates(read(engine(A), page(date=NOW))) == rates(read(engine(A, start="now"), page(date=NOW)))


def test_each_read_adds_what_happened_since_the_last_one() -> None:
    running = engine(A, start="now")
    read(running, page(date=NOW))
    second = read(running, page(*activities(NOW + 10, NOW + 20), date=NOW + 60), NOW + 60)

    assert (rates(second).at, rates(second).last, rates(second).exposure) == (NOW + 60, NOW + 20, 60)
    assert (second.lesson.activities, 0 < rates(second).visits < 2) == (2, True)


def test_of_a_page_with_more_to_come_nothing_is_known_beyond_it() -> None:
    running = engine(A)
    going = read(running, page(*activities(*range(50, 150)), date=NOW))
    ended = read(running, page(activity(149), date=NOW), NOW + 2)

    assert going.walk is not None
    assert (rates(going).at, rates(ended).at) == (149, NOW)


def test_what_another_clock_puts_ahead_of_ours_happened_now() -> None:
    running = engine(A, start="now")
    read(running, page(date=NOW))
    ahead = read(running, page(activity(NOW + 3_600), date=NOW + 10), NOW + 10)

    assert (rates(ahead).at, rates(ahead).last) == (NOW + 10, NOW + 10)


def test_nothing_is_learned_of_who_is_no_longer_watched() -> None:
    known = checkpoint(NOW - 100, last_read=NOW - 50, rates=Rates(at=NOW - 50, due=NOW, visits=3, exposure=DAY))
    running = engine(A, found=restored(Ledger(1), a=known))
    order = fetch(running)
    running.watch([B])
    batch = running.page_received(order, page(activity(NOW - 10), date=NOW), NOW)
    commit_all(running)

    assert batch is not None and batch.checkpoint is not None
    assert (batch.records, batch.checkpoint.rates, batch.lesson) == (activities(NOW - 10), known.rates, NO_LESSON)
    assert [(batch.customer, batch.why) for batch in commit(running).batches] == [(A, "unwatched")]


def test_nothing_is_learned_before_it_is_committed() -> None:
    running = engine(A, start="now")
    read(running, page(date=NOW))
    before = commit(running, NOW + 60).ownership.learned
    running.committed(commit(running, NOW + 60), NOW + 60)
    running.page_received(fetch(running, NOW + 60), page(*activities(NOW + 10, NOW + 20), date=NOW + 60), NOW + 60)
    during = commit(running, NOW + 60)
    running.committed(during, NOW + 60)
    after = commit(running, NOW + 60).ownership.learned

    assert during.ownership.learned.pool == before.pool
    assert after.pool.activities > before.pool.activities


def test_a_successor_decides_as_its_predecessor_would_have() -> None:
    watched = [CustomerId(f"c{number:02}") for number in range(30)]
    running = engine(*watched, start="now")
    checkpoints: dict[CustomerId, Checkpoint] = {}
    now, last = NOW, ownership()
    for turn in range(400):
        now += 1.1
        last = one_read(running, checkpoints, now, turn)
    successor = owner(
        Policy(start="now", lookback_ms=60_000, calls_limit=60), watched, Restored(dict(checkpoints), replace(last, ledger=Ledger(1))), now
    )
    order: tuple[list[CustomerId], list[CustomerId]] = ([], [])
    for who, called in zip((running, successor), order, strict=True):
        later, known = now, dict(checkpoints)
        for turn in range(100):
            later += 1.1
            one_read(who, known, later, turn, called)

    assert order[0] == order[1]
    assert len(set(order[0])) == 30


def one_read(
    running: Engine, checkpoints: dict[CustomerId, Checkpoint], now: float, turn: int, called: list[CustomerId] | None = None
) -> Any:
    """A call, and the commit of what it brought: the ownership that stands then. The first customers act often."""
    commit_all(running, now)
    order = fetch(running, now)
    acts = turn % (int(order.customer[1:]) + 2) == 0
    running.page_received(order, page(*(activities(now - 0.5) if acts else ()), date=now), now)
    done = commit_all(running, now)
    checkpoints.update({batch.customer: batch.checkpoint for batch in done.batches})
    if called is not None:
        called.append(order.customer)
    return ownership(ledger=Ledger(1), learned=commit(running, now).ownership.learned)


def test_who_acts_more_is_called_more() -> None:
    running = engine(A, B, start="now", calls_limit=1, staleness_seconds_max=DAY)
    every_seconds, called, read_at = {A: 600.0, B: 60_000.0}, list[CustomerId](), dict[CustomerId, float]()
    for turn in range(2_000):
        now = NOW + 70 * turn
        commit_all(running, now)
        order = fetch(running, now)
        every, since = every_seconds[order.customer], read_at.get(order.customer, now)
        happened = [every * number for number in range(int(since // every) + 1, int(now // every) + 1)]
        running.page_received(order, page(*activities(*happened), date=now), now)
        commit_all(running, now)
        called.append(order.customer)
        read_at[order.customer] = now

    assert 3 * called.count(B) < called.count(A)
