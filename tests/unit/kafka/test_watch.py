"""What records of the watch topic say, one after the other, and what becomes of it in parts."""

from aiokafka.structs import ConsumerRecord

from poller.config import KafkaSettings
from poller.journal import Journal
from poller.kafka.permissions import watch_needs
from poller.kafka.watch import CHANGES_AT_ONCE_MAX, Changes, Reading, change_of, learned
from poller.model import PLAIN, CustomerId, WatchEntry
from poller.telemetry import Telemetry
from tests.support.acls import Acl, documented_acls
from tests.support.world import Told

A, B, C = CustomerId("a"), CustomerId("b"), CustomerId("c")
HEAVY, PAUSED = WatchEntry(weight=2.0), WatchEntry(paused=True)


def record(key: bytes | None, value: bytes | None) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("t", 0, 0, 0, 0, key, value, None, 0, 0, ())


def reading(*records: tuple[bytes | None, bytes | None]) -> Reading:
    found = Reading()
    for key, value in records:
        found.take(record(key, value))
    return found


def test_of_each_customer_the_last_record_counts() -> None:
    found = reading((b"a", b"{}"), (b"b", b'{"paused":true}'), (b"a", b'{"weight":2}'), (b"b", None), (b"c", None), (b"c", b"{}"))

    assert found.changes == {A: HEAVY, B: None, C: PLAIN}
    assert (found.watched().entries, found.watched().ignored) == ({A: HEAVY, C: PLAIN}, {})


def test_a_record_that_cannot_be_used_leaves_the_last_good_entry_and_is_told_of() -> None:
    found = reading((b"a", b'{"weight":2}'), (b"a", b'{"weight":200}'), (b"b", b"oops"))

    assert found.changes == {A: HEAVY}
    assert list(found.ignored) == ["a", "b"]
    assert found.ignored["a"] == "weight: expected `float` <= 100.0"


def test_what_is_put_right_is_no_longer_told_of() -> None:
    found = reading((b"a", b"oops"), (b"b", b"oops"), (b"..", b"{}"), (b"a", b"{}"), (b"b", None), (b"..", None))

    assert (found.changes, found.ignored) == ({A: PLAIN, B: None}, {})


def test_a_key_that_nobody_can_be_asked_for_by_is_told_of() -> None:
    found = reading((None, b"{}"), (b"", b"{}"), (b"..", b"{}"), (b"\xff", b"{}"), (b"x" * 5000, b"{}"))

    assert found.changes == {}
    assert [why.partition(":")[0] for why in found.ignored.values()] == [
        "has no key",
        "names a customer that cannot be asked for",
        "has a key that is not UTF-8",
        "names a customer that cannot be asked for",
    ]


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert change_of(b"a", b'{"weight":2,"of a later version":[1]}') == (A, HEAVY)


def told(known: dict[CustomerId, WatchEntry], found: Reading, *, whole: bool) -> list[tuple[Changes, bool]]:
    return list(learned(known, found, whole))


def test_only_what_differs_is_told() -> None:
    known = {A: HEAVY, B: PLAIN}

    assert told(known, reading((b"a", b'{"weight":2}'), (b"b", None), (b"c", None)), whole=False) == [({B: None}, True)]
    assert told(known, reading((b"a", b'{"weight":2}'), (b"b", None), (b"c", None)), whole=False) == [({}, True)]
    assert known == {A: HEAVY}


def test_who_vanished_while_nobody_read_is_noticed_when_all_is_read_again() -> None:
    known = {A: HEAVY, B: PLAIN, C: PAUSED}

    assert told(known, reading((b"a", b'{"weight":2}'), (b"c", b"{}")), whole=True) == [({B: None, C: PLAIN}, True)]
    assert known == {A: HEAVY, C: PLAIN}


def test_who_has_nothing_left_but_a_record_that_cannot_be_used_stays_as_it_was() -> None:
    assert told({A: HEAVY, B: PAUSED}, reading((b"a", b"oops")), whole=True) == [({B: None}, True)]
    assert told({A: HEAVY, B: PAUSED}, reading((b"a", None), (b"a", b"oops"), (b"b", b'{"paused":true}')), whole=True) == [
        ({A: None}, True)
    ]


def test_much_is_told_in_parts_of_which_the_last_is_marked_and_nothing_in_one() -> None:
    many = reading(*((str(number).encode(), b"{}") for number in range(2 * CHANGES_AT_ONCE_MAX + 1)))
    known: dict[CustomerId, WatchEntry] = {}

    parts = told(known, many, whole=True)
    gone = told(known, reading((b"0", b"{}")), whole=True)

    assert [(len(part), last) for part, last in parts] == [(CHANGES_AT_ONCE_MAX, False), (CHANGES_AT_ONCE_MAX, False), (1, True)]
    assert {customer: entry for part, _ in parts for customer, entry in part.items()} == many.changes
    assert [last for _, last in gone] == [False, False, True]
    assert sum(len(part) for part, _ in gone) == 2 * CHANGES_AT_ONCE_MAX
    assert known == {"0": PLAIN}
    assert told({}, Reading(), whole=True) == [({}, True)]


def test_however_many_records_cannot_be_used_they_are_one_line_of_the_log() -> None:
    told = Told()

    Journal(Telemetry(told)).watch_entries_ignored({str(number): "is not JSON" for number in range(10_000)})

    assert told.events == [("watch_entries_ignored", {"count": 10_000, "why": {str(number): "is not JSON" for number in range(5)}})]


def test_the_documented_permissions_are_those_that_are_needed() -> None:
    needed = [
        Acl("User:operator", need.operation, need.resource, need.name)
        for need in watch_needs(KafkaSettings(bootstrap_servers="kafka:9092"))
    ]

    assert documented_acls("Who changes the watched set") == needed


FOUND, FOUND_ANEW = WatchEntry(found="all"), WatchEntry(found="other")


def test_that_somebody_was_found_does_not_take_the_place_of_what_was_said_of_them() -> None:
    whole = reading((b"a", b'{"weight":2}'), (b"a", b'{"found":"all"}'), (b"b", b'{"found":"all"}'), (b"b", b'{"found":"other"}'))
    known = {A: HEAVY, B: FOUND, C: PLAIN}
    later = reading((b"a", b'{"found":"all"}'), (b"b", b'{"found":"other"}'), (b"c", None), (b"c", b'{"found":"all"}'))

    assert whole.changes == {A: HEAVY, B: FOUND_ANEW}
    assert told(known, later, whole=False) == [({B: FOUND_ANEW, C: FOUND}, True)]
    assert known == {A: HEAVY, B: FOUND_ANEW, C: FOUND}
    later.forget()
    assert (later.changes, later.removed) == ({}, set())


def test_who_stands_there_as_found_when_all_is_read_again_is() -> None:
    assert told({A: HEAVY}, reading((b"a", b'{"found":"all"}')), whole=True) == [({A: FOUND}, True)]
