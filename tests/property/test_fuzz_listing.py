"""Whatever the API sends for the list of customers: read for what it is, or refused, in bounded time; and whatever stands in Kafka of how far it was read."""

import json
from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.customer_id import refusal
from poller.errors import TooLarge, Undecodable
from poller.kafka.record import decode_ownership, encode_ownership
from poller.matching import Match, to_match
from poller.model import Commit, CustomerId, Ledger, ListCall, Listed, Listing, ListPage, Response, Restored
from poller.voucherify.listing import decode_list
from tests.support.builders import ownership
from tests.support.fuzzing import JSON_PIECES, damaged, examples, in_time, json_values

NOW = 1_800_000_000.0

listed = st.dictionaries(st.sampled_from(["id", "source_id", "created_at", "metadata", "x"]), json_values, max_size=5)
lists = st.lists(listed | json_values, max_size=5).map(lambda customers: json.dumps({"customers": customers}).encode())


@examples(250)
@given(damaged(lists, JSON_PIECES))
@example(b'{"customers":[{"id":"a","metadata":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}]}")
@example(b'{"customers":[{"id":"a","created_at":"' + b"9" * 100_000 + b'"}]}')
@example(b'{"customers":[{"id":"\\ud83d"}]}')
def test_whatever_the_list_of_customers_says_whoever_is_read_of_it_can_be_asked_for_or_it_is_undecodable(body: bytes) -> None:
    with in_time(), suppress(Undecodable, TooLarge):
        found = decode_list(Response(body))
        assert len(found.customers) <= found.entries
        for one in found.customers:
            assert refusal(one.id) is None
            assert one in Match() and (one in to_match("metadata.x=*")) is any(name == "x" for name, _ in one.metadata)


whole = st.integers(-(2**62), 2**62)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, NOW - 1, NOW, NOW + 1])
listings = st.builds(
    Listing,
    match=st.sampled_from(["", "all"]),
    began_ms=st.none() | whole,
    look_ms=st.none() | whole,
    after_ms=st.none() | whole,
    newest_ms=st.none() | whole,
    whole=st.booleans(),
    ended=st.booleans(),
    gap=st.booleans(),
    entries_max=whole,
    known=whole,
    called_at=st.none() | numbers,
    found=numbers,
    seconds=numbers,
    not_before=numbers,
)
people = st.lists(st.builds(Listed, st.just(CustomerId("a")), created_at_ms=st.none() | whole), max_size=3)


@examples(150)
@given(listings, people, st.integers(0, 200))
def test_from_whatever_was_understood_of_a_listing_it_goes_on(stands: Listing, shown: list[Listed], entries: int) -> None:
    said = ownership(ledger=Ledger(60), listing=stands)
    assert decode_ownership(encode_ownership(said)) == said
    engine = Engine(Policy(watch_all=Match()))
    engine.partitioned(1)
    engine.confirmed(NOW + 1e9)
    engine.assigned(0, Restored({}, said), NOW)
    for at in (NOW, NOW + 1e5):
        commit = engine.commit(0, at, at_once=True)
        assert isinstance(commit, Commit)
        engine.committed(commit, at)
        order = engine.next(at)
        if isinstance(order, ListCall):
            found = engine.lister.received(order, ListPage(tuple(shown), entries), at)
            assert found is not None
            engine.lister.written(found)
