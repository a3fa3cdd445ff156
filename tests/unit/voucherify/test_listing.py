"""The list of customers at the edge: what is asked, and what is made of the answer."""

import json
from typing import Any

import pytest

from poller.errors import Rejected, Undecodable
from poller.model import CustomerId, ListCall, Listed, ListPage, Quota, Response
from poller.voucherify.listing import METADATA_MAX, decode_list, list_target
from tests.support.builders import NO_LISTS


def answered(*customers: Any, body: bytes | None = None) -> ListPage:
    whole = json.dumps({"object": "list", "data_ref": "customers", "customers": customers, "total": 7}).encode()
    return decode_list(Response(whole if body is None else body, Quota(remaining=3), 12.0))


def test_customers_are_asked_for_in_the_order_of_their_creation() -> None:
    assert list_target(ListCall(0, None, 1.0, limit=50)) == "/v1/customers?order=created_at&limit=50"
    assert list_target(ListCall(0, 1_700_000_000_123, 1.0)) == (
        "/v1/customers?order=created_at&limit=100&starting_after=2023-11-14T22%3A13%3A20.123Z"
    )
    with pytest.raises(Rejected):
        list_target(ListCall(0, 10**18, 1.0))


def test_a_customer_has_both_of_its_ids_when_it_was_created_and_its_metadata_as_text() -> None:
    metadata = {"tier": "gold", "points": 7, "rate": 1.5, "vip": True, "none": None, "tags": ["a", 1, [2], {"x": 1}], "nested": {"a": "b"}}
    anna = {"id": "cust_1", "source_id": "a@example.com", "created_at": "1970-01-01T00:00:01.5Z", "metadata": metadata, "more": 1}
    said = (("tier", "gold"), ("points", "7"), ("rate", "1.5"), ("vip", "true"), ("tags", "a"), ("tags", "1"))

    assert answered(anna, {"id": "cust_2", "source_id": None, "created_at": None}) == ListPage(
        (Listed(CustomerId("cust_1"), CustomerId("a@example.com"), 1_500, said), Listed(CustomerId("cust_2"))), 2, Quota(remaining=3), 12.0
    )


@pytest.mark.parametrize("odd", [{}, {"id": ""}, {"id": ".."}, {"id": 7}, {"id": "a\n"}, {"id": "x", "source_id": 7}, "customer", None])
def test_who_cannot_be_read_or_asked_for_is_passed_over_and_counts_as_an_entry(odd: object) -> None:
    page = answered(odd, {"id": "good"})

    assert (page.customers, page.entries) == ((Listed(CustomerId("good")),), 2)


@pytest.mark.parametrize("odd", ["yesterday", "1" * 1_000, 7, {}, ""])
def test_who_bears_no_instant_is_found_all_the_same(odd: object) -> None:
    assert answered({"id": "x", "created_at": odd, "metadata": odd}).customers == (Listed(CustomerId("x")),)


def test_metadata_is_bounded() -> None:
    (customer,) = answered({"id": "x", "metadata": {"a": ["b"] * 5_000}}).customers

    assert len(customer.metadata) == METADATA_MAX


@pytest.mark.parametrize("body", NO_LISTS)
def test_what_is_no_list_of_customers_is_refused(body: bytes) -> None:
    with pytest.raises(Undecodable):
        answered(body=body)
