"""What an answer that is no page means: status, headers and error body in, one error of the tree out. Pure.

| status | error | |
|---|---|---|
| 200 | – | a page |
| other 2xx | Undecodable | nothing was asked for that is answered so |
| 3xx | Redirected | |
| 401 | Unauthorized | |
| 402 | PlanExceeded | |
| 403 | Forbidden | |
| 404 | CustomerUnknown, or RouteGone | see `_not_found` |
| 405, 410 | RouteGone | |
| 407, 425 | Unreachable | a proxy, or a moment later; the request itself is right |
| 408 | TimedOut | the same |
| 429 | Limited | |
| other 4xx | Rejected | |
| 5xx, and what is no status | ServerFault | |
"""

from typing import Any

import msgspec

from poller.errors import (
    CustomerUnknown,
    Explanation,
    Forbidden,
    Limited,
    PlanExceeded,
    Redirected,
    Rejected,
    RouteGone,
    ServerFault,
    SourceError,
    TimedOut,
    Unauthorized,
    Undecodable,
    Unreachable,
)
from poller.voucherify.headers import Headers, clean, limit_type, resets_at, retry_after_seconds

TEXT_CHARACTERS_MAX = 300
NO_ROUTE_BEGINNINGS = ("cannot get ", "route ", "no route ")
"""What web frameworks and gateways say of a path that they do not serve."""

BY_STATUS: dict[int, type[SourceError]] = {
    401: Unauthorized,
    402: PlanExceeded,
    403: Forbidden,
    405: RouteGone,
    407: Unreachable,
    408: TimedOut,
    410: RouteGone,
    425: Unreachable,
}


def failure(status: int, headers: Headers, body: bytes, server_time: float | None) -> SourceError:
    """The error that an answer other than 200 stands for. An empty body is one that was not said, or could not be read."""
    said = _fields(body)
    explanation = _explanation(status, said, headers)
    if status == 429:
        return Limited(
            explanation,
            kind=limit_type(headers),
            until=resets_at(headers, server_time),
            wait_seconds=retry_after_seconds(headers, server_time),
            server_time=server_time,
        )
    return _kind(status, said)(explanation, server_time=server_time)


def _kind(status: int, said: dict[str, Any]) -> type[SourceError]:
    if status == 404:
        return _not_found(said)
    if status in BY_STATUS:
        return BY_STATUS[status]
    match status // 100:
        case 2:
            return Undecodable
        case 3:
            return Redirected
        case 4:
            return Rejected
        case _:
            return ServerFault


def _not_found(said: dict[str, Any]) -> type[SourceError]:
    """Whether the customer is missing, or the endpoint itself.

    The API's own error bodies have a `code` or a `key`, and name what they are about; what does not come from its handlers (HTML, a gateway's or a
    framework's answer) has neither. In doubt it is the customer: the endpoint missing stops every call.
    """
    if said.get("resource_type") == "customer":
        return CustomerUnknown
    texts = [text.lower() for name in ("message", "details", "error") if isinstance(text := said.get(name), str)]
    if any(text.startswith(NO_ROUTE_BEGINNINGS) for text in texts):
        return RouteGone
    if said.get("code") is not None or said.get("key") is not None or any("customer" in text for text in texts):
        return CustomerUnknown
    return RouteGone


def _explanation(status: int, said: dict[str, Any], headers: Headers) -> Explanation:
    def text(name: str) -> str | None:
        return clean(said.get(name), TEXT_CHARACTERS_MAX)

    if 300 <= status < 400:
        return Explanation(status=status, details=clean(headers.get("location"), TEXT_CHARACTERS_MAX))
    code = None if said.get("code") == status else _short(said.get("code"))
    return Explanation(
        status=status,
        key=text("key") or code,
        message=text("message"),
        request_id=text("request_id"),
        details=text("details"),
    )


def _short(code: object) -> str | None:
    if isinstance(code, bool):
        return None
    return clean(str(code) if isinstance(code, int) else code, TEXT_CHARACTERS_MAX)


def _fields(body: bytes) -> dict[str, Any]:
    """The error body where it is a JSON object, else nothing."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
