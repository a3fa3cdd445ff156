"""What each answer that is no page means for the caller."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from poller.voucherify.failures import failure

NOW = 1_700_000_000.0


def of(status: int, body: bytes | dict[str, Any] = b"", **headers: str) -> SourceError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return failure(status, httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}), content, NOW)


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ([201, 202, 204, 206, 299], Undecodable),
        ([300, 301, 302, 303, 304, 307, 308, 399], Redirected),
        ([400, 406, 409, 413, 414, 415, 418, 422, 423, 431, 451, 499], Rejected),
        ([401], Unauthorized),
        ([402], PlanExceeded),
        ([403], Forbidden),
        ([405, 410], RouteGone),
        ([407, 425], Unreachable),
        ([408], TimedOut),
        ([429], Limited),
        ([500, 501, 502, 503, 504, 520, 599, 600, 999], ServerFault),
    ],
)
def test_each_status_has_its_error(statuses: list[int], kind: type[SourceError]) -> None:
    assert [type(of(status)) for status in statuses] == [kind] * len(statuses)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (
            {"code": 404, "key": "not_found", "message": "Resource not found", "resource_type": "customer", "resource_id": "c"},
            CustomerUnknown,
        ),
        ({"code": 404, "message": "Resource not found"}, CustomerUnknown),
        ({"code": "not_found"}, CustomerUnknown),
        ({"key": "not_found", "details": "Cannot find customer with id cannot get"}, CustomerUnknown),
        ({"detail": 1, "message": "Customer not found"}, CustomerUnknown),
        ({"code": 404, "key": "not_found", "message": "Cannot GET it", "resource_type": "customer"}, CustomerUnknown),
        ({"code": 404, "key": "not_found", "message": "Resource not found", "details": "Cannot GET /v1/customers/c/activities"}, RouteGone),
        ({"statusCode": 404, "error": "Not Found", "message": "Cannot GET /v1/customers/c/activities"}, RouteGone),
        ({"statusCode": 404, "error": "Not Found", "message": "Route GET:/v1/customers/c/activities not found"}, RouteGone),
        ({"message": "no Route matched with those values"}, RouteGone),
        ({"message": "Not Found"}, RouteGone),
        ({}, RouteGone),
        (b"[]", RouteGone),
        (b"", RouteGone),
        (b"<html>Cannot GET /v1/customers/c/activities</html>", RouteGone),
        (b"\xff", RouteGone),
        (b"[" * 60_000, RouteGone),
    ],
)
def test_a_404_tells_an_unknown_customer_from_an_endpoint_that_is_gone(body: bytes | dict[str, Any], kind: type[SourceError]) -> None:
    assert type(of(404, body)) is kind


def test_the_api_explains() -> None:
    said = {
        "code": 403,
        "key": "missing_required_permission",
        "message": "No",
        "details": "customers.read",
        "request_id": "v-1",
        "resource_id": "c",
    }

    error = of(403, said)

    assert error.explanation == Explanation(
        status=403, key="missing_required_permission", message="No", request_id="v-1", details="customers.read"
    )
    assert error.server_time == NOW


@pytest.mark.parametrize(
    ("code", "key"), [("invalid_grant", "invalid_grant"), (7, "7"), (400, None), (None, None), (True, None), ([1], None), ("\n", None)]
)
def test_a_code_that_says_more_than_the_status_stands_in_for_a_key(code: object, key: str | None) -> None:
    assert of(400, {"code": code}).explanation == Explanation(status=400, key=key)


def test_an_explanation_is_short_and_on_one_line() -> None:
    error = of(500, {"message": "a\n\x1b[2J" + "b" * 1000, "key": {"not": "text"}, "details": "c" * 300, "request_id": 7})

    assert error.explanation == Explanation(status=500, message="a  [2J" + "b" * 293 + "…", details="c" * 300)


def test_a_redirect_says_that_it_was_refused_and_where_it_led() -> None:
    error = of(302, {"message": "moved"}, Location="https://elsewhere.example/v1")

    assert str(error) == f"{str(Redirected()).removesuffix('.')}: HTTP 302 details='https://elsewhere.example/v1'"


def test_a_429_says_which_limit_and_until_when() -> None:
    error = of(
        429,
        {"code": "429", "message": "Too many requests hit the API too quickly."},
        X_Rate_Limit_Type="api_calls_cycle",
        X_Rate_Limit_Retry="1701000000",
        Retry_After="1000000",
    )

    assert isinstance(error, Limited)
    assert (error.kind, error.until, error.wait_seconds, error.server_time) == ("api_calls_cycle", 1_701_000_000.0, 1_000_000.0, NOW)


def test_a_429_that_says_nothing_is_one_all_the_same() -> None:
    error = of(429, b"slow down", Retry_After="soon", X_Rate_Limit_Retry="-1")

    assert isinstance(error, Limited)
    assert (error.kind, error.until, error.wait_seconds) == (None, None, None)


@given(st.integers(100, 999).filter(lambda status: status != 200), st.binary(max_size=80) | st.just(b'{"code":' + b"9" * 5000 + b"}"))
def test_every_answer_means_something(status: int, body: bytes) -> None:
    error = of(status, body)

    assert isinstance(error, SourceError)
    assert len(str(error)) < 1600
