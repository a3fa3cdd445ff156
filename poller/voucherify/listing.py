"""The list of customers, at the edge: where it is asked for, and what its answer says. Pure.

`GET /v1/customers?order=created_at&starting_after=<date-time>`: who was created after an instant, the oldest first, as documented.
"""

from typing import Any

import msgspec

from poller.customer_id import refusal
from poller.model import CustomerId, ListCall, Listed, ListPage, Response
from poller.voucherify.customers import PATH, entries_of, entry_of, instant_ms
from poller.voucherify.route import encoded_date_time

METADATA_MAX = 1_000
"""Of one customer, names and values that can be matched."""


class _Customer(msgspec.Struct, gc=False):
    id: str
    source_id: str | None = None
    created_at: Any = None
    metadata: Any = None


_customer = msgspec.json.Decoder(_Customer)


def list_target(call: ListCall) -> str:
    """Path and query of the call, without the base. Raises `Rejected` where the instant is no date."""
    after = "" if call.after_ms is None else f"&starting_after={encoded_date_time(call.after_ms)}"
    return f"{PATH}?order=created_at&limit={call.limit}{after}"


def decode_list(response: Response) -> ListPage:
    """What the answer says; who cannot be read, or asked for, is passed over. Raises `Undecodable`, and nothing else."""
    entries = entries_of(response)
    read = tuple(one for entry in entries if (one := _listed(entry)) is not None)
    return ListPage(customers=read, entries=len(entries), quota=response.quota, server_time=response.server_time)


def _listed(entry: msgspec.Raw) -> Listed | None:
    customer = entry_of(entry, _customer)
    if customer is None or refusal(customer.id) is not None:
        return None
    return Listed(
        id=CustomerId(customer.id),
        source_id=CustomerId(customer.source_id) if customer.source_id else None,
        created_at_ms=instant_ms(customer.created_at),
        metadata=_metadata(customer.metadata),
    )


def _metadata(found: Any) -> tuple[tuple[str, str], ...]:
    """Names and values, as text; of a list each of its values. Objects hold nothing that could be matched."""
    if not isinstance(found, dict):
        return ()
    pairs = ((name, value) for name, values in found.items() for value in (values if isinstance(values, list) else [values]))
    texts = ((name, text) for name, value in pairs if (text := _text(value)) is not None)
    return tuple(pair for pair, _ in zip(texts, range(METADATA_MAX), strict=False))


def _text(value: Any) -> str | None:
    """As JSON writes it, but without quotes."""
    if isinstance(value, str):
        return value
    return None if value is None or isinstance(value, dict | list) else msgspec.json.encode(value).decode()
