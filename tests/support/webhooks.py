"""Webhooks as the vendor would send them for what simulated customers did."""

import hashlib
import hmac
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from poller.demo.objects import Customer
from poller.demo.payloads import TYPES, created_at_text, envelope
from poller.demo.readings import Stored

SECRET = "whsec-5b0e7c9d21"
TOLD_TYPES = frozenset(TYPES[number] for number in range(0, 74, 5)) | frozenset(TYPES[number] for number in range(1, 74, 5))
"""30 of the 74."""


def webhook(data: object, id: str = "whs_1", created_at: str = "2024-05-01T12:00:00.000Z", **more: Any) -> bytes:
    """What is sent, with some insignificant whitespace."""
    whole = {
        "id": id,
        "project_id": "proj_1",
        "type": "order.created",
        "created_at": created_at,
        "data": data,
        "source": {"channel": "API"},
    }
    return msgspec.json.format(msgspec.json.encode(whole | more), indent=2)


def webhook_of(customer: Customer, activity: Stored) -> bytes:
    """The one that announces an activity: its id follows from that, and its instant is the activity's."""
    shown = envelope(customer, activity, "flat")
    id = f"whs_{UUID(int=Random(activity.id).getrandbits(128)).hex}"
    event = {"id": f"event_{activity.id}", "type": activity.type, "created_at": created_at_text(activity), "group_id": activity.group_id}
    return webhook(shown["data"], id, created_at_text(activity), type=activity.type, event=event)


def signed(body: bytes, secret: str = SECRET) -> str:
    """By the vendor's recipe, worked out in another way than ours: what msgspec puts on one line, it leaves as it was written."""
    return hmac.new(secret.encode(), msgspec.json.format(body, indent=-1), hashlib.sha256).hexdigest()
