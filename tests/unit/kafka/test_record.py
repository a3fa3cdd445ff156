import json
import math

import msgspec
import pytest

from poller.errors import LogRefused
from poller.kafka.record import (
    CHECKPOINT_BYTES_MAX,
    HEADER_BYTES_MAX,
    OWNERSHIP_KEY,
    Destination,
    Found,
    Latest,
    Limits,
    activity_record,
    dead_letter_record,
    decode_checkpoint,
    decode_ownership,
    encode_checkpoint,
    encode_ownership,
    records_of,
    restored_of,
    size_bytes,
)
from poller.model import NO_IDS, Activity, ActivityId, Batch, Checkpoint, CustomerId, DeadLetter, Ledger, Ownership, Rates, Restored

CUSTOMER = CustomerId("cust_1")
TO = Destination(partition=3, source_url="https://api.example.com")
OWNERSHIP = Ownership(
    application_id="poller",
    url="https://api.example.com",
    endpoint="activities",
    partitions=4,
    watched_hash="00ff",
    owner="pod-1",
    ledger=Ledger(level=0.1 + 0.2, cycle="2024-05-01", cycle_spent=12),
)


def activity(raw: bytes = b'{"id":"a1"}', id: str = "a1", type: str = "customer.created") -> Activity:
    return Activity(id=ActivityId(id), type=type, created_at="2024-05-01T12:00:00.5Z", created_at_ms=1714564800500, raw=raw)


def test_an_activity_is_keyed_by_its_type_and_its_value_is_as_received() -> None:
    record = activity_record(activity(b'{ "id" :"a1"}'), CUSTOMER, TO)

    assert (record.topic, record.key, record.value, record.partition) == ("activities", b"customer.created", b'{ "id" :"a1"}', None)
    assert record.headers == (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"a1"),
        ("ce_type", b"customer.created"),
        ("ce_source", b"https://api.example.com"),
        ("ce_subject", b"cust_1"),
        ("ce_time", b"2024-05-01T12:00:00.5Z"),
        ("content-type", b"application/json"),
    )


@pytest.mark.parametrize(("partition_by", "spread_by"), [("key", b"customer.created"), ("customer", b"cust_1")])
def test_its_key_or_its_customer_chooses_its_partition(partition_by: str, spread_by: bytes) -> None:
    to = msgspec.structs.replace(TO, partition_by=partition_by)

    assert activity_record(activity(), CUSTOMER, to).spread_by == spread_by


def test_an_activity_carries_the_headers_of_its_customers_entry_and_its_dead_letter_does_not() -> None:
    headers = (("tenant", "één"), ("region", "eu"))
    encoded = (("tenant", "één".encode()), ("region", b"eu"))
    small = msgspec.structs.replace(TO, limits=Limits(activities_bytes_max=100))
    plain, carrying = activity_record(activity(), CUSTOMER, TO), activity_record(activity(), CUSTOMER, TO, headers)

    assert carrying == msgspec.structs.replace(plain, headers=plain.headers + encoded)
    assert not {"tenant", "region"} & dict(activity_record(activity(), CUSTOMER, small, headers).headers).keys()
    assert records_of([Batch(CUSTOMER, 3, None, Checkpoint(1), (activity(),), headers=headers)], OWNERSHIP, TO)[0] == carrying


def test_a_batch_is_its_activities_its_dead_letters_and_its_checkpoint_and_ownership_comes_last() -> None:
    letter = DeadLetter(reason="no id", raw=b"{}")
    batches = [
        Batch(customer=CUSTOMER, partition=3, base=None, checkpoint=Checkpoint(1), records=(activity(),), dead_letters=(letter,)),
        Batch(customer=CustomerId("cust_2"), partition=3, base=None, checkpoint=Checkpoint(2)),
    ]

    records = records_of(batches, OWNERSHIP, TO)

    assert [(record.topic, record.key, record.partition) for record in records] == [
        ("activities", b"customer.created", None),
        ("dead_letters", b"cust_1", None),
        ("checkpoints", b"cust_1", 3),
        ("checkpoints", b"cust_2", 3),
        ("checkpoints", OWNERSHIP_KEY, 3),
    ]


def test_the_largest_activity_that_fits_is_published_and_one_byte_more_is_a_dead_letter() -> None:
    to = msgspec.structs.replace(TO, limits=Limits(activities_bytes_max=2000))
    room = 2000 - size_bytes(activity_record(activity(b""), CUSTOMER, to))

    fits, does_not = (activity_record(activity(b"x" * length), CUSTOMER, to) for length in (room, room + 1))

    assert (fits.topic, size_bytes(fits)) == ("activities", 2000)
    assert (does_not.topic, does_not.key, does_not.value) == ("dead_letters", b"cust_1", b"x" * (room + 1))
    assert dict(does_not.headers) == {
        "reason": b"too large: 2001 bytes as a record, and the activities topic takes 2000 (max.message.bytes)",
        "customer": b"cust_1",
        "created_at": b"2024-05-01T12:00:00.500Z",
        "id": b"a1",
        "type": b"customer.created",
        "original_length": str(room + 1).encode(),
    }


def test_an_activity_whose_type_alone_is_too_large_is_a_dead_letter_that_fits() -> None:
    record = activity_record(activity(b"x" * 3_000_000, id="i" * 2_000_000, type="é" * 2_000_000), CUSTOMER, TO)

    assert record.topic == "dead_letters"
    assert size_bytes(record) == TO.limits.dead_letters_bytes_max
    assert dict(record.headers)["type"] == "é".encode() * (HEADER_BYTES_MAX // 2)


def test_a_dead_letter_is_cut_to_what_its_topic_takes_and_says_how_long_it_was() -> None:
    limits = Limits(dead_letters_bytes_max=1000)

    record = dead_letter_record(DeadLetter(reason="no id", raw=b"0123456789" * 200), CUSTOMER, limits)

    assert size_bytes(record) == 1000
    assert (b"0123456789" * 200).startswith(record.value)
    assert dict(record.headers) == {"reason": b"no id", "customer": b"cust_1", "original_length": b"2000"}


def test_a_checkpoint_too_large_for_its_topic_is_refused_before_anything_is_sent() -> None:
    recent = {f"act_{i:040d}": 1714564800500 for i in range(20_000)}
    batch = Batch(customer=CUSTOMER, partition=3, base=None, checkpoint=Checkpoint(1, recent))

    with pytest.raises(LogRefused, match=r"cust_1.*max\.message\.bytes"):
        records_of([batch], OWNERSHIP, TO)


def test_as_many_recent_ids_as_the_core_remembers_fit_a_checkpoint() -> None:
    recent = {"i" * 18 + f"{i:05d}": 253402300799999 for i in range(10_000)}

    assert len(encode_checkpoint(Checkpoint(253402300799999, recent, 1e9 / 3, 1, 1))) < CHECKPOINT_BYTES_MAX


def test_a_checkpoint_can_be_read_by_people() -> None:
    written = json.loads(encode_checkpoint(Checkpoint(cursor_ms=1714564800000, recent={"a1": 1714564800500}, last_read=1714564800.25)))

    assert written == {"v": 1, "cursor": "2024-05-01T12:00:00.000Z", "recent": {"a1": 1714564800500}, "last_read": 1714564800.25}


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint(cursor_ms=0),
        Checkpoint(cursor_ms=1714564800123, recent={"a": -1, "\u0000é": 2}, last_read=0.1 + 0.2, baseline_ms=0, stepped_ms=999),
        Checkpoint(cursor_ms=-1, last_read=5.0),
        Checkpoint(cursor_ms=253402300799999, stepped_ms=-62135596800000),
        Checkpoint(cursor_ms=253402300800000, baseline_ms=10**18, stepped_ms=-(10**17)),
    ],
)
def test_a_checkpoint_comes_back_as_it_was(checkpoint: Checkpoint) -> None:
    assert decode_checkpoint(encode_checkpoint(checkpoint)) == checkpoint


@pytest.mark.parametrize("level", [0.0, -1e-9, 1 / 3, 1e300])
def test_an_ownership_record_comes_back_as_it_was(level: float) -> None:
    ownership = msgspec.structs.replace(OWNERSHIP, ledger=Ledger(level=level))

    assert decode_ownership(encode_ownership(ownership)) == ownership


def test_what_is_restored_is_every_checkpoint_and_the_ownership() -> None:
    latest = {b"cust_1": Found(7, encode_checkpoint(Checkpoint(1))), OWNERSHIP_KEY: Found(8, encode_ownership(OWNERSHIP))}

    assert restored_of(latest) == Restored(checkpoints={CUSTOMER: Checkpoint(1)}, ownership=OWNERSHIP)
    assert restored_of({}) == Restored(checkpoints={}, ownership=None)


def test_what_was_not_understood_and_has_been_put_right_since_is_restored() -> None:
    latest, good = Latest(), encode_checkpoint(Checkpoint(2))
    for offset, (key, value) in enumerate(
        [
            (b"cust_1", encode_checkpoint(Checkpoint(1))),
            (b"cust_1", b"{}"),
            (b"cust_1", good),
            (b"cust_2", good),
            (b"cust_2", b"{}"),
            (b"cust_2", None),
            (b"\xff", good),
            (b"\xff", None),
            (OWNERSHIP_KEY, b"{}"),
            (OWNERSHIP_KEY, encode_ownership(OWNERSHIP)),
        ]
    ):
        latest.take(key, None if value is None else Found(offset, value))

    assert latest.restored() == Restored(checkpoints={CUSTOMER: Checkpoint(2)}, ownership=OWNERSHIP)
    latest.take(OWNERSHIP_KEY, None)
    assert latest.restored().ownership is None


def test_a_good_checkpoint_that_was_overwritten_by_what_is_none_is_refused() -> None:
    latest = Latest()
    latest.take(b"cust_1", Found(7, encode_checkpoint(Checkpoint(1))))
    latest.take(b"cust_1", Found(8, b"{}"))

    with pytest.raises(LogRefused, match=r"b'cust_1' at offset 8 is no checkpoint"):
        latest.restored()


def test_whoever_did_nothing_lately_is_restored_with_what_others_have_too() -> None:
    rates = Rates(at=1_714_564_800.125, visits=2.0)
    decoded = decode_checkpoint(encode_checkpoint(Checkpoint(cursor_ms=1, last_read=1_714_564_800.125, rates=rates)))

    assert decoded.recent is NO_IDS
    assert decoded.rates is not None and decoded.last_read is decoded.rates.at


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b"null",
        b'{"v":1}',
        b'{"v":1,"cursor":"yesterday"}',
        b'{"v":1,"cursor":1.5}',
        b"\xff",
        b'{"v":1,"cursor":"2024-05-01T12:00:00.000"}',
    ],
)
def test_a_checkpoint_that_cannot_be_understood_is_refused_by_its_place(value: bytes) -> None:
    with pytest.raises(LogRefused, match=r"b'cust_1' at offset 7 is no checkpoint"):
        restored_of({b"cust_1": Found(7, value)})


def test_a_key_that_is_no_text_is_refused_by_its_place() -> None:
    with pytest.raises(LogRefused, match=r"xff' at offset 7"):
        restored_of({b"\xff": Found(7, encode_checkpoint(Checkpoint(1)))})


@pytest.mark.parametrize("key", [b"cust_1", OWNERSHIP_KEY])
@pytest.mark.parametrize("value", [b'{"v":2}', b'{"v":2,"kind":"ownership","cursor":{"elsewhere":true}}'])
def test_what_a_newer_version_wrote_asks_for_an_upgrade(key: bytes, value: bytes) -> None:
    with pytest.raises(LogRefused, match=r"at offset 7 was written by a newer version \(format 2, this one reads 1\): upgrade"):
        restored_of({key: Found(7, value)})


def test_the_fields_of_a_later_version_with_the_same_format_are_passed_over() -> None:
    assert decode_checkpoint(b'{"v":1,"cursor":"1970-01-01T00:00:00.001Z","later":[1]}') == Checkpoint(cursor_ms=1)


def test_a_size_is_never_less_than_what_the_record_takes() -> None:
    record = activity_record(activity(b"x" * 10_000), CUSTOMER, TO)
    parts = len(record.key) + len(record.value) + sum(len(name) + len(value) for name, value in record.headers)

    assert math.isclose(size_bytes(record), parts, abs_tol=61 + 36 + 10 * len(record.headers))
    assert size_bytes(record) > parts
