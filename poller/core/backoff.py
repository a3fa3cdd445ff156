"""Backoff: how long to leave alone what has failed.

Waits double from a first wait up to a longest one. Jitter keeps replicas and customers from coming back together; it is drawn from the
name of who waits and the count of failures, so the same history gives the same waits.
"""

import zlib
from typing import Literal

import msgspec

from poller.errors import (
    CustomerUnknown,
    Forbidden,
    Limited,
    PlanExceeded,
    Redirected,
    Rejected,
    RouteGone,
    ServerFault,
    SourceError,
    TokenRefused,
    TokenUnavailable,
    Unauthorized,
    Undecodable,
    Unreachable,
)

JITTER = 0.25
"""The part of a wait that is drawn."""

FAILURES_MAX = 40
"""Where counting ends: every wait is at its longest long before."""


class Backoff(msgspec.Struct, frozen=True, gc=False):
    """Waits of `first_seconds` × 2ⁿ, at most `longest_seconds`."""

    first_seconds: float
    longest_seconds: float

    def wait_seconds(self, failures: int, who: str) -> float:
        """How long to wait after so many failures in a row (from 1 on)."""
        assert failures >= 1
        whole = min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures - 1, FAILURES_MAX))
        drawn = zlib.crc32(f"{who} {failures}".encode(errors="surrogatepass")) / 2**32
        return whole * (1 - JITTER * drawn)


TRANSIENT = Backoff(first_seconds=1, longest_seconds=300)
"""One customer's read failed in a way that usually passes."""

UNKNOWN = Backoff(first_seconds=60, longest_seconds=86_400)
"""The API does not know the customer: it may yet, but down to one try a day."""

REJECTED = Backoff(first_seconds=60, longest_seconds=3_600)
"""The API will not answer this customer's request."""

OUTAGE = Backoff(first_seconds=1, longest_seconds=60)
"""The API fails whoever is asked for: every call waits."""

OF_ALL_CALLS = (Limited, TokenRefused, TokenUnavailable)
"""What stops every call, whatever was asked."""

OF_OUR_SETTINGS = (Unauthorized, Forbidden, TokenRefused)
"""What the API refuses is our credentials, so that we are not ready; all else says how the API is, not how we are."""

REFUSED = Backoff(first_seconds=30, longest_seconds=600)
"""Every call waits, and one tries."""

OUTAGE_FAILURES_MIN = 3
"""Transient failures in a row, whoever was asked for, that are taken for an outage rather than bad luck."""

QUOTA_SECONDS = 60.0
"""How long to stop when the quota is used up and nothing says until when."""

CYCLE_SECONDS = 3_600.0
"""How long to stop when the cycle is used up and nothing says until when: it can last weeks, so one call an hour asks."""

QUOTA_SECONDS_MIN = 1.0
QUOTA_SECONDS_MAX = 3_660.0
"""The longest window of the rate is an hour: a header that says more is not believed."""

CYCLE_SECONDS_MAX = 32 * 86_400.0
"""The longest cycle is a month."""


Kind = Literal["outage", "quota", "refusal"]


def kind_of(error: SourceError) -> Kind:
    """Failures in a row of one kind make its waits longer: many of another say nothing of it."""
    match error:
        case Unreachable() | ServerFault() | Undecodable() | TokenUnavailable():
            return "outage"
        case Limited():
            return "quota"
        case _:
            return "refusal"


def customer_wait_seconds(error: SourceError, failures: int, customer: str) -> float:
    """How long to leave a customer alone whose read has failed so many times in a row; 0: it cannot have been the customer's fault."""
    match error:
        case CustomerUnknown():
            return UNKNOWN.wait_seconds(failures, customer)
        case Rejected():
            return REJECTED.wait_seconds(failures, customer)
        case Unreachable() | ServerFault() | Undecodable():
            return TRANSIENT.wait_seconds(failures, customer)
        case PlanExceeded() | Unauthorized() | Forbidden() | RouteGone() | Redirected():
            # It may be refused alone, and must not be the one that tries for all, again and again.
            return REFUSED.wait_seconds(failures, customer)
        case _:
            return 0.0


def source_wait_seconds(error: SourceError, failures: int) -> float:
    """How long no call at all may be made, after so many failures in a row of whichever customer; 0: go on."""
    match error:
        case CustomerUnknown() | Rejected():
            return 0.0
        case Unreachable() | ServerFault() | Undecodable():
            return OUTAGE.wait_seconds(failures - OUTAGE_FAILURES_MIN + 1, "source") if failures >= OUTAGE_FAILURES_MIN else 0.0
        case TokenUnavailable():
            return OUTAGE.wait_seconds(failures, "source")
        case Limited():
            return limited_wait_seconds(error, failures)
        case _:
            return REFUSED.wait_seconds(failures, "source")


def limited_wait_seconds(error: Limited, failures: int) -> float:
    """How long a 429 stops every call: as long as it says, but ever longer where one follows another. The instant in its header is the
    server's, so it is read against the server's `Date`.
    """
    of_cycle = error.kind == "api_calls_cycle"
    longest, default = (CYCLE_SECONDS_MAX, CYCLE_SECONDS) if of_cycle else (QUOTA_SECONDS_MAX, QUOTA_SECONDS)
    least = Backoff(first_seconds=QUOTA_SECONDS_MIN, longest_seconds=default).wait_seconds(failures, "source")
    if error.wait_seconds is not None:
        return max(least, _bounded(error.wait_seconds, longest))
    if error.until is not None and error.server_time is not None:
        return max(least, _bounded(error.until - error.server_time, longest))
    return default


def quota_wait_seconds(until: float | None, server_time: float | None) -> float:
    """How long to stop when nothing remains of the quota until an instant of the server's clock."""
    if until is None or server_time is None:
        return QUOTA_SECONDS
    return _bounded(until - server_time, QUOTA_SECONDS_MAX)


def _bounded(seconds: float, longest: float) -> float:
    """A wait that a header asked for, and a second, as headers count in whole ones."""
    return min(max(seconds, 0.0), longest) + QUOTA_SECONDS_MIN
