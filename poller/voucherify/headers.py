"""What the headers of an answer say: the quota, the server's time, how long to wait, whether the endpoint is about to end. Pure.

What is not said, or makes no sense, is `None`: a header never fails a call.
"""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple

from poller.model import Quota

DATE_SECONDS_MAX = 4_102_444_800
"""The year 2100."""

WAIT_SECONDS_MAX = 100 * 86_400
"""A cycle's wait can last a month; what is far from now, either way, is garbage: milliseconds, a countdown, an overflow."""

QUOTA_MAX = 10**12
TEXT_CHARACTERS_MAX = 100

INTEGER = re.compile(r"[0-9]{1,15}")
DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")

Headers = Mapping[str, str]
"""Names are found whatever their case (`httpx.Headers`)."""


class Ending(NamedTuple):
    """What an answer says of the end of its endpoint (RFC 9745, RFC 8594), as it says it."""

    deprecation: str | None
    sunset: str | None


def quota(headers: Headers, server_time: float | None) -> Quota:
    return Quota(
        limit=_count(headers.get("x-rate-limit-limit")),
        remaining=_count(headers.get("x-rate-limit-remaining")),
        resets_at=resets_at(headers, server_time),
    )


def resets_at(headers: Headers, server_time: float | None) -> float | None:
    """`X-Rate-Limit-Retry`, Unix time in seconds."""
    at = _decimal(headers.get("x-rate-limit-retry"))
    if at is None or at > DATE_SECONDS_MAX:
        return None
    return at if server_time is None or abs(at - server_time) <= WAIT_SECONDS_MAX else None


def server_time(headers: Headers) -> float | None:
    """`Date`, Unix time in seconds."""
    return _date(headers.get("date", ""))


def retry_after_seconds(headers: Headers, server_time: float | None) -> float | None:
    """`Retry-After`: seconds, or a date (RFC 9110), which is read against the server's own."""
    text = headers.get("retry-after", "")
    seconds = _decimal(text)
    if seconds is None:
        at = _date(text)
        seconds = None if at is None or server_time is None else max(0.0, at - server_time)
    return seconds if seconds is not None and seconds <= WAIT_SECONDS_MAX else None


def limit_type(headers: Headers) -> str | None:
    return clean(headers.get("x-rate-limit-type"), TEXT_CHARACTERS_MAX)


def ending(headers: Headers) -> Ending | None:
    """`None`: nothing is said of an end."""
    said = Ending(clean(headers.get("deprecation"), TEXT_CHARACTERS_MAX), clean(headers.get("sunset"), TEXT_CHARACTERS_MAX))
    return said if said != (None, None) else None


def clean(text: object, characters_max: int) -> str | None:
    """Text of the other side as it may be logged: one line, short; `None` for what is empty or no text."""
    if not isinstance(text, str):
        return None
    printable = "".join(character if character.isprintable() else " " for character in text[: characters_max + 1]).strip()
    if len(printable) > characters_max:
        return printable[: characters_max - 1] + "…"
    return printable or None


def _count(text: str | None) -> int | None:
    count = int(text) if text is not None and INTEGER.fullmatch(text) else None
    return count if count is not None and count <= QUOTA_MAX else None


def _decimal(text: str | None) -> float | None:
    return float(text) if text is not None and DECIMAL.fullmatch(text) else None


@lru_cache(maxsize=64)  # the same text comes with every answer of one second
def _date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text[:TEXT_CHARACTERS_MAX])
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if 0 <= at <= DATE_SECONDS_MAX else None
