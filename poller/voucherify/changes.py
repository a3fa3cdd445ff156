"""The change feed, at the edge: where it is asked, and what its answer says. Pure.

`GET /v1/customers?order=updated_at` lists the customers of the project by when they were last changed. It is a hint and no truth, so what cannot be
read in it is passed over.
"""

import msgspec

from poller.model import Change, Changes, CustomerId, FeedCall, Response
from poller.voucherify.customers import PATH, entries_of, entry_of, instant_ms
from poller.voucherify.route import encoded_date_time


class _Customer(msgspec.Struct, gc=False):
    updated_at: str
    id: str | None = None
    source_id: str | None = None


_customer = msgspec.json.Decoder(_Customer)


def feed_target(call: FeedCall) -> str:
    """Path and query of the call, without the base. Raises `Rejected` where the instant is no date."""
    return f"{PATH}?order=updated_at&limit={call.limit}&starting_after={encoded_date_time(call.since_ms)}"


def decode_changes(response: Response) -> Changes:
    """What the answer says. Raises `Undecodable`, and nothing else."""
    read = tuple(change for entry in entries_of(response) if (change := _change(entry)) is not None)
    return Changes(changes=read, quota=response.quota, server_time=response.server_time)


def _change(entry: msgspec.Raw) -> Change | None:
    customer = entry_of(entry, _customer)
    updated_at_ms = None if customer is None else instant_ms(customer.updated_at)
    if customer is None or updated_at_ms is None:
        return None
    names = tuple(CustomerId(name) for name in (customer.id, customer.source_id) if name)
    return Change(names, updated_at_ms) if names else None
