"""A checkpoint that is removed: a record without a value, in the place of the checkpoint's own."""

from poller.kafka.record import Destination, Found, Latest, Record, decode_checkpoint, encode_checkpoint, records_of
from poller.model import ALIVE, NO_CHECKPOINT, Batch, Checkpoint, Life
from tests.support.builders import CUSTOMER, checkpoint, ownership


def test_a_removed_checkpoint_is_a_null_value_under_the_customers_id_in_its_own_partition() -> None:
    batch = Batch(CUSTOMER, 3, checkpoint(1), NO_CHECKPOINT, why="forgotten", removes=True)

    assert records_of([batch], ownership(), Destination(3, "url"))[0] == Record(
        "checkpoints", CUSTOMER.encode(), b"", partition=3, null=True
    )


def test_a_null_value_leaves_nothing_of_the_customer() -> None:
    latest = Latest()
    latest.take(CUSTOMER.encode(), Found(1, encode_checkpoint(checkpoint(1))))
    latest.take(CUSTOMER.encode(), None)

    assert latest.restored().checkpoints == {}


def test_what_became_of_a_customer_comes_back_as_it_was_written_and_is_not_written_where_nothing_did() -> None:
    lives = [Life(1_700_000_000_123, 0.1 + 0.2, 1e9 / 3), Life(unwatched_at=5.5), ALIVE]

    assert [decode_checkpoint(encode_checkpoint(Checkpoint(1, life=life))).life for life in lives] == lives
    assert b"life" not in encode_checkpoint(Checkpoint(1))
    assert decode_checkpoint(encode_checkpoint(Checkpoint(1))).life is ALIVE
    assert b'"life":{"unwatched_at":5.5}' in encode_checkpoint(Checkpoint(1, life=lives[1]))
