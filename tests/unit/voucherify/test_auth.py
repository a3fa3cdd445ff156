"""Credentials: sent as they are now, never shown, never sent twice to one that refuses them."""

import httpx
import pytest

from poller.errors import Unauthorized
from poller.secret import Secret
from poller.voucherify.auth import TokenAuth


class Changing:
    """A secret that is another one each time, or none."""

    def __init__(self, *values: str | Exception) -> None:
        self._values = list(values)

    def reveal(self) -> str:
        value = self._values.pop(0)
        if isinstance(value, Exception):
            raise value
        return value


def request() -> httpx.Request:
    return httpx.Request("GET", "https://api.example/v1/customers/c/activities")


def test_both_headers_are_sent() -> None:
    sent = next(TokenAuth(Secret("the-id"), Secret("the-token")).auth_flow(request()))

    assert (sent.headers["X-App-Id"], sent.headers["X-App-Token"]) == ("the-id", "the-token")


def test_each_call_sends_the_values_of_its_time() -> None:
    auth = TokenAuth(Changing("id-1", "id-2"), Changing("token-1", "token-2"))

    assert next(auth.auth_flow(request())).headers["X-App-Token"] == "token-1"
    assert next(auth.auth_flow(request())).headers["X-App-Token"] == "token-2"


def test_a_refusal_is_not_answered_with_the_same_credentials() -> None:
    flow = TokenAuth(Secret("the-id"), Secret("the-token")).auth_flow(request())
    next(flow)

    with pytest.raises(StopIteration):
        flow.send(httpx.Response(401))


@pytest.mark.parametrize("value", ["canary\nX-Other: 1", "canary\r", "canary ", "", "canary\u00e9", "canary\x00", "canary" * 1000])
def test_a_credential_that_no_header_can_carry_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        next(TokenAuth(Secret("the-id"), Changing(value)).auth_flow(request()))

    assert "canary" not in f"{caught.value} {caught.value!r}"
    assert "the application token is empty, too long, or holds characters that no header can carry" in str(caught.value)


@pytest.mark.parametrize(
    "error", [FileNotFoundError("canary"), UnicodeDecodeError("utf-8", b"canary", 0, 1, "canary"), ValueError("canary")]
)
def test_a_credential_that_cannot_be_read_is_missing(error: Exception) -> None:
    with pytest.raises(Unauthorized) as caught:
        next(TokenAuth(Changing(error), Secret("the-token")).auth_flow(request()))

    assert str(caught.value).endswith(f"the application id cannot be read: {type(error).__name__}")
