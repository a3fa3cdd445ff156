"""What an activity looks like."""

import json
import re
from typing import Any

import pytest

from poller.demo.objects import Customer
from poller.demo.payloads import OBJECTS, TYPES, render
from poller.demo.readings import Stored, parse_instant_us

CUSTOMER = Customer("cust_1", "shopper@example.com")
AT_US = 1_661_850_847_660_123
SOMETIMES_NULL = {
    "referrer",
    "redemption",
    "promotion_tier",
    "promotion_stack",
    "referral",
    "referral_tier",
    "loyalty",
    "custom_event",
    "customer_event",
}


def stored(**fields: Any) -> Stored:
    values: dict[str, Any] = {
        "id": "evcus_0c150c51730c6b60b1",
        "type": "customer.order.paid",
        "created_at_us": AT_US,
        "shown_at": 0.0,
        "group_id": "v-1f",
    }
    return Stored(**(values | fields))


def test_the_documented_types_are_seventy_four() -> None:
    assert len(TYPES) == 74
    assert TYPES[0] == "customer.confirmed"
    assert TYPES[-1] == "customer.holder.assignment.deleted"


@pytest.mark.parametrize("name", TYPES)
def test_each_type_has_its_objects_in_the_documented_shape(name: str) -> None:
    activity = json.loads(render(CUSTOMER, stored(type=name, campaign_id="camp_1", product_id="prod_1"), "nested"))

    assert list(activity) == ["id", "type", "data", "created_at", "group_id"]
    assert list(activity["data"]) == ["data", "event_source"]
    assert tuple(activity["data"]["data"]) == OBJECTS[name]
    assert activity["data"]["data"]["customer"]["id"] == "cust_1"
    assert {key for key, value in activity["data"]["data"].items() if value is None} <= SOMETIMES_NULL
    assert activity["data"]["event_source"]["channel"] in {"USER_PORTAL", "API", "CLIENT_API", "INTERNAL"}
    assert (activity["id"], activity["type"], activity["created_at"], activity["group_id"]) == (
        "evcus_0c150c51730c6b60b1",
        name,
        "2022-08-30T09:14:07.660Z",
        "v-1f",
    )


def test_the_flat_shape_has_the_objects_directly_and_no_group() -> None:
    activity = json.loads(render(CUSTOMER, stored(), "flat"))

    assert list(activity) == ["id", "type", "data", "created_at"]
    assert tuple(activity["data"]) == OBJECTS["customer.order.paid"]


@pytest.mark.parametrize(
    ("name", "member", "kind"),
    [
        ("customer.sms.failed", "failed_at", str),
        ("customer.loyalty.tier.expiration.changed", "expiration_date", str),
        ("customer.voucher.loyalty_card.points_expired", "points", int),
        ("customer.voucher.loyalty_card.points_expired", "buckets", list),
        ("customer.reward_redemptions.created", "balance", int),
        ("customer.voucher.gift.balance_added", "balance", dict),
        ("customer.redemption.succeeded", "promotion_tier", type(None)),
        ("customer.custom_event", "loyalty", type(None)),
        ("customer.loyalty.updated", "loyalty", dict),
        ("customer.order.paid", "referrer", type(None)),
        ("customer.referred", "referrer", dict),
    ],
)
def test_not_every_member_of_the_data_is_an_object(name: str, member: str, kind: type) -> None:
    assert type(json.loads(render(CUSTOMER, stored(type=name), "flat"))["data"][member]) is kind


def test_an_activity_may_hold_the_head_of_another_and_an_instant_that_is_none() -> None:
    rewarded = json.loads(render(CUSTOMER, stored(type="customer.rewarded.loyalty_points"), "flat"))["data"]
    published = json.loads(render(CUSTOMER, stored(type="customer.publication.succeeded"), "flat"))["data"]

    assert set(rewarded["event"]) == {"id", "type", "category", "entity_id", "created_at", "group_id"}
    assert published["publication"]["created_at"] == "2022-08-30T09: 14: 07.660Z"


def test_few_types_show_the_customer_whole() -> None:
    shown = {name: "summary" in json.loads(render(CUSTOMER, stored(type=name), "flat"))["data"]["customer"] for name in TYPES}

    assert {name for name, whole in shown.items() if whole} == {
        "customer.confirmed",
        "customer.created",
        "customer.updated",
        "customer.deleted",
        "customer.segment.entered",
        "customer.segment.left",
    }


def test_an_undocumented_type_has_a_payload_too() -> None:
    assert json.loads(render(CUSTOMER, stored(type="customer.consents.given"), "nested"))["data"]["data"]["customer"]["id"] == "cust_1"


def test_an_activity_is_sent_in_the_same_bytes_each_time() -> None:
    assert render(CUSTOMER, stored(), "nested") == render(CUSTOMER, stored(), "nested") != render(CUSTOMER, stored(id="evcus_2"), "nested")


def test_the_bytes_are_not_what_a_serialiser_would_make_of_them() -> None:
    body = render(CUSTOMER, stored(), "nested")

    assert rb'"caf\u00e9 \/ \u2615","score":1.10,"ledger":12345678901234567890123,"factor":1E+2, "tags"' in body
    assert json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode() != body


@pytest.mark.parametrize(("defect", "key"), [("no_id", "id"), ("no_type", "type"), ("no_created_at", "created_at")])
def test_a_defect_leaves_a_field_out(defect: Any, key: str) -> None:
    assert key not in json.loads(render(CUSTOMER, stored(defect=defect), "nested"))


def test_a_defect_can_be_bytes_that_are_no_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        render(CUSTOMER, stored(defect="bad_utf8"), "nested").decode()


def test_a_defect_can_be_no_object_at_all() -> None:
    assert isinstance(json.loads(render(CUSTOMER, stored(defect="not_an_object"), "nested")), str)


def test_a_defect_can_be_no_time_at_all() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        parse_instant_us(json.loads(render(CUSTOMER, stored(defect="bad_created_at"), "nested"))["created_at"])


def test_an_odd_created_at_is_the_same_instant_in_another_form() -> None:
    texts = [
        json.loads(render(CUSTOMER, stored(created_at_us=AT_US + 1_000 * n, defect="odd_created_at"), "nested"))["created_at"]
        for n in range(3)
    ]

    assert [parse_instant_us(text) for text in texts] == [AT_US // 1_000 * 1_000 + 1_000 * n for n in range(3)]
    assert not any(re.fullmatch(r"[\d-]+T[\d:]+\.\d{3}Z", text) for text in texts)


def test_a_payload_can_be_very_large() -> None:
    assert len(render(CUSTOMER, stored(pad_bytes=100_000), "nested")) > 100_000


def test_a_scripted_activity_is_sent_as_it_is() -> None:
    assert render(CUSTOMER, stored(raw=b'{ "id" : 1 }'), "nested") == b'{ "id" : 1 }'
