"""That the judge of the faults sees what must not be."""

from itertools import count

from aiokafka.structs import ConsumerRecord

from poller.demo.truth import Expected
from poller.model import Checkpoint
from tests.fault.judge import Verdict
from tests.support.topics import Name, Record

AT_MS = 1_714_564_800_000


def expected(id: str, at_ms: int = AT_MS) -> Expected:
    return Expected(id, "cust_1", "customer.created", "", at_ms, 0.0, must=True, topic="activities", raw=f'"{id}"'.encode())


offsets = count()


def record(id: str, value: str | None = None) -> Record:
    """At an offset of its own."""
    headers = (("ce_subject", b"cust_1"), ("ce_id", id.encode()))
    return ConsumerRecord("t", 0, next(offsets), 0, 0, b"", (value or f'"{id}"').encode(), None, 0, 0, headers)


def verdict(records: list[Record], checkpoint: Checkpoint, gone: frozenset[Name] = frozenset()) -> tuple[set[str], set[str], list[str]]:
    """What was shown is always the same two."""
    shown = {("cust_1", id): expected(id) for id in ("a", "b")}
    judged = Verdict(shown, records, {"cust_1": checkpoint}, gone)
    return {id for _, id in judged.lost}, {id for _, id in judged.twice}, judged.wrong


BOTH = Checkpoint(AT_MS, {"a": AT_MS, "b": AT_MS})


def test_what_is_there_once_is_well() -> None:
    assert verdict([record("a"), record("b")], BOTH) == (set(), set(), [])
    assert verdict([record("a"), record("b")], Checkpoint(AT_MS + 1)) == (set(), set(), [])
    assert verdict([record("b")], BOTH, frozenset({("cust_1", "a")})) == (set(), set(), [])


def test_what_is_lost_or_twice_is_seen() -> None:
    assert verdict([record("a")], Checkpoint(AT_MS, {"a": AT_MS})) == ({"b"}, set(), [])
    assert verdict([record("a"), record("b"), record("a")], BOTH) == (set(), {"a"}, [])
    assert verdict([record("a"), record("b")], BOTH, frozenset({("cust_1", "a")})) == (set(), {"a"}, [])


def test_what_a_reader_has_read_twice_is_there_once() -> None:
    again = record("a")

    assert verdict([again, record("b"), again], BOTH) == (set(), set(), [])


def test_a_state_that_is_not_that_of_the_data_is_seen() -> None:
    forgotten = verdict([record("a"), record("b")], Checkpoint(AT_MS, {"a": AT_MS}))
    ahead = verdict([record("a")], Checkpoint(AT_MS + 1))
    claimed = verdict([record("a")], BOTH)

    assert forgotten == (set(), set(), ["cust_1: b is published at or after the cursor, but not among the recent ids"])
    assert ahead == ({"b"}, set(), ["cust_1: b lies before the cursor, but is not published"])
    assert claimed == ({"b"}, set(), ["cust_1: b is among the recent ids, but not published"])


def test_what_was_changed_or_made_up_is_seen() -> None:
    changed = verdict([record("a", "[]"), record("b")], BOTH)
    made_up = verdict([record("a"), record("b"), record("c")], Checkpoint(AT_MS + 1))

    assert changed == (set(), set(), ["not as it was sent: ('cust_1', 'a')"])
    assert made_up == (set(), set(), ["published, but never shown: ('cust_1', 'c')"])
