"""How calls are authorised. Each way is an `httpx.Auth`: a generator that is handed the answer, so a renewal needs no I/O of its own.

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
        request.headers["X-App-Id"] = _credential("the application id", self._app_id)
        request.headers["X-App-Token"] = _credential("the application token", self._app_token)
        yield request


def _credential(name: str, secret: Revealing) -> str:
    try:
        value = secret.reveal()
    except (OSError, ValueError) as error:
        raise Unauthorized(f"{name} cannot be read: {type(error).__name__}") from None
    if not CREDENTIAL.fullmatch(value):
        raise Unauthorized(f"{name} is empty, too long, or holds characters that no header can carry")
    return value
