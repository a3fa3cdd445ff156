"""The watched set: the union of what its sources name, the strongest of them counting; and what an entry makes of one customer's reading."""

from collections.abc import Iterable
from hashlib import sha256

import pytest

from poller.core.ownership import partition_of
from poller.core.watched import SHARED_MAX, Changed, Watched, filters_of, has_ended
from poller.model import PLAIN, CustomerId, WatchEntry
from tests.support.builders import checkpoint

A, B, C, D = (CustomerId(name) for name in "abcd")
TWICE = WatchEntry(weight=2)
PAUSED = WatchEntry(paused=True)


def bare(*customers: CustomerId) -> dict[CustomerId, WatchEntry]:
    return dict.fromkeys(customers, PLAIN)


def configured(*customers: CustomerId, partitions: int = 1) -> Watched:
    watched = Watched()
    watched.partitioned(partitions)
    watched.put_all("setting", bare(*customers))
    return watched


def all_of(watched: Watched, customers: Iterable[CustomerId] = (A, B, C, D)) -> dict[CustomerId, tuple[tuple[str, ...], WatchEntry | None]]:
    return {customer: (watched.sources(customer), watched.entry(customer)) for customer in customers if customer in watched}


def test_a_source_names_whom_it_names_last() -> None:
    watched = configured(A, B)
    changed = watched.put_all("setting", {B: PLAIN, C: TWICE})

    assert changed == Changed(added=(C,), removed=(A,))
    assert (len(watched), repr(watched)) == (2, "<Watched 2 customers>")
    assert all_of(watched) == {B: (("setting",), PLAIN), C: (("setting",), TWICE)}
    assert (watched.sources(A), watched.entry(A)) == ((), None)


def test_the_entry_of_the_strongest_source_counts_whole() -> None:
    watched = configured(A, B, C)
    changed = [watched.put_all("topic", {A: PAUSED, D: PLAIN}), watched.put_all("file", {A: TWICE, B: TWICE, D: TWICE})]

    assert changed == [Changed(added=(D,), altered=(A,)), Changed(altered=(B,))]
    assert all_of(watched) == {
        A: (("topic", "file", "setting"), PAUSED),
        B: (("file", "setting"), TWICE),
        C: (("setting",), PLAIN),
        D: (("topic", "file"), PLAIN),
    }


def test_what_the_strongest_says_no_longer_the_next_one_says() -> None:
    watched = configured(A)
    watched.put_all("file", {A: TWICE})
    watched.change("topic", {A: PAUSED, B: PLAIN})

    assert watched.change("topic", {A: None, B: None}) == Changed(removed=(B,), altered=(A,))
    assert all_of(watched) == {A: (("file", "setting"), TWICE)}
    assert watched.put_all("file", {}) == Changed(altered=(A,))
    assert watched.put_all("setting", {}) == Changed(removed=(A,))
    assert len(watched) == 0


def test_a_change_leaves_what_it_does_not_name() -> None:
    watched = configured(A)
    watched.change("topic", {B: PLAIN})

    assert watched.change("topic", {C: TWICE}) == Changed(added=(C,))
    assert all_of(watched) == {A: (("setting",), PLAIN), B: (("topic",), PLAIN), C: (("topic",), TWICE)}


def test_what_changes_nothing_is_no_change() -> None:
    watched = configured(A)
    said_again = [watched.put_all("setting", bare(A)), watched.change("topic", {B: None}), watched.change("topic", {})]

    assert (said_again, any(said_again)) == ([Changed()] * 3, False)
    assert watched.put_all("file", bare(A)) == Changed()
    assert watched.sources(A) == ("file", "setting")


def test_a_change_names_all_whom_it_concerns() -> None:
    changed = Changed(added=(A,), removed=(B,), altered=(C,))

    assert (list(changed.customers), bool(changed)) == ([A, B, C], True)
    assert [bool(one) for one in (Changed(removed=(A,)), Changed(altered=(A,)))] == [True, True]


@pytest.mark.parametrize("partitions", [1, 2, 5])
def test_customers_are_found_by_partition_however_they_came(partitions: int) -> None:
    customers = [CustomerId(f"cust_{number}") for number in range(40)]
    before, after = Watched(), configured(*customers[:20], partitions=partitions)
    before.put_all("setting", bare(*customers[:20]))
    before.partitioned(partitions)
    for watched in (before, after):
        watched.change("topic", bare(*customers[10:]))
        watched.put_all("setting", bare(*customers[5:20]))
        watched.change("topic", dict.fromkeys(customers[15:25], None))
    left = set(customers[5:20] + customers[25:])
    expected = [{customer for customer in left if partition_of(customer, partitions) == number} for number in range(partitions)]

    assert [set(before.of(number)) for number in range(partitions)] == expected
    assert [set(after.of(number)) for number in range(partitions)] == expected


def test_before_the_partitions_are_known_none_holds_anybody() -> None:
    watched = Watched()
    watched.put_all("setting", bare(A))

    assert list(watched.of(0)) == []


def test_the_hash_is_of_what_is_configured_in_whatever_order_and_by_whatever_way() -> None:
    one, other = configured(A, B, C), configured(C)
    other.put_all("setting", bare(C, D))
    other.put_all("file", bare(B, A))
    differing = other.configured_hash
    other.put_all("setting", bare(C))

    assert one.configured_hash == other.configured_hash != differing
    assert configured(A).configured_hash == sha256(b"a").hexdigest()[:16]
    assert (configured().configured_hash, configured(A, B).configured_hash != configured(A, C).configured_hash) == ("0" * 16, True)


def test_the_hash_tells_entries_apart_and_does_not_know_of_the_topic() -> None:
    watched, other = configured(A, B), configured(A, B)
    before = watched.configured_hash
    watched.change("topic", {A: PAUSED, C: TWICE})
    with_topic = watched.configured_hash
    watched.put_all("file", {B: TWICE})
    other.put_all("file", {A: TWICE})

    assert with_topic == before
    assert len({before, watched.configured_hash, other.configured_hash}) == 3
    watched.put_all("file", {})
    assert watched.configured_hash == before


def test_sources_are_awaited_until_they_have_said_whom_they_name() -> None:
    watched = Watched()
    watched.expect("file")
    watched.expect("topic")
    awaited = [watched.awaited]
    watched.change("topic", bare(A))
    awaited.append(watched.awaited)
    watched.known("topic")
    awaited.append(watched.awaited)
    watched.put_all("file", {})

    assert [*awaited, watched.awaited] == [["topic", "file"], ["topic", "file"], ["file"], []]


def test_what_is_said_of_many_is_kept_once_and_of_very_different_ones_not_for_ever() -> None:
    watched = configured(A, B)
    watched.change("topic", {A: WatchEntry(weight=2), B: WatchEntry(weight=2)})
    shared = watched.entry(A) is watched.entry(B)
    many = {CustomerId(str(number)): WatchEntry(weight=1 + number) for number in range(2 * SHARED_MAX)}
    watched.put_all("file", many)

    assert shared
    assert len(watched._shared) <= SHARED_MAX
    assert [watched.entry(customer) for customer in many] == list(many.values())


# What an entry means.


def test_only_who_has_been_read_up_to_its_end_has_ended() -> None:
    until = WatchEntry(until_ms=5_000)

    assert [has_ended(until, read) for read in (None, checkpoint(4.999), checkpoint(5), checkpoint(9))] == [False, False, True, True]
    assert not has_ended(PLAIN, checkpoint(9))


def test_its_calls_ask_for_the_filters_that_it_names() -> None:
    assert filters_of(PLAIN) == ()
    assert filters_of(WatchEntry(campaign_type="PROMOTION", campaign_id="camp_1", product_id="prod_1")) == (
        ("campaign_type", "PROMOTION"),
        ("campaign_id", "camp_1"),
        ("product_id", "prod_1"),
    )
    assert filters_of(WatchEntry(product_id="prod_1", weight=2)) == (("product_id", "prod_1"),)


FOUND = WatchEntry(found="all")


def test_who_was_found_is_the_weakest_source_and_shares_the_record_of_the_topic() -> None:
    watched = Watched(found_count=True)
    watched.partitioned(1)
    watched.put_all("file", {A: TWICE})
    added = watched.change("topic", {A: FOUND, B: FOUND, C: PAUSED})

    assert added == Changed(added=(B, C))
    assert all_of(watched) == {A: (("file", "all"), TWICE), B: (("all",), FOUND), C: (("topic",), PAUSED)}
    assert dict(watched.found()) == {A: FOUND, B: FOUND}
    assert watched.found_customers == 2
    assert [watched.found_as(customer) for customer in (A, C, D)] == [FOUND, None, None]
    assert watched.change("topic", {A: PAUSED, B: None, C: FOUND}) == Changed(removed=(B,), altered=(A, C))
    assert all_of(watched) == {A: (("topic", "file"), PAUSED), C: (("all",), FOUND)}
    assert watched.found_customers == 1


def test_who_was_found_is_not_watched_where_only_those_listed_are() -> None:
    watched = configured(A)
    watched.change("topic", {A: PAUSED, B: FOUND})
    watched.change("topic", {A: FOUND})

    assert all_of(watched) == {A: (("setting",), PLAIN)}
    assert list(watched.found()) == []
