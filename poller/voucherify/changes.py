"""The change feed, at the edge: where it is asked, and what its answer says. Pure.

`GET /v1/customers?order=updated_at` lists the customers of the project by when they were last changed. It is a hint and no truth, so what cannot be
read in it is passed over.
"""

import msgspec

from poller import instant
from poller.errors import Undecodable
from poller.model import Change, Changes, CustomerId, FeedCall, Response
from poller.voucherify.route import encoded_date_time
from poller.voucherify.wire import CREATED_AT_CHARACTERS_MAX, PAGE_ENTRIES_MAX, uncrowded

PATH = "/v1/customers"


class _Envelope(msgspec.Struct, gc=False):
    customers: list[msgspec.Raw]


class _Customer(msgspec.Struct, gc=False):
    updated_at: str
    id: str | None = None
    source_id: str | None = None


_envelope = msgspec.json.Decoder(_Envelope)
_customer = msgspec.json.Decoder(_Customer)


def feed_target(call: FeedCall) -> str:
    """Path and query of the call, without the base. Raises `Rejected` where the instant is no date."""
    return f"{PATH}?order=updated_at&limit={call.limit}&starting_after={encoded_date_time(call.since_ms)}"


def decode_changes(response: Response) -> Changes:
    """What the answer says. Raises `Undecodable`, and nothing else."""
    body = uncrowded(response.body)
    try:
        entries = _envelope.decode(body).customers
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Undecodable("no list of customers") from None
    if len(entries) > PAGE_ENTRIES_MAX:
        raise Undecodable(f"more than {PAGE_ENTRIES_MAX} customers in one page")
    read = tuple(change for entry in entries if (change := _change(entry)) is not None)
    return Changes(changes=read, quota=response.quota, server_time=response.server_time)


def _change(entry: msgspec.Raw) -> Change | None:
    try:
        customer = _customer.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    updated_at = customer.updated_at
    updated_at_ms = instant.parse(updated_at) if len(updated_at) <= CREATED_AT_CHARACTERS_MAX else None
    names = tuple(CustomerId(name) for name in (customer.id, customer.source_id) if name)
    return None if updated_at_ms is None or not names else Change(names, updated_at_ms)
