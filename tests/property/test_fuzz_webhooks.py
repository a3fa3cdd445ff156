"""Whatever is sent as a webhook, or stands in the topic of hints: understood, or refused by an error of ours, in bounded time."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from poller.customer_id import refusal
from poller.errors import Forged, NotAHint
from poller.kafka.hints import hint_of, record_of
from poller.model import CustomerId, Hint
from poller.voucherify.webhook import CUSTOMERS_MAX, decode, signature, stripped, verify
from tests.support.fuzzing import JSON_PIECES, damaged, examples, in_time, json_values
from tests.support.webhooks import webhook

names = st.sampled_from(["customer", "holder", "customer_id", "data", "id", "source_id", "object", "order"])
data = st.recursive(json_values, lambda inner: st.dictionaries(names, inner, max_size=4) | st.lists(inner, max_size=3), max_leaves=10)
bodies = st.builds(webhook, data) | st.builds(lambda value: json.dumps(value).encode(), json_values)


@examples(200)
@given(damaged(bodies, JSON_PIECES))
@example(b'{"id":"w","data":' + b'{"customer":' * 3000 + b"1" + b"}" * 3001)
@example(b'"\\"' * 50_000)
@example(b'{"id":"w","data":{"customer":[' + b'{"id":"c","source_id":"c"},' * 9000 + b"{}]}}")
def test_whatever_is_sent_names_customers_that_can_be_asked_for_or_is_refused(body: bytes) -> None:
    with in_time(), suppress(NotAHint):
        event = decode(body)
        assert 0 < len(event.id) <= 1024 and len(event.customers) <= CUSTOMERS_MAX
        assert [one for one in event.customers if refusal(one) is not None] == []


@examples(100)
@given(damaged(bodies, JSON_PIECES), st.text(max_size=70))
def test_whatever_is_signed_is_verified_by_its_signature_alone(body: bytes, given: str) -> None:
    with in_time():
        right = signature("secret", body)
        verify("secret", body, right)
        assert stripped(stripped(body)) == stripped(body)
        if given != right:
            refused = False
            try:
                verify("secret", body, given)
            except Forged:
                refused = True
            assert refused


@examples(100)
@given(bodies)
def test_what_is_left_of_json_means_the_same(body: bytes) -> None:
    assert repr(json.loads(stripped(body))) == repr(json.loads(body))


@examples(200)
@given(
    st.none() | st.binary(max_size=40),
    st.none() | damaged(st.builds(lambda at: json.dumps({"format": 1, "at_ms": at}).encode(), json_values)),
)
@example(b"cust_1", b'{"format":2,"at_ms":1}')
@example(b"..", b'{"format":1}')
@example(b"cust_1", b'{"format":1,"x":"' + b"x" * 5000 + b'"}')
def test_whatever_stands_in_the_topic_is_a_hint_at_somebody_who_can_be_asked_for_or_none(key: bytes | None, value: bytes | None) -> None:
    hint: Any = hint_of(key, value)

    assert hint is None or (refusal(hint.customer) is None and (hint.at_ms is None or isinstance(hint.at_ms, int)))


@examples(50)
@given(st.text(min_size=1, max_size=20).filter(lambda text: refusal(text) is None), st.none() | st.integers(-(2**53), 2**53))
def test_a_hint_is_read_as_it_was_written(customer: str, at_ms: int | None) -> None:
    hint = Hint(CustomerId(customer), at_ms)

    assert hint_of(*record_of(hint)) == hint
