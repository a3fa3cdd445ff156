"""What is counted of the worker's steps."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from poller.core.hints import Hints
from poller.counts import KIND_OF, OUTCOME_OF, nearest
from poller.errors import (
    Explanation,
    Fenced,
    LogError,
    LogUnavailable,
    NotOurs,
    PollerError,
    Rejected,
    SettingsError,
    SourceError,
    TimedOut,
    TokenRefused,
    TokenRenewed,
    TokenUnavailable,
)
from poller.journal import Journal
from poller.model import Batch, Checkpoint, Commit, CustomerId, FeedCall, Fetch, Hindrance, ListCall, Walk
from poller.telemetry import KafkaError, Outcome, Telemetry
from tests.support.builders import activities, activity, checkpoint, dead_letter, order, ownership, page, restored, walk
from tests.support.world import Told

CUSTOMER = CustomerId("cust_1")
READ_BEFORE = checkpoint(50, last_read=60.0)


class Counting:
    """A journal, and what it has counted."""

    def __init__(self) -> None:
        self.telemetry = Telemetry(Told())
        self.journal = Journal(self.telemetry)

    def counted(self, name: str) -> Any:
        """The series of a counter that are not zero, by their labels' values; where it has none, the number."""
        found = {series[1:]: count for series, count in self.telemetry.metrics.counters().items() if series[0] == name and count}
        return found.get(()) if () in found else {" ".join(values): count for values, count in found.items()}

    def observed(self, name: str, *values: str) -> tuple[int, float]:
        """How often, and the sum."""
        histogram = self.telemetry.metrics.histogram(name, *values)
        return histogram.count, round(histogram.total, 6)

    def commit(self, *batches: Batch, began: float = 99.5, now: float = 100.0) -> None:
        self.journal.committed(Commit(0, batches, ownership(), 0), began, now)


def batch(
    *ats: float,
    base: Checkpoint | None = READ_BEFORE,
    going: Walk | None = None,
    last_read: float | None = 90.0,
    again: frozenset[str] = frozenset(),
) -> Batch:
    """Of a read that began at 90 and is complete, or else goes on."""
    after = checkpoint(60, last_read=last_read if going is None else None)
    return Batch(CUSTOMER, 0, base, after, activities(*ats), walk=going, again=again)


def kinds(base: type[PollerError]) -> Iterator[type[PollerError]]:
    """All of the tree from there on."""
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind) if kind.__module__ == base.__module__ else ()


# ------------------------------------------------------------------------------------------------------------------- calls


def test_every_failure_to_read_has_one_outcome_and_every_outcome_is_one_of_some_failure_or_of_a_page() -> None:
    failures = [kind for kind in kinds(SourceError) if kind not in {SourceError, TokenRenewed}]
    outcomes = [nearest(OUTCOME_OF, kind()) for kind in failures if issubclass(kind, SourceError)]

    assert {*outcomes, "new", "empty"} == set(get_args(Outcome))
    assert len(outcomes) == len(failures)


def test_every_failure_of_kafka_has_one_kind() -> None:
    found = {kind.__name__: nearest(KIND_OF, kind()) for kind in kinds(LogError) if issubclass(kind, LogError)}

    assert found == {
        "LogError": "unavailable",
        "LogUnavailable": "unavailable",
        "Fenced": "fenced",
        "LogRefused": "refused",
        "NotOurs": "refused",
        "CheckpointsMoved": "refused",
    }
    assert set(found.values()) == set(get_args(KafkaError))


def test_calls_are_counted_by_purpose_and_timed_and_each_purpose_has_its_last_success() -> None:
    counting = Counting()
    feed, listing = FeedCall(0, 0, at=20.0), ListCall(0, None, at=30.0)
    counting.journal.page_received(order(at=10.0), page(), None, 10.5)
    counting.journal.call_failed(order(at=11.0), Rejected(), 12.0, 0)
    counting.journal.feed_read(feed, 20.25)
    counting.journal.feed_failed(feed, Rejected(), 21.0, 0)
    counting.journal.list_answered(listing, 33.0)
    counting.journal.listing_failed(listing, LogUnavailable(), 34.0, 0)  # that call was counted when it was answered

    assert counting.counted("poller_calls_total") == {"read": 2, "feed": 2, "list": 1}
    assert counting.observed("poller_call_seconds") == (5, 0.5 + 1 + 0.25 + 1 + 3)
    assert counting.journal.last_success == {"read": 10.5, "feed": 20.25, "list": 33.0}


def test_a_call_that_went_into_a_token_is_no_read_but_none_was_made_where_no_token_is_given() -> None:
    counting = Counting()
    for error in (TokenRenewed(), TokenRenewed("the last one is no longer accepted"), TokenRefused(), TokenUnavailable()):
        counting.journal.call_failed(order(), error, 1.0 if str(error.explanation) == "" else 2.0, 0)
    counting.journal.feed_failed(FeedCall(0, 0, 0.0), TokenRefused(), 3.0, 0)

    assert counting.counted("poller_calls_total") == {"token": 5}
    assert counting.counted("poller_reads_total") == {"unauthorized": 1, "unreachable": 1}
    assert counting.journal.last_success == {"token": 1.0}


def test_reads_are_counted_by_what_came_of_them() -> None:
    counting = Counting()
    shown_again = batch(70, again=frozenset({"a70"}))
    for brought in (batch(70, 71), batch(72), batch(), shown_again, None):
        counting.journal.page_received(order(), page(), brought, 1)
    for error in (TimedOut(), Rejected(), Rejected()):
        counting.journal.call_failed(order(), error, 1, 0)

    assert counting.counted("poller_reads_total") == {"new": 2, "empty": 3, "timeout": 1, "rejected": 2}


def test_a_complete_read_tells_how_many_calls_it_took() -> None:
    counting = Counting()
    first, second, third = (Fetch(CUSTOMER, 0, order().query, 0.0, walk(calls=calls), READ_BEFORE, READ_BEFORE) for calls in range(3))
    counting.journal.page_received(first, page(), batch(1, going=walk(calls=1)), 1)
    counting.journal.page_received(second, page(), batch(2, going=walk(calls=2)), 2)
    counting.journal.page_received(third, page(), batch(3), 3)
    counting.journal.page_received(first, page(), None, 4)

    assert counting.observed("poller_pages_per_read") == (1, 3)


def test_an_error_of_the_api_is_told_with_its_request_id_in_a_field_of_its_own() -> None:
    counting = Counting()
    refused = Rejected(Explanation(status=400, request_id="v-1"))
    counting.journal.call_failed(order(), refused, 1, 9)
    counting.journal.feed_failed(FeedCall(0, 0, 0.0), refused, 1, 0)
    counting.journal.listing_failed(ListCall(0, None, 0.0), refused, 1, 0)
    counting.journal.call_failed(order(), Rejected("no answer to quote"), 1, 0)

    told = counting.telemetry._logger
    assert isinstance(told, Told)
    assert [(name, fields.get("request_id")) for name, fields in told.events] == [
        ("customer_failed", "v-1"),
        ("calls_paused", "v-1"),
        ("feed_failed", "v-1"),
        ("listing_failed", "v-1"),
        ("customer_failed", None),
    ]


@pytest.mark.parametrize("by", get_args(Hindrance))
def test_what_holds_calls_up_is_counted_in_seconds(by: Hindrance) -> None:
    counting = Counting()
    counting.journal.throttled(by, 1.5)
    counting.journal.throttled(by, 0.25)

    assert counting.counted("poller_throttled_seconds_total") == {by: 1.75}


# ----------------------------------------------------------------------------------------------------------------- commits


def test_a_commit_counts_its_activities_by_type_and_of_types_that_are_not_documented_together() -> None:
    counting = Counting()
    records = (
        *activities(70, 71, 72),
        activity(73, type="customer.order.paid"),
        activity(74, type="made.up"),
        activity(75, type="x" * 999),
    )
    counting.commit(Batch(CUSTOMER, 0, READ_BEFORE, READ_BEFORE, records, known=4, dead_letters=(dead_letter(), dead_letter())), batch(76))

    assert counting.counted("poller_activities_published_total") == {"customer.created": 4, "customer.order.paid": 1, "other": 2}
    assert counting.counted("poller_activities_known_total") == 4
    assert counting.counted("poller_dead_letters_total") == 2
    assert counting.observed("poller_transaction_seconds", "committed") == (1, 0.5)
    assert counting.journal.last_success == {"commit": 100.0}


def test_freshness_is_from_created_at_to_the_commit() -> None:
    counting = Counting()
    counting.commit(batch(70, 99), batch(100.5), now=100.0)

    assert counting.observed("poller_freshness_seconds") == (3, 31.0)


def test_a_replay_is_no_matter_of_freshness() -> None:
    counting = Counting()
    counting.commit(batch(70, 80, again=frozenset({"a70"})))

    assert counting.counted("poller_activities_replayed_total") == 1
    assert counting.observed("poller_freshness_seconds") == (1, 20.0)


@pytest.mark.parametrize(
    ("of_first_read", "timely"),
    [
        (batch(1, 2, 89.5, base=None), (0, 0.0)),
        (batch(1, 95, base=None), (1, 5.0)),
        (batch(1, 95, base=None, going=walk(90)), (1, 5.0)),
        (batch(1, 95, base=checkpoint(1), going=walk(90)), (1, 5.0)),
        (batch(1, 95, base=checkpoint(1)), (1, 5.0)),
        (batch(1, 95, base=checkpoint(1), last_read=None), (0, 0.0)),
        (batch(1, 95), (2, 104.0)),
    ],
)
def test_of_a_first_read_only_what_was_created_since_it_began_is_a_matter_of_freshness(
    of_first_read: Batch, timely: tuple[int, float]
) -> None:
    counting = Counting()
    counting.commit(of_first_read)

    assert counting.observed("poller_freshness_seconds") == timely


def test_what_is_lost_or_doubtful_is_counted() -> None:
    counting = Counting()
    counting.journal.batch_held(Batch(CUSTOMER, 0, None, READ_BEFORE, gap=True, dropped=7, followable=False))
    counting.journal.batch_held(Batch(CUSTOMER, 0, None, READ_BEFORE))
    counting.journal.commit_undone(0, [CUSTOMER])
    counting.journal.partition_failed(0, Fenced(), 1)
    counting.journal.partition_failed(0, NotOurs(), 2)
    counting.journal.transaction_failed(0.75)

    assert counting.counted("poller_gaps_suspected_total") == 1
    assert counting.counted("poller_recent_ids_dropped_total") == 7
    assert counting.counted("poller_endpoint_unfollowable_total") == 1
    assert counting.counted("poller_commits_undone_total") == 1
    assert counting.counted("poller_kafka_errors_total") == {"fenced": 1, "refused": 1}
    assert counting.observed("poller_transaction_seconds", "failed") == (1, 0.75)


# ------------------------------------------------------------------------------------------------- the fleet and the process


def test_what_becomes_of_partitions_is_counted_and_timed() -> None:
    counting = Counting()
    counting.journal.rebalancing()
    counting.journal.restored(0, restored(), [], [], 1.25)
    counting.journal.handed_over(0, 2.5)
    counting.journal.heartbeat(7.0)

    assert counting.counted("poller_rebalances_total") == 1
    assert counting.observed("poller_restore_seconds") == (1, 1.25)
    assert counting.observed("poller_hand_over_seconds") == (1, 2.5)
    assert counting.journal.last_success == {"heartbeat": 7.0}


def test_what_hints_have_come_to_is_counted_as_it_stands() -> None:
    counting, hints = Counting(), Hints(lookback_ms=0)
    for hints.used, hints.useful, hints.refused, hints.announced in ((1, 0, 2, 0), (5, 3, 2, 9)):
        counting.journal.hints_stand(hints)
    counting.journal.hint("heard")

    assert counting.counted("poller_hints_total") == {"used": 5, "useful": 3, "refused": 2, "heard": 1}
    assert counting.counted("poller_activities_announced_total") == 9


def test_files_that_are_read_again_and_the_loops_lag_are_counted() -> None:
    counting = Counting()
    counting.journal.reloaded("customers_file", done=True)
    counting.journal.customers_file_broken(SettingsError(["names no customer"]))
    counting.journal.secret_reread(True)
    counting.journal.secret_reread(False)
    counting.journal.loop_lagged(0.002)

    assert counting.counted("poller_reloads_total") == {
        "customers_file done": 1,
        "customers_file failed": 1,
        "secret done": 1,
        "secret failed": 1,
    }
    assert counting.observed("poller_loop_lag_seconds") == (1, 0.002)
