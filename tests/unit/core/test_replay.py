"""What becomes of a customer that is rewound: what is published again, what is new, and what is known of both however it is interrupted."""

from typing import Any

from msgspec.structs import replace

from poller.core import replay
from poller.core.dedupe import RECENT_IDS_MAX, Sifted, key_of
from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.core.replay import LOOKUP_CUSTOMERS_MAX, PUBLISHED_IDS_MAX, Lookups, Sorted
from poller.core.standing import TOO_MUCH
from poller.errors import CustomerUnknown, TokenRenewed, TooLarge
from poller.model import PLAIN, Batch, Checkpoint, CustomerId, Ledger, Lookup, Page, Rates, Replay, Rewind, WatchEntry
from tests.support.builders import activities, activity, checkpoint, dead_letter, page, restored
from tests.support.engines import NOW, commit_all, fetch, owner, wait

LOOKBACK = 60.0
A, B = CustomerId("a"), CustomerId("b")
READ = checkpoint(NOW - 100, recent={"new": round((NOW - 50) * 1000)}, last_read=NOW - 40)


def rewind(to: float = 50.0, id: str = "r1", **fields: Any) -> Rewind:
    return Rewind(id, round(to * 1000), **fields)


def rewound(to: float = 50.0, id: str = "r1", **fields: Any) -> WatchEntry:
    return WatchEntry(replay=rewind(to, id, **fields))


def engine(entry: WatchEntry, base: Checkpoint | None = READ, customers: tuple[CustomerId, ...] = (A,), **found: Checkpoint) -> Engine:
    """Owns the one partition; its customer `a` has this checkpoint, and was rewound so."""
    policy = Policy(start="earliest", lookback_ms=round(LOOKBACK * 1000), calls_limit=60_000, owner="here")
    checkpoints = found if base is None else {"a": base, **found}
    running = owner(policy, customers, restored(Ledger(1_000), **checkpoints))
    running.watch_changed("topic", {A: entry})
    return running


def read(of: Engine, answer: Page, now: float = NOW) -> Batch:
    batch = of.page_received(fetch(of, now), answer, now)
    assert batch is not None
    commit_all(of, now)
    return batch


def said(batch: Batch) -> list[str]:
    """What it publishes; what comes again with a star."""
    return [f"{record.id}{'*' if record.id in batch.again else ''}" for record in batch.records]


def full(begin: float, count: int = 6) -> Page:
    return page(*activities(*(begin + i for i in range(count))), date=NOW)


def lookup(of: Engine, now: float = NOW) -> Lookup:
    order = of.next(now)
    assert isinstance(order, Lookup), order
    return order


# What is published again.


def test_what_was_created_since_the_date_is_published_again_and_what_is_new_is_new() -> None:
    running = engine(rewound())
    first = fetch(running)
    batch = running.page_received(first, page(activity(60), activity(NOW - 50, "new"), activity(NOW - 49, "newer"), date=NOW), NOW)

    assert batch is not None
    assert (first.query.start_date_ms, said(batch)) == (49_999, ["a60*", "new*", "newer"])
    assert (batch.base, [record.id for record in batch.new]) == (READ, ["newer"])
    commit_all(running)
    assert batch.checkpoint == replace(
        READ,
        recent={"new": round((NOW - 50) * 1000), "newer": round((NOW - 49) * 1000)},
        last_read=NOW,
        rates=batch.checkpoint.rates,
        replayed="r1",
    )


def test_it_is_done_once_and_then_the_customer_is_read_as_ever() -> None:
    running = engine(rewound())
    read(running, page(activity(60), activity(NOW - 50, "new"), date=NOW))
    running.watch_changed("topic", {A: PLAIN})
    running.watch_changed("topic", {A: rewound()})
    batch = read(running, page(activity(NOW - 50, "new"), activity(NOW - 10), date=NOW + 9e4), NOW + 9e4)

    assert (said(batch), batch.checkpoint.replay, batch.checkpoint.replayed) == (["a99990"], None, "r1")


def test_each_page_is_committed_and_whoever_takes_over_goes_on_from_there() -> None:
    first = read(engine(rewound()), page(*activities(50, 150, 250, 350, 450, 550), date=NOW))
    kept = first.checkpoint
    successor = engine(rewound(), kept)
    order = fetch(successor)
    batch = successor.page_received(order, page(*activities(550, 551), activity(NOW - 50, "new"), activity(NOW - 30), date=NOW), NOW)

    assert said(first) == ["a50*", "a150*", "a250*", "a350*", "a450*", "a550*"]
    assert (kept.cursor_ms, kept.recent, kept.last_read) == (490_000, {"a550": 550_000}, READ.last_read)
    assert kept.replay == Replay(rewind(), READ.cursor_ms, READ.recent)
    assert batch is not None
    assert (order.query.start_date_ms, said(batch)) == (489_999, ["a551*", "new*", "a99970"])
    assert batch.checkpoint.replay is None


def test_what_it_may_publish_again_takes_its_turns_with_other_customers() -> None:
    running = engine(rewound(), READ, (A, B), b=checkpoint(10, last_read=10.0))
    called = []
    for number in range(6):
        order = fetch(running, NOW + number)
        called.append(order.customer)
        running.page_received(order, full(50 + 5 * number) if order.customer == A else page(date=NOW), NOW + number)
        commit_all(running, NOW + number)

    assert called == [A, B, A, B, A, B]
    assert running.view.standing(A, NOW).state == "has more pages"


def test_nothing_moves_before_the_commit_so_a_replay_whose_first_page_failed_begins_anew() -> None:
    running = engine(rewound())
    refused = fetch(running)
    assert running.fetch_failed(refused, TooLarge("9 MB"), NOW) is None
    smaller = fetch(running)
    assert running.fetch_failed(smaller, CustomerUnknown(), NOW) is None

    assert (refused.query.limit, smaller.query.limit, smaller.start) == (100, 50, refused.start)
    assert (refused.base, smaller.base) == (READ, READ)
    assert (refused.walk.replay, smaller.walk) == ("r1", replace(refused.walk, limit=50))


def test_a_walk_that_was_under_way_is_left_for_the_replay() -> None:
    running = engine(PLAIN)
    before = read(running, full(NOW - 90))
    running.watch_changed("topic", {A: rewound()})
    order = fetch(running)

    assert before.walk is not None
    assert (order.query.start_date_ms, order.start.replay) == (49_999, Replay(rewind(), READ.cursor_ms, before.checkpoint.recent))


def test_a_customer_that_was_never_read_is_read_first() -> None:
    running = engine(rewound(), None)
    first = read(running, page(activity(60), date=NOW))
    second = read(running, page(activity(60), activity(NOW), date=NOW))

    assert (said(first), first.checkpoint.replayed) == (["a60"], None)
    assert (said(second), second.checkpoint.replayed) == (["a60*", f"a{NOW:g}"], "r1")


def test_a_customer_whose_end_was_reached_is_read_again_up_to_there() -> None:
    ended = replace(rewound(), until_ms=round((NOW - 100) * 1000))
    running = engine(ended, replace(READ, recent={}))
    before = running.view.standing(A, NOW).state
    batch = read(running, page(activity(60), activity(NOW), date=NOW))

    assert (before, said(batch), batch.checkpoint.cursor_ms) == ("waits", ["a60*"], ended.until_ms)
    assert running.view.standing(A, NOW).state == "ended"


def test_what_its_end_withholds_comes_again_once_that_is_taken_away() -> None:
    running = engine(replace(rewound(), until_ms=round((NOW - 90) * 1000)))
    answer = page(activity(60), activity(NOW - 50, "new"), activity(NOW), date=NOW)
    withheld = read(running, answer)
    running.watch_changed("topic", {A: rewound()})

    assert said(withheld) == ["a60*"]
    assert said(read(running, answer)) == ["new*", f"a{NOW:g}"]


def test_a_paused_customer_is_rewound_once_it_is_resumed() -> None:
    running = engine(replace(rewound(), paused=True))
    resting = wait(running)
    running.watch_changed("topic", {A: rewound()})

    assert "until somebody is due" in resting.why
    assert fetch(running).query.start_date_ms == 49_999


def test_another_rewind_takes_the_place_of_the_one_under_way() -> None:
    running = engine(rewound())
    read(running, full(50))
    running.watch_changed("topic", {A: rewound(NOW - 2000, "r2")})
    order = fetch(running)
    answer = page(activity(NOW - 1999), activity(NOW - 50, "new"), activity(NOW - 49, "newer"), date=NOW)
    batch = running.page_received(order, answer, NOW)

    assert batch is not None
    assert order.query.start_date_ms == round((NOW - 2000) * 1000) - 1
    assert (said(batch), batch.checkpoint.replayed) == (["a98001*", "new*", "newer"], "r2")


def test_what_one_replay_has_published_for_the_first_time_the_next_one_publishes_again() -> None:
    under_way = replace(
        READ,
        cursor_ms=round((NOW - 60) * 1000),
        recent={"newer": 99_950_000},
        replay=Replay(rewind(), 99_900_000, READ.recent),
        replayed="r1",
    )
    running = engine(rewound(id="r2"), under_way)
    answer = page(activity(60), activity(NOW - 70, "published by it"), activity(NOW - 50, "newer"), activity(NOW - 40), date=NOW)

    assert said(read(running, answer)) == ["a60*", "published by it*", "newer*", "a99960"]


def test_a_date_that_is_not_reached_yet_rewinds_nothing_before_it() -> None:
    known = {"before": round((NOW - 50) * 1000), "after": round((NOW - 30) * 1000)}
    running = engine(rewound(NOW - 40), replace(READ, recent=known))
    order = fetch(running)
    answer = page(activity(NOW - 60, "late"), activity(NOW - 50, "before"), activity(NOW - 30, "after"), date=NOW)
    batch = running.page_received(order, answer, NOW)

    assert batch is not None
    assert (order.start.cursor_ms, said(batch)) == (READ.cursor_ms, ["late", "after*"])


def test_what_had_happened_before_the_start_was_never_new() -> None:
    starting = checkpoint(50, recent={"a51": 51_000}, baseline_ms=70_000)
    running = engine(rewound(40), starting)

    assert said(read(running, page(*activities(45, 51, 60, 71), date=NOW))) == ["a45*", "a51*", "a60*", "a71"]


def test_what_cannot_be_published_is_not_told_again() -> None:
    known = dead_letter(b"known")
    letters = {key_of(known): round(NOW * 1000)}
    running = engine(rewound(), replace(READ, recent=letters))
    batch = read(running, page(dead_letter(b"old", 60), known, dead_letter(b"new"), date=NOW))

    assert ([letter.raw for letter in batch.dead_letters], batch.known) == ([b"new"], 2)


def test_what_comes_again_teaches_nothing() -> None:
    rates = Rates(at=NOW - 40, due=NOW, visits=1.0, exposure=1e6, last=NOW - 50)
    running = engine(rewound(), replace(READ, rates=rates))
    going, ended = read(running, full(50)), read(running, page(activity(55), activity(NOW - 50, "new"), date=NOW))

    assert going.checkpoint.rates == rates
    learned = ended.checkpoint.rates
    assert learned is not None
    assert (learned.at, learned.last, learned.visits < 1.0) == (NOW, rates.last, True)


def test_hints_are_not_proved_right_by_what_comes_again() -> None:
    running = engine(rewound())
    running.hinted(A, NOW)
    read(running, page(activity(60), activity(NOW - 50, "new"), date=NOW))

    assert (running.hints.used, running.hints.useful) == (1, 0)


# How it ends.


def ended(start: Checkpoint, recent: dict[str, int], cursor: float, shown_to: float | None) -> Checkpoint:
    """The checkpoint after a read that moved the cursor so far."""
    kept = replay.remembered(start, recent, round(cursor * 1000), None if shown_to is None else round(shown_to * 1000), ended=True)
    return replace(start, cursor_ms=kept.cursor_ms, recent=kept.recent, replay=kept.replay)


def test_it_is_over_when_a_read_ends_that_was_shown_all_that_had_been_published() -> None:
    start, met = replay.begun(READ, rewind()), {"new": round((NOW - 50) * 1000)}
    over = replace(READ, replayed="r1")

    assert ended(start, met, NOW - 200, None) == over
    assert ended(start, met, NOW - 80, NOW - 80) == replace(over, cursor_ms=round((NOW - 80) * 1000))
    assert ended(start, {}, NOW - 200, None) == over
    assert ended(start, {}, NOW - 49, NOW - 49) == replace(over, cursor_ms=round((NOW - 49) * 1000), recent={})


def test_it_goes_on_after_a_read_that_ended_before_and_at_once_where_that_one_went_as_far_as_it_was_shown() -> None:
    start, met = replay.begun(READ, rewind()), {"new": round((NOW - 50) * 1000)}

    assert ended(start, {"a55": 55_000}, 55, 55) == replace(start, cursor_ms=55_000, recent={"a55": 55_000})
    stalled = Replay(rewind(), READ.cursor_ms, READ.recent, stalled=True)
    assert (ended(start, {}, 55, 60).replay, ended(start, {}, 50, 50).replay) == (stalled, stalled)
    assert ended(start, {}, NOW - 80, NOW - 80).replay == start.replay
    assert ended(start, met, NOW - 101, NOW - 101) == replace(
        start, cursor_ms=round((NOW - 101) * 1000), recent=met, replay=Replay(rewind(), READ.cursor_ms)
    )


def test_a_replay_is_gone_on_with_at_once_unless_it_is_stalled() -> None:
    going = replace(READ, cursor_ms=60_000, replay=Replay(rewind(), READ.cursor_ms), replayed="r1")
    stalled, met = replace(going, replay=Replay(rewind(), READ.cursor_ms, stalled=True)), replace(going, cursor_ms=READ.cursor_ms)

    assert [replay.goes_on(rewound(), base) for base in (None, READ, going, stalled, met)] == [False, True, True, False, False]
    assert [replay.goes_on(rewound(id="r2"), base) for base in (going, stalled, met)] == [True, True, True]
    assert [replay.goes_on(PLAIN, base) for base in (READ, going)] == [False, True]


def test_there_are_no_more_ids_to_remember_than_without_it() -> None:
    before = {f"before {number}": 100_000 + number for number in range(RECENT_IDS_MAX)}
    start = replay.begun(replace(READ, cursor_ms=100_000, recent=before), rewind(60))
    kept = replay.remembered(start, {"again": 70_000, "before 9999": 109_999}, 65_000, 65_000, ended=False)

    assert kept.replay is not None
    assert (len(kept.recent) + len(kept.replay.recent), kept.cursor_ms, kept.dropped) == (RECENT_IDS_MAX, 70_001, 1)
    assert "before 9999" not in kept.replay.recent


# What is missing only.


def missing_only(**found: Checkpoint) -> tuple[Engine, Lookup]:
    running = engine(rewound(missing_only=True), READ, (A, B) if found else (A,), **found)
    return running, lookup(running)


def test_only_what_does_not_stand_there_is_published_again_and_what_is_new_all_the_same() -> None:
    running, order = missing_only()
    waiting = running.view.standing(A, NOW).state, wait(running).until > NOW
    refused = running.looked_up(order, {A: {"a60", "newer"}})
    batch = read(running, page(activity(60), activity(70), activity(NOW - 50, "new"), activity(NOW - 49, "newer"), date=NOW))

    assert (order.customers, order.since_ms, waiting, refused) == (frozenset({A}), 50_000, ("is looked up", True), [])
    assert (said(batch), batch.known, batch.checkpoint.replay) == (["a70*", "new*", "newer"], 1, None)
    assert not running._owned[0].lookups._found


def test_others_are_read_meanwhile() -> None:
    running, _ = missing_only(b=checkpoint(10, last_read=10.0))

    assert fetch(running).customer == B


def test_whoever_takes_over_looks_up_anew_and_so_does_who_takes_its_partition_again() -> None:
    running, order = missing_only()
    running.looked_up(order, {A: {"a50", "a51"}})
    first = read(running, full(50))
    running.suspended(0)
    assert running.looked_up(order, {A: set()}) == []
    running.assigned(0, restored(Ledger(1_000), a=first.checkpoint), NOW)
    commit_all(running)
    again = lookup(running)
    assert running.looked_up(order, {A: set()}) == []
    running.looked_up(again, {A: {"a50", "a51", *(record.id for record in first.records), "new"}})
    batch = read(running, page(*activities(55, 56), activity(NOW - 50, "new"), date=NOW))

    assert said(first) == ["a52*", "a53*", "a54*", "a55*"]
    assert (again.since_ms, said(batch)) == (50_000, ["a56*"])


def test_what_was_asked_for_one_rewind_does_not_serve_another() -> None:
    running, order = missing_only()
    running.watch_changed("topic", {A: rewound(60, "r2", missing_only=True)})
    running.looked_up(order, {A: {"a70"}})
    second = lookup(running)
    running.watch_changed("topic", {A: rewound(60, "r3")})

    assert second.since_ms == 60_000
    assert said(read(running, page(activity(70), date=NOW))) == ["a70*"]


def test_who_is_paused_or_no_longer_rewound_does_not_wait_for_it() -> None:
    paused, order = missing_only()
    paused.watch_changed("topic", {A: replace(rewound(missing_only=True), paused=True)})
    paused.looked_up(order, {A: set()})
    read_on, _ = missing_only()
    read_on.watch_changed("topic", {A: PLAIN})

    assert paused.view.standing(A, NOW).state == "paused"
    paused.watch_changed("topic", {A: rewound(missing_only=True)})
    assert lookup(paused).customers == {A}
    assert fetch(read_on).query.start_date_ms == READ.cursor_ms - 1


def test_a_call_that_went_into_a_token_is_not_made_again_before_what_stands_there_is_known() -> None:
    running = engine(PLAIN)
    order = fetch(running)
    running.watch_changed("topic", {A: rewound(missing_only=True)})
    running.fetch_failed(order, TokenRenewed(), NOW)

    running.looked_up(lookup(running), {A: {"a60"}})
    again = fetch(running)
    running.fetch_failed(again, TokenRenewed(), NOW)
    assert (again.published, fetch(running)) == ({"a60"}, again)


def test_what_is_known_is_forgotten_where_it_is_paused_and_where_the_rewind_before_counts_again() -> None:
    paused, order = missing_only()
    paused.looked_up(order, {A: set()})
    going = fetch(paused)
    for entry in (replace(rewound(missing_only=True), paused=True), rewound(missing_only=True)):
        paused.watch_changed("topic", {A: entry})
    paused.fetch_failed(going, TokenRenewed(), NOW)

    other, order = missing_only()
    other.looked_up(order, {A: set()})
    read(other, full(50))
    other.watch_changed("topic", {A: rewound(60, "r2", missing_only=True)})
    other.looked_up(lookup(other), {A: set()})
    other.watch_changed("topic", {A: rewound(missing_only=True)})

    assert (lookup(paused).since_ms, lookup(other).since_ms) == (50_000, 50_000)


def test_a_drain_orders_no_look_up() -> None:
    running = engine(rewound(missing_only=True))
    running.drain()

    assert wait(running).why == "draining"


def ask(lookups: Lookups, *names: str) -> None:
    for name in names:
        lookups.ask(CustomerId(name), rewind(float(name), missing_only=True))


def test_many_are_looked_up_together_and_one_look_up_at_a_time() -> None:
    lookups = Lookups()
    ask(lookups, *map(str, range(1, LOOKUP_CUSTOMERS_MAX + 2)))
    first = lookups.order(0)
    assert first is not None
    assert (len(first.customers), first.since_ms, lookups.order(0)) == (LOOKUP_CUSTOMERS_MAX, 1000, None)
    assert lookups.answered(first, dict.fromkeys(first.customers, frozenset({"x"}))) == []
    second = lookups.order(0)

    assert second is not None
    assert second.customers == {str(LOOKUP_CUSTOMERS_MAX + 1)}
    assert repr(lookups) == f"<Lookups 1 asked, {LOOKUP_CUSTOMERS_MAX} found>"


def test_no_more_is_looked_up_while_very_much_is_known() -> None:
    lookups = Lookups()
    ask(lookups, "1")
    order = lookups.order(0)
    assert order is not None
    lookups.answered(order, {CustomerId("1"): range(PUBLISHED_IDS_MAX)})  # type: ignore[dict-item]  # they are only counted
    ask(lookups, "2")
    held = lookups.order(0)
    lookups.drop(CustomerId("1"))

    assert held is None
    assert lookups.order(0) is not None


def test_of_whom_there_is_too_much_is_looked_up_alone_and_then_refused() -> None:
    running, order = missing_only(b=checkpoint(10, last_read=10.0))
    running.watch_changed("topic", {B: rewound(40, missing_only=True)})
    refused = running.looked_up(order, {})
    others = lookup(running)
    assert running.looked_up(others, {}) == [B]
    state = running.view.standing(B, NOW)
    running.watch_changed("topic", {A: rewound(60, "r2", missing_only=True), B: rewound(60, "r2", missing_only=True)})
    together = lookup(running)
    left_out = running.looked_up(together, {B: set()})
    alone = lookup(running)

    assert (order.customers, refused, others.customers) == (frozenset({A}), [A], frozenset({B}))
    assert (state.state, state.error) == ("is looked up", TOO_MUCH)
    assert (together.customers, left_out, alone.customers) == (frozenset({A, B}), [], frozenset({A}))


def test_a_page_without_a_replay_is_published_as_it_is() -> None:
    sifted = Sifted(activities(1), (dead_letter(),), {}, 3)

    assert replay.sort(sifted, None, {"a1"}) == Sorted(activities(1), (dead_letter(),), known=3)


def test_a_deletion_that_is_new_counts_though_a_replay_shows_it() -> None:
    running = engine(rewound())
    batch = read(running, page(activity(60.0), activity(NOW - 10, type="customer.deleted"), date=NOW))

    assert batch.checkpoint.life.deleted_ms == round((NOW - 10) * 1000)
    assert batch.checkpoint.life.retired_at is None


def test_a_rewind_whose_date_is_corrected_is_looked_up_anew() -> None:
    running = engine(rewound(70.0, missing_only=True))
    running.looked_up(lookup(running), {A: {"a60"}})
    running.watch_changed("topic", {A: rewound(50.0, missing_only=True)})

    assert lookup(running).since_ms <= 50_000
