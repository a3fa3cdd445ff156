"""The port that takes webhooks: `POST /webhooks/voucherify`, and nothing else. It may be reached by anybody, so everything has a limit.

| answer | when |
|---|---|
| 204 | taken, or known already: Voucherify need not send it again |
| 400, 401 | it cannot be read, or is not signed as it should be |
| 408, 413 | its body takes too long, or is too large |
| 404, 405 | anything else |
| 429 | there are too many |

On starlette and uvicorn, like the admin port (`admin/http.py`).
"""

import asyncio
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from poller.admin.body import received
from poller.admin.http import http_error
from poller.errors import Forged, HintError, NotAHint, TooManyHints

PATH = "/webhooks/voucherify"
SIGNATURE = "x-voucherify-signature"

BODY_BYTES_MAX = 262_144
BODY_SECONDS_MAX = 5.0
CONNECTIONS_MAX = 32
"""More are cut at once. Fewer than uvicorn refuses requests at (`admin/http.py`)."""
CONNECTION_SECONDS_MAX = 30.0
"""However busy it is: then it is cut. Whoever sends slowly holds nothing up for longer."""

STATUSES: dict[type[HintError], int] = {Forged: 401, NotAHint: 400, TooManyHints: 429}

Take = Callable[[bytes, str], None]
"""A body and its signature. Raises `HintError`."""


def make_app(take: Take) -> Starlette:
    """See the top of this file; refusals are JSON, `{"error": …}`."""

    async def receive(request: Request) -> Response:
        body = await received(request, BODY_BYTES_MAX, BODY_SECONDS_MAX)
        try:
            take(body, request.headers.get(SIGNATURE, ""))
        except HintError as error:
            raise HTTPException(STATUSES[type(error)], type(error).__name__) from error
        return Response(status_code=204)

    return Starlette(routes=[Route(PATH, receive, methods=["POST"])], exception_handlers={HTTPException: http_error})


class BoundedConnection(H11Protocol):
    """uvicorn bounds neither how many connections there are nor how long a request's head may take."""

    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        if len(self.connections) >= CONNECTIONS_MAX:
            transport.abort()
            return
        super().connection_made(transport)
        self._end = self.loop.call_later(CONNECTION_SECONDS_MAX, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is not None:
            self._end.cancel()
            super().connection_lost(exc)
