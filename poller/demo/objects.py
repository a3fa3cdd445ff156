"""The objects in an activity's data, made like the vendor's examples of them. What is in one follows from the activity's id.

Some of it is written as a serialiser would not write it (`1.10`, escapes, a number beyond 64 bits): whoever passes on bytes does not
notice, whoever decodes and encodes again does. Instants are nested in it that are none (`12: 25: 59`), as in the vendor's own.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from poller.demo.readings import Stored, format_instant

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

WHOLE_CUSTOMER = ("customer.confirmed", "customer.created", "customer.updated", "customer.deleted", "customer.segment")
"""Types that show the customer whole; the others show what the vendor calls a simple customer."""

DAY_US = 86_400_000_000


class Customer(msgspec.Struct, frozen=True, gc=False):
    """One person, under both of the ids that calls may use."""

    id: str
    source_id: str
    created_at_us: int = 0
    """Before, it does not exist."""

    @property
    def metadata(self) -> dict[str, str]:
        """By its id, so that it stays the same."""
        return {"tier": ("bronze", "silver", "gold")[sum(self.id.encode()) % 3]}


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
    if activity.type.startswith(WHOLE_CUSTOMER):
        return whole_customer(customer, activity, random)
    return {
        "id": customer.id,
        "name": random.choice(NAMES),
        "email": customer.source_id,
        "source_id": customer.source_id,
        "metadata": STATED_AS_WRITTEN,
        "object": "customer",
    }


def whole_customer(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
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
        "auto_join": False,
        "join_once": True,
        "active": True,
        "category_id": None,
        "category": None,
        "categories": [],
        "metadata": {},
        "start_date": None,
        "expiration_date": None,
        "description": None,
        "created_at": moment(activity, 60),
        "updated_at": moment(activity, 45.5),
        "object": "campaign",
    }


def voucher_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    points = random.randint(0, 5_000)
    return {
        "id": f"v_{hex_of(random, 12)}",
        "code": hex_of(random, 4).upper(),
        "loyalty_card": {
            "points": points,
            "balance": points,
            "next_expiration_date": moment(activity, -30)[:10],
            "next_expiration_points": 7,
        },
        "type": "LOYALTY_CARD",
        "campaign": "Spring",
        "campaign_id": activity.campaign_id,
        "is_referral_code": False,
        "holder_id": customer.id,
        "active": True,
        "created_at": moment(activity, 44),
        "updated_at": moment(activity, 0),
        "redemption": {"quantity": None, "redeemed_points": points, "redeemed_quantity": 2},
        "start_date": None,
        "expiration_date": None,
        "metadata": {},
        "object": "voucher",
    }


def order_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    price, quantity = random.randint(500, 20_000), random.randint(1, 4)
    amount = price * quantity
    item = {
        "object": "order_item",
        "product_id": activity.product_id,
        "quantity": quantity,
        "amount": amount,
        "price": price,
        "subtotal_amount": amount,
    }
    return {
        "id": f"ord_{hex_of(random, 9)}",
        "source_id": None,
        "status": random.choice(("CREATED", "PAID", "FULFILLED", "CANCELED")),
        "customer_id": customer.id,
        "referrer_id": None,
        "amount": amount,
        "discount_amount": amount // 10,
        "applied_discount_amount": amount // 10,
        "total_discount_amount": amount // 10,
        "total_applied_discount_amount": amount // 10,
        "total_amount": amount - amount // 10,
        "items": [item],
        "metadata": {},
        "customer": {"id": customer.id, "object": "customer"},
        "created_at": moment(activity, 0),
        "object": "order",
    }


def redemption_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any] | None:
    if activity.type.startswith("customer.order."):
        return None
    result = "FAILURE" if activity.type == "customer.redemption.failed" else "SUCCESS"
    return redemption(customer, activity, random, result, f"r_{hex_of(random, 9)}")


def redemption_rollback_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    result = "FAILURE" if activity.type.endswith("failed") else "SUCCESS"
    return redemption(customer, activity, random, result, f"rr_{hex_of(random, 9)}") | {"redemption": f"r_{hex_of(random, 9)}"}


def redemption(customer: Customer, activity: Stored, random: Random, result: str, id: str) -> dict[str, Any]:
    failed = result == "FAILURE"
    return {
        "id": id,
        "customer_id": customer.id,
        "tracking_id": f"track_{hex_of(random, 6)}+pykybVOUEXQ==",
        "date": moment(activity, 0),
        "amount": random.randint(100, 9_000),
        "result": result,
        "status": "FAILED" if failed else "SUCCEEDED",
        "metadata": {},
        "failure_code": "customer_rules_violated" if failed else None,
        "failure_message": "The customer’s rules are violated" if failed else None,
        "reason": None,
        "channel": {"channel_id": f"user_{hex_of(random, 12)}", "channel_type": "USER"},
        "object": "redemption",
    }


def validation_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    valid = activity.type.endswith("succeeded")
    redeemable = {"status": "APPLICABLE" if valid else "INAPPLICABLE", "id": hex_of(random, 4).upper(), "object": "voucher"}
    return {
        "id": f"valid_{hex_of(random, 9)}",
        "session_id": f"ssn_{hex_of(random, 12)}",
        "status": "VALID" if valid else "INVALID",
        "created_at": moment(activity, 0),
        "customer_id": customer.id,
        "redeemables": [redeemable] if valid else [],
        "skipped_redeemables": [],
        "inapplicable_redeemables": [] if valid else [redeemable],
    }


def publication_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"pub_{hex_of(random, 12)}",
        "object": "publication",
        "created_at": moment(activity, 0).replace(":", ": "),  # as it stands in one of the vendor's examples
        "customer_id": customer.id,
        "tracking_id": f"{random.randint(1, 310_000)}-01",
        "metadata": {},
        "channel": "API",
        "source_id": None,
        "result": "FAILURE" if activity.type.endswith("failed") else "SUCCESS",
        "customer": {"id": customer.id, "source_id": customer.source_id, "address": None, "summary": None, "object": "customer"},
        "vouchers_id": [f"v_{hex_of(random, 12)}"],
    }


def reward_object(_customer: Customer, _activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "assignment_id": f"rewa_{hex_of(random, 12)}",
        "product": {"id": random.choice(PRODUCTS), "source_id": "coffee", "name": "Free coffee"},
        "id": f"rew_{hex_of(random, 12)}",
        "object": "reward",
        "name": "Free coffee",
        "type": "MATERIAL",
    }


def reward_assignment_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"rewa_{hex_of(random, 12)}",
        "object": "reward_assignment",
        "reward_id": f"rew_{hex_of(random, 12)}",
        "created_at": moment(activity, 44),
        "updated_at": None,
        "parameters": {"loyalty": {"points": 100}},
        "related_object_id": activity.campaign_id,
        "related_object_type": "campaign",
    }


def reward_redemption_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"rewr_{hex_of(random, 12)}",
        "state": activity.type.rpartition(".")[2].upper(),
        "source_id": f"r_{hex_of(random, 9)}",
        "source_type": "redemption",
        "created_at": moment(activity, 0),
        "updated_at": None,
        "campaign_id": activity.campaign_id,
        "customer_id": customer.id,
    }


def source_object(_customer: Customer, _activity: Stored, random: Random) -> dict[str, Any]:
    return {"id": f"r_{hex_of(random, 9)}", "type": "redemption"}


def loyalty_tier_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    rank = random.randint(0, 2)
    points = {"from": rank * 100, "to": rank * 100 + 99}
    return {
        "id": f"ltr_{hex_of(random, 9)}",
        "name": ("Bronze", "Silver", "Gold")[rank],
        "campaign_id": activity.campaign_id,
        "metadata": {},
        "created_at": moment(activity, 44),
        "updated_at": None,
        "earning_rules": {},
        "rewards": {},
        "config": {"points": points},
        "points": points,
        "object": "loyalty_tier",
    }


def earning_rule_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"ern_{hex_of(random, 12)}",
        "created_at": format_instant(activity.created_at_us - 44 * DAY_US, fraction="microseconds"),
        "updated_at": None,
        "validation_rule_id": None,
        "loyalty": {
            "type": "PROPORTIONAL",
            "calculation_type": "ORDER_TOTAL_AMOUNT",
            "order": {"total_amount": {"every": 500, "points": 10}},
        },
        "event": "order.paid",
        "source": {"banner": "Order-paid", "object_id": activity.campaign_id, "object_type": "campaign"},
        "active": True,
        "object": "earning_rule",
        "metadata": {},
    }


def balance_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any] | int:
    points = random.randint(1, 500)
    if activity.type.startswith("customer.reward_redemptions."):
        return points
    return {
        "type": "gift_voucher" if "gift" in activity.type else "loyalty_card",
        "total": points * 3,
        "object": "balance",
        "points": points,
        "balance": points * 3,
        "operation_type": "AUTOMATIC",
        "related_object": {"id": f"v_{hex_of(random, 12)}", "type": "voucher"},
    }


def transaction_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"vtx_{hex_of(random, 9)}",
        "source_id": None,
        "voucher_id": f"v_{hex_of(random, 12)}",
        "campaign_id": activity.campaign_id,
        "source": "voucherify-web-ui",
        "reason": "Spring time",
        "type": "POINTS_EXPIRATION" if activity.type.endswith("expired") else "POINTS_ADDITION",
        "details": {"balance": balance_object(customer, activity, random)},
        "related_transaction_id": None,
        "created_at": moment(activity, 0),
    }


def pending_points_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {
        "id": f"lopp_{hex_of(random, 9)}",
        "voucher_id": f"v_{hex_of(random, 12)}",
        "campaign_id": activity.campaign_id,
        "customer_id": customer.id,
        "order_id": f"ord_{hex_of(random, 9)}",
        "points": random.randint(1, 500),
        "activates_at": moment(activity, -14)[:10],
        "details": {"event": caused_by(customer, activity, random) | {"event_source": event_source(random)}},
        "created_at": moment(activity, 0),
        "updated_at": None,
    }


def points_object(_customer: Customer, _activity: Stored, random: Random) -> int:
    return random.randint(1, 500)


def buckets_object(_customer: Customer, activity: Stored, random: Random) -> list[dict[str, Any]]:
    return [
        {
            "id": f"lopb_{hex_of(random, 12)}",
            "campaign_id": activity.campaign_id,
            "bucket": {"total_points": random.randint(1, 500)},
            "status": "ACTIVE",
            "expires_at": moment(activity, 1)[:10],
            "created_at": moment(activity, 366),
            "updated_at": moment(activity, 0),
            "object": "loyalty_points_bucket",
        }
    ]


def distribution_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    return {"id": f"distr_{hex_of(random, 12)}", "name": "Welcome", "channel": activity.type.split(".")[1], "object": "distribution"}


def referrer_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any] | None:
    if activity.type.startswith("customer.order."):
        return None
    return {"id": f"cust_{hex_of(random, 12)}", "name": random.choice(NAMES), "object": "customer"}


def event_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    if activity.type != "customer.custom_event":
        return caused_by(customer, activity, random)
    return {
        "id": f"ce_{hex_of(random, 9)}",
        "object": "event",
        "type": random.choice(("page_view", "cart_abandoned")),
        "customer": {"id": customer.id, "object": "customer"},
        "referral": None,
        "loyalty": None,
        "metadata": {"lang": "en"},
        "created_at": moment(activity, 0),
    }


def caused_by(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    """The activity that led to this one: the same fields once more, and of the same names."""
    return {
        "id": f"evcus_{hex_of(random, 9)}",
        "type": "customer.order.paid",
        "category": "EFFECT",
        "entity_id": customer.id,
        "created_at": moment(activity, 0),
        "group_id": activity.group_id,
    }


def event_schema_object(_customer: Customer, _activity: Stored, random: Random) -> dict[str, Any]:
    return {"id": f"ms_{hex_of(random, 12)}", "name": "page_view"}


def loyalty_object(_customer: Customer, activity: Stored, random: Random) -> dict[str, Any] | None:
    return None if activity.type == "customer.custom_event" else {"points": random.randint(0, 5_000)}


def holder_object(customer: Customer, activity: Stored, random: Random) -> dict[str, Any]:
    if not activity.type.startswith("customer.holder."):
        return {"id": customer.id, "name": random.choice(NAMES), "email": None, "source_id": customer.source_id, "object": "customer"}
    return {
        "id": f"rh_{hex_of(random, 9)}",
        "created_at": moment(activity, 0),
        "redeemable_id": f"v_{hex_of(random, 12)}",
        "redeemable_object": "voucher",
        "campaign_id": activity.campaign_id,
        "campaign_type": activity.campaign_type,
        "voucher_type": "LOYALTY_CARD",
        "publication_id": f"pub_{hex_of(random, 12)}",
        "customer_id": customer.id,
        "holder_role": "OWNER",
        "object": "redeemable_holder",
    }


def at_once(_customer: Customer, activity: Stored, _random: Random) -> str:
    return moment(activity, 0)


def in_a_year(_customer: Customer, activity: Stored, _random: Random) -> str:
    return moment(activity, -365)


def nothing(_customer: Customer, _activity: Stored, _random: Random) -> None:
    """Documented, and null in each of the vendor's examples."""


BUILDERS: dict[str, Callable[[Customer, Stored, Random], Any]] = {
    "customer": customer_object,
    "unconfirmed_customer": unconfirmed_customer_object,
    "referrer": referrer_object,
    "holder": holder_object,
    "segment": segment_object,
    "campaign": campaign_object,
    "voucher": voucher_object,
    "source_voucher": voucher_object,
    "destination_voucher": voucher_object,
    "order": order_object,
    "redemption": redemption_object,
    "redemption_rollback": redemption_rollback_object,
    "promotion_tier": nothing,
    "promotion_stack": nothing,
    "validation": validation_object,
    "publication": publication_object,
    "reward": reward_object,
    "reward_assignment": reward_assignment_object,
    "reward_redemption": reward_redemption_object,
    "source": source_object,
    "referral": nothing,
    "referral_tier": nothing,
    "loyalty": loyalty_object,
    "loyalty_tier": loyalty_tier_object,
    "loyalty_tier_from": loyalty_tier_object,
    "loyalty_tier_to": loyalty_tier_object,
    "earning_rule": earning_rule_object,
    "balance": balance_object,
    "voucher_pending_points_balance": balance_object,
    "pending_points": pending_points_object,
    "points": points_object,
    "buckets": buckets_object,
    "transaction": transaction_object,
    "distribution": distribution_object,
    "event": event_object,
    "event_schema": event_schema_object,
    "custom_event": nothing,
    "customer_event": nothing,
    "sent_at": at_once,
    "recovered_at": at_once,
    "failed_at": at_once,
    "created_at": at_once,
    "expiration_date": in_a_year,
}
