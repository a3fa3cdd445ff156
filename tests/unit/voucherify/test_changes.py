"""The change feed at the edge: what is asked, and what is made of the answer."""

import json
from typing import Any

import pytest

from poller.errors import Rejected, Undecodable
from poller.model import Change, Changes, CustomerId, FeedCall, Quota, Response
from poller.voucherify.changes import decode_changes, feed_target
from tests.support.builders import NO_LISTS


def answered(*customers: Any, body: bytes | None = None) -> Changes:
    whole = json.dumps({"object": "list", "data_ref": "customers", "customers": customers, "total": 7}).encode()
    return decode_changes(Response(whole if body is None else body, Quota(remaining=3), 12.0))


def change(at_ms: int, *names: str) -> Change:
    return Change(tuple(CustomerId(name) for name in names), at_ms)


def test_whoever_changed_after_an_instant_is_asked_for_in_order() -> None:
    assert feed_target(FeedCall(0, 1_700_000_000_123, 1.0)) == (
        "/v1/customers?order=updated_at&limit=100&starting_after=2023-11-14T22%3A13%3A20.123Z"
    )


def test_an_instant_that_no_date_can_say_is_not_asked_for() -> None:
    with pytest.raises(Rejected):
        feed_target(FeedCall(0, 10**18, 1.0))


def test_an_entry_is_a_customer_by_both_of_its_ids_and_when_it_changed() -> None:
    both = {"id": "cust_1", "source_id": "a@example.com", "updated_at": "1970-01-01T00:00:01.5Z", "metadata": {"any": "thing"}}
    one = {"id": "cust_2", "source_id": None, "updated_at": "1970-01-01T00:00:02Z"}

    assert answered(both, one) == Changes((change(1_500, "cust_1", "a@example.com"), change(2_000, "cust_2")), Quota(remaining=3), 12.0)


@pytest.mark.parametrize(
    "odd",
    [
        {"id": "never", "updated_at": None},
        {"id": "never"},
        {"updated_at": "1970-01-01T00:00:02Z"},
        {"id": "", "source_id": "", "updated_at": "1970-01-01T00:00:02Z"},
        {"id": "x", "updated_at": "yesterday"},
        {"id": "x", "updated_at": "1" * 1_000},
        {"id": 7, "updated_at": "1970-01-01T00:00:02Z"},
        "customer",
        None,
    ],
)
def test_what_cannot_be_read_is_passed_over(odd: object) -> None:
    assert answered(odd, {"id": "good", "updated_at": "1970-01-01T00:00:02Z"}).changes == (change(2_000, "good"),)


@pytest.mark.parametrize("body", NO_LISTS)
def test_what_is_no_list_of_customers_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        answered(body=body)


def test_a_byte_order_mark_is_ignored() -> None:
    assert answered(body=b'\xef\xbb\xbf{"customers":[]}').changes == ()
