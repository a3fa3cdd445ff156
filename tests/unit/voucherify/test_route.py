"""What a call asks for."""

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.customer_id import refusal
from poller.errors import Rejected
from poller.model import ActivityId, CustomerId, Query
from poller.voucherify.route import target

ANNA = CustomerId("cust_anna")
AT_MS = 1_661_850_847_660


@pytest.mark.parametrize(
    ("query", "beginning"),
    [
        (Query(), ""),
        (Query(start_date_ms=AT_MS), "&start_date=2022-08-30T09%3A14%3A07.660Z"),
        (Query(start_date_ms=-1), "&start_date=1969-12-31T23%3A59%3A59.999Z"),
        (Query(starting_after_ms=AT_MS), "&starting_after=2022-08-30T09%3A14%3A07.660Z"),
        (Query(starting_after_id=ActivityId("a/b&c=d é")), "&starting_after_id=a%2Fb%26c%3Dd%20%C3%A9"),
    ],
)
def test_a_call_says_its_order_its_limit_and_where_to_begin(query: Query, beginning: str) -> None:
    assert target("activities", ANNA, query) == f"/v1/customers/cust_anna/activities?order=created_at&limit=100{beginning}"


def test_the_other_endpoint_takes_the_same_but_for_starting_after() -> None:
    expected = "/v1/customers/cust_anna/activity?order=created_at&limit=100&start_date=2022-08-30T09%3A14%3A07.660Z"
    assert target("activity", ANNA, Query(start_date_ms=AT_MS)) == expected

    with pytest.raises(Rejected, match="the endpoint `activity` has no `starting_after`"):
        target("activity", ANNA, Query(starting_after_ms=AT_MS))


def test_filters_are_asked_for_and_one_that_an_endpoint_does_not_have_is_rejected() -> None:
    campaign = Query(start_date_ms=AT_MS, filters=(("campaign_type", "GIFT_VOUCHERS"), ("campaign_id", "camp/1&2")))
    product = Query(filters=(("product_id", "prod_1"),))
    asked = "&start_date=2022-08-30T09%3A14%3A07.660Z&campaign_type=GIFT_VOUCHERS&campaign_id=camp%2F1%262"

    assert target("activities", ANNA, campaign) == f"/v1/customers/cust_anna/activities?order=created_at&limit=100{asked}"
    assert target("activity", ANNA, campaign) == f"/v1/customers/cust_anna/activity?order=created_at&limit=100{asked}"
    assert target("activities", ANNA, product) == "/v1/customers/cust_anna/activities?order=created_at&limit=100&product_id=prod_1"
    with pytest.raises(Rejected, match="the endpoint `activity` has no `product_id`"):
        target("activity", ANNA, product)


@pytest.mark.parametrize("id", ["", ".", "..", "a\nb", "\ud83d"])
def test_an_id_that_a_path_cannot_carry_is_rejected(id: str) -> None:
    with pytest.raises(Rejected, match="the customer's id "):
        target("activities", CustomerId(id), Query())


def test_an_instant_that_has_no_date_is_rejected() -> None:
    with pytest.raises(Rejected, match="is no date"):
        target("activities", ANNA, Query(start_date_ms=10**18))


@given(st.text(), st.text(st.characters(codec="utf-8"), min_size=1))
def test_every_id_stays_one_segment_and_one_parameter(id: str, after: str) -> None:
    if refusal(id) is not None:
        return
    parts = urlsplit(target("activities", CustomerId(id), Query(starting_after_id=ActivityId(after))))
    segments = parts.path.split("/")

    assert [unquote(segment) for segment in segments] == ["", "v1", "customers", id, "activities"]
    assert parse_qsl(parts.query) == [("order", "created_at"), ("limit", "100"), ("starting_after_id", after)]
    assert not parts.fragment
