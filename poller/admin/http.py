"""The admin server: `/livez`, `/readyz` and `/status` for who runs the process, `/customers/{id}` for `poller inspect`.

On starlette and uvicorn, inside the caller's task group. Nothing here changes anything, and no access is logged: a path may name a person.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import anyio
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from poller.core.standing import Standing
from poller.customer_id import refusal
from poller.model import CustomerId

Question = Callable[[], tuple[bool, str]]
"""Whether it is so, and the reason in words."""

Status = Mapping[str, object]
"""How the process stands, as JSON can say it."""

CONNECTIONS_MAX = 64
SHUTDOWN_SECONDS_MAX = 2
KEEP_ALIVE_SECONDS = 5
REQUEST_HEAD_BYTES_MAX = 16384
REQUEST_SECONDS_MAX = 3.0
"""For a request to come, from the connection's beginning or the answer before."""


def make_app(live: Question, ready: Question, standing: Callable[[CustomerId], Standing], status: Callable[[], Status]) -> Starlette:
    """`/livez` and `/readyz` answer 200 or 503 with `{"live" or "ready": …, "reason": …}`, `/customers/{id}` 200 with a `Standing`, or 400.

    `/status`: `{"tasks": …}`, the tasks of the process's loop, the one that answers included, which should level off; and what `status` says.

    Anything else is 404 or 405, as JSON too.
    """
    routes = [
        Route("/livez", _answering("live", live)),
        Route("/readyz", _answering("ready", ready)),
        Route("/status", _status(status)),
        Route("/customers/{customer:path}", _standing(standing)),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: http_error})


def _answering(name: str, question: Question) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        yes, reason = question()
        return JSONResponse({name: yes, "reason": reason}, status_code=200 if yes else 503, headers={"cache-control": "no-store"})

    return answer


def _status(status: Callable[[], Status]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        body = msgspec.json.encode({"tasks": len(anyio.get_running_tasks()), **status()})
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    return answer


def _standing(standing: Callable[[CustomerId], Standing]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        customer = request.path_params["customer"]
        refused = refusal(customer)
        if refused is not None:
            raise HTTPException(400, f"this id {refused}")
        body = msgspec.json.encode(standing(CustomerId(customer)))
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    return answer


def http_error(_request: Request, error: Exception) -> Response:
    """What is refused, as JSON: `{"error": …}`."""
    assert isinstance(error, HTTPException), "registered for this one"
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)


class Impatient(H11Protocol):
    """Ends connections on which no whole request comes in time, so that those who say nothing hold up nobody who does."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_request()

    def _await_request(self) -> None:
        self.loop.call_later(REQUEST_SECONDS_MAX, self._end_unless_asked, self.cycle)

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
    app: Starlette, host: str, port: int, *, started: Callable[[int], None] | None = None, connection: type[asyncio.Protocol] = Impatient
) -> None:
    """Serve until cancelled; then end what is under way, within some seconds. Asyncio only. `connection`: what uvicorn makes of each.

    Port 0: any free one. `started` is told the port once requests are taken. Raises `OSError` where the address cannot be had.
    """
    listener = await _listen(host, port)
    server = _Server(_config(app, connection), lambda: started(listener.getsockname()[1]) if started else None)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run, server, listener)
            try:
                await anyio.sleep_forever()
            finally:
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


def _config(app: Starlette, connection: type[asyncio.Protocol]) -> uvicorn.Config:
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
