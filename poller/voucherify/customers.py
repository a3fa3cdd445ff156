"""What any list of customers has in common, whatever it is asked for: where it is, and how its answer is taken apart. Pure."""

from typing import Any, TypeVar

import msgspec

from poller import instant
from poller.errors import Undecodable
from poller.model import Response
from poller.voucherify.wire import CREATED_AT_CHARACTERS_MAX, PAGE_ENTRIES_MAX, uncrowded

PATH = "/v1/customers"
Entry = TypeVar("Entry")


class _Envelope(msgspec.Struct, gc=False):
    customers: list[msgspec.Raw]


_envelope = msgspec.json.Decoder(_Envelope)


def entries_of(response: Response) -> list[msgspec.Raw]:
    """As they stand in the answer. Raises `Undecodable`, and nothing else."""
    try:
        entries = _envelope.decode(uncrowded(response.body)).customers
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Undecodable("no list of customers") from None
    if len(entries) > PAGE_ENTRIES_MAX:
        raise Undecodable(f"more than {PAGE_ENTRIES_MAX} customers in one page")
    return entries


def entry_of(entry: msgspec.Raw, decoder: "msgspec.json.Decoder[Entry]") -> Entry | None:
    """`None`: it cannot be read, and is passed over."""
    try:
        return decoder.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def instant_ms(said: Any) -> int | None:
    """`None`: it is none."""
    return instant.parse(said) if isinstance(said, str) and len(said) <= CREATED_AT_CHARACTERS_MAX else None
