"""`/events`: the status as server-sent events, `event: status` with the JSON of `/status`, every 2 s and as soon as the readiness changes.

What comes so often keeps a connection alive, so there are no comments between. A stream ends after ten minutes, when its reader is gone, and when the
process ends; then the last event is `event: end`. A browser connects anew by itself.
"""

import math
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

LISTENERS_MAX = 16
EVERY_SECONDS = 2.0
LOOK_SECONDS = 0.25
"""Between two looks at whether something has changed."""
STREAM_SECONDS_MAX = 600.0
"""Whoever listens and reads nothing takes a place for no longer; a browser connects anew."""
RETRY_MS = 1000
"""After which a browser connects anew."""


class Pace(msgspec.Struct, frozen=True):
    """How often a stream tells, and how long."""

    every_seconds: float = EVERY_SECONDS
    seconds_max: float = STREAM_SECONDS_MAX


class Streams:
    """All that are under way. `end` ends them."""

    def __init__(self, status: Callable[[], bytes], stands: Callable[[], object], pace: Pace = Pace()) -> None:
        """`status`: one line; `stands`: told at once when it is another."""
        self._status = status
        self._stands = stands
        self._pace = pace
        self._ending = anyio.Event()
        self._under_way = 0
        self._last: tuple[float, object, bytes] = (-math.inf, None, b"")
        """When it was put together last, for which standing, and what it was."""

    def end(self) -> None:
        self._ending.set()

    def last(self) -> bytes:
        """The status, for who asks once: not put together anew for each, however many ask."""
        return self._shared(self._stands())

    async def answer(self, request: Request) -> Response:
        if self._under_way >= LISTENERS_MAX:
            raise HTTPException(503, f"{LISTENERS_MAX} listen already", headers={"retry-after": "10"})
        return _Stream(self._stream)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        last = b""
        if scope["method"] != "HEAD":
            self._under_way += 1
            try:
                last = await self._told(receive, send)
            finally:
                self._under_way -= 1
        await send({"type": "http.response.body", "body": last})

    async def _told(self, receive: Receive, send: Send) -> bytes:
        """Until one of them ends it; what is to be said last."""
        async with anyio.create_task_group() as tasks:

            async def ends_with(what: Callable[[], Awaitable[None]]) -> None:
                await what()
                tasks.cancel_scope.cancel()

            tasks.start_soon(ends_with, partial(_left, receive))
            tasks.start_soon(ends_with, self._ending.wait)
            tasks.start_soon(ends_with, partial(anyio.sleep, self._pace.seconds_max))
            tasks.start_soon(self._tell, send)
        return b"event: end\ndata: {}\n\n" if self._ending.is_set() else b""

    async def _tell(self, send: Send) -> None:
        opening = b"retry: %d\n\n" % RETRY_MS
        while True:
            stands = self._stands()
            body = b"%sevent: status\ndata: %s\n\n" % (opening, self._shared(stands))
            await send({"type": "http.response.body", "body": body, "more_body": True})
            opening = b""
            with anyio.move_on_after(self._pace.every_seconds):
                while self._stands() == stands:  # noqa: ASYNC110  # a worker that changes sets no event of ours
                    await anyio.sleep(LOOK_SECONDS)

    def _shared(self, stands: object) -> bytes:
        """The status, the same for all who are told within a moment: to put it together takes some milliseconds."""
        now = anyio.current_time()
        at, stood, said = self._last
        if now >= at + LOOK_SECONDS or stood != stands:
            said = self._status()
            self._last = now, stands, said
        return said


class _Stream(Response):
    """Starlette's, as far as it is called; what it sends is another's."""

    def __init__(self, stream: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        super().__init__()
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._stream(scope, receive, send)


async def _left(receive: Receive) -> None:
    """Until the reader is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
