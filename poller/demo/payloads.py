"""What an activity looks like: its JSON, byte for byte the same whenever it is sent.

`OBJECTS` is the documented types, in the documented order, and the objects in the data of each. Everything in the payload follows from
the activity's id. Some of it is written as a serialiser would not write it (`1.10`, escapes, a number beyond 64 bits): whoever passes
on bytes does not notice, whoever decodes and encodes again does.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Literal

import msgspec

from poller.demo.readings import Stored, format_instant

Shape = Literal["nested", "flat"]

MESSAGE = ("customer", "distribution")
LOYALTY = ("customer", "campaign", "voucher", "loyalty_tier")
CARD = ("customer", "campaign", "voucher", "transaction")
REWARD = ("customer", "campaign", "voucher", "reward", "redemption")
REDEMPTION = ("customer", "order", "redemption", "campaign", "voucher")

OBJECTS: dict[str, tuple[str, ...]] = {
    "customer.confirmed": ("customer", "unconfirmed_customer"),
    "customer.created": ("customer",),
    "customer.updated": ("customer",),
    "customer.deleted": ("customer",),
    "customer.referred": ("customer", "campaign", "referrer", "redemption"),
    "customer.custom_event": ("customer", "custom_event"),
    "customer.segment.entered": ("customer", "segment"),
    "customer.segment.left": ("customer", "segment"),
    **{
        f"customer.{channel}.{outcome}": MESSAGE
        for channel in ("sms", "email", "activecampaign", "braze", "mailchimp", "intercom", "shopify", "klaviyo", "batch")
        for outcome in ("sent", "recovered", "failed")
    },
    "customer.rewarded": ("customer", "campaign", "voucher", "reward"),
    "customer.rewarded.loyalty_points": (*CARD, "reward"),
    "customer.voucher.gift.balance_added": CARD,
    "customer.voucher.loyalty_card.pending_points.activated": (*CARD, "pending_points"),
    "customer.voucher.loyalty_card.pending_points.added": (*CARD, "pending_points"),
    "customer.voucher.loyalty_card.pending_points.canceled": (*CARD, "pending_points"),
    "customer.voucher.loyalty_card.pending_points.updated": (*CARD, "pending_points"),
    "customer.voucher.loyalty_card.points_activated": CARD,
    "customer.voucher.loyalty_card.points_added": CARD,
    "customer.voucher.loyalty_card.points_transferred": CARD,
    "customer.voucher.loyalty_card.points_expired": CARD,
    "customer.voucher.deleted": ("customer", "campaign", "voucher"),
    "customer.publication.succeeded": ("customer", "campaign", "voucher", "publication"),
    "customer.publication.failed": ("customer", "campaign", "publication", "failure"),
    "customer.validation.succeeded": ("customer", "order", "validation"),
    "customer.validation.failed": ("customer", "order", "validation", "failure"),
    "customer.redemption.failed": (*REDEMPTION, "failure"),
    "customer.redemption.succeeded": REDEMPTION,
    "customer.redemption.rollback.failed": (*REDEMPTION, "failure"),
    "customer.redemption.rollback.succeeded": REDEMPTION,
    "customer.order.canceled": ("customer", "order"),
    "customer.order.created": ("customer", "order"),
    "customer.order.fulfilled": ("customer", "order"),
    "customer.order.paid": ("customer", "order"),
    "customer.order.processing": ("customer", "order"),
    "customer.order.updated": ("customer", "order"),
    "customer.reward_redemptions.created": REWARD,
    "customer.reward_redemptions.pending": REWARD,
    "customer.reward_redemptions.completed": REWARD,
    "customer.reward_redemptions.rolledback": REWARD,
    "customer.loyalty.updated": CARD,
    "customer.loyalty.tier.upgraded": LOYALTY,
    "customer.loyalty.tier.downgraded": LOYALTY,
    "customer.loyalty.tier.prolonged": LOYALTY,
    "customer.loyalty.tier.expiration.changed": LOYALTY,
    "customer.loyalty.tier.joined": LOYALTY,
    "customer.loyalty.tier.left": LOYALTY,
    "customer.holder.assignment.created": ("customer", "campaign", "voucher", "holder"),
    "customer.holder.assignment.deleted": ("customer", "campaign", "voucher", "holder"),
}
TYPES = tuple(OBJECTS)
UNDOCUMENTED_TYPES = ("customer.consents.given", "customer.consents.revoked", "customer.email.unsubscribed")

CAMPAIGNS: tuple[tuple[str, str], ...] = (
    ("camp_f7JkLmQ2dZ8aXwB3cVnR5tYe", "LOYALTY_PROGRAM"),
    ("camp_p0OiUyTrEwQ1aSdFgHjK9lZx", "LOYALTY_PROGRAM"),
    ("camp_c4VbNm6QwErTyUiOpAsDfGh2", "DISCOUNT_COUPONS"),
    ("camp_z8XcVbNmAsDfGhJk3LqWeRt5", "GIFT_VOUCHERS"),
    ("camp_h6JkL1pOiUyTrEwQaZxSwEdC", "REFERRAL_PROGRAM"),
    ("camp_t5GbHyNjUmIkOlPqAzWsXeD7", "PROMOTION"),
)
PRODUCTS = tuple(f"prod_{0x3773EC4D1A + 0x9E3779B1 * number:012x}" for number in range(12))

CITIES = ("Kraków", "Ciudad de México", "Zürich", "東京", "São Paulo", "København", "Austin", "Bengaluru")
NAMES = ("Anna Nowak", "José Núñez", "Bob “Bobby” Smith", "李雷", "Siobhán O'Neil", "Zoë Müller", "Ada Lovelace", "Omar Haddad")
CHANNELS = ("USER_PORTAL", "API", "CLIENT_API", "INTERNAL")
STATED_AS_WRITTEN = msgspec.Raw(
    rb'{"note":"caf\u00e9 \/ \u2615","score":1.10,"ledger":12345678901234567890123,"factor":1E+2, "tags" : [ "a","b" ]}'
)

DAY_US = 86_400_000_000


class Customer(msgspec.Struct, frozen=True, gc=False):
    """One person, under both of the ids that calls may use."""

    id: str
    source_id: str


def category(activity_type: str) -> str:
    """`ACTION`: the customer (or the shop) did it; `EFFECT`: it followed."""
    effects = (
        "customer.segment",
        "customer.loyalty",
        "customer.rewarded",
        "customer.voucher",
        "customer.reward_redemptions",
        "customer.publication",
    )
    return "EFFECT" if activity_type.startswith(effects) else "ACTION"


def render(customer: Customer, activity: Stored, shape: Shape) -> bytes:
    """The activity's JSON as it is sent, defects included."""
    if activity.raw is not None:
        return activity.raw
    if activity.defect == "not_an_object":
        return msgspec.json.encode(f"see {activity.id}")
    return with_bad_bytes(msgspec.json.encode(envelope(customer, activity, shape)), activity)


def envelope(customer: Customer, activity: Stored, shape: Shape) -> dict[str, Any]:
    random = Random(activity.id)
    objects = {name: BUILDERS[name](customer, activity, random) for name in OBJECTS.get(activity.type, ("customer",))}
    source = event_source(random)
    head: dict[str, Any] = {
        "id": activity.id,
        "type": activity.type,
        "data": {"data": objects, "event_source": source} if shape == "nested" else objects,
    }
    head["created_at"] = created_at_text(activity)
    if shape == "nested" and activity.group_id is not None:
        head["group_id"] = activity.group_id
    if activity.pad_bytes:
        head["data"]["padding"] = "x" * activity.pad_bytes
    missing = {"no_id": "id", "no_type": "type", "no_created_at": "created_at"}.get(activity.defect or "")
    return {key: value for key, value in head.items() if key != missing}


def created_at_text(activity: Stored) -> str:
    if activity.defect == "bad_created_at":
        return "the day before yesterday"
    if activity.defect == "odd_created_at":
        return odd_instant(activity.created_at_us // 1000 * 1000)
    return format_instant(activity.created_at_us)


def odd_instant(instant_us: int) -> str:
    """The same instant, written as other endpoints of the API write it."""
    match instant_us // 1000 % 3:
        case 0:
            return format_instant(instant_us, fraction="microseconds")
        case 1:
            return format_instant(instant_us, zone="+00:00")
        case _:
            return format_instant(instant_us + 7_200_000_000, zone="+02:00", fraction="microseconds")


def with_bad_bytes(body: bytes, activity: Stored) -> bytes:
    return body.replace(b'"object":"customer"', b'"object":"customer\xff\xfe"', 1) if activity.defect == "bad_utf8" else body


def event_source(random: Random) -> dict[str, Any]:
    channel = random.choice(CHANNELS)
    return {
        "channel": channel,
        "user": {"id": f"user_{hex_of(random, 12)}"} if channel == "USER_PORTAL" else None,
        "api_key": {"name": "Shop", "app_id": "f0a1b2c3-4d5e-4f60-8a7b-9c8d7e6f5a4b"} if channel in {"API", "CLIENT_API"} else None,
    }


def hex_of(random: Random, size_bytes: int) -> str:
    return random.randbytes(size_bytes).hex()


def moment(activity: Stored, days_before: float) -> str:
    return format_instant(activity.created_at_us - int(days_before * DAY_US))


def customer_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    orders, amount = random.randint(0, 40), random.randint(500, 90_000)
    return {
        "id": customer.id,
        "source_id": customer.source_id,
        "name": random.choice(NAMES),
        "description": None,
        "email": customer.source_id,
        "phone": None,
        "birthdate": "1990-01-31",
        "address": {
            "city": random.choice(CITIES),
            "state": None,
            "line_1": "Main Street 1",
            "line_2": None,
            "country": "PL",
            "postal_code": "40-001",
        },
        "summary": {
            "redemptions": {
                "total_redeemed": orders,
                "total_failed": 0,
                "total_succeeded": orders,
                "total_rolled_back": 0,
                "total_rollback_failed": 0,
                "total_rollback_succeeded": 0,
                "gift": {"redeemed_amount": 0, "amount_to_go": 0},
                "loyalty_card": {"redeemed_points": orders * 10, "points_to_go": random.randint(0, 5_000)},
            },
            "orders": {
                "total_amount": orders * amount,
                "total_count": orders,
                "average_amount": amount,
                "last_order_amount": amount,
                "last_order_date": moment(activity, 1.5),
            },
        },
        "loyalty": {"points": random.randint(0, 5_000), "referred_customers": 0, "campaigns": {}},
        "referrals": {"total": 0, "campaigns": []},
        "system_metadata": {},
        "metadata": STATED_AS_WRITTEN,
        "created_at": moment(activity, 200),
        "updated_at": moment(activity, 0.25),
        "assets": {"cockpit_url": f"https://app.voucherify.io/#/app/core/customers/{customer.id}/details"},
        "object": "customer",
    }


def unconfirmed_customer_object(_customer: Customer, _activity: Stored, random: Random) -> dict[str, Any]:
    return {"id": f"ucust_{hex_of(random, 12)}"}


def segment_object(_customer: Customer, _activity: Stored, random: Random) -> dict[str, Any]:
    return {"id": f"seg_{hex_of(random, 12)}", "name": random.choice(("VIPs", "Lapsed", "Big spenders")), "object": "segment"}


def campaign_object(_customer: Customer, activity: Stored, _random: Random) -> dict[str, Any]:
    return {
        "id": activity.campaign_id,
        "name": "Spring",
        "campaign_type": activity.campaign_type,
        "type": "STATIC",
        "is_referral_code": False,
        "object": "campaign",
    }


def voucher_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"v_{hex_of(random, 12)}",
        "code": hex_of(random, 4).upper(),
        "campaign_id": activity.campaign_id,
        "holder_id": customer.id,
        "type": "LOYALTY_CARD",
        "loyalty_card": {"points": random.randint(0, 5_000), "balance": random.randint(0, 5_000), "next_expiration_date": None},
        "active": True,
        "object": "voucher",
    }


def order_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    price, quantity = random.randint(500, 20_000), random.randint(1, 4)
    item = {"object": "order_item", "product_id": activity.product_id, "quantity": quantity, "price": price, "amount": price * quantity}
    return {
        "id": f"ord_{hex_of(random, 9)}",
        "source_id": None,
        "status": random.choice(("CREATED", "PAID", "FULFILLED", "CANCELED")),
        "amount": price * quantity,
        "total_amount": price * quantity,
        "items": [item],
        "customer": {"id": customer.id, "object": "customer"},
        "created_at": moment(activity, 0),
        "object": "order",
    }


def redemption_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"r_{hex_of(random, 9)}",
        "customer_id": customer.id,
        "tracking_id": f"track_{hex_of(random, 12)}",
        "date": moment(activity, 0),
        "amount": random.randint(100, 9_000),
        "result": "SUCCESS" if "succeeded" in activity.type else "FAILURE",
        "object": "redemption",
    }


def validation_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {"id": f"valid_{hex_of(random, 12)}", "valid": activity.type.endswith("succeeded"), "redeemables": [], "object": "validation"}


def publication_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"pub_{hex_of(random, 12)}",
        "customer_id": customer.id,
        "channel": "API",
        "created_at": moment(activity, 0),
        "object": "publication",
    }


def reward_object(_customer: Customer, _activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"rew_{hex_of(random, 12)}",
        "name": "Free coffee",
        "type": "MATERIAL",
        "stock": random.randint(0, 900),
        "object": "reward",
    }


def loyalty_tier_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"ltr_{hex_of(random, 12)}",
        "name": random.choice(("Bronze", "Silver", "Gold")),
        "points": {"from": 0, "to": 999},
        "start_date": moment(activity, 30),
        "expiration_date": moment(activity, -335),
        "object": "loyalty_tier",
    }


def transaction_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    points = random.randint(1, 500)
    return {
        "id": f"vtx_{hex_of(random, 9)}",
        "type": "POINTS_ADDITION",
        "amount": points,
        "details": {"balance": {"points": points, "balance": points * 3}},
        "created_at": moment(activity, 0),
    }


def pending_points_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"lopp_{hex_of(random, 9)}",
        "points": random.randint(1, 500),
        "activates_at": moment(activity, -14)[:10],
        "object": "pending_points",
    }


def distribution_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {"id": f"distr_{hex_of(random, 12)}", "name": "Welcome", "channel": activity.type.split(".")[1], "object": "distribution"}


def referrer_object(_customer: Customer, _activity: Stored, random: Random) -> dict[str, Any]:
    return {"id": f"cust_{hex_of(random, 12)}", "name": random.choice(NAMES), "object": "customer"}


def custom_event_object(_customer: Customer, _activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"ce_{hex_of(random, 9)}",
        "event": {"type": random.choice(("page_view", "cart_abandoned"))},
        "metadata": {"lang": "en"},
        "object": "event",
    }


def holder_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {"id": f"hold_{hex_of(random, 12)}", "holder_id": customer.id, "campaign_id": activity.campaign_id, "object": "voucher_holder"}


def failure_object(_customer: Customer, _activity: Stored, random: Random) -> dict[str, Any]:
    return {"code": "voucher_expired", "message": "voucher expired", "details": f"attempt {random.randint(1, 9)}"}


BUILDERS: dict[str, Callable[[Customer, Stored, Random], dict[str, Any]]] = {
    "customer": customer_object,
    "unconfirmed_customer": unconfirmed_customer_object,
    "segment": segment_object,
    "campaign": campaign_object,
    "voucher": voucher_object,
    "order": order_object,
    "redemption": redemption_object,
    "validation": validation_object,
    "publication": publication_object,
    "reward": reward_object,
    "loyalty_tier": loyalty_tier_object,
    "transaction": transaction_object,
    "pending_points": pending_points_object,
    "distribution": distribution_object,
    "referrer": referrer_object,
    "custom_event": custom_event_object,
    "holder": holder_object,
    "failure": failure_object,
}
