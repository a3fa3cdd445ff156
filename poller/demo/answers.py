"""What is asked and what is answered, as values; error bodies and headers as the API writes them."""

import math
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from poller import instant
from poller.demo.objects import Customer
from poller.demo.options import SimulatorOptions
from poller.demo.quota import Verdict
from poller.demo.readings import Listing

Headers = list[tuple[bytes, bytes]]


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request, taken apart. A segment of the path is decoded after the path is split: an id may hold `/`."""

    method: str
    segments: tuple[str, ...]
    parameters: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One response."""

    status: int
    body: bytes
    content_type: bytes = b"application/json; charset=utf-8"
    headers: Headers = []


class Problem(Exception):
    """The call gets an error body."""

    def __init__(
        self,
        status: int,
        key: str,
        message: str,
        details: str | None = None,
        resource: tuple[str, str] | None = None,
        headers: Headers | None = None,
    ) -> None:
        super().__init__(status, key, message)
        self.status, self.key, self.message, self.details, self.resource = status, key, message, details, resource
        self.headers: Headers = headers or []

    def answer(self, request_id: str, code: int | str | None = None) -> Answer:
        body: dict[str, Any] = {"code": self.status if code is None else code, "key": self.key, "message": self.message}
        if self.details is not None:
            body["details"] = self.details
        body["request_id"] = request_id
        if self.resource is not None:
            body["resource_id"], body["resource_type"] = self.resource
        return Answer(self.status, msgspec.json.encode(body), headers=self.headers)


UNAUTHORIZED = Problem(401, "unauthorized", "Unauthorized", "Invalid or missing credentials")
PLAN_EXCEEDED = Problem(402, "plan_limit_exceeded", "Plan limit exceeded", "Upgrade the plan of this project")
FORBIDDEN = {
    "missing": Problem(
        403, "missing_required_permission", "Missing required permission", "The API key lacks the permission customers.read"
    ),
    "wrong_region": Problem(403, "forbidden", "Forbidden", "This project is in another region"),
}


def bad_request(details: str) -> Problem:
    return Problem(400, "invalid_query_params", "Invalid query params", details)


def customer_not_found(customer_id: str) -> Problem:
    return Problem(
        404, "not_found", "Resource not found", f"Cannot find customer with id {customer_id}", resource=(customer_id, "customer")
    )


def route_not_found(request: Request, status: int = 404) -> Problem:
    key, message = {404: ("not_found", "Resource not found"), 405: ("method_not_allowed", "Method not allowed"), 410: ("gone", "Gone")}[
        status
    ]
    return Problem(status, key, message, f"Cannot {request.method} /{'/'.join(request.segments)}")


def limited(verdict: Verdict, now: float) -> Problem:
    assert verdict.limited_by is not None
    wait_seconds = max(1, math.ceil(verdict.retry_at - now))
    headers = [(b"x-rate-limit-type", verdict.limited_by.encode()), (b"retry-after", str(wait_seconds).encode())]
    return Problem(429, "too_many_requests", "Too many requests hit the API too quickly.", headers=headers)


def quota_headers(options: SimulatorOptions, verdict: Verdict, now: float) -> Headers:
    if not options.quota_headers:
        return []
    retry_at = math.floor(now) if verdict.retry_at <= now else math.ceil(verdict.retry_at)
    limit = 1_000_000 if options.calls_per_window is None else options.calls_per_window
    return [
        (b"x-rate-limit-limit", str(limit).encode()),
        (b"x-rate-limit-remaining", str(verdict.remaining).encode()),
        (b"x-rate-limit-retry", str(retry_at).encode()),
    ]


def date_header(options: SimulatorOptions, now: float) -> Headers:
    if options.readings.date == "absent":
        return []
    return [(b"date", formatdate(now + options.readings.date_offset_seconds, usegmt=True).encode())]


def sunset_headers(options: SimulatorOptions) -> Headers:
    if options.sunset is None:
        return []
    # RFC 9745: the instant of the deprecation, 2024-03-13, as a structured field.
    return [(b"deprecation", b"@1710288000"), (b"sunset", options.sunset.encode())]


def page_body(listing: Listing, entries: list[bytes], successor: bool) -> bytes:
    """`{object, data_ref, data, total}`; the successor's also with `has_more` and `more_starting_after`."""
    tail: dict[str, Any] = {} if listing.total is None else {"total": listing.total}
    if successor and listing.has_more is not None:
        tail |= {"has_more": listing.has_more, "more_starting_after": listing.more_starting_after}
    after = b"," + msgspec.json.encode(tail)[1:] if tail else b"}"
    return b'{"object":"list","data_ref":"data","data":[' + b",".join(entries) + b"]" + after


def customers_body(changed: list[tuple[int | None, Customer]], total: int) -> bytes:
    """`{object, data_ref, customers, total}`: customers with when each was last changed, in microseconds; `None`: never."""
    entries = [
        {
            "id": customer.id,
            "source_id": customer.source_id,
            "metadata": customer.metadata,
            "created_at": instant.format(customer.created_at_us // 1000),
            "updated_at": None if at_us is None else instant.format(at_us // 1000),
            "object": "customer",
        }
        for at_us, customer in changed
    ]
    return msgspec.json.encode({"object": "list", "data_ref": "customers", "customers": entries, "total": total})


def read_request(scope: Mapping[str, Any], body: bytes) -> Request:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return Request(
        method=scope["method"],
        segments=tuple(unquote(segment) for segment in path.decode("latin-1").split("/")[1:]),
        parameters=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers=dict(scope["headers"]),
        body=body,
    )
