"""The signature of a webhook, and whom it is about."""

import json
from random import Random

import msgspec
import pytest

from poller.demo.objects import Customer
from poller.demo.payloads import TYPES
from poller.demo.readings import Stored
from poller.errors import Forged, NotAHint
from poller.voucherify.webhook import CUSTOMERS_MAX, Event, decode, signature, stripped, verify
from tests.support.webhooks import SECRET, signed, webhook, webhook_of

PERSON = Customer(id="cust_1", source_id="anna@example.com")


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b' { "a" :\t[ 1 , 2 ]\r\n}\n', b'{"a":[1,2]}'),
        (b'{"a b": " c  d "}', b'{"a b":" c  d "}'),
        (rb'{"a": "\" b \\" , "c" : "\\\" "}', rb'{"a":"\" b \\","c":"\\\" "}'),
        (rb'{"a": 1.10, "b": 1E+2, "c": "\u00e9 \/"}', rb'{"a":1.10,"b":1E+2,"c":"\u00e9 \/"}'),
        ('{"a": "é 東 "}'.encode(), '{"a":"é 東 "}'.encode()),
        (b'{"a": " b', b'{"a":" b'),
        (b'{"a": " b\\', b'{"a":" b\\'),
        (b"", b""),
    ],
    ids=[
        "blanks",
        "blanks in texts",
        "escaped quotes",
        "as written",
        "other scripts",
        "a text without an end",
        "nor its escape",
        "nothing",
    ],
)
def test_only_insignificant_whitespace_is_left_out(body: bytes, left: bytes) -> None:
    assert stripped(body) == left


def test_the_signature_is_a_known_one() -> None:
    # printf '{"id":"whs_1","n":1.10}' | openssl dgst -sha256 -hmac key
    known = "284654bc8bd70b319816aac90be8a9f2c8d3b9f56b1ae677474e0b74eddf56b1"

    assert signature("key", b'{ "id": "whs_1", "n": 1.10 }') == known


@pytest.mark.parametrize("name", TYPES)
def test_what_the_vendor_signed_is_taken_and_names_its_customer_whatever_the_type(name: str) -> None:
    activity = Stored(id=f"evcus_{name}", type=name, created_at_us=1_714_564_800_123_456, shown_at=0.0, group_id="v-1")
    body = webhook_of(PERSON, activity)

    verify(SECRET, body, signed(body))
    event = decode(body)

    assert (event.type, event.created_at_ms) == (name, 1_714_564_800_123)
    assert {"cust_1", "anna@example.com"} <= set(event.customers)


def test_what_was_changed_or_signed_by_another_is_forged() -> None:
    body = webhook({"customer": {"id": "cust_1"}})
    wrong = [(body, signed(body, "other")), (body.replace(b"cust_1", b"cust_2"), signed(body)), (body, signed(body).upper()), (body, "")]
    wrong += [(body, signed(body)[:-1]), (body, "é" * 64), (body, "\udcff")]

    for what, given in wrong:
        with pytest.raises(Forged):
            verify(SECRET, what, given)


@pytest.mark.parametrize(
    "data",
    [
        {"customer": {"id": "cust_1", "source_id": "anna"}},
        {"data": {"customer": {"id": "cust_1", "source_id": "anna", "object": "customer"}}},
        {"holder": {"id": "cust_1", "source_id": "anna"}},
        {"object": "customer", "id": "cust_1", "source_id": "anna"},
        {"order": {"customer": {"id": "cust_1", "source_id": "anna"}}},
        {"redemption": {"customer_id": "cust_1", "holder_id": "anna"}},
        {"customers": [{"object": "customer", "id": "cust_1"}, {"object": "customer", "source_id": "anna"}]},
    ],
    ids=["customer", "nested", "holder", "itself", "of an order", "ids alone", "several"],
)
def test_a_customer_is_found_wherever_it_stands_under_each_of_its_ids(data: object) -> None:
    assert decode(webhook(data)).customers == ("cust_1", "anna")


def test_what_is_no_customer_or_can_be_no_id_is_passed_over() -> None:
    none = {"voucher": {"id": "v_1"}, "customer": {"id": 7, "source_id": None}, "holder": {"id": "..", "source_id": "a\u0000b"}}

    assert decode(webhook(none | {"customer_id": ["x" * 2000, {}], "referrer": "cust_9"})).customers == ()


def test_of_very_many_customers_the_first_are_taken_and_none_from_very_deep() -> None:
    deep: object = {"customer": {"id": "deep"}}
    for _ in range(20):
        deep = {"a": deep}

    assert len(decode(webhook({"customer": [{"id": f"c{number}"} for number in range(500)]})).customers) == CUSTOMERS_MAX
    assert decode(webhook(deep)).customers == ()


def test_when_it_happened_is_when_its_event_was_created_or_the_webhook_or_unknown() -> None:
    inner = webhook({}, event={"id": "e", "created_at": "2024-05-01T11:59:58.000Z"})
    without, unknown = webhook({}, event={"id": "e"}), webhook({}, created_at="x" * 100)

    assert [decode(body).created_at_ms for body in (inner, without, unknown)] == [1_714_564_798_000, 1_714_564_800_000, None]


def test_what_is_not_quite_json_is_read_all_the_same() -> None:
    body = b'{"id":"whs_1","data":{"customer":{"id":"cust_1","name":"cut \\ud83d","n":' + b"9" * 5000 + b"}}}"

    assert decode(body) == Event(id="whs_1", type="", created_at_ms=None, customers=("cust_1",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"[]",
        b'"whs_1"',
        b"{}",
        b'{"id":7}',
        b'{"id":""}',
        json.dumps({"id": "x" * 2000}).encode(),
        b"\xff",
        b"[" * 100_000,
    ],
    ids=range(10),
)
def test_what_is_no_webhook_is_refused(body: bytes) -> None:
    with pytest.raises(NotAHint):
        decode(body)


def test_the_vendors_numbers_and_escapes_survive_as_an_encoder_would_not_leave_them() -> None:
    body = webhook_of(PERSON, Stored(id="a", type="customer.created", created_at_us=Random(1).getrandbits(40), shown_at=0.0))

    assert stripped(body) != msgspec.json.encode(msgspec.json.decode(body))
    verify(SECRET, body, signed(body))
