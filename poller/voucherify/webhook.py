"""From a webhook's bytes to whom it is about: the signature, and the event. Pure.

The signature is taken of the JSON without its insignificant whitespace. What was received is therefore stripped byte by byte, and not decoded and
encoded again: numbers and escapes may be written in more than one way.

Nothing that a webhook says is published. Of all that is in it only its id counts, to know it again, when it happened, and which customers it
names: they stand in `data`, at places that depend on the type. Ids of others that are taken for customers' do no harm, as nobody watches them.
"""

import hmac
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from poller import instant
from poller.customer_id import refusal
from poller.errors import Forged, NotAHint
from poller.model import CustomerId

ID_CHARACTERS_MAX = 1024
CUSTOMERS_MAX = 100
"""Of one webhook; of more the last are left out."""

DEPTH_MAX = 12
"""How far into `data` customers are looked for; the vendor's own stand in the first five levels."""

CUSTOMER_KEYS = frozenset({"customer", "holder", "referrer", "unconfirmed_customer", "related_customer"})
"""Under which a customer stands, whether it says what it is or not."""

ID_KEYS = frozenset({"customer_id", "holder_id", "referrer_id"})
"""Under which a customer's id stands alone."""

TEXT_OR_BLANKS = re.compile(rb'("(?:[^"\\]++|\\.)*+"?)|[ \t\r\n]++', re.DOTALL)
"""Of a text without an end, all that there is: to look at each of its bytes anew would take for ever."""


class Event(msgspec.Struct, frozen=True):
    """One webhook."""

    id: str
    type: str
    created_at_ms: int | None
    """When what it tells of happened, where it says so."""
    customers: tuple[CustomerId, ...]
    """Under all the ids that it gives for them."""


def stripped(body: bytes) -> bytes:
    """JSON without its insignificant whitespace; whatever else it is, the bytes that are left stay as they are."""
    return TEXT_OR_BLANKS.sub(rb"\1", body)


def signature(secret: str, body: bytes) -> str:
    return hmac.digest(secret.encode(), stripped(body), "sha256").hex()


def verify(secret: str, body: bytes, given: str) -> None:
    """Raises `Forged` where somebody signed it who does not know the secret; how long it takes says nothing of what would have been right."""
    if not hmac.compare_digest(signature(secret, body).encode(), given.encode(errors="surrogateescape")):
        raise Forged


def decode(body: bytes) -> Event:
    """Raises `NotAHint`, and nothing else. By the standard library, as it takes texts that were cut in the middle of an emoji, as JavaScript does."""
    try:
        whole = json.loads(body.decode(errors="surrogateescape"), parse_int=_unread, parse_float=_unread, strict=False)
    except (ValueError, RecursionError):
        raise NotAHint("not JSON") from None
    if not isinstance(whole, dict):
        raise NotAHint("not an object")
    id, type, inner = whole.get("id"), whole.get("type"), whole.get("event")
    if not isinstance(id, str) or not 0 < len(id) <= ID_CHARACTERS_MAX:
        raise NotAHint("its id is missing, or none")
    told = inner if isinstance(inner, dict) and "created_at" in inner else whole
    return Event(
        id=id,
        type=type if isinstance(type, str) else "",
        created_at_ms=_instant(told.get("created_at")),
        customers=tuple(_first(_customers(whole.get("data"), DEPTH_MAX))),
    )


def _unread(_digits: str) -> None:
    """No number is looked at, and reading a very long one is refused."""


def _instant(value: Any) -> int | None:
    return instant.parse(value) if isinstance(value, str) and len(value) <= 64 else None


def _first(found: Iterator[str]) -> list[CustomerId]:
    """Each once, in their order, those that can be ids."""
    ids: dict[CustomerId, None] = {}
    for id in found:
        if refusal(id) is None:
            ids[CustomerId(id)] = None
        if len(ids) == CUSTOMERS_MAX:
            break
    return list(ids)


def _customers(value: Any, depth: int, key: str = "") -> Iterator[str]:
    """The ids of all customers in it."""
    if isinstance(value, list) and depth:
        for one in value:
            yield from _customers(one, depth - 1, key)
    elif isinstance(value, dict) and depth:
        if key in CUSTOMER_KEYS or value.get("object") == "customer":
            yield from (value[name] for name in ("id", "source_id") if isinstance(value.get(name), str))
        for name, one in value.items():
            yield from _customers(one, depth - 1, name)
    elif isinstance(value, str) and key in ID_KEYS:
        yield value
