"""How calls are authorised. Each way is an `httpx.Auth`: a generator that is handed the answer, so a renewal needs no I/O of its own (`oauth.py`).

A value that no header can carry is refused here, unseen: further down, the library's error would quote it.
"""

import re
from collections.abc import Generator
from typing import Protocol

import httpx

from poller.errors import Unauthorized

CREDENTIAL = re.compile(r"[!-~]{1,4096}")


class Revealing(Protocol):
    """A secret whose value may change."""

    def reveal(self) -> str: ...


class TokenAuth(httpx.Auth):
    """`X-App-Id` and `X-App-Token`, read anew for each call. A 401 is not answered: the same credentials would be refused again."""

    def __init__(self, app_id: Revealing, app_token: Revealing) -> None:
        self._app_id = app_id
        self._app_token = app_token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        yield with_app_credentials(request, self._app_id, self._app_token)


def with_app_credentials(request: httpx.Request, app_id: Revealing, app_token: Revealing) -> httpx.Request:
    """The request with both headers. Raises `Unauthorized`."""
    request.headers["X-App-Id"] = _credential("the application id", app_id)
    request.headers["X-App-Token"] = _credential("the application token", app_token)
    return request


def is_header_value(text: str) -> bool:
    """Whether a header can carry it."""
    return CREDENTIAL.fullmatch(text) is not None


def _credential(name: str, secret: Revealing) -> str:
    try:
        value = secret.reveal()
    except (OSError, ValueError) as error:
        raise Unauthorized(f"{name} cannot be read: {type(error).__name__}") from None
    if not is_header_value(value):
        raise Unauthorized(f"{name} is empty, too long, or holds characters that no header can carry")
    return value
