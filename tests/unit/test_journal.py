"""What the journal says beside counting."""

import pytest

from poller.core.budget import CycleStands
from poller.core.listing import Found
from poller.core.watched import Changed
from poller.errors import Forbidden, LogUnavailable, SettingsError, TokenRenewed
from poller.journal import Journal
from poller.model import Batch, Checkpoint, Commit, CustomerId, ListCall, Listing, Replay, Rewind
from poller.telemetry import Telemetry
from tests.support.builders import activities, order, ownership
from tests.support.world import Told


def test_a_checkpoint_topic_with_other_partitions_than_the_settings_say_is_told() -> None:
    said = Told()

    Journal(Telemetry(said), 3).kafka_ready(1)

    assert said.events == [
        ("kafka_ready", {"partitions": 1}),
        (
            "settings_doubtful",
            {"warning": "POLLER_KAFKA_CHECKPOINT_PARTITIONS=3 counts only when the topic is created: the checkpoint topic has 1"},
        ),
    ]


@pytest.mark.parametrize("wanted", [None, 3])
def test_as_many_partitions_as_the_settings_say_are_nothing_to_speak_of(wanted: int | None) -> None:
    said = Told()

    Journal(Telemetry(said), wanted).kafka_ready(3)

    assert said.events == [("kafka_ready", {"partitions": 3})]


def test_a_broken_customers_file_is_told_in_one_line_that_says_what_stays() -> None:
    said = Told()

    Journal(Telemetry(said)).customers_file_broken(SettingsError(["POLLER_CUSTOMERS_FILE='c': names no customer"]))

    assert said.events == [
        (
            "settings_doubtful",
            {"warning": "POLLER_CUSTOMERS_FILE='c': names no customer: the last list that could be read stays in force"},
        )
    ]


def test_orders_without_the_token_are_told_once_a_minute() -> None:
    said = Told()
    journal = Journal(Telemetry(said))
    for at in (0, 1, 59.9, 60, 61):
        journal.order_refused(at)

    assert said.events == [("order_refused", {"refused": 1}), ("order_refused", {"refused": 4})]


def test_what_changes_of_the_watched_set_is_told_at_once_and_then_now_and_again_with_all_that_came_since() -> None:
    said, a, b = Told(), CustomerId("a"), CustomerId("b")
    journal = Journal(Telemetry(said))
    journal.watched_set_changed("topic", Changed(added=(a, b)), 0)
    journal.watched_set_changed("file", Changed(altered=(a,)), 1)
    for now in (1, 2, 3, 4, 5, 6, 7):
        journal.watched_set_changed("topic", Changed(removed=(a,), altered=(b,)), now)
    for at in (9.9, 12, 20.5):
        journal.committed(Commit(0, (), ownership(), 0), at, at)
    journal.watched_set_changed("topic", Changed(added=(a,)), 30)

    assert said.events == [
        ("watched_set_changed", {"source": "topic", "added": 2, "removed": 0, "altered": 0}),
        ("watched_set_changed", {"source": "file", "added": 0, "removed": 0, "altered": 1}),
        ("watched_set_changed", {"source": "topic", "added": 0, "removed": 7, "altered": 7}),
        ("watched_set_changed", {"source": "topic", "added": 1, "removed": 0, "altered": 0}),
    ]


def test_a_call_that_went_into_a_token_is_counted_as_a_call_and_not_as_a_failure() -> None:
    said = Told()

    Journal(Telemetry(said)).call_failed(order(), TokenRenewed("the last one is no longer accepted"), 1, 0)

    assert said.events == [("token_renewed", {"why": "the last one is no longer accepted"})]


def test_a_commit_that_kafka_has_lost_is_told_and_counted() -> None:
    said = Told()
    telemetry = Telemetry(said)

    Journal(telemetry).commit_undone(0, [CustomerId("a"), CustomerId("b")])

    assert said.events == [("commit_undone", {"partition": 0, "customers": 2, "first": "a"})]
    assert telemetry.metrics.counted("poller_commits_undone_total") == 1


def stands(spent: int, begun: str = "2026-11-01", calls: int = 100) -> CycleStands:
    return CycleStands(
        begun=begun, ends=1_796_083_200, calls=calls, spent=spent, left=max(0, calls - 1 - spent), calls_per_minute=0.0123456
    )


def test_a_cycle_is_told_at_each_tenth_when_it_is_used_up_and_when_the_next_begins() -> None:
    said = Told()
    journal = Journal(Telemetry(said))
    for spent in (0, 3, 9, 10, 11, 99, 99, 99):
        journal.cycle(stands(spent))
    journal.cycle(stands(0, "2026-12-01"))
    journal.cycle(None)

    assert [(name, fields["begun"], fields["spent"]) for name, fields in said.events] == [
        ("cycle", "2026-11-01", 0),
        ("cycle", "2026-11-01", 10),
        ("cycle", "2026-11-01", 99),
        ("cycle_used_up", "2026-11-01", 99),
        ("cycle", "2026-12-01", 0),
    ]
    assert said.events[0][1] == {
        "begun": "2026-11-01",
        "ends": "2026-12-01T00:00:00+00:00",
        "calls": 100,
        "spent": 0,
        "left": 99,
        "calls_per_minute": 0.012,
    }


def found(*, new: int, gap: bool = False, whole: bool = False) -> Found:
    return Found(ListCall(0, 7, 1.0), Listing(), Listing(gap=gap, whole=whole), {}, new)


def test_what_the_listing_finds_is_counted_and_its_end_and_its_gaps_are_told() -> None:
    said = Told()
    telemetry = Telemetry(said)
    journal = Journal(telemetry)
    journal.customers_listed(found(new=100, gap=True))
    journal.customers_listed(found(new=5, whole=True))

    assert said.events == [("listing_gap", {"after_ms": 7}), ("customers_listed", {"found": 105})]
    assert [telemetry.metrics.counted(name) for name in ("poller_customers_found_total", "poller_listing_gaps_total")] == [105, 1]


def test_a_listing_that_fails_is_told_but_for_a_token() -> None:
    said = Told()
    telemetry = Telemetry(said)
    journal = Journal(telemetry)
    for error in (LogUnavailable("no broker"), Forbidden(), TokenRenewed()):
        journal.listing_failed(ListCall(0, None, 0.0), error, 1.0, 0.0)

    assert [name for name, _ in said.events] == ["listing_failed", "listing_failed", "token_renewed"]
    assert [telemetry.metrics.counted("poller_calls_total", purpose) for purpose in ("list", "token")] == [1, 1]


def test_a_replay_is_told_when_it_begins_and_when_it_is_done_and_is_nothing_of_freshness() -> None:
    said, customer, read = Told(), CustomerId("a"), Checkpoint(100_000, last_read=90.0)
    telemetry = Telemetry(said)
    journal = Journal(telemetry)
    going = Checkpoint(60_000, last_read=90.0, replay=Replay(Rewind("r1", 50_000), 100_000), replayed="r1")
    over = Checkpoint(100_000, last_read=90.0, replayed="r1")
    steps = (
        Batch(customer, 0, None, read),
        Batch(customer, 0, read, going, activities(51, 52), again=frozenset({"a51", "a52"})),
        Batch(customer, 0, going, going),
        Batch(customer, 0, going, over, activities(99, 101), again=frozenset({"a99"})),
        Batch(customer, 0, over, Checkpoint(100_000, replay=None, replayed="r2")),
    )
    for batch in steps:
        journal.committed(Commit(0, (batch,), ownership(), 0), 111, 111)
    journal.looked_up({customer: {"a51", "a52"}}, [CustomerId("b")])

    assert [(name, fields.get("replay") or fields.get("again")) for name, fields in said.events] == [
        ("published", 2),
        ("replay_begun", "r1"),
        ("published", 1),
        ("replay_done", "r1"),
        ("replay_begun", "r2"),
        ("replay_done", "r2"),
        ("looked_up", None),
        ("replay_refused", None),
    ]
    assert [fields["freshness_seconds"] for name, fields in said.events if name == "published"] == [59, 10]
    names = ("poller_activities_published_total", "poller_activities_replayed_total")
    assert [telemetry.metrics.counted(name) for name in names] == [4, 3]
    assert telemetry.metrics.histogram("poller_freshness_seconds").count == 1
