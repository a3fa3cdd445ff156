"""Whatever stands in the checkpoint topic: understood, or refused by its place. What was understood can be gone on from, shown, and kept."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.commands.inspect import Inspected, as_json, lines
from poller.commands.tail_lines import Shown, json_line, readable_line
from poller.core.budget import Budget, Cycle, Terms
from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.errors import LogRefused, Rejected
from poller.kafka.lookup import LookedUp
from poller.kafka.record import (
    OWNERSHIP_KEY,
    Found,
    decode_checkpoint,
    decode_ownership,
    encode_checkpoint,
    encode_ownership,
    restored_of,
)
from poller.model import Checkpoint, Commit, CustomerId, Fetch, Ledger, Ownership, Restored
from poller.voucherify.route import target
from tests.support.builders import activity, page
from tests.support.fuzzing import JSON_PIECES, damaged, examples, in_time, json_values

NOW = 1_700_000_000.0
CUSTOMER = CustomerId("cust_1")

whole_ms = st.integers(-(10**15), 10**15) | st.sampled_from([0, -1, 2**53, 2**63, -(2**63), 10**30, -(10**30), 253_402_300_799_999])
seconds = st.floats(allow_nan=False, allow_infinity=False)

checkpoints = st.builds(
    Checkpoint,
    cursor_ms=whole_ms,
    recent=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), whole_ms, max_size=4),
    last_read=st.none() | seconds,
    baseline_ms=st.none() | whole_ms,
    stepped_ms=st.none() | whole_ms,
)
texts = st.text(st.characters(codec="utf-8"), max_size=6)
ownerships = st.builds(
    Ownership,
    application_id=texts,
    url=texts,
    endpoint=texts,
    partitions=st.integers(),
    watched_hash=texts,
    owner=texts,
    ledger=st.builds(Ledger, level=seconds, cycle=st.none() | texts, cycle_spent=st.integers()),
)
any_json = json_values.map(lambda value: json.dumps(value).encode())
checkpoint_bytes = damaged(checkpoints.map(encode_checkpoint) | any_json | st.binary(max_size=30), JSON_PIECES)
ownership_bytes = damaged(ownerships.map(encode_ownership) | any_json | st.binary(max_size=30), JSON_PIECES)


def understood(latest: dict[bytes, Found]) -> Restored | None:
    with in_time():
        try:
            return restored_of(latest)
        except LogRefused as error:
            said = str(error)
    assert "offset 7" in said
    return None


@examples(250)
@given(st.sampled_from([b"cust_1", b"\xff", b"", b"\x00"]), checkpoint_bytes)
@example(b"cust_1", b'{"v":1,"cursor":"2024-05-01T12:00:00"}')
@example(b"cust_1", b'{"v":1,"cursor":' + b"9" * 5000 + b"}")
@example(b"cust_1", b'{"v":1,"cursor":' + b"[" * 100_000)
@example(b"cust_1", b'{"v":1,"cursor":0,"recent":{"\\ud83d":1}}')
def test_whatever_stands_for_a_checkpoint_is_understood_or_refused_by_its_place(key: bytes, value: bytes) -> None:
    restored = understood({key: Found(7, value)})

    for checkpoint in () if restored is None else restored.checkpoints.values():
        assert decode_checkpoint(encode_checkpoint(checkpoint)) == checkpoint


@examples(150)
@given(ownership_bytes)
@example(b'{"v":1,"kind":"ownership"}')
def test_whatever_stands_for_an_ownership_record_is_understood_or_refused_by_its_place(value: bytes) -> None:
    restored = understood({OWNERSHIP_KEY: Found(7, value)})

    if restored is not None and restored.ownership is not None:
        assert decode_ownership(encode_ownership(restored.ownership)) == restored.ownership


def gone_on(restored: Restored, now: float = NOW) -> Fetch | None:
    """An engine goes on from it: a call if there is one, and what a page brings is committed."""
    engine = Engine(Policy(start="now", url="u", owner="o", calls_limit=60.0, calls_window_seconds=60.0))
    engine.partitioned(1)
    engine.watch([CUSTOMER])
    engine.assigned(0, restored, now)
    for at in (now, now + 5.0):
        engine.confirmed(at)
        commit = engine.commit(0, at, at_once=True)
        assert isinstance(commit, Commit)
        engine.committed(commit, at)
    engine.confirmed(now + 10.0)
    order = engine.next(now + 10.0)
    if not isinstance(order, Fetch):
        return None
    batch = engine.page_received(order, page(activity(at=now), date=now + 10.0), now + 10.5)
    commit = engine.commit(0, now + 11.0, at_once=True)
    assert isinstance(commit, Commit) and (batch is None or batch in commit.batches)
    if batch is not None:
        encode_checkpoint(batch.checkpoint)
    engine.committed(commit, now + 11.5)
    return order


@examples(100)
@given(checkpoints)
def test_from_whatever_checkpoint_was_understood_the_customer_is_read_on_and_the_cursor_does_not_go_back(checkpoint: Checkpoint) -> None:
    order = gone_on(Restored({CUSTOMER: checkpoint}, None))

    assert order is not None and order.start.cursor_ms == checkpoint.cursor_ms
    try:
        target("activities", CUSTOMER, order.query)
    except Rejected:
        assert abs(checkpoint.cursor_ms) > 10**13  # no date: the customer waits


@examples(100)
@given(ownerships, st.sampled_from([None, Cycle(calls=3, reset_day=1)]))
def test_from_whatever_ledger_was_understood_the_rate_holds(ownership: Ownership, cycle: Cycle | None) -> None:
    terms = Terms.of(600, 60, cycle, 1)
    budget, _, _ = Budget.restore(terms, ownership.ledger, NOW).prepare(NOW, last=False)
    budget, calls = budget.committed(), 0
    while budget.available_at(NOW) <= NOW:
        budget, calls = budget.spend(NOW), calls + 1

    gone_on(Restored({}, ownership))
    assert calls <= terms.capacity


@examples(150)
@given(
    st.builds(
        Shown,
        partition=st.integers(0, 10),
        offset=st.integers(0, 2**62),
        timestamp_ms=st.integers(-1, 253_402_300_799_999),
        key=st.none() | st.binary(max_size=20),
        value=st.none() | damaged(any_json, JSON_PIECES),
        headers=st.lists(
            st.tuples(
                st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["ce_time", "ce_id"]),
                st.none() | st.binary(max_size=20),
            ),
            max_size=3,
        ).map(tuple),
    )
)
def test_whatever_a_record_holds_its_lines_command_nothing(record: Shown) -> None:
    with in_time():
        line = json_line(record, for_terminal=True).decode()
        parts = readable_line(record)

    assert line.replace("\n", "").isprintable() and "\n" not in line
    assert all(part.isprintable() for part in parts)


@pytest.mark.parametrize("timestamp_ms", [2**62, 253_402_300_800_000])
def test_a_record_whose_time_is_no_date_is_shown_all_the_same(timestamp_ms: int) -> None:
    assert "0@7" in readable_line(Shown(0, 7, timestamp_ms, b"customer.created", b"{}"))


@pytest.mark.parametrize(
    "checkpoint", [Checkpoint(10**18), Checkpoint(1, {"a": 10**18}), Checkpoint(1, {}, 1e300), Checkpoint(1, {}, None, 10**18)]
)
def test_a_customer_whose_checkpoint_holds_no_date_is_shown_all_the_same(checkpoint: Checkpoint) -> None:
    log = LookedUp(partition=0, partitions=1, checkpoint=checkpoint, written_at=NOW, ownership=None, owned_at=None)
    found = Inspected(CUSTOMER, NOW, True, log, None, "nobody answers")

    assert (dict(lines(found))["customer"], as_json(found)["customer"]) == (CUSTOMER, CUSTOMER)
