"""Small builders of what the core is handed: a test says what matters to it, and the rest is plausible."""

from collections.abc import Iterable
from typing import Any

from poller.core.walk import Shown
from poller.model import (
    Activity,
    ActivityId,
    Checkpoint,
    CustomerId,
    DeadLetter,
    Fetch,
    Ledger,
    Ownership,
    Page,
    Query,
    Quota,
    Restored,
    Walk,
)

CUSTOMER = CustomerId("cust_1")


def activity(at: float = 0.0, id: str | None = None, type: str = "customer.created") -> Activity:
    """Created `at` seconds after the Unix epoch; named by that instant where it has no other name."""
    name = f"a{at:g}" if id is None else id
    return Activity(ActivityId(name), type, f"{at:g}", round(at * 1000), name.encode())


def activities(*ats: float) -> tuple[Activity, ...]:
    return tuple(activity(at) for at in ats)


def dead_letter(raw: bytes = b"{}", at: float | None = None) -> DeadLetter:
    return DeadLetter("no id", raw, None if at is None else round(at * 1000))


def page(*entries: Activity | DeadLetter, date: float | None = None, quota: Quota = Quota(), body_bytes: int = 0) -> Page:
    return Page(entries, quota, date, body_bytes)


def shown(*ats: float, ids: Iterable[str] | None = None, length: int | None = None) -> Shown:
    """A page of activities created at these seconds."""
    keys = tuple(f"a{at:g}" for at in ats) if ids is None else tuple(ids)
    return Shown(keys=keys, instants_ms=tuple(round(at * 1000) for at in ats), ids=keys, length=len(ats) if length is None else length)


def checkpoint(cursor: float = 0.0, **fields: Any) -> Checkpoint:
    """Its cursor is given in seconds."""
    return Checkpoint(cursor_ms=round(cursor * 1000), **fields)


def walk(sent: float = 0.0, low: float = 0.0, **fields: Any) -> Walk:
    """Its low is given in seconds."""
    return Walk(sent=sent, low_ms=round(low * 1000), **fields)


def order(customer: str = CUSTOMER, at: float = 0.0) -> Fetch:
    """A new customer's first call."""
    return Fetch(CustomerId(customer), 0, Query(), at, walk(sent=at), None, checkpoint())


def ownership(**fields: Any) -> Ownership:
    plausible: dict[str, Any] = {
        "application_id": "voucherify-activity-poller",
        "url": "https://api.voucherify.io",
        "endpoint": "activities",
        "partitions": 1,
        "watched_hash": "",
        "owner": "",
        "ledger": Ledger(level=0.0),
    }
    return Ownership(**(plausible | fields))


def restored(ledger: Ledger | None = None, **checkpoints: Checkpoint) -> Restored:
    """What a partition held; its ledger, where somebody had owned it."""
    found = None if ledger is None else ownership(ledger=ledger)
    return Restored({CustomerId(customer): found_at for customer, found_at in checkpoints.items()}, found)


NO_LISTS = (
    b"",
    b"<html>",
    b"[]",
    b'{"customers":7}',
    b'{"data":[]}',
    b"\xff",
    b'{"customers":[' + b"," * 1_000_001 + b"]}",
    b'{"customers":[' + b",".join([b"1"] * 10_001) + b"]}",
    b'{"customers":' + b"[" * 100_000,
)
"""Bodies that are no list of customers."""
