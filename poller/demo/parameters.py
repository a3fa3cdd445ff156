"""What a call asks: its parameters, checked as the two endpoints document them."""

from collections.abc import Mapping
from typing import Literal

from poller.demo.readings import ListQuery, Refused, parse_instant_us

Endpoint = Literal["activities", "activity"]

FIELDS = ("created_at", "updated_at", "type", "code", "campaign", "category")
ORDERS: dict[Endpoint, tuple[str, ...]] = {
    "activities": tuple(order for field in FIELDS for order in (field, f"-{field}")),
    "activity": ("created_at", "-created_at"),
}
CAMPAIGN_TYPES = ("PROMOTION", "GIFT_VOUCHERS", "REFERRAL_PROGRAM", "DISCOUNT_COUPONS", "LOYALTY_PROGRAM")
CATEGORIES = ("ACTION", "EFFECT")
LIMIT_MAX = 100


def list_query(endpoint: Endpoint, given: Mapping[str, str]) -> ListQuery:
    """What is asked; parameters that the endpoint does not have are ignored. Raises `Refused`."""
    of_predecessor, of_successor = (given, {}) if endpoint == "activities" else ({}, given)
    return ListQuery(
        limit=limit(given),
        order=one_of(given, "order", ORDERS[endpoint]),
        starting_after_us=instant_us(of_predecessor, "starting_after"),
        starting_after_id=given.get("starting_after_id") or None,
        start_date_us=instant_us(given, "start_date"),
        end_date_us=instant_us(given, "end_date"),
        campaign_type=one_of(given, "campaign_type", CAMPAIGN_TYPES),
        campaign_id=given.get("campaign_id"),
        product_id=of_predecessor.get("product_id"),
        category=one_of(of_successor, "category", CATEGORIES),
        type=of_successor.get("type"),
    )


def limit(given: Mapping[str, str]) -> int:
    text = given.get("limit", "10")
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= LIMIT_MAX):
        raise Refused(f"limit should be a number between 1 and {LIMIT_MAX}, is {text!r}")
    return int(text)


def one_of(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    value = given.get(name)
    if value is not None and value not in choices:
        raise Refused(f"{name} should be one of {', '.join(choices)}, is {value!r}")
    return value


def instant_us(given: Mapping[str, str], name: str) -> int | None:
    if (text := given.get(name)) is None:
        return None
    try:
        return parse_instant_us(text)
    except ValueError as error:
        raise Refused(f"{name} should be an ISO 8601 date-time, is {text!r}") from error
