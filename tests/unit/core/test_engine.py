"""The engine: told the time and what happened, it returns orders."""

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from poller.core.budget import Cycle
from poller.core.engine import COMMIT_RECORDS_MAX, HELD_BYTES_MAX, HELD_PAGES_MAX, Engine, Held, Policy
from poller.core.walk import Way
from poller.errors import CustomerUnknown, Limited, Rejected, SettingsError, SourceError, Unauthorized, Unreachable
from poller.model import Batch, Checkpoint, Commit, CustomerId, Fetch, Ledger, Page, Query, Quota, Restored, Wait
from tests.support.builders import activities, activity, batch, checkpoint, dead_letter, ownership, page, restored

A, B = CustomerId("a"), CustomerId("b")
NOW = 10_000.0
POLICY = Policy(start="earliest", lookback_ms=300_000, calls_limit=6_000, calls_in_flight_max=4)


@dataclass
class Told:
    """An engine that owns what it should, and the instant that it was told last."""

    engine: Engine
    now: float = NOW

    def next(self) -> Fetch | Wait:
        return self.engine.next(self.now)

    def fetch(self) -> Fetch:
        order = self.next()
        assert isinstance(order, Fetch), order
        return order

    def wait(self) -> Wait:
        order = self.next()
        assert isinstance(order, Wait), order
        return order

    def received(self, fetch: Fetch, shown: Page) -> Batch:
        held = self.engine.page_received(fetch, shown, self.now)
        assert held is not None
        return held

    def failed(self, error: SourceError) -> Batch | None:
        return self.engine.fetch_failed(self.fetch(), error, self.now)

    def commit(self, partition: int = 0, **how: Any) -> Commit:
        order = self.engine.commit(partition, self.now, at_once=True, **how)
        assert isinstance(order, Commit)
        self.engine.committed(order, self.now)
        return order

    def read(self, shown: Page) -> Batch:
        """One call and its commit."""
        held = self.received(self.fetch(), shown)
        self.commit()
        return held


def told(*customers: str, policy: Policy = POLICY, found: Restored | None = None, partitions: int = 1) -> Told:
    engine = Engine(policy)
    engine.watch([CustomerId(customer) for customer in customers or ("a",)])
    engine.partitioned(partitions)
    engine.confirmed(math.inf)
    it = Told(engine)
    for partition in range(partitions):
        engine.assigned(partition, found or restored(ledger=Ledger(level=100.0)), NOW)
        it.commit(partition)
    return it


def at(seconds: float) -> float:
    return NOW + seconds


# What is ordered.


def test_a_new_customer_is_asked_for_from_where_the_policy_says() -> None:
    assert told().fetch().query == Query()
    assert told(policy=msgspec.structs.replace(POLICY, start=5_000)).fetch().query == Query(start_date_ms=4_999)
    assert told(policy=msgspec.structs.replace(POLICY, start="now")).fetch().query == Query(start_date_ms=round((NOW - 360) * 1000) - 1)


def test_a_known_customer_is_asked_for_from_just_before_its_cursor() -> None:
    assert told(found=restored(Ledger(level=9.0), a=checkpoint(50, last_read=1.0))).fetch().query == Query(start_date_ms=49_999)


def test_no_such_start_is_a_fault_of_the_program() -> None:
    with pytest.raises(AssertionError, match="no such start"):
        told(policy=msgspec.structs.replace(POLICY, start="yesterday")).next()


def test_who_was_read_longest_ago_is_called_first() -> None:
    it = told("a", "b", found=restored(Ledger(level=9.0), a=checkpoint(last_read=2.0), b=checkpoint(last_read=1.0)))

    assert [it.fetch().customer, it.fetch().customer] == [B, A]


def test_a_customer_is_called_once_at_a_time() -> None:
    it = told()
    it.fetch()

    assert it.wait().until == math.inf


def test_no_more_calls_are_under_way_than_allowed() -> None:
    it = told("a", "b", "c", policy=msgspec.structs.replace(POLICY, calls_in_flight_max=2))
    it.fetch()
    it.fetch()

    assert (it.wait(), it.engine.in_flight) == (Wait(math.inf, "calls in flight"), 2)


def test_no_call_starts_without_a_confirmed_membership() -> None:
    it = told()
    it.engine.rebalancing()
    assert it.wait() == Wait(math.inf, "membership is not confirmed")

    it.engine.confirmed(NOW - POLICY.lease_seconds)
    assert it.wait() == Wait(math.inf, "membership is not confirmed")

    it.engine.confirmed(NOW - POLICY.lease_seconds + 0.1)
    it.fetch()


def test_no_call_starts_while_draining() -> None:
    it = told()
    it.engine.drain()

    assert it.wait() == Wait(math.inf, "draining")


def test_no_call_starts_before_the_budget_has_one() -> None:
    it = told(policy=msgspec.structs.replace(POLICY, calls_limit=60), found=restored(Ledger(level=0.5)))

    assert NOW + 0.4 < it.wait().until < NOW + 0.6


def test_no_call_starts_while_too_many_pages_or_bytes_await_their_commit() -> None:
    names = [f"c{i}" for i in range(HELD_PAGES_MAX + 1)]
    many = told(*names, policy=msgspec.structs.replace(POLICY, calls_limit=10**6))
    for _ in range(HELD_PAGES_MAX):
        many.received(many.fetch(), page(date=NOW))
        many.now += 0.01
    large = told("a", "b")
    large.received(large.fetch(), page(date=NOW, body_bytes=HELD_BYTES_MAX))

    assert (many.wait(), large.wait()) == (Wait(math.inf, "commits"), Wait(math.inf, "commits"))


# What a page brings.


def test_a_page_becomes_records_and_the_checkpoint_that_covers_them() -> None:
    it = told()

    held = it.received(it.fetch(), page(*activities(9_990, 9_995), date=NOW))

    assert held == Batch(
        customer=A,
        partition=0,
        base=None,
        checkpoint=Checkpoint(cursor_ms=9_695_000, recent={"a9990": 9_990_000, "a9995": 9_995_000}, last_read=NOW),
        records=activities(9_990, 9_995),
    )


def test_what_cannot_be_published_goes_out_as_a_dead_letter_beside_the_rest() -> None:
    it = told()
    letter = dead_letter(b"{}")

    held = it.received(it.fetch(), page(letter, activity(9_990), date=NOW))

    assert (held.dead_letters, held.records) == ((letter,), activities(9_990))


def test_nothing_moves_before_the_commit() -> None:
    it = told()
    first = it.received(it.fetch(), page(*activities(9_990), date=NOW))
    order = it.engine.commit(0, NOW, at_once=True)

    assert isinstance(order, Commit)
    assert order.batches == (first,)
    assert isinstance(it.next(), Wait)

    it.engine.committed(order, NOW)
    assert it.fetch().base == first.checkpoint


def test_what_was_published_is_not_published_again() -> None:
    it = told()
    it.read(page(*activities(9_990), date=NOW))

    held = it.read(page(*activities(9_990, 9_996), date=NOW))

    assert (held.records, held.known) == (activities(9_996), 1)


def test_a_full_page_goes_on_with_the_next_before_anybody_else() -> None:
    it = told("a", "b", found=restored(Ledger(level=9.0), a=checkpoint(1, last_read=1.0), b=checkpoint(1, last_read=2.0)))
    held = it.read(page(*activities(10, 11, 12, 13, 14), date=NOW))

    assert (held.walk is not None, held.checkpoint.last_read) == (True, 1.0)
    following = it.fetch()
    assert (following.customer, following.query) == (A, Query(start_date_ms=13_999))


def test_a_backfill_lets_others_take_turns() -> None:
    it = told("a", "b", "c")
    order = []
    for _ in range(4):
        fetch = it.fetch()
        order.append(fetch.customer)
        begin = fetch.walk.low_ms / 1000
        it.received(fetch, page(*activities(*(begin + i for i in range(6))), date=NOW))
        it.commit()

    assert order == ["a", "a", "b", "a"]


def test_an_answer_for_a_partition_that_was_taken_is_dropped() -> None:
    it = told()
    fetch = it.fetch()
    it.engine.revoked(0)

    assert it.engine.page_received(fetch, page(date=NOW), NOW) is None
    assert it.engine.in_flight == 0


def test_a_failure_for_a_partition_that_was_taken_is_dropped() -> None:
    it = told()
    fetch = it.fetch()
    it.engine.revoked(0)

    assert it.engine.fetch_failed(fetch, Unreachable(), NOW) is None


def test_an_answer_that_was_not_asked_for_is_a_fault_of_the_program() -> None:
    it = told()
    fetch = it.fetch()
    it.received(fetch, page(date=NOW))

    with pytest.raises(AssertionError, match="not ordered"):
        it.engine.page_received(fetch, page(date=NOW), NOW)


# Starting now.

STARTING_NOW = msgspec.structs.replace(POLICY, start="now")


def test_who_starts_now_has_what_is_shown_first_remembered_and_not_published() -> None:
    it = told(policy=STARTING_NOW)

    held = it.received(it.fetch(), page(*activities(9_990), date=NOW - 1))

    assert held.records == ()
    assert held.checkpoint == Checkpoint(cursor_ms=9_690_000, recent={"a9990": 9_990_000}, last_read=NOW)


def test_on_further_pages_of_the_first_read_only_what_happened_before_it_is_remembered() -> None:
    it = told(policy=STARTING_NOW)
    first = it.read(page(*activities(9_980, 9_981, 9_982, 9_983, 9_984), date=NOW))

    assert (first.records, first.checkpoint.baseline_ms) == ((), 10_000_000)

    second = it.read(page(*activities(9_984, 9_990, 10_001), date=NOW + 2))
    assert (second.records, second.checkpoint.baseline_ms) == (activities(10_001), None)


def test_a_first_read_that_began_too_late_by_the_servers_time_is_made_again() -> None:
    it = told(policy=STARTING_NOW)

    assert it.engine.page_received(it.fetch(), page(date=NOW - 3600), NOW) is None
    assert it.fetch().query == Query(start_date_ms=round((NOW - 3600 - 360) * 1000) - 1)


def test_where_nothing_tells_the_time_our_own_clock_must_do() -> None:
    it = told(policy=STARTING_NOW)

    assert it.received(it.fetch(), page()).checkpoint == Checkpoint(cursor_ms=round((NOW - 360) * 1000), last_read=NOW)


# Failures.


def test_a_customer_that_failed_waits_and_the_others_do_not() -> None:
    it = told("a", "b")
    it.failed(Unreachable("reset"))

    assert it.fetch().customer == B
    assert isinstance(it.next(), Wait)
    it.now = at(1)
    assert it.fetch().customer == A


def test_a_customer_that_failed_is_asked_for_as_before() -> None:
    it = told(found=restored(Ledger(level=9.0), a=checkpoint(50, last_read=1.0)))
    it.failed(Unreachable())
    it.now = at(1)

    assert (it.fetch().query, it.engine.in_flight) == (Query(start_date_ms=49_999), 1)


def test_a_limit_stops_every_call_until_it_says_and_nobody_loses_their_turn() -> None:
    it = told("a", "b")
    it.failed(Limited(wait_seconds=30))

    assert (it.wait().until, it.engine.paused_until) == (at(31), at(31))
    it.now = at(31)
    assert [it.fetch().customer, it.fetch().customer] == [B, A]


def test_credentials_that_are_refused_stop_every_call() -> None:
    it = told("a", "b")
    it.failed(Unauthorized())

    assert at(20) < it.wait().until <= at(30)
    assert "credentials" in it.wait().why
    assert it.engine.refused == it.wait().why


def test_credentials_that_are_accepted_again_are_no_longer_told_as_refused() -> None:
    it = told()
    it.failed(Unauthorized())
    it.now = at(40)
    it.received(it.fetch(), page(date=NOW))

    assert it.engine.refused == ""


def test_a_quota_of_which_nothing_remains_stops_every_call() -> None:
    it = told("a", "b")
    it.received(it.fetch(), page(date=NOW, quota=Quota(remaining=0, resets_at=NOW + 20)))

    assert it.wait() == Wait(at(21), "nothing remains of the quota")


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    it = told("a", "b")
    first, second = it.fetch(), it.fetch()
    it.engine.fetch_failed(first, Limited(wait_seconds=300), NOW)
    it.engine.fetch_failed(second, Limited(wait_seconds=3), NOW)

    assert it.engine.paused_until == at(301)


def tied(it: Told) -> Fetch:
    """The call that asks by the id cursor, in the midst of a tie that fills the page."""
    tie = page(*(activity(9_990, id=f"t{i}") for i in range(5)), date=NOW)
    it.read(tie)
    it.read(tie)
    fetch = it.fetch()
    assert fetch.query.starting_after_id == "t3"
    return fetch


@pytest.mark.parametrize("error", [Rejected(), CustomerUnknown()], ids=repr)
def test_a_way_that_is_refused_is_not_the_customers_failure(error: SourceError) -> None:
    it = told()

    assert it.engine.fetch_failed(tied(it), error, NOW) is None
    assert it.fetch().walk.way == Way.AFTER_DATE


def test_a_refusal_that_ends_the_read_is_committed_as_such() -> None:
    it = told()
    fetch = tied(it)
    weary = msgspec.structs.replace(fetch, walk=msgspec.structs.replace(fetch.walk, calls=399))
    it.engine._in_flight[A] = weary

    held = it.engine.fetch_failed(weary, Rejected(), NOW)

    assert held is not None
    assert (held.walk, held.gap, held.checkpoint.stepped_ms) == (None, True, 9_990_000)


# Commits.


def test_a_commit_waits_for_the_next_only_as_long_as_the_policy_says() -> None:
    it = told()
    it.received(it.fetch(), page(date=NOW))

    assert it.engine.commit(0, NOW) == Wait(at(0.2), "commits")
    assert isinstance(it.engine.commit(0, at(0.2)), Commit)


def test_without_batches_a_commit_is_made_only_for_calls_that_somebody_waits_for() -> None:
    poor = msgspec.structs.replace(POLICY, calls_limit=6)
    nobody = Engine(poor)
    nobody.watch([])
    nobody.partitioned(1)
    nobody.assigned(0, restored(Ledger(level=-1.0)), NOW)
    somebody = told(policy=poor, found=restored(Ledger(level=-1.0)))

    order = somebody.engine.commit(0, NOW)

    assert nobody.commit(0, NOW) == Wait(math.inf, "commits")
    assert isinstance(order, Wait)
    assert at(15) < order.until < at(25)


def test_a_commit_takes_the_oldest_batches_up_to_a_bound() -> None:
    held = Held()
    half = tuple(activity(i) for i in range(COMMIT_RECORDS_MAX // 2 + 1))
    for name in ("a", "b", "c"):
        held.put(batch(name, records=half, body_bytes=10))

    assert [one.customer for one in held.first(COMMIT_RECORDS_MAX)] == [A]
    assert held.pop(A).body_bytes == 10
    assert held.bytes == 20


def test_the_ownership_record_carries_who_we_are_and_the_ledger() -> None:
    it = told()
    order = it.commit(last=True)

    assert order.ownership == msgspec.structs.replace(ownership(), watched_hash=order.ownership.watched_hash, ledger=order.ownership.ledger)
    assert (order.grant, it.commit().grant > 0) == (0, True)


# Partitions that come and go.


def test_after_a_failed_append_a_batch_goes_on_if_it_still_fits_what_was_restored() -> None:
    it = told()
    held = it.received(it.fetch(), page(*activities(9_990), date=NOW))
    it.engine.suspended(0)
    assert (it.engine.owned, it.engine.unpublished(0)) == ([], True)

    assert it.engine.assigned(0, restored(Ledger(level=9.0)), NOW) == []
    assert it.commit().batches == (held,)


def test_after_a_commit_that_happened_unknown_to_us_the_batch_is_dropped() -> None:
    it = told()
    held = it.received(it.fetch(), page(*activities(9_990), date=NOW))
    it.engine.suspended(0)

    assert it.engine.assigned(0, restored(Ledger(level=9.0), a=held.checkpoint), NOW) == [held]
    assert it.commit().batches == ()
    assert it.fetch().base == held.checkpoint


def test_what_calls_bring_while_the_writer_is_gone_is_kept() -> None:
    it = told()
    fetch = it.fetch()
    it.engine.suspended(0)
    held = it.received(fetch, page(*activities(9_990), date=NOW))
    it.engine.assigned(0, restored(Ledger(level=9.0)), NOW)

    assert it.commit().batches == (held,)


def test_an_answer_that_stands_on_another_checkpoint_is_dropped_and_the_customer_read_again() -> None:
    it = told()
    fetch = it.fetch()
    it.engine.suspended(0)
    it.engine.assigned(0, restored(Ledger(level=9.0), a=checkpoint(70, last_read=1.0)), NOW)
    it.commit()

    assert it.engine.page_received(fetch, page(date=NOW), NOW) is None
    assert it.fetch().query == Query(start_date_ms=69_999)


def test_a_failure_while_the_writer_is_gone_waits_for_the_restore() -> None:
    it = told()
    fetch = it.fetch()
    it.engine.suspended(0)
    it.engine.suspended(0)

    assert it.engine.fetch_failed(fetch, Unreachable(), NOW) is None
    it.engine.assigned(0, restored(Ledger(level=9.0)), NOW)
    it.commit()
    it.fetch()


def test_a_partition_of_another_deployment_is_refused() -> None:
    it = told()
    elsewhere = Restored({}, ownership(url="http://elsewhere"))

    assert "http://elsewhere" in (it.engine.ownership_refusal(elsewhere) or "")
    assert it.engine.ownership_refusal(Restored({}, None)) is None
    assert it.engine.ownership_differences(
        Restored({}, ownership(endpoint="activity", watched_hash=it.commit().ownership.watched_hash))
    ) == ["the endpoint was 'activity' and is 'activities'"]


def test_a_budget_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(SettingsError):
        told(policy=msgspec.structs.replace(POLICY, calls_limit=2), partitions=4)


def test_partitions_take_turns() -> None:
    names = [f"c{i}" for i in range(40)]
    it = told(*names, partitions=2, policy=msgspec.structs.replace(POLICY, calls_limit=10**5))

    assert [it.fetch().partition for _ in range(4)] in ([0, 1, 0, 1], [1, 0, 1, 0])


# The watched set.


def test_a_customer_that_is_added_is_called_and_one_that_is_taken_away_is_not() -> None:
    it = told("a")
    it.engine.watch([B])

    assert it.fetch().customer == B
    assert it.engine.customers == 1


def test_a_customer_that_comes_back_goes_on_where_it_was() -> None:
    it = told("b", found=restored(Ledger(level=9.0), a=checkpoint(50, last_read=1.0)))
    it.engine.watch([A])

    assert it.fetch().query == Query(start_date_ms=49_999)


def test_when_nobody_is_watched_nobody_is_called() -> None:
    it = told("a")
    it.engine.watch([])

    assert isinstance(it.next(), Wait)


# For the operator.


def test_it_shows_itself_in_one_line() -> None:
    it = told("a", "b")
    it.received(it.fetch(), page(date=NOW))
    it.fetch()

    assert repr(it.engine) == "<Engine 2 customers, 0 scheduled, 1 in flight, 1 held, partitions [0]>"


def test_what_is_left_of_the_cycle_is_told_where_there_is_one() -> None:
    cycled = told(policy=msgspec.structs.replace(POLICY, cycle=Cycle(calls=500, reset_day=1)), found=restored(Ledger(level=5.0)))

    assert (told().engine.cycle_left(), cycled.engine.cycle_left()) == (None, 500)
