"""The admin server, for whoever runs the process.

| path | answer |
|---|---|
| `/` | the status page |
| `/livez` | 200 or 503, `{"live": …, "reason": …}`: whether the loop turns. Who waits for budget, for Kafka or for the API is alive |
| `/readyz` | likewise, `ready`: whether what is ours is restored, or we stand by, and our credentials are not refused; how the API is says nothing |
| `/startupz` | likewise, `started`: whether the loop has begun to turn, so that `/livez` may be judged. Waiting for Kafka is started, and not ready |
| `/metrics` | for Prometheus (`admin/exposition.py`) |
| `/status`, `/events` | how the process stands, as JSON: once (`admin/status.py`), and as it changes (`admin/events.py`) |
| `/customers/{id}` | how one customer stands, for `poller inspect` |
| `POST …` | what changes something (`admin/orders.py`): off, unless a token is set |

On starlette and uvicorn, inside the caller's task group. No access is logged: a path may name a person.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from poller.admin.events import Streams
from poller.admin.exposition import Exposition, metrics_route
from poller.admin.guard import Guarded
from poller.admin.orders import Orders
from poller.admin.page import page
from poller.core.standing import Standing
from poller.customer_id import refusal
from poller.model import CustomerId

Question = Callable[[], tuple[bool, str]]
"""Whether it is so, and the reason in words."""

CONNECTIONS_MAX = 64
SHUTDOWN_SECONDS_MAX = 2
KEEP_ALIVE_SECONDS = 5
REQUEST_HEAD_BYTES_MAX = 16384
REQUEST_SECONDS_MAX = 3.0
"""For a request to come, from the connection's beginning or the answer before."""
STALL_SECONDS_MAX = 10.0
"""For a reader to take what it asked for, once no more of it fits on the way."""


class Admin(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers what."""

    live: Question
    ready: Question
    standing: Callable[[CustomerId], Standing]
    status: Callable[[], bytes]
    """As JSON, in one line."""
    exposition: Exposition
    streams: Streams
    orders: Orders


def make_app(admin: Admin) -> ASGIApp:
    """See the top of this file. Refusals are JSON, `{"error": …}`."""
    routes = [
        Route("/", _page()),
        Route("/livez", _answering("live", admin.live)),
        Route("/readyz", _answering("ready", admin.ready)),
        Route("/startupz", _answering("started", Started(admin.live, admin.ready))),
        Route("/metrics", metrics_route(admin.exposition)),
        Route("/status", _status(admin.status)),
        Route("/events", admin.streams.answer),
        Route("/log-level", admin.orders.log_level, methods=["POST"]),
        Route("/customers/{customer:path}/hint", admin.orders.hint, methods=["POST"]),
        Route("/customers/{customer:path}", _standing(admin.standing)),
    ]
    return Guarded(Starlette(routes=routes, exception_handlers={HTTPException: http_error}))


class Started:
    """Whether the loop has ever turned: from then on its liveness may be judged.

    A process that waits for Kafka has started, and is not ready: to restart it would mend nothing, and nothing relies on it meanwhile.
    """

    def __init__(self, live: Question, ready: Question) -> None:
        self._live = live
        self._ready = ready
        self._started = False

    def __call__(self) -> tuple[bool, str]:
        alive, reason = self._live()
        self._started = self._started or alive
        if not self._started:
            return False, "the loop has not turned yet"
        ready, why = self._ready()
        return True, reason if ready else f"{reason}; not ready: {why}"


def _page() -> Callable[[Request], Awaitable[Response]]:
    """Read once."""
    response = page()

    async def answer(_request: Request) -> Response:
        return response

    return answer


def _answering(name: str, question: Question) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        yes, reason = question()
        return JSONResponse({name: yes, "reason": reason}, status_code=200 if yes else 503)

    return answer


def _status(status: Callable[[], bytes]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return Response(status(), media_type="application/json")

    return answer


def _standing(standing: Callable[[CustomerId], Standing]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        customer = request.path_params["customer"]
        refused = refusal(customer)
        if refused is not None:
            raise HTTPException(400, f"this id {refused}")
        return Response(msgspec.json.encode(standing(CustomerId(customer))), media_type="application/json")

    return answer


def http_error(_request: Request, error: Exception) -> Response:
    """What is refused, as JSON: `{"error": …}`."""
    assert isinstance(error, HTTPException), "registered for this one"
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)


class Impatient(H11Protocol):
    """Ends connections on which no whole request comes in time, or whose answers are not taken: who is idle holds up nobody who is not."""

    request_seconds_max = REQUEST_SECONDS_MAX
    stall_seconds_max = STALL_SECONDS_MAX
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.stall_seconds_max, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget_stall()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_stall()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        super().shutdown()
        if self._stalled is not None:
            self.transport.abort()

    def _forget_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _await_request(self) -> None:
        self.loop.call_later(self.request_seconds_max, self._end_unless_asked, self.cycle)

    def _end_unless_asked(self, answered: object) -> None:
        if self.cycle is answered:
            self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn without handlers of its own: signals are the caller's, and stopping is cancellation."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    started: Callable[[int], None] | None = None,
    connection: type[asyncio.Protocol] = Impatient,
    ending: Callable[[], None] | None = None,
) -> None:
    """Serve until cancelled; then end what is under way, within some seconds. Asyncio only. `connection`: what uvicorn makes of each.

    Port 0: any free one. `started` is told the port once requests are taken, `ending` is called first when it is to end. Raises `OSError` where the
    address cannot be had.
    """
    listener = await _listen(host, port)
    server = _Server(_config(app, connection), lambda: started(listener.getsockname()[1]) if started else None)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run, server, listener)
            try:
                await anyio.sleep_forever()
            finally:
                if ending is not None:
                    ending()
                server.should_exit = True
    finally:
        listener.close()


async def _run(server: _Server, listener: socket.socket) -> None:
    """Shielded, since uvicorn stops by itself once it is told to: cancelled, it would leave connections open and log tracebacks."""
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[listener])


async def _listen(host: str, port: int) -> socket.socket:
    """Bound here, since uvicorn ends the process where it cannot."""
    family, kind, protocol, _, address = (await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _config(app: ASGIApp, connection: type[asyncio.Protocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        lifespan="off",
        http=connection,
        ws="none",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        h11_max_incomplete_event_size=REQUEST_HEAD_BYTES_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
    )
