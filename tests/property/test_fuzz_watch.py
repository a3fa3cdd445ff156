"""Whatever stands in the watch topic or in a customers file: understood, or refused by an error of ours, in bounded time; and told so that it adds up."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiokafka.structs import ConsumerRecord
from hypothesis import example, given
from hypothesis import strategies as st

from poller.customer_id import refusal
from poller.customers import entries_in
from poller.kafka.watch import Reading, learned
from poller.model import CustomerId, WatchEntry
from poller.watch_entry import decode, decode_line, encode, encode_line, to_customer
from tests.support.fuzzing import JSON_PIECES, damaged, examples, in_time, json_values, within_bytes

LAST_MS = 253_402_300_799_999
text = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
ids = st.text(min_size=1, max_size=30).filter(lambda name: refusal(name) is None)
header_names = st.text("abyzCEZ019._-", min_size=1, max_size=64).filter(
    lambda name: not name.lower().startswith("ce_") and name.lower() not in {"content-type", "replay"}
)
entries = st.builds(
    WatchEntry,
    start=st.none() | st.sampled_from(["now", "earliest"]) | st.integers(0, LAST_MS),
    until_ms=st.none() | st.integers(0, LAST_MS),
    weight=st.just(1.0) | st.floats(0.01, 100),
    paused=st.booleans(),
    campaign_type=st.none() | text,
    campaign_id=st.none() | text,
    product_id=st.none() | text,
    found=st.none() | text,
    headers=st.dictionaries(header_names, text.filter(lambda value: len(value.encode()) <= 256), max_size=8).map(
        lambda headers: tuple(sorted(headers.items()))
    ),
)
names = st.sampled_from(["start", "until", "weight", "paused", "campaign_type", "headers", "id", "replay", "forget"])
values = st.builds(encode, entries) | st.dictionaries(names, json_values, max_size=4).map(lambda value: json.dumps(value).encode())


@examples(100)
@given(entries)
def test_an_entry_is_read_as_it_was_written(entry: WatchEntry) -> None:
    assert decode(encode(entry), False) == entry
    if not isinstance(entry.start, int) or entry.until_ms is None or entry.until_ms > entry.start:
        assert decode(encode(entry), True) == entry
        assert decode_line(encode_line(CustomerId("a"), entry)) == ("a", entry)


@examples(200)
@given(damaged(values, JSON_PIECES))
@example(b'{"headers":{' + b'"a":"1",' * 2000 + b'"b":""}}')
@example(b'{"x":' + b"[" * 16_000)
def test_whatever_is_written_is_an_entry_within_its_bounds_or_refused_and_nothing_entered_is_read_otherwise(value: bytes) -> None:
    with in_time(), suppress(ValueError):
        read = decode(value, False)
        assert 0.01 <= read.weight <= 100 and len(read.headers) <= 8
        assert decode(encode(read), False) == read
        assert all(0 <= at <= LAST_MS for at in (read.start, read.until_ms) if isinstance(at, int))
        with suppress(ValueError):
            assert decode(value, True) == read
            return
    with suppress(ValueError):
        decode(value, True)
        assert decode(value, False) is not None, "what is taken where it is entered is taken where it is read"


@examples(200)
@given(st.text(max_size=30) | ids)
@example("x" * 1025)
@example("\x7f\x7f\x7f")
@example("..")
def test_who_can_be_named_is_who_can_be_asked_for(id: str) -> None:
    named = False
    with suppress(ValueError):
        named = to_customer(id) == id

    assert named is (refusal(id) is None)


lines = st.builds(encode_line, ids, entries) | ids.map(str.encode) | st.sampled_from([b"", b"# no", b"\r", b"{}", b'{"id":"a"}'])


@examples(100)
@given(damaged(st.lists(lines, max_size=6).map(b"\n".join), (b"\n", *JSON_PIECES)))
@example(b"\n" * 20_000)
@example(b"{" * 100_000)
@example(b".\n" * 5_000)
@example(b'"\\"' * 50_000)
def test_whatever_a_file_holds_it_names_customers_that_can_be_asked_for_or_its_faults(content: bytes) -> None:
    with in_time(), within_bytes(40_000_000), suppress(ValueError):
        found = entries_in(content)
        assert found and [id for id in found if refusal(id) is not None] == []


# ------------------------------------------------------------------------------------------------------- what is told adds up

Pair = tuple[bytes, bytes | None]
keys = st.sampled_from([b"a", b"b", b"c", b"d"])
good = st.tuples(keys, st.sampled_from([None, b"{}", b'{"weight":2}', b'{"paused":true}']))
logs = st.lists(good, max_size=25)


def reading(records: list[Pair]) -> Reading:
    found = Reading()
    for key, value in records:
        record: ConsumerRecord[Any, Any] = ConsumerRecord("t", 0, 0, 0, 0, key, value, None, 0, 0, ())
        found.take(record)
    return found


class Follower:
    """Whoever adds up what is told."""

    def __init__(self) -> None:
        self.known: dict[CustomerId, WatchEntry] = {}
        self.added_up: dict[CustomerId, WatchEntry] = {}

    def read(self, records: list[Pair], *, whole: bool) -> None:
        for changes, _ in learned(self.known, reading(records), whole):
            for customer, entry in changes.items():
                assert self.added_up.get(customer) != entry, "only what differs is told"
                self.added_up.pop(customer, None)
                if entry is not None:
                    self.added_up[customer] = entry


def state(records: list[Pair]) -> Mapping[str, WatchEntry]:
    """What stands there, record after record, by the rule itself."""
    last = {key.decode(): value for key, value in records if value != b"oops"}
    return {key: decode(value, False) for key, value in last.items() if value is not None}


def compacted(records: list[Pair]) -> list[Pair]:
    """Without tombstones, and of each key the last alone, as the brokers may leave it in the end."""
    last = {key: (number, value) for number, (key, value) in enumerate(records)}
    return [(key, value) for key, (_, value) in sorted(last.items(), key=lambda item: item[1][0]) if value is not None]


@examples(200)
@given(st.lists(st.lists(good | keys.map(lambda key: (key, b"oops")), max_size=6), max_size=6))
def test_who_follows_knows_of_each_customer_the_last_good_entry(batches: list[list[Pair]]) -> None:
    follower = Follower()
    for batch in batches:
        follower.read(batch, whole=False)

    assert follower.added_up == follower.known == state([record for batch in batches for record in batch])


@examples(200)
@given(logs, logs, st.booleans())
def test_who_reads_all_again_has_what_stands_there_whatever_was_missed(heard: list[Pair], missed: list[Pair], compact: bool) -> None:
    follower = Follower()
    follower.read(heard, whole=True)
    follower.read(compacted(heard + missed) if compact else heard + missed, whole=True)

    assert follower.added_up == follower.known == state(heard + missed)
