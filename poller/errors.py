"""Every error that leaves a module, and what its receiver does next.

    PollerError
    ├── SettingsError                 say all faults at once, exit 2
    ├── SourceError                   nothing was read; the cursor stays
    │   ├── Unreachable               back off, then try again: no answer came
    │   │   └── TimedOut              the same: not in time
    │   ├── ServerFault               back off, then try again: 5xx
    │   ├── Undecodable               back off for this customer: an answer came that is no page
    │   │   └── TooLarge              ask for fewer activities at once, as far as that goes
    │   ├── Limited                   stop every call until its instant
    │   ├── PlanExceeded              stop every call, try again slowly
    │   ├── Unauthorized              stop every call, try again slowly: somebody must mend the credentials
    │   ├── Forbidden                 stop every call, try again slowly: somebody must mend the permissions
    │   ├── RouteGone                 stop every call, try again slowly: somebody must change the endpoint
    │   ├── Redirected                stop every call, try again slowly: it passes, or somebody must change the address
    │   ├── TokenRefused              stop every call, try again slowly: somebody must mend the settings or the API key
    │   ├── TokenUnavailable          back off with every call, then try again: it concerns no customer
    │   ├── TokenRenewed              order the same again: the call went into an access token
    │   ├── CustomerUnknown           slow this customer down
    │   └── Rejected                  this request will never do: another way, or slow this customer down
    ├── HintError                     refuse the webhook; hints may be lost, so nothing else is to be done
    │   ├── Forged                    answer 401
    │   ├── NotAHint                  answer 400
    │   └── TooManyHints              answer 429: it is sent again later
    └── LogError                      nothing was committed, or it is not known whether it was
        ├── LogUnavailable            a new producer, restore, try again
        ├── Fenced                    somebody else owns the partition: confirm membership first
        └── LogRefused                say it, try again slowly: somebody must mend topics, permissions or settings
            └── NotOurs               say it and end: no waiting makes the topic ours
                └── CheckpointsMoved  the same: they are in another topic by now

An error of a library is translated once, at the edge that called it, with `raise … from`. The docstring is the message; what the
constructor is given is appended.
"""

from dataclasses import dataclass


class PollerError(Exception):
    """Something failed."""

    def __str__(self) -> str:
        message = (type(self).__doc__ or "").strip()
        details = ": ".join(str(arg) for arg in self.args)
        return f"{message.removesuffix('.')}: {details}" if details else message


class SettingsError(PollerError):
    """The settings cannot be used."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join([f"{len(self.faults)} setting(s) cannot be used:", *(f"  {fault}" for fault in self.faults)])


@dataclass(frozen=True)
class Explanation:
    """What the API said of a failure, short enough to log; never a credential, never a body."""

    status: int | None = None
    key: str | None = None
    message: str | None = None
    request_id: str | None = None
    details: str | None = None

    def __str__(self) -> str:
        parts = [
            ("HTTP", self.status),
            ("key", self.key),
            ("message", self.message),
            ("details", self.details),
            ("request_id", self.request_id),
        ]
        return " ".join(f"{name}={value!r}" if isinstance(value, str) else f"{name} {value}" for name, value in parts if value is not None)


class SourceError(PollerError):
    """Voucherify was not read."""

    def __init__(self, explanation: Explanation | str = Explanation(), *, server_time: float | None = None) -> None:
        super().__init__(*([explanation] if str(explanation) else []))
        self.explanation = explanation
        self.server_time = server_time


class Unreachable(SourceError):
    """Voucherify did not answer."""


class TimedOut(Unreachable):
    """Voucherify did not answer in time."""


class ServerFault(SourceError):
    """Voucherify failed."""


class Undecodable(SourceError):
    """Voucherify answered with something that is not a page of activities."""


class TooLarge(Undecodable):
    """Voucherify answered with more bytes than POLLER_VOUCHERIFY_BODY_BYTES_MAX; if asking for fewer activities does not help, raise it."""


class Limited(SourceError):
    """Voucherify's quota is used up."""

    def __init__(
        self,
        explanation: Explanation | str = Explanation(),
        *,
        kind: str | None = None,
        until: float | None = None,
        wait_seconds: float | None = None,
        server_time: float | None = None,
    ) -> None:
        super().__init__(explanation, server_time=server_time)
        self.kind = kind
        """`api_calls`, `bulk_api_calls`, `api_calls_cycle`, `webhook_calls`; `None`: not said."""
        self.until = until
        """Unix time (`X-Rate-Limit-Retry`); `None`: not said."""
        self.wait_seconds = wait_seconds
        """`Retry-After`; `None`: not said."""


class PlanExceeded(SourceError):
    """Voucherify refuses calls because the plan's limit is exceeded or has ended: see the project's billing page."""


class Unauthorized(SourceError):
    """Voucherify does not accept the credentials: check POLLER_VOUCHERIFY_APP_ID, POLLER_VOUCHERIFY_APP_TOKEN and POLLER_VOUCHERIFY_URL (its region)."""


class Forbidden(SourceError):
    """Voucherify accepts the credentials but not for this: give the API key the permission to read customers, and check the region in POLLER_VOUCHERIFY_URL."""


class RouteGone(SourceError):
    """Voucherify no longer serves this endpoint: set POLLER_VOUCHERIFY_ENDPOINT to the other one (`activity` or `activities`)."""


class Redirected(SourceError):
    """Voucherify, or what stands before it, redirects, which is not followed as the credentials would go along: set POLLER_VOUCHERIFY_URL to where the API itself is."""


class TokenRefused(SourceError):
    """Voucherify issues no OAuth token: check POLLER_VOUCHERIFY_URL and that the API key may read customers, or set POLLER_VOUCHERIFY_AUTH=token."""


class TokenUnavailable(SourceError):
    """Voucherify gave no OAuth token."""


class TokenRenewed(SourceError):
    """The call went into an OAuth token, and another will read the customer."""


class CustomerUnknown(SourceError):
    """Voucherify does not know this customer."""


class Rejected(SourceError):
    """Voucherify will not answer this request."""


class HintError(PollerError):
    """The webhook was refused."""


class Forged(HintError):
    """The webhook's signature is not of POLLER_WEBHOOK_SECRET, which should be the secret key of the webhook in the project's settings."""


class NotAHint(HintError):
    """The webhook cannot be read."""


class TooManyHints(HintError):
    """More webhooks come than are of use."""


class LogError(PollerError):
    """Kafka did not commit."""


class LogUnavailable(LogError):
    """Kafka cannot be reached, or failed."""


class Fenced(LogError):
    """Another replica owns this partition now."""


class LogRefused(LogError):
    """Kafka refuses, and will until somebody changes topics, permissions or settings."""


class NotOurs(LogRefused):
    """The checkpoint topic belongs to another deployment."""


class CheckpointsMoved(NotOurs):
    """The checkpoints have moved to another topic."""
