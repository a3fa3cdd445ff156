"""What an activity looks like: its JSON, byte for byte the same whenever it is sent.

`OBJECTS` is the documented types, in the documented order, and the members that the data of each has in the vendor's schema of it.
"""

from random import Random
from typing import Any, Literal

import msgspec

from poller.demo.objects import BUILDERS, Customer, event_source
from poller.demo.readings import Stored, format_instant

Shape = Literal["nested", "flat"]

MESSAGE = ("customer", "distribution")
CARD = ("customer", "campaign", "voucher")
CREDITED = (*CARD, "balance", "transaction")
PENDING = (*CARD, "voucher_pending_points_balance", "order", "pending_points")
VALIDATION = ("customer", "validation")
PUBLICATION = ("customer", "campaign", "publication")
REDEMPTION = ("customer", "order", "campaign", "voucher", "holder", "promotion_tier", "promotion_stack", "redemption")
ROLLBACK = (*REDEMPTION, "redemption_rollback")
ORDER = ("customer", "referrer", "order", "redemption")
REWARD = ("customer", "holder", "voucher", "campaign", "reward_redemption", "reward", "reward_assignment", "source", "balance")
TIER = ("customer", "campaign", "loyalty_tier", "created_at")
OTHER_TIER = ("customer", "campaign", "loyalty_tier_from", "loyalty_tier_to", "created_at")
HOLDER = ("holder", "voucher", "campaign", "customer")

OBJECTS: dict[str, tuple[str, ...]] = {
    "customer.confirmed": ("customer", "unconfirmed_customer"),
    "customer.created": ("customer",),
    "customer.updated": ("customer",),
    "customer.deleted": ("customer",),
    "customer.referred": ("customer", "referrer", "campaign", "voucher", "custom_event", "redemption"),
    "customer.custom_event": ("event", "event_schema", "customer", "referral", "loyalty"),
    "customer.segment.entered": ("customer", "segment"),
    "customer.segment.left": ("customer", "segment"),
    **{
        f"customer.{channel}.{outcome}": (*MESSAGE, f"{outcome}_at")
        for channel in ("sms", "email", "activecampaign", "braze", "mailchimp", "intercom", "shopify", "klaviyo", "batch")
        for outcome in ("sent", "recovered", "failed")
    },
    "customer.rewarded": (
        "customer",
        "holder",
        "voucher",
        "campaign",
        "redemption",
        "reward",
        "referral_tier",
        "balance",
        "custom_event",
        "customer_event",
    ),
    "customer.rewarded.loyalty_points": (
        "customer",
        "holder",
        "voucher",
        "campaign",
        "loyalty_tier",
        "earning_rule",
        "balance",
        "order",
        "event",
    ),
    "customer.voucher.gift.balance_added": CREDITED,
    "customer.voucher.loyalty_card.pending_points.activated": (*CARD, "balance", "order", "transaction", "pending_points"),
    "customer.voucher.loyalty_card.pending_points.added": PENDING,
    "customer.voucher.loyalty_card.pending_points.canceled": PENDING,
    "customer.voucher.loyalty_card.pending_points.updated": PENDING,
    "customer.voucher.loyalty_card.points_activated": CREDITED,
    "customer.voucher.loyalty_card.points_added": CREDITED,
    "customer.voucher.loyalty_card.points_transferred": (*CARD, "source_voucher", "destination_voucher", "balance", "transaction"),
    "customer.voucher.loyalty_card.points_expired": (*CARD, "points", "buckets", "transaction"),
    "customer.voucher.deleted": CARD,
    "customer.publication.succeeded": PUBLICATION,
    "customer.publication.failed": PUBLICATION,
    "customer.validation.succeeded": VALIDATION,
    "customer.validation.failed": VALIDATION,
    "customer.redemption.failed": REDEMPTION,
    "customer.redemption.succeeded": REDEMPTION,
    "customer.redemption.rollback.failed": ROLLBACK,
    "customer.redemption.rollback.succeeded": ROLLBACK,
    "customer.order.canceled": ORDER,
    "customer.order.created": ORDER,
    "customer.order.fulfilled": ORDER,
    "customer.order.paid": ORDER,
    "customer.order.processing": ORDER,
    "customer.order.updated": ORDER,
    "customer.reward_redemptions.created": REWARD,
    "customer.reward_redemptions.pending": REWARD,
    "customer.reward_redemptions.completed": REWARD,
    "customer.reward_redemptions.rolledback": REWARD,
    "customer.loyalty.updated": ("customer", "campaign", "loyalty", "created_at"),
    "customer.loyalty.tier.upgraded": OTHER_TIER,
    "customer.loyalty.tier.downgraded": OTHER_TIER,
    "customer.loyalty.tier.prolonged": TIER,
    "customer.loyalty.tier.expiration.changed": (*TIER, "expiration_date"),
    "customer.loyalty.tier.joined": TIER,
    "customer.loyalty.tier.left": TIER,
    "customer.holder.assignment.created": HOLDER,
    "customer.holder.assignment.deleted": HOLDER,
}
TYPES = tuple(OBJECTS)
UNDOCUMENTED_TYPES = ("customer.consents.given", "customer.consents.revoked", "customer.email.unsubscribed")


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
