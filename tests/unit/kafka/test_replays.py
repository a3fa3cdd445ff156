"""What a replay leaves in Kafka: the header of what is published again, how far it has come, and which ids stand there by the headers."""

import msgspec

from poller.kafka.published_ids import PublishedIds
from poller.kafka.record import Destination, Limits, decode_checkpoint, encode_checkpoint, records_of
from poller.model import NO_IDS, Activity, ActivityId, Batch, Checkpoint, CustomerId, Replay, Rewind
from tests.support.builders import ownership

A, B = CustomerId("a"), CustomerId("ü/b")
TO = Destination(partition=0, source_url="https://api.example.com")


def activity(id: str, raw: bytes = b"{}") -> Activity:
    return Activity(ActivityId(id), "customer.created", "2024-05-01T12:00:00.5Z", 1714564800500, raw)


def headers(batch: Batch, to: Destination = TO) -> list[tuple[str, dict[str, bytes]]]:
    """Of what is not a checkpoint: its topic, and its headers but those of CloudEvents."""
    return [
        (record.topic, {name: value for name, value in record.headers if name in ("replay", "tenant", "id")})
        for record in records_of([batch], ownership(), to)
        if record.topic != "checkpoints"
    ]


def test_what_is_published_again_bears_the_replays_id_and_what_is_new_does_not() -> None:
    again = Batch(
        A, 0, None, Checkpoint(1, replayed="r1"), (activity("old"), activity("new")), headers=(("tenant", "t"),), again=frozenset({"old"})
    )

    assert headers(again) == [("activities", {"tenant": b"t", "replay": b"r1"}), ("activities", {"tenant": b"t"})]


def test_a_dead_letter_that_is_written_again_bears_it_too() -> None:
    small = msgspec.structs.replace(TO, limits=Limits(activities_bytes_max=600))
    large = Batch(A, 0, None, Checkpoint(1, replayed="r1"), (activity("x", b"." * 600),), again=frozenset({"x"}))

    assert headers(large, small) == [("dead_letters", {"id": b"x", "replay": b"r1"})]


def test_how_far_a_replay_has_come_is_written_and_read_as_it_was() -> None:
    under_way = Replay(Rewind("r1", 1714564800001, missing_only=True), 1714564800002, {"a": 1714564800003}, stalled=True)
    least = Replay(Rewind("r2", 0), 1)

    for kept in (Checkpoint(0, replay=under_way, replayed="r1"), Checkpoint(0, replay=least, replayed="r2"), Checkpoint(0, replayed="r3")):
        assert decode_checkpoint(encode_checkpoint(kept)) == kept
    assert decode_checkpoint(encode_checkpoint(Checkpoint(0, replay=least))).replay == least
    assert encode_checkpoint(Checkpoint(0, replay=least, replayed="r2")) == (
        b'{"v":1,"cursor":"1970-01-01T00:00:00.000Z","replay":{"id":"r2","from":"1970-01-01T00:00:00.000Z",'
        b'"until":"1970-01-01T00:00:00.001Z"},"replayed":"r2"}'
    )
    assert b"repl" not in encode_checkpoint(Checkpoint(0))
    assert decode_checkpoint(encode_checkpoint(Checkpoint(0, replay=least))).replay.recent is NO_IDS  # type: ignore[union-attr]


def test_ids_are_told_by_the_headers_and_by_customer() -> None:
    found = PublishedIds([A, B])
    for customer, id in ((A, "1"), (A, "2"), (B, "1"), (A, "1"), (CustomerId("c"), "3")):
        found.take({"ce_subject": customer.encode(), "ce_id": id.encode()})
    found.take({"ce_subject": b"a"})
    found.take({})

    assert found.ids == {A: {"1", "2"}, B: {"1"}}


def test_of_too_many_whoever_has_the_most_is_left_out() -> None:
    found = PublishedIds([A, B], 4)
    for number in range(9):
        found.take({"ce_subject": A.encode(), "ce_id": b"%d" % number})
        found.take({"ce_subject": B.encode(), "ce_id": b"%d" % (number // 3)})
    alone = PublishedIds([A], 4)
    for number in range(5):
        alone.take({"ce_subject": A.encode(), "ce_id": b"%d" % number})

    assert (found.ids, alone.ids) == ({B: {"0", "1", "2"}}, {})
