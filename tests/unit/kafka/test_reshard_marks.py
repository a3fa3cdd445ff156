"""What stands in place of an ownership record while a topic is left or filled, and what becomes of whoever finds it."""

import msgspec
import pytest
from aiokafka.structs import TopicPartition

from poller.core.reshard import Moved, Preparing
from poller.errors import CheckpointsMoved, LogRefused, NotOurs
from poller.kafka.memory import MemoryKafka, MemoryLog
from poller.kafka.owners import understood
from poller.kafka.record import OWNERSHIP_KEY, Found, Latest, decode_said, encode_said, said_of
from poller.kafka.reshard import TRANSACTION_BYTES_MAX, TRANSACTION_RECORDS_MAX, Change, Partition, parts
from poller.model import Feed, Learned, Ledger, Listing, Ownership, Pool, Share
from tests.support.builders import ownership

WHOLE = ownership(
    ledger=Ledger(0.1 + 0.2, "2026-05-01", 12),
    learned=Learned(Pool(1.5, 2.5, 3.5), 4.5, 5.5),
    feed=Feed(read_to_ms=7, called_at=0.1 + 0.7),
    listing=Listing(after_ms=9, whole=True),
    share=Share(given={1: 2}, taken={3: 4}),
)
MOVED, PREPARING = Moved("new", 4, WHOLE), Preparing("old", 4)
TP = TopicPartition("t", 0)


@pytest.mark.parametrize("said", [MOVED, Moved("new", 4, None), PREPARING, WHOLE])
def test_what_stands_there_comes_back_as_it_was(said: Ownership | Moved | Preparing) -> None:
    assert decode_said(encode_said(said)) == said


def test_the_marks_are_made_to_be_read_by_people_too() -> None:
    left, waits = msgspec.json.decode(encode_said(MOVED)), msgspec.json.decode(encode_said(PREPARING))

    assert {name: left[name] for name in ("v", "kind", "to", "partitions")} == {"v": 1, "kind": "moved", "to": "new", "partitions": 4}
    assert left["ownership"] == msgspec.json.decode(encode_said(WHOLE))
    assert waits == {"v": 1, "kind": "preparing", "from": "old", "partitions": 4}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (encode_said(MOVED).replace(b'"v":1', b'"v":2', 1), "written by a newer version"),
        (encode_said(PREPARING).replace(b'"v":1', b'"v":2'), "written by a newer version"),
        (b'{"v":1,"kind":"moved"}', "is no checkpoint"),
        (b"[]", "is no checkpoint"),
    ],
)
def test_a_mark_that_cannot_be_understood_is_refused(value: bytes, told: str) -> None:
    with pytest.raises(LogRefused, match=told):
        said_of(Found(3, value))


def test_who_finds_that_it_has_moved_ends_and_who_is_too_early_tries_again() -> None:
    with pytest.raises(CheckpointsMoved) as moved:
        taken(MOVED).restored()
    with pytest.raises(LogRefused) as early:
        taken(PREPARING).ownership()

    assert str(moved.value) == (
        "The checkpoints have moved to another topic: they are in topic new with 4 partitions since `poller reshard`: "
        "set POLLER_KAFKA_CHECKPOINTS_TOPIC=new and POLLER_KAFKA_CHECKPOINT_PARTITIONS=4"
    )
    assert not isinstance(early.value, NotOurs)


def taken(said: Moved | Preparing) -> Latest:
    """With a checkpoint that cannot be read beside it: where it has moved, that matters no more."""
    latest = Latest()
    latest.take(b"cust_1", Found(1, b"nonsense"))
    latest.take(OWNERSHIP_KEY, Found(2, encode_said(said)))
    return latest


def test_other_owners_are_not_confused_by_a_mark() -> None:
    assert [understood(encode_said(said)) for said in (MOVED, PREPARING, WHOLE)] == [None, None, WHOLE]


@pytest.mark.anyio
async def test_the_log_in_memory_refuses_as_the_one_on_kafka_does() -> None:
    kafka = MemoryKafka()
    log = MemoryLog(kafka, lambda: 0.0, application_id=WHOLE.application_id, source_url=WHOLE.url)
    await log.prepare()
    kafka.put(0, OWNERSHIP_KEY, encode_said(MOVED))

    with pytest.raises(CheckpointsMoved):
        async with log.open(0):
            pass


def test_only_what_differs_is_written_and_what_should_not_be_there_is_taken_away() -> None:
    partition = Partition("t", 0)
    partition.values.update({b"same": b"1", b"other": b"2", b"gone": b"3"})

    changes = list(partition.changes_to({b"same": b"1", b"other": b"22", b"new": b"4"}))

    assert changes == [(TP, b"other", b"22"), (TP, b"new", b"4"), (TP, b"gone", None)]


def test_a_transaction_takes_so_many_records_and_so_many_bytes() -> None:
    small: list[Change] = [(TP, b"k", None)] * (2 * TRANSACTION_RECORDS_MAX + 1)
    large: list[Change] = [(TP, b"k", bytes(TRANSACTION_BYTES_MAX // 2))] * 3

    assert [len(part) for part in parts(small)] == [TRANSACTION_RECORDS_MAX, TRANSACTION_RECORDS_MAX, 1]
    assert [len(part) for part in parts(large)] == [2, 1]
    assert list(parts([])) == []
